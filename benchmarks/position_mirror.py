"""Do learned position tables tell left from right? Their own record: data/results/position_mirror.json.

    python benchmarks/position_mirror.py runs/cifar10_ladder_ground* runs/cifar10_vit_token* ...

The folders are those that `course train NAME` has written, of any models with learned positions. For each seed two small
matrices are kept, means of cosines: of each column of the grid with each other one, within a row, averaged over the rows;
and of each row with each other one, within a column, averaged over the columns. Whether a model was trained with flips is
read off its recipe.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from course_lib.interpret import pos_embed_similarity
from course_lib.recipes import find_recipe
from course_lib.records import versions, write_json
from course_lib.train import describe

ROOT = Path(__file__).parent.parent


def means(similarity):
    """(gh, gw, gh, gw) -> (gw, gw), the cosine of two places in a row by their columns; and (gh, gh), the other way."""
    columns, rows = (similarity.diagonal(dim1=i, dim2=i + 2).mean(dim=-1) for i in (0, 1))
    return columns, rows


def entry(file):
    """What is kept of one table."""
    recipe = find_recipe(file.parent.parent.name.partition("-data=")[0])
    if recipe.model.pos_embed != "learn":
        raise SystemExit(f"{recipe.name} has no learned positions, but {recipe.model.pos_embed}: leave it out.")
    table = load_file(file)["pos_embed"]
    side = int(table.shape[1] ** 0.5)
    columns, rows = (
        [[round(x, 4) for x in row] for row in m.tolist()] for m in means(pos_embed_similarity(table, side))
    )
    return {
        "recipe": recipe.name,
        "seed": int(file.parent.name.removeprefix("seed-")),
        "flip": recipe.train.augment.flip,
        "columns": columns,
        "rows": rows,
    }


def main():
    files = sorted(file for folder in sys.argv[1:] for file in Path(folder).glob("seed-*/model.safetensors"))
    if not files:
        raise SystemExit(
            "give one folder or more that `course train` has written: runs/cifar10_ladder_ground and so on."
        )
    kind = {"device": describe(torch.device("cpu")), "versions": versions()}
    what = "mean cosines of learned positions, column with column and row with row, of models with flips and without"
    write_json(ROOT / "data/results/position_mirror.json", {"what": what, "tables": [entry(f) for f in files], **kind})


if __name__ == "__main__":
    main()
