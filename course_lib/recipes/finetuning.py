"""Recipes that begin with trained weights: what reports A, C and E did, with a fair protocol. Chapter 10.

None of those with published weights has been run for the course yet: each wants a GPU and the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from course_lib.data.augment import Augment
from course_lib.data.image_set import ImageSet
from course_lib.finetune import TRAINABLE, layerwise_lr, replace_head, set_trainable
from course_lib.lora import add_lora, merge_lora
from course_lib.models.resnet import ResNetConfig, TorchvisionResNet
from course_lib.recipes.recipe import Recipe
from course_lib.train.config import TrainConfig
from course_lib.validate import check_choice, check_count, is_number
from course_lib.vit import VIT_CONFIGS, ViTConfig


@dataclass(frozen=True)
class FineTuning(Recipe):
    """One fine-tuning run, ready to be started by its name.

    Args, besides those of `Recipe`:
        model: a `ViTConfig`, `TorchvisionResNet` or `ResNetConfig`, with the number of classes to be learned.
        size: side of the model's input. Large photographs are read at this size, small images enlarged to it.
        trained: "head", "attention", "lora" or "all" (see `set_trainable`).
        layer_decay: see `layerwise_lr`; 1 for none.
        rank: of LoRA's detours.
    """

    model: ViTConfig | TorchvisionResNet | ResNetConfig
    trained: str = "all"
    layer_decay: float = 1.0
    rank: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("trained", self.trained, TRAINABLE)
        check_count("rank", self.rank)
        if not (is_number(self.layer_decay) and 0 < self.layer_decay <= 1):
            raise ValueError(f"layer_decay {self.layer_decay!r} must be above 0 and at most 1.")

    def begin(self) -> nn.Module:
        """The model with its weights, a new head of zeros, and all frozen that is not to be trained."""
        model = super().begin()
        replace_head(model, self.model.num_classes)
        if self.trained == "lora":
            add_lora(model, self.rank, alpha=2 * self.rank)
        set_trainable(model, self.trained)
        return model

    def rates(self, model: nn.Module) -> Mapping[str, float] | None:
        """Factors for the learning rates of the model's parameters by name; None for 1 throughout."""
        return layerwise_lr(model, self.layer_decay) if self.layer_decay != 1 else None

    def finish(self, model: nn.Module) -> None:
        """Merge LoRA's detours: the weights that are kept are those of an ordinary model."""
        merge_lora(model)

    def at_its_size(self, data: ImageSet) -> ImageSet:
        """The same images, to be enlarged batch by batch where they are smaller."""
        return replace(data, input_size=self.size)

    def settings(self) -> dict[str, Any]:
        names = ("weights", "trained", "layer_decay", "rank")
        return super().settings() | {name: getattr(self, name) for name in names}


REPORT_A = "report A (Chen, Zhou & Fang, Southampton)"
REPORT_C = "report C (Zhang, Bologna)"
REPORT_E = "report E (shoe, sandal, boot)"
NOT_RUN = "not run yet"

_TRAIN = TrainConfig(
    epochs=10, batch_size=64, lr=3e-4, label_smoothing=0.1, ema=0.998, augment=Augment(crop=4, flip=True)
)
_LARGE = Augment(crop=16, flip=True)  # for photographs that are read at 224 pixels


def _vit(num_classes):
    return replace(VIT_CONFIGS["vit_base_patch16_224"], num_classes=num_classes)


def _pair(data, classes, train, expect, cost):
    """ViT-B/16 and ResNet-152 with the same images, steps, augmentation and number of trials: both from ImageNet-1k."""
    vit = FineTuning(
        name=f"{data}_vit_b16",
        what=f"ViT-B/16 from ImageNet-1k, fine-tuned on {data}",
        data=data,
        size=224,
        model=_vit(classes),
        weights="torchvision/vit_b_16.imagenet1k_v1",
        train=train,
        layer_decay=0.75,
        cost=cost,
        expect=f"meant for more than {expect[0]} %, the report's; {NOT_RUN}",
        source=f"{REPORT_A}; layer-wise rates after Bao et al. 2022",
    )
    resnet = replace(
        vit,
        name=f"{data}_resnet152",
        what=f"ResNet-152 from ImageNet-1k, fine-tuned on {data}, as the ViT",
        model=TorchvisionResNet("resnet152", classes),
        weights="IMAGENET1K_V1",
        expect=f"the report has {expect[1]} %; {NOT_RUN}",
        source=REPORT_A,
    )
    return vit, resnet


_REPORT_A = (
    *_pair("cifar10", 10, _TRAIN, ("97.97", "96.67"), "two hours on one modern GPU"),
    *_pair("cifar100", 100, _TRAIN, ("87.41", "82.67"), "two hours on one modern GPU"),
    *_pair(
        "flowers102", 102, replace(_TRAIN, epochs=60, augment=_LARGE), ("89.12", "89.02"), "half an hour on one GPU"
    ),
    *_pair("pets", 37, replace(_TRAIN, epochs=20, augment=_LARGE), ("93.65", "93.24"), "half an hour on one GPU"),
)

_DOGS_VS_CATS = FineTuning(
    name="dogs_vs_cats_vit_b16",
    what="ViT-B/16 from ImageNet-21k, fine-tuned on Kaggle's Dogs versus Cats",
    data="folder:data/cache/dogs_vs_cats",
    size=224,
    model=_vit(2),
    weights="timm/vit_base_patch16_224.augreg_in21k",
    train=replace(_TRAIN, epochs=5, augment=_LARGE),
    layer_decay=0.75,
    cost="an hour on one modern GPU",
    expect=f"meant for more than 98.65 %, the report's; {NOT_RUN}",
    source=REPORT_C,
)
_DOGS_VS_CATS_HEAD = replace(
    _DOGS_VS_CATS,
    name="dogs_vs_cats_head",
    what="only the head of ViT-B/16 from ImageNet-21k, on Kaggle's Dogs versus Cats",
    trained="head",
    layer_decay=1.0,
    train=replace(_DOGS_VS_CATS.train, lr=1e-3),
    cost="half an hour on one modern GPU",
    expect=f"the report has 96.5 %; {NOT_RUN}",
)

_SHOES = replace(
    _DOGS_VS_CATS,
    name="shoes_vit_b16",
    what="ViT-B/16 from ImageNet-21k, fine-tuned on Kaggle's Shoe vs Sandal vs Boot",
    data="folder:data/cache/shoes",
    model=_vit(3),
    train=replace(_TRAIN, epochs=3, augment=_LARGE),
    cost="twenty minutes on one modern GPU",
    expect=f"the report has 99.33 %; {NOT_RUN}",
    source=REPORT_E,
)


def _shoes(name, figure):
    return replace(
        _SHOES,
        name=f"shoes_{name}",
        what=f"ResNet-{name.removeprefix('resnet')} from ImageNet-1k, on Kaggle's Shoe vs Sandal vs Boot, as the ViT",
        model=TorchvisionResNet(name, 3),
        weights="IMAGENET1K_V1",
        expect=f"the report has {figure} %; {NOT_RUN}",
    )


PHOTOS = FineTuning(
    name="photos",
    what="your own photographs: a new head on ViT-S/16, as many outputs as your folder has classes",
    data="folder:photos",
    size=224,
    model=replace(VIT_CONFIGS["vit_small_patch16_224"], num_classes=0),
    weights="timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    trained="head",
    train=TrainConfig(epochs=15, batch_size=16, lr=3e-3, label_smoothing=0.1, augment=Augment(flip=True)),
    cost="about ten minutes for 200 photographs on two busy CPU cores",
    expect=NOT_RUN,
    source="chapter 9",
)

FINE_TUNING = (
    *_REPORT_A,
    _DOGS_VS_CATS_HEAD,
    _DOGS_VS_CATS,
    _SHOES,
    _shoes("resnet152", "92.76"),
    _shoes("resnet50", "80.03"),
)
