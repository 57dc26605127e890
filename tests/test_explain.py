"""The scores of maps, and the ways to take patches away: each against plain loops."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from course_lib.interpret import explain
from course_lib.vit import VisionTransformer, ViTConfig

CONFIG = ViTConfig(img_size=(8, 12), patch_size=4, embed_dim=8, depth=3, num_heads=2, num_classes=5, mlp_ratio=2.0)
NO_TOKEN = ViTConfig(
    img_size=(6, 9), patch_size=3, in_chans=2, embed_dim=12, depth=2, num_heads=3, num_classes=4, global_pool="avg"
)


def model_of(config=CONFIG, seed=1):
    """In float64, with weights so large that every patch matters."""
    torch.manual_seed(seed)
    model = VisionTransformer(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    return model


def case(config=CONFIG, batch=3, seed=2):
    """images, maps on the grid, classes."""
    torch.manual_seed(seed)
    (h, w), side = config.img_size, config.patch_size
    images = torch.randn(batch, config.in_chans, h, w, dtype=torch.float64)
    return images, torch.randn(batch, h // side, w // side).double(), torch.arange(batch) % config.num_classes


def masks_of(batch, h, w):
    return torch.rand(batch, h, w, generator=torch.Generator().manual_seed(3)) < 0.4


@pytest.mark.parametrize("tied", [1, 2, 6])
def test_pointing_game_by_pixels(tied):
    _, maps, _ = case()
    maps.view(3, -1)[:, :tied] = 7.0
    masks, expected = masks_of(3, 8, 12), []
    for one, mask in zip(maps, masks, strict=True):
        hits = [mask[y, x].item() for y in range(8) for x in range(12) if one[y // 4, x // 4] == one.max()]
        expected.append(sum(hits) / len(hits))
    assert explain.pointing_game(maps, masks).tolist() == pytest.approx(expected, abs=1e-12)


def test_a_map_that_says_nothing_gets_the_share_of_the_object():
    masks, flat = masks_of(3, 8, 12), torch.ones(3, 2, 3, dtype=torch.float64)
    area = masks.double().mean(dim=(1, 2))
    assert torch.allclose(explain.pointing_game(flat, masks), area, atol=1e-12)
    assert torch.allclose(explain.inside_share(flat, masks), area, atol=1e-12)


def test_inside_share_by_pixels():
    maps, masks = case()[1].abs(), masks_of(3, 8, 12)
    for i, found in enumerate(explain.inside_share(maps, masks).tolist()):
        each = [(maps[i, y // 4, x // 4].item(), masks[i, y, x].item()) for y in range(8) for x in range(12)]
        assert found == pytest.approx(sum(v for v, inside in each if inside) / sum(v for v, _ in each), abs=1e-12)


def test_maps_may_have_the_size_of_the_pixels():
    maps, masks = torch.rand(2, 5, 7), masks_of(2, 5, 7)
    expected = [masks[i].flatten()[maps[i].argmax()].item() for i in range(2)]
    assert explain.pointing_game(maps, masks).tolist() == expected


def test_patch_means():
    pixels = torch.randn(2, 6, 12, dtype=torch.float64)
    found = explain.patch_means(pixels, (2, 3))
    assert found.shape == (2, 2, 3)
    assert found[1, 1, 2].item() == pytest.approx(pixels[1, 3:, 8:].mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("maps", "masks", "words"),
    [
        (torch.ones(2, 3, 4), torch.ones(2, 6, 8), "boolean"),
        (torch.ones(2, 3, 4), torch.ones(3, 6, 8) > 0, r"masks \(3, 6, 8\)"),
        (torch.ones(2, 3, 4), torch.ones(2, 6, 9) > 0, "6 x 9 pixels do not fall into 3 x 4"),
        (torch.full((2, 3, 4), torch.nan), torch.ones(2, 6, 8) > 0, "nan"),
    ],
)
def test_pointing_game_refuses(maps, masks, words):
    with pytest.raises(ValueError, match=words):
        explain.pointing_game(maps, masks)


@pytest.mark.parametrize("maps", [torch.zeros(2, 3, 4), -torch.ones(2, 3, 4), torch.full((2, 3, 4), torch.nan)])
def test_inside_share_refuses(maps):
    with pytest.raises(ValueError, match="no number may be negative, and no map 0 everywhere"):
        explain.inside_share(maps, torch.ones(2, 6, 8) > 0)


def test_input_gradient_is_the_slope():
    model, (images, _, classes) = model_of(), case()
    gradient = explain.input_gradient(model, images, classes)
    assert gradient.shape == images.shape and not gradient.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    for index in ((0, 0, 0, 0), (1, 2, 7, 11), (2, 1, 3, 5)):
        there, i = [], index[0]
        for step in (1e-5, -1e-5):
            moved = images.clone()
            moved[index] += step
            there.append(model(moved)[i, classes[i]].item())
        assert gradient[index].item() == pytest.approx((there[0] - there[1]) / 2e-5, rel=1e-5, abs=1e-8)
    with torch.no_grad():
        assert torch.equal(explain.input_gradient(model, images, classes), gradient)


def pasted(image, fill, patches, gw, side):
    """The image with some patches of fill, by slices."""
    image = image.clone()
    for patch in patches:
        rows, columns = (slice(side * at, side * (at + 1)) for at in divmod(patch, gw))
        image[:, rows, columns] = fill[:, rows, columns]
    return image


def curve_by_loops(model, image, fill, saliency, label, every, insertion):
    order = sorted(range(saliency.numel()), key=lambda patch: -saliency.flatten()[patch].item())  # stable
    points, side = [], image.shape[1] // saliency.shape[0]
    for done in range(0, saliency.numel() + 1, every):
        gone = order[done:] if insertion else order[:done]
        logits = model(pasted(image, fill, gone, saliency.shape[1], side)[None])[0]
        points.append((logits.exp() / logits.exp().sum())[label].item())
    return points


@pytest.mark.parametrize("insertion", [False, True])
@pytest.mark.parametrize(("config", "every"), [(CONFIG, 1), (CONFIG, 2), (NO_TOKEN, 3)])
def test_curves_by_loops(config, every, insertion):
    model, (images, maps, classes) = model_of(config), case(config)
    maps[1, 0, 1] = maps[1, 1, 2] = maps[1].amax() + 1  # equal: in reading order
    fill = torch.randn_like(images)
    predict = explain.replacing(model, images, fill)
    curve = explain.insertion_curve if insertion else explain.deletion_curve
    found = curve(predict, maps, classes, every)
    for i in range(3):
        expected = curve_by_loops(model, images[i], fill[i], maps[i], classes[i], every, insertion)
        assert found[i].tolist() == pytest.approx(expected, abs=1e-9)
    assert len(expected) == maps[0].numel() // every + 1


def test_one_fill_for_all_images():
    model, (images, maps, _) = model_of(), case()
    kept = maps > 0
    expected = explain.replacing(model, images, torch.zeros_like(images))(kept)
    assert torch.equal(explain.replacing(model, images, torch.zeros(()).double())(kept), expected)
    with pytest.raises(ValueError, match="8 x 12 pixels do not fall into 3 x 3"):
        explain.replacing(model, images, images)(torch.ones(3, 3, 3, dtype=torch.bool))


@pytest.mark.parametrize("config", [CONFIG, NO_TOKEN])
def test_a_token_that_is_left_out_is_seen_by_none(config):
    """The same as in the whole model with a mask, that hides these keys from all queries."""
    model, (images, maps, _) = model_of(config), case(config)
    rank = maps.flatten(1).argsort(dim=1).argsort(dim=1).view_as(maps)
    kept = rank >= 2
    found = explain.leaving_out(model, images)(kept)
    for i in range(3):
        x = model.patch_embed(images[i : i + 1])
        if model.cls_token is not None:
            x = torch.cat([model.cls_token, x], dim=1)
        x = x + model.pos_embed
        stays = [True] * model.num_prefix_tokens + kept[i].flatten().tolist()
        x = torch.stack([token for token, stay in zip(x[0], stays, strict=True) if stay])[None]
        assert torch.allclose(found[i], model.forward_head(model.norm(model.blocks(x)))[0], atol=1e-12)
    everything = torch.ones_like(kept)
    assert torch.allclose(explain.leaving_out(model, images)(everything), model(images), atol=1e-12)


def test_leaving_out_refuses():
    model, (images, _, _) = model_of(), case()
    kept = torch.ones(3, 2, 3, dtype=torch.bool)
    kept[0, 0, 0] = False
    with pytest.raises(ValueError, match="from 5 to 6 patches are kept"):
        explain.leaving_out(model, images)(kept)
    with pytest.raises(ValueError, match="without a class token at least 1"):
        images, _, _ = case(NO_TOKEN)
        explain.leaving_out(model_of(NO_TOKEN), images)(torch.zeros(3, 2, 3, dtype=torch.bool))
    relative = VisionTransformer(ViTConfig(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, pos_embed="relative"))  # fmt: skip
    with pytest.raises(ValueError, match="relative"):
        explain.leaving_out(relative, images)


def test_all_tokens_may_go_if_there_is_a_class_token():
    model, (images, maps, classes) = model_of(), case()
    curve = explain.deletion_curve(explain.leaving_out(model, images), maps, classes, 3)
    alone = model.forward_head(model.norm(model.blocks(model.cls_token + model.pos_embed[:, :1]))).softmax(dim=-1)
    assert curve.shape == (3, 3)
    assert torch.allclose(curve[:, -1], alone[0, classes], atol=1e-12)


def test_occlusion_by_loops():
    model, (images, _, classes) = model_of(), case()
    fill = torch.randn_like(images)
    found = explain.occlusion_map(explain.replacing(model, images, fill), (2, 3), classes)
    for i, label in enumerate(classes.tolist()):
        for patch in range(6):
            gone = pasted(images[i], fill[i], [patch], 3, 4)[None]
            fall = model(images[i : i + 1])[0, label] - model(gone)[0, label]
            assert found[i].flatten()[patch].item() == pytest.approx(fall.item(), abs=1e-9)


@pytest.mark.parametrize("every", [0, 4, 1.5, -1])
def test_every_must_divide(every):
    model, (images, maps, classes) = model_of(), case()
    with pytest.raises(ValueError, match="divides the 6 patches"):
        explain.deletion_curve(explain.replacing(model, images, images), maps, classes, every)


def test_area_under_is_the_trapezium_rule():
    curves = torch.rand(2, 3, 9, dtype=torch.float64)
    expected = np.trapezoid(curves.numpy(), dx=1 / 8, axis=-1)
    assert np.allclose(explain.area_under(curves).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_randomise_from_top(blocks):
    model, fresh = model_of(seed=1), model_of(seed=5)
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(fresh.state_dict())
    result = explain.randomise_from_top(model, fresh, blocks)
    random = ("head.", "norm.", *(f"blocks.{i}." for i in range(3 - blocks, 3)))
    for name, value in result.state_dict().items():
        assert torch.equal(value, before[name.startswith(random)][name]), name
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.zero_()
    for net, state in zip((model, fresh), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_a_representation_layer_is_randomised_with_the_head():
    config = replace(CONFIG, representation_size=7)
    model, fresh = model_of(config, seed=1), model_of(config, seed=5)
    result = explain.randomise_from_top(model, fresh, 0)
    assert torch.equal(result.pre_logits.fc.weight, fresh.pre_logits.fc.weight)
    assert torch.equal(result.blocks[2].mlp.fc1.weight, model.blocks[2].mlp.fc1.weight)


@pytest.mark.parametrize("blocks", [-1, 4])
def test_there_must_be_as_many_blocks(blocks):
    with pytest.raises(ValueError, match=f"blocks {blocks} must be between 0 and 3"):
        explain.randomise_from_top(model_of(), model_of(), blocks)


def test_rank_correlation_is_scipys():
    a, b = torch.randn(4, 3, 5).round(decimals=0), torch.randn(4, 3, 5)  # the first has many equal numbers
    expected = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert explain.rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-12)
    assert explain.rank_correlation(b, -b).tolist() == pytest.approx([-1] * 4, abs=1e-12)
    assert explain.rank_correlation(torch.ones(1, 6), b[:1, :2, :3].flatten(1)).isnan().all()
    with pytest.raises(ValueError, match="the same shape"):
        explain.rank_correlation(a, b[:2])


ASKED = {
    "replacing": lambda model, images, kept, classes: explain.replacing(model, images, 0 * images)(kept),
    "leaving_out": lambda model, images, kept, classes: explain.leaving_out(model, images)(kept),
    "input_gradient": lambda model, images, kept, classes: explain.input_gradient(model, images, classes),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_model_in_training_is_asked_in_evaluation_mode_and_is_as_it_was(ask):
    """Also if only a part of it trains, and after an error."""
    model, (images, maps, classes) = model_of(), case()
    kept = maps.flatten(1).argsort(dim=1).argsort(dim=1).view_as(maps) >= 2
    wanted = ask(model, images, kept, classes)
    model.pos_drop = nn.Dropout(0.5)
    model.train()
    model.blocks[1].eval()
    modes = [part.training for part in model.modules()]
    assert torch.equal(ask(model, images, kept, classes), wanted)
    with pytest.raises(ValueError):
        ask(model, images[:, :, :5], kept, classes)
    assert [part.training for part in model.modules()] == modes


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_images_of_another_dtype_are_refused(ask, dtype):
    model, (images, maps, classes) = model_of(), case()
    with pytest.raises(ValueError, match=rf"images are {dtype}, the (model|weights).* torch\.float64: ") as error:
        ask(model, images.to(dtype), maps > -9, classes)
    assert "\n" not in str(error.value)
