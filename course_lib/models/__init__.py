"""Models by name: our Vision Transformers, and what they are compared with."""

from course_lib.models.ask import probabilities, unlike
from course_lib.models.backbones import load_backbone
from course_lib.models.cnn import CNN, CNNConfig
from course_lib.models.create import create_model, vit_b_16
from course_lib.models.resnet import ResNet, ResNetConfig, TorchvisionResNet, create_resnet
from course_lib.models.saved import load_model, save_model
from course_lib.models.variants import PostNormConfig, PostNormViT

__all__ = [
    "CNN",
    "CNNConfig",
    "PostNormConfig",
    "PostNormViT",
    "ResNet",
    "ResNetConfig",
    "TorchvisionResNet",
    "create_model",
    "create_resnet",
    "load_backbone",
    "load_model",
    "probabilities",
    "save_model",
    "unlike",
    "vit_b_16",
]
