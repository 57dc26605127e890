"""Score chapter 13's maps on several hundred drawn shapes: where they point, what the answer depends on, what they notice.

    python benchmarks/explain_scores.py           # writes data/results/explain_scores.json

The model and the maps are the chapter's own. Every comparison is paired: the interval is that of the differences, image
by image. CPU, a quarter of an hour. Chapter 13 draws the record.
"""

from pathlib import Path

import torch
from chapter import definitions
from torchvision.transforms.v2.functional import gaussian_blur

from course_lib.data import toy_shapes
from course_lib.interpret.explain import (
    area_under,
    deletion_curve,
    insertion_curve,
    inside_share,
    leaving_out,
    patch_means,
    pointing_game,
    randomise_from_top,
    rank_correlation,
    replacing,
)
from course_lib.models import create_model
from course_lib.records import versions, write_json
from course_lib.train import describe, set_seed

chapter = definitions(
    "13_explain", "MODEL", "GRID", "model_maps", "by_occlusion", "without_model", "rollout_max", "colour_map"
)
IMAGES, EVERY, CASCADE = 330, 8, 100
SEEDS = ("a model that nobody has trained", "another", "a third", "a fourth")
OWN = ("attention", "rollout", "gradient rollout", "gradient", "occlusion")
# What chapter 13 compares: how patches are taken away, what is measured, one kind of map, another.
PAIRS = (
    *(("grey", "deletion_area", "colour", kind) for kind in OWN),
    *(("grey", "deletion_area", "mask", kind) for kind in OWN),
    *(("grey", "deletion_first", "mask", kind) for kind in OWN),
    *(
        (way, area, "attention", kind)
        for way in ("grey", "blur", "noise", "left out")
        for area in ("deletion_area", "insertion_area")
        for kind in (*OWN[1:], "centre")
    ),
    ("grey", "deletion_area", "gradient", "gradient rollout"),
    ("left out", "deletion_area", "gradient", "gradient rollout"),
    *(("noise", "deletion_area", "random", kind) for kind in ("mask", "rollout")),
    *(("left out", "insertion_area", "random", kind) for kind in (*OWN, "centre")),
)
OUT = Path(__file__).parent.parent / "data" / "results" / "explain_scores.json"


def in_parts(function, *tensors, size=50):
    """Maps of a part of the images at a time: they would not all fit into the processor's cache."""
    parts = [function(*part) for part in zip(*(x.split(size) for x in tensors), strict=True)]
    if isinstance(parts[0], dict):
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return torch.cat(parts)


def interval(values):
    """The mean and the half width of its 95 % interval."""
    return {
        "mean": round(values.mean().item(), 4),
        "half_width": round(1.96 * (values.std() / len(values) ** 0.5).item(), 4),
    }


def all_maps(model, images, classes):
    """{kind: (n, gh, gw)} of what depends on the model."""
    maps = in_parts(lambda x, k: chapter.model_maps(model, x, k), images, classes)
    maps["occlusion"] = in_parts(lambda x, k: chapter.by_occlusion(model, x, k), images, classes)
    maps["rollout, max"] = in_parts(lambda x: chapter.rollout_max(model, x), images)
    return maps


def untrained(seed):
    set_seed(seed)
    return create_model(chapter.MODEL).eval()


def ways_of(model, images):
    """{how patches are taken away: predict}."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(12))
    return {
        "grey": replacing(model, images, torch.zeros(())),
        "blur": replacing(model, images, gaussian_blur(images, [21, 21], [5.0, 5.0])),
        "noise": replacing(model, images, noise),
        "left out": leaving_out(model, images),
    }


def main():
    torch.set_num_threads(1)
    model = create_model(chapter.MODEL, pretrained=True).eval()
    fresh = [untrained(seed) for seed in SEEDS]
    few = toy_shapes("test").take(slice(0, IMAGES))
    images, classes = few.normalised(few.images), few.labels
    with torch.no_grad():
        right = in_parts(model, images).argmax(dim=1) == classes
    few, images, classes = few.take(right), images[right], classes[right]
    others = [all_maps(each, images, classes) for each in fresh]
    maps = all_maps(model, images, classes) | chapter.without_model(len(few))
    maps |= {"colour": chapter.colour_map(images), "mask": patch_means(few.masks.float(), chapter.GRID)}
    scores = {}
    for kind, each in maps.items():
        print(kind, flush=True)
        hits = pointing_game(each, few.masks)
        inside = inside_share(each.clamp(min=0), few.masks)
        scores[kind] = {"pointing": interval(hits), "inside": interval(inside)}
        if kind in others[0]:
            without = [pointing_game(found[kind], few.masks) for found in others]
            scores[kind]["pointing_untrained"] = [interval(value) for value in without]
            scores[kind]["ahead_of_untrained"] = [interval(hits - value) for value in without]
    some, ids = images[:CASCADE], classes[:CASCADE]
    cascade = []
    for blocks in (None, *range(len(model.blocks) + 1)):
        after = all_maps(model if blocks is None else randomise_from_top(model, fresh[0], blocks), some, ids)
        cascade.append({"blocks": blocks, "alike": {}, "another": {}})
        for kind, each in after.items():
            before = maps[kind][:CASCADE]
            cascade[-1]["alike"][kind] = interval(rank_correlation(before, each))
            cascade[-1]["another"][kind] = interval(rank_correlation(before.roll(1, dims=0), each))
        print(cascade[-1], flush=True)
    curves, each_image = {}, {}
    for way, predict in ways_of(model, images).items():
        curves[way] = {}
        for kind, each in maps.items():
            down, up = (curve(predict, each, classes, EVERY) for curve in (deletion_curve, insertion_curve))
            measured = {
                "deletion_area": area_under(down),
                "insertion_area": area_under(up),
                "deletion_first": down[:, 1],
            }
            each_image |= {(way, what, kind): values for what, values in measured.items()}
            curves[way][kind] = {
                "deletion": [round(v, 4) for v in down.mean(dim=0).tolist()],
                "insertion": [round(v, 4) for v in up.mean(dim=0).tolist()],
                **{what: interval(values) for what, values in measured.items()},
            }
            print(way, kind, curves[way][kind]["deletion_area"], curves[way][kind]["insertion_area"], flush=True)
    pairs = [
        {
            "patches": way,
            "what": what,
            "kind": kind,
            "other": other,
            "difference": interval(each_image[way, what, kind] - each_image[way, what, other]),
        }
        for way, what, kind, other in PAIRS
    ]
    record = {
        "what": "maps of the drawn shapes: the pointing game, the share inside the object, deletion and insertion, and randomised weights; "
        "means over test images with half widths of 95 % intervals; differences are taken image by image",
        "model": chapter.MODEL,
        "images": f"those of the first {IMAGES} test images of toy_shapes that the model gets right",
        "count": len(few),
        "area_share": round(few.masks.float().mean().item(), 4),
        "every": EVERY,
        "cascade_count": CASCADE,
        "scores": scores,
        "curves": curves,
        "pairs": pairs,
        "cascade": cascade,
        "device": describe(torch.device("cpu")),
        "versions": versions(),
    }
    write_json(OUT, record)


if __name__ == "__main__":
    main()
