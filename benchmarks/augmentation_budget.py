"""What augmentation gains depends on how long one trains: scikit-learn's digits, with and without, for several budgets.

    python benchmarks/augmentation_budget.py          # writes data/results/augmentation_budget.json

A small ViT learns the 1200 training digits for 8, 32 and 128 epochs, the learning rate falling to 0 over just as many.
Nothing but the augmentation differs. Five seeds each; chapter 08 draws it. A quarter of an hour on one core.
"""

import torch

from course_lib.data import Augment, digits
from course_lib.files.places import RESULTS
from course_lib.records import versions, write_json
from course_lib.train import TrainConfig, describe, evaluate_set, fit, set_seed
from course_lib.vit import VisionTransformer, ViTConfig

SEEDS = range(5)
EPOCHS = (8, 32, 128)
KINDS = {"as they are": Augment(), "augmented": Augment(rotate=15, scale=0.15, shear=0.15, translate=0.125, mixup=0.4)}
SIZES = {"img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 48, "depth": 2, "num_heads": 3}
TRAIN = {"batch_size": 50, "lr": 2e-3, "precision": "float32", "device": "cpu"}


def run(kind, epochs, seed):
    """Train once; returns what came out."""
    set_seed(seed, "weights")
    model = VisionTransformer(ViTConfig(**SIZES, pos_embed="sincos2d", global_pool="avg"))
    config = TrainConfig(epochs=epochs, seed=seed, augment=KINDS[kind], **TRAIN)
    history = fit(model, digits("train"), digits("val"), config, quiet=True)
    _, test = evaluate_set(model, digits("test"))
    return {
        "kind": kind,
        "epochs": epochs,
        "seed": seed,
        "val_accuracy": round(history[-1]["val_accuracy"], 4),
        "test_accuracy": round(test, 4),
    }


def main():
    torch.set_num_threads(1)
    runs = []
    for epochs in EPOCHS:
        for kind in KINDS:
            for seed in SEEDS:
                runs.append(run(kind, epochs, seed))
                print(runs[-1], flush=True)
    record = {
        "what": "accuracy on the digits' validation and test splits, trained with and without augmentation for several budgets",
        "model": SIZES | {"pos_embed": "sincos2d", "global_pool": "avg"},
        "train": TRAIN,
        "augmented": str(KINDS["augmented"]),
        "runs": runs,
        "device": describe(torch.device("cpu")),
        "versions": versions(),
    }
    write_json(RESULTS[0] / "augmentation_budget.json", record)


if __name__ == "__main__":
    main()
