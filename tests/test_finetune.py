"""Fine-tuning: metrics against scikit-learn, LoRA, what is trained and how fast, and cached features. Chapter 09."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
import timm
import timm.optim
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from course_lib import finetune, lora, metrics
from course_lib.data.sources import digits
from course_lib.models.resnet import ResNet, ResNetConfig
from course_lib.models.variants import PostNormConfig, PostNormViT
from course_lib.train.config import TrainConfig
from course_lib.train.device import training_memory
from course_lib.train.loop import fit, train_mode
from course_lib.vit import VisionTransformer, ViTConfig

SMALL = ViTConfig(
    img_size=8, patch_size=4, in_chans=1, num_classes=10, embed_dim=12, depth=3, num_heads=2, mlp_ratio=2.0
)


def vit(**changes):
    torch.manual_seed(0)
    return VisionTransformer(replace(SMALL, **changes))


def post_norm():
    return PostNormViT(PostNormConfig(**vars(SMALL)))


def resnet():
    torch.manual_seed(0)
    return ResNet(ResNetConfig(in_chans=1, width=4, blocks=1))


def answers_of(seed, classes=7, used=7, count=300):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, used, count)
    answers = np.where(generator.random(count) < 0.6, labels, generator.integers(0, used, count))
    return torch.tensor(labels), torch.tensor(answers), classes


# --- metrics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("used", [7, 4])
def test_confusions_and_f1(seed, used):
    labels, answers, classes = answers_of(seed, used=used)
    counts = metrics.confusion_matrix(labels, answers, classes)
    pairs = list(zip(labels.tolist(), answers.tolist(), strict=True))
    assert counts.dtype == torch.int64 and counts.shape == (7, 7)
    assert all(counts[pair] == pairs.count(pair) for pair in np.ndindex(7, 7))
    assert metrics.macro_f1(counts) == pytest.approx(
        sklearn.metrics.f1_score(labels, answers, average="macro"), abs=1e-12
    )


def test_f1_by_hand():
    counts = torch.tensor([[3, 1], [2, 4]])  # precision 3/5 and 4/5, recall 3/4 and 4/6
    assert metrics.macro_f1(counts) == pytest.approx((6 / 9 + 8 / 11) / 2, abs=1e-15)
    never_answered = torch.tensor([[5, 0], [5, 0]])
    assert metrics.macro_f1(never_answered) == pytest.approx((10 / 15 + 0) / 2, abs=1e-15)


@pytest.mark.parametrize(
    ("labels", "answers", "message"),
    [
        ([0, 1], [0], "(2,) and answers (1,)"),
        ([], [], "at least one image"),
        ([0, 3], [0, 1], "labels and answers must be from 0 to 2: 3 is none of the classes"),
        ([0, 1], [0, -1], "-1 is none of the classes"),
    ],
)
def test_labels_and_answers_that_do_not_fit(labels, answers, message):
    with pytest.raises(ValueError) as caught:
        metrics.confusion_matrix(torch.tensor(labels, dtype=torch.int64), torch.tensor(answers, dtype=torch.int64), 3)
    assert message in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_calibration_is_that_of_scikit_learn(seed):
    torch.manual_seed(seed)
    probabilities = (3 * torch.randn(500, 6, dtype=torch.float64)).softmax(dim=1)
    labels = torch.multinomial(probabilities**0.5, 1)[:, 0]
    confidence, accuracy, share, error = metrics.calibration(probabilities, labels, bins=10)
    sure, answers = probabilities.max(dim=1)
    right, said = sklearn.calibration.calibration_curve(answers == labels, sure, n_bins=10)
    full = share > 0
    np.testing.assert_allclose(accuracy[full], right, atol=1e-12)
    np.testing.assert_allclose(confidence[full], said, atol=1e-12)
    assert confidence[~full].isnan().all() and share.sum().item() == pytest.approx(1)
    assert error == pytest.approx((np.abs(right - said) * share[full].numpy()).sum(), abs=1e-12)


def test_a_classifier_that_knows_how_sure_it_may_be():
    probabilities = torch.tensor([[0.75, 0.25]]).expand(4, 2)
    assert metrics.calibration(probabilities, torch.tensor([0, 0, 0, 1]))[-1] == 0
    assert metrics.calibration(probabilities, torch.tensor([0, 0, 0, 0]))[-1] == 0.25
    assert metrics.calibration(torch.eye(3), torch.arange(3))[-1] == 0  # sure of everything, and right
    with pytest.raises(ValueError, match=r"\(4, 2\) must be \(n, K\), labels \(3,\)"):
        metrics.calibration(probabilities, torch.zeros(3, dtype=torch.int64))


def test_the_score_of_a_model():
    data, model = digits("val"), vit()
    nn.init.normal_(model.head.weight)
    logits = metrics.predict(model.double().train(), data, batch_size=77)
    assert logits.shape == (300, 10) and not model.training
    found = metrics.score(logits, data.labels)
    answers = logits.argmax(dim=1)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(data.labels, answers))
    assert found["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(data.labels, answers, average="macro"))
    assert found["loss"] == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-5)
    assert np.sum(found["confusion"]) == 300 and 0 < found["calibration_error"] < 1
    confidence, accuracy, share = np.array(found["reliability"]).T
    assert share.min() > 0 and share.sum() == pytest.approx(1, abs=1e-4)
    assert (accuracy * share).sum() == pytest.approx(found["accuracy"], abs=1e-4)
    assert (np.abs(confidence - accuracy) * share).sum() == pytest.approx(found["calibration_error"], abs=1e-4)


def test_what_a_training_step_keeps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
    images, labels = torch.randn(4, 6), torch.tensor([0, 2, 1, 1])
    last = 4 * (4 * 10 + 4 * 3 + 1) + 8 * 4  # what the second layer wants, the log-probabilities, a count; the labels
    keeps = training_memory(model, images, labels) * 1e6
    assert keeps == pytest.approx(16 * (70 + 33) + 4 * 4 * 6 + last)
    model[0].requires_grad_(False)
    assert training_memory(model, images, labels) * 1e6 == pytest.approx(4 * 70 + 16 * 33 + last)


# --- LoRA --------------------------------------------------------------------------------------------


def test_a_detour_of_low_rank():
    torch.manual_seed(1)
    linear = nn.Linear(7, 5).double()
    wrapped = lora.LoRALinear(linear, rank=3, alpha=6)
    x = torch.randn(2, 4, 7, dtype=torch.float64)
    assert torch.equal(wrapped(x), linear(x))  # nothing has changed yet
    assert wrapped.weight is linear.weight and wrapped.bias is linear.bias
    assert [name for name, p in wrapped.named_parameters() if p.requires_grad] == ["lora_down", "lora_up"]
    assert wrapped.lora_down.shape == (3, 7) and wrapped.lora_up.shape == (5, 3)
    assert wrapped.lora_down.std() > 0.1 and not wrapped.lora_up.any()

    nn.init.normal_(wrapped.lora_up)
    whole = linear.weight + 2 * wrapped.lora_up @ wrapped.lora_down
    assert (wrapped(x) - (x @ whole.T + linear.bias)).abs().max() <= 1e-12
    assert torch.linalg.matrix_rank(whole - linear.weight) == 3


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_that_cannot_be(rank):
    with pytest.raises(ValueError, match=f"rank {rank} must be between 1 and the smaller side of weight"):
        lora.LoRALinear(nn.Linear(7, 5), rank, 1)


def test_adding_and_merging():
    plain = vit().double().eval()
    model = lora.add_lora(copy.deepcopy(plain), rank=2, alpha=8)
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(model(images), plain(images))
    assert set(plain.state_dict()) < set(model.state_dict())  # the old names, and more
    for name, parameter in model.named_parameters():
        if name.endswith("lora_up"):
            nn.init.normal_(parameter)
    changed = model(images)
    assert (changed - plain(images)).abs().max() > 1e-3
    lora.merge_lora(model)
    assert (model(images) - changed).abs().max() <= 1e-12
    assert list(model.state_dict()) == list(plain.state_dict())
    assert type(model.blocks[0].attn.qkv) is nn.Linear and model.blocks[0].attn.qkv.out_features == 36


def test_only_attention_is_adapted():
    model = lora.add_lora(vit(), rank=1)
    names = [name for name, part in model.named_modules() if isinstance(part, lora.LoRALinear)]
    assert names == [f"blocks.{i}.attn.{part}" for i in range(3) for part in ("qkv", "proj")]
    with pytest.raises(ValueError, match="no linear layer of the ResNet has a name that ends in attn.qkv or attn.proj"):
        lora.add_lora(resnet())


def test_a_trained_detour_is_never_dropped():
    model, images = lora.add_lora(vit().eval(), rank=2), torch.randn(3, 1, 8, 8)
    nn.init.normal_(model.blocks[1].attn.qkv.lora_up)
    before = model(images)
    with pytest.raises(ValueError, match="blocks.0.attn.qkv has a detour already: merge_lora keeps"):
        lora.add_lora(model, rank=2)
    assert torch.equal(model(images), before)
    again = lora.add_lora(lora.merge_lora(model), rank=3)
    assert (again(images) - before).abs().max() <= 1e-5


def test_a_rank_too_large_changes_nothing():
    model = vit()
    with pytest.raises(ValueError, match=r"rank 13 must be between 1 and the smaller side of weight \(36, 12\)"):
        lora.add_lora(model, rank=13)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(part, lora.LoRALinear) for part in model.modules())


# --- what is trained ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        vit,
        post_norm,
        resnet,
        lambda: torchvision.models.resnet18(num_classes=4),
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32),
    ],
    ids=["vit", "post-norm", "resnet", "torchvision", "timm"],
)
def test_a_new_head(make):
    model = finetune.replace_head(make(), 3).eval()
    size = 8 if isinstance(model, VisionTransformer | ResNet) else 32
    colours = 1 if isinstance(model, VisionTransformer | ResNet) else 3
    logits = model(torch.randn(2, colours, size, size))
    assert logits.shape == (2, 3)
    assert F.cross_entropy(logits, torch.tensor([0, 2])).item() == pytest.approx(math.log(3), rel=1e-6)
    with pytest.raises(ValueError, match="num_classes 1 must be at least 2"):
        finetune.replace_head(model, 1)


def test_a_model_without_a_head():
    with pytest.raises(ValueError, match="the Sequential has no linear layer called head, fc, classifier"):
        finetune.replace_head(nn.Sequential(nn.Linear(3, 4)), 2)


def by_hand(what, D=12, depth=3):
    attention = depth * (3 * D * D + 3 * D + D * D + D)
    return {"head": 10 * D + 10, "attention": attention + 10 * D + 10}[what]


@pytest.mark.parametrize("what", ["head", "attention"])
def test_how_many_are_trained(what):
    model = vit()
    trained, there = finetune.set_trainable(model, what)
    assert (trained, there) == (by_hand(what), sum(p.numel() for p in model.parameters()))
    assert finetune.set_trainable(model, "all") == (there, there)


def test_lora_and_head():
    model = lora.add_lora(vit(), rank=2)
    trained, _ = finetune.set_trainable(model, "lora")
    assert trained == 3 * 2 * (12 + 36 + 12 + 12) + 130
    assert not model.blocks[0].attn.qkv.weight.requires_grad and model.head.weight.requires_grad


@pytest.mark.parametrize(
    ("make", "what", "message"),
    [
        (vit, "nothing", "trained 'nothing' must be one of head, attention, lora, all"),
        (vit, "lora", "call add_lora first"),
        (resnet, "attention", "the ResNet has no parameters called *.attn.*: choose head or all"),
    ],
)
def test_a_choice_that_cannot_be(make, what, message):
    with pytest.raises(ValueError) as caught:
        finetune.set_trainable(make(), what)
    assert message in str(caught.value)


def test_a_pattern_that_fits_nothing_changes_nothing():
    model = vit()
    with pytest.raises(ValueError, match="no parameter of the VisionTransformer is called heads"):
        finetune.freeze_except(model, ["head.*", "heads.*"])
    with pytest.raises(ValueError, match="called nothing"):
        finetune.freeze_except(model, [])
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert finetune.freeze_except(model, ["blocks.1.*", "cls_token"])[0] == "cls_token"


def test_what_is_frozen_stays_as_it_was():
    model, data = resnet(), digits("train")
    finetune.set_trainable(model, "head")
    before = copy.deepcopy(model.state_dict())
    fit(
        model,
        data,
        digits("val"),
        TrainConfig(epochs=1, warmup_epochs=0, precision="float32", device="cpu"),
        quiet=True,
    )
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["head.weight", "head.bias"]  # no batch norm's statistics among them


def test_training_mode_of_a_half_frozen_model():
    model = vit(drop_rate=0.5)
    finetune.freeze_except(model, ["blocks.2.*", "head.*"])
    train_mode(model)
    assert model.training and model.blocks[2].training and model.blocks[2].mlp.training
    assert not any(part.training for block in model.blocks[:2] for part in block.modules())


# --- how fast ----------------------------------------------------------------------------------------


def test_layer_by_layer_as_timm_does():
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=4)
    groups = timm.optim.param_groups_layer_decay(theirs, layer_decay=0.7)
    of = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    names = {name: of[id(parameter)] for name, parameter in theirs.named_parameters()}
    ours = finetune.layerwise_lr(theirs, 0.7)
    assert list(ours) == list(names)
    assert all(ours[name] == pytest.approx(scale, rel=1e-12) for name, scale in names.items())


def test_the_layers_of_convolutional_networks():
    rates = finetune.layerwise_lr(torchvision.models.resnet18(num_classes=4), 0.5)
    assert rates["conv1.weight"] == 0.5**5 and rates["bn1.bias"] == 0.5**5
    assert rates["layer1.0.conv1.weight"] == 0.5**4 and rates["layer4.1.bn2.weight"] == 0.5
    assert rates["fc.weight"] == 1
    ours = finetune.layerwise_lr(resnet(), 0.5)
    assert (ours["stem.0.weight"], ours["stages.0.0.conv1.weight"], ours["head.bias"]) == (0.5**4, 0.5**3, 1)


@pytest.mark.parametrize("decay", [0.0, 1.1, -1.0])
def test_a_decay_that_cannot_be(decay):
    with pytest.raises(ValueError, match=f"decay {decay} must be above 0 and at most 1"):
        finetune.layerwise_lr(vit(), decay)


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))], ids=["Linear", "Sequential"]
)
def test_a_model_without_layers(model):
    with pytest.raises(ValueError, match=f"the {type(model).__name__} has no parts called blocks.0"):
        finetune.layerwise_lr(model, 0.5)


# --- features ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [vit, resnet])
def test_the_head_alone_learns_the_same_from_cached_features(make):
    config = TrainConfig(epochs=3, batch_size=100, lr=1e-2, ema=0.9, precision="float32", device="cpu")
    data, val = digits("train"), digits("val")
    slow, fast = make(), make()
    finetune.set_trainable(slow, "head")
    history = fit(slow, data, val, config, quiet=True)
    features = finetune.cache_features(fast, data, 130), finetune.cache_features(fast, val)
    assert features[0].images.shape == (1200, finetune.get_head(fast)[1].in_features, 1, 1)
    again = fit(finetune.head_alone(fast), *features, config, quiet=True)
    for name, value in fast.state_dict().items():
        assert (value - slow.state_dict()[name]).abs().max() <= 1e-5, name
    assert [row["val_accuracy"] for row in again] == [row["val_accuracy"] for row in history]


def test_features_are_what_the_head_is_given():
    model, data = vit().double().train(), digits("val")
    features = finetune.cache_features(model, data, 99)
    assert features.name == "digits/val, features" and not model.training
    with torch.no_grad():
        assert (finetune.head_alone(model.float())(features.images) - metrics.predict(model, data)).abs().max() <= 1e-5
    assert torch.equal(features.normalised(features.images), features.images)
    assert not model.head._forward_pre_hooks


# --- rates in a run ----------------------------------------------------------------------------------


def trained(rates, **options):
    model = vit(num_classes=10)
    config = TrainConfig(epochs=1, batch_size=100, warmup_epochs=0, clip_grad=0.0, precision="float64", device="cpu")
    fit(model, digits("train").take(slice(0, 100)), digits("val"), config, rates=rates, quiet=True, **options)
    return {name: value.double() for name, value in model.state_dict().items()}


def test_each_parameter_moves_at_its_own_rate():
    """One step: AdamW moves each weight by its learning rate, up to decay, so the distances are as the factors."""
    before = {name: value.double() for name, value in vit().state_dict().items()}
    same, scaled = trained(None), trained({"head.bias": 0.25, "norm.weight": 3.0, "blocks.0.attn.qkv.weight": 0.5})
    factors = {"head.bias": 0.25, "norm.weight": 3.0, "blocks.0.attn.qkv.weight": 0.5, "blocks.1.norm1.bias": 1.0}
    for name, factor in factors.items():
        moved, plain = scaled[name] - before[name], same[name] - before[name]
        assert (moved - factor * plain).abs().max() <= 1e-9, name
        assert plain.abs().max() > 1e-4


def test_a_rate_for_nothing():
    with pytest.raises(ValueError, match="the VisionTransformer has no parameter called body.weight"):
        trained({"body.weight": 0.1})


def test_a_run_goes_on_only_with_the_same_parts_and_rates(tmp_path):
    rates = finetune.layerwise_lr(vit(), 0.5)
    trained(rates, folder=tmp_path)
    trained(rates, folder=tmp_path)  # finished: nothing to do
    with pytest.raises(ValueError, match=r"trained\.rates\.cls_token: 0\.0625 -> 0\.00390625"):
        trained(finetune.layerwise_lr(vit(), 0.25), folder=tmp_path, allow_change=True)
