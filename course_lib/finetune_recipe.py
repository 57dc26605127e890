"""A recipe that begins with trained weights. Chapter 09."""

from dataclasses import dataclass, replace

from course_lib.backbones import TorchvisionResNet, load_backbone, weights_preprocessing
from course_lib.baselines import ResNetConfig
from course_lib.data import load_data
from course_lib.finetune import get_head, layerwise_lr, replace_head, set_trainable
from course_lib.lora import add_lora
from course_lib.machine import set_seed
from course_lib.recipe import Recipe
from course_lib.vit import ViTConfig

READ_AT_A_SIZE = ("flowers102", "pets", "folder:")  # large photographs, which are made small when they are read


@dataclass(frozen=True)
class FineTuning(Recipe):
    """One fine-tuning run, ready to be started by its name.

    Args, besides those of `Recipe`:
        model: a `ViTConfig`, `TorchvisionResNet` or `ResNetConfig`, with the number of classes to be learned.
        size: side of the model's input. Large photographs are read at this size, small images enlarged to it.
        weights: what the model begins with (see `load_backbone`); None for random weights.
        trained: "head", "attention", "lora" or "all" (see `set_trainable`).
        layer_decay: see `layerwise_lr`; 1 for none.
        head_rate: the learning rate of the head, as a multiple of what it would be otherwise.
        rank: of LoRA's detours.
    """

    model: ViTConfig | TorchvisionResNet | ResNetConfig
    weights: str | None = None
    trained: str = "all"
    layer_decay: float = 1.0
    head_rate: float = 1.0
    rank: int = 8

    def build(self):
        """The model with its weights, a new head of zeros, and all frozen that is not to be trained."""
        set_seed(self.train.seed, "weights")
        model = load_backbone(self.model, self.weights) if self.weights else super().build()
        replace_head(model, self.model.num_classes)
        if self.trained == "lora":
            add_lora(model, self.rank, alpha=2 * self.rank)
        set_trainable(model, self.trained)
        return model

    def rates(self, model):
        """Factors for the learning rates of the model's parameters by name."""
        head = get_head(model)[0] + "."
        rates = layerwise_lr(model, self.layer_decay) if self.layer_decay != 1 else {}
        if self.head_rate != 1:
            names = [name for name, _ in model.named_parameters() if name.startswith(head)]
            rates |= {name: self.head_rate for name in names}
        return rates

    def load(self, split):
        """The `ImageSet` of a split, normalised as the weights want it, and brought to the model's size."""
        options = {"size": self.size} if self.data.startswith(READ_AT_A_SIZE) else {}
        data = self.chosen(load_data(self.data, split, **options), split)
        wanted = self.weights and weights_preprocessing(self.model, self.weights)
        if wanted:
            data = replace(data, mean=wanted.mean, std=wanted.std)
        return replace(data, input_size=self.size)

    def settings(self):
        names = ("weights", "trained", "layer_decay", "head_rate", "rank")
        return super().settings() | {name: getattr(self, name) for name in names}
