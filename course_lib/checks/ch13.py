"""The exercises of chapter 13, do the maps explain?"""

import copy
import functools

import torch
import torch.nn.functional as F  # noqa: F401 (for the edits)
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal
from course_lib.checks.staged import StagedExercise
from course_lib.validate import as_pair
from course_lib.vit import VisionTransformer, ViTConfig


def _pointing_probes(generator):
    """Of each map some patches have the largest number, one of them on the object in part. Another has nearly as large a
    number. The first map has one far below 0, too; in every second map all are below 0. Of the second image nothing is
    object, of the fourth everything."""
    draw, probes = normal(generator), []
    for B, gh, gw, P, tied in (
        (4, 3, 5, 2, 2),
        (5, 4, 3, 4, 3),
        (3, 2, 6, 3, 1),
        (1, 5, 4, 3, 2),
        (2, 1, 6, 2, 3),
        (3, 6, 1, 4, 2),
        (6, 4, 2, 1, 3),
        (2, 1, 1, 5, 1),
        (2, 3, 2, 4, 6),  # all numbers the same
        (4, 3, 5, 2, 2),  # the shape of the first
    ):
        maps, masks = draw(B, gh, gw), torch.rand(B, gh * P, gw * P, generator=generator) < 0.5
        masks[:, 0], masks[:, :, -1] = False, False  # so that the box around the object is not everything
        for i in range(B):
            maps[i] -= 20 * (i % 2)
            largest = maps[i].max() + 4
            places = torch.randperm(gh * gw, generator=generator)
            values = [largest] * tied + [torch.nextafter(largest, largest - 1), -30.0][: 2 - min(i, 1)]
            for place, value in zip(places.tolist(), values, strict=False):
                maps[i].view(-1)[place] = value
            row, column = divmod(int(places[0]), gw)
            if B == 5 and i == 2:  # all but one pixel
                for place in places[:tied].tolist():
                    masks[i, place // gw * P :, place % gw * P :][:P, :P] = True
            masks[i, row * P, column * P] = False
            masks[i, row * P + P - 1, column * P] = P > 1
        masks[1:2], masks[3:4] = False, True
        probes.append({"maps": maps, "masks": masks})
    probes[2]["maps"] = probes[2]["maps"].float()
    return probes


def _pointing(maps, masks):
    P = masks.shape[1] // maps.shape[1]
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    chosen = top.repeat_interleave(P, 1).repeat_interleave(P, 2).to(maps.dtype)
    on = masks.to(maps.dtype)
    return (chosen * on).sum(dim=(1, 2)) / chosen.sum(dim=(1, 2))


POINTING_GAME = Exercise(
    name="pointing_game",
    chapter="13",
    signature="pointing_game(maps, masks)",
    task="find all patches of a map that have its largest number, and return which share of their pixels is on the object: (B, gh, gw), (B, gh·P, gw·P) boolean -> (B,) of the maps' dtype.",
    probes=_pointing_probes,
    oracle=_pointing,
    mistakes=edits_of(
        _pointing,
        """
        several patches share the largest number, and argmax or topk(1) returns one of them alone: compare with the maximum, maps == maps.amax(dim=(1, 2), keepdim=True).
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ F.one_hot(maps.flatten(1).argmax(1), maps[0].numel()).view_as(maps)
          or
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ F.one_hot(maps.flatten(1).topk(1).indices[:, 0], maps[0].numel()).view_as(maps)
        several patches share the largest number, and you take the last alone: compare with the maximum instead.
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ F.one_hot(maps.flatten(1).flip(1).argmax(1), maps[0].numel()).flip(1).view_as(maps)
        argmax on the enlarged map returns one pixel, the first of many with this number: compare with the maximum, and all of them count.
            ⇒ P = masks.shape[1] // maps.shape[1]
            | large = maps.repeat_interleave(P, 1).repeat_interleave(P, 2).flatten(1)
            | return masks.flatten(1).gather(1, large.argmax(dim=1, keepdim=True))[:, 0].to(maps.dtype)
        nearly the largest is not the largest: compare with ==, without a tolerance, and in the maps' own dtype.
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ torch.isclose(maps, maps.amax(dim=(1, 2), keepdim=True))
          or
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ maps >= 0.9 * maps.amax(dim=(1, 2), keepdim=True)
          or
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ maps >= 0.95 * maps.amax(dim=(1, 2), keepdim=True)
          or
            maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ maps >= 0.99 * maps.amax(dim=(1, 2), keepdim=True)
        you shift the map, and by rounding two of its numbers that are nearly the same become equal: compare them as they are.
            P = ⇒ maps -= maps.amin(dim=(1, 2), keepdim=True)
            | P =
          or
            P = ⇒ maps = maps - maps.amin(dim=(1, 2), keepdim=True)
            | P =
          or
            P = ⇒ maps = maps - maps.amin(dim=(1, 2), keepdim=True)
            | maps = maps / maps.amax(dim=(1, 2), keepdim=True)
            | P =
        you enlarge smoothly, and the largest number is one that the map does not have: repeat_interleave repeats the numbers that are there.
            top = ⇒ maps = F.interpolate(maps[:, None], scale_factor=P, mode="bilinear")[:, 0]
            | top =
            top.repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ top
          or
            top = ⇒ maps = F.interpolate(maps[:, None], scale_factor=P, mode="bilinear", align_corners=True)[:, 0]
            | top =
            top.repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ top
          or
            top = ⇒ maps = F.interpolate(maps[:, None], scale_factor=P, mode="bicubic")[:, 0]
            | top =
            top.repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ top
        one hit counts as all: return the share of the pixels, a patch may be on the object in part.
            .sum(dim=(1, 2)) / chosen.sum(dim=(1, 2)) ⇒ .amax(dim=(1, 2))
          or
            ⇒ P = masks.shape[1] // maps.shape[1]
            | large = maps.repeat_interleave(P, 1).repeat_interleave(P, 2)
            | return ((large * masks).amax(dim=(1, 2)) == large.amax(dim=(1, 2))).to(maps.dtype)
        a patch with one pixel on the object counts whole: a share of its pixels may be on it.
            on = masks.to(maps.dtype) ⇒ on = F.max_pool2d(masks[:, None].to(maps.dtype), P)[:, 0]
            | on = on.repeat_interleave(P, 1).repeat_interleave(P, 2)
        that is the largest number of the whole batch: each map has its own, amax over dim=(1, 2).
            maps.amax(dim=(1, 2), keepdim=True) ⇒ maps.max()
        that is the largest number of each column or row: of the whole map, amax over dim=(1, 2).
            maps.amax(dim=(1, 2), ⇒ maps.amax(dim=1,
          or
            maps.amax(dim=(1, 2), ⇒ maps.amax(dim=2,
        that is the smallest number of each map: the largest points.
            maps.amax ⇒ maps.amin
        you take the largest by size, and negative numbers win: without abs().
            P = ⇒ maps = maps.abs()
            | P =
        a map may be below 0 everywhere, and its largest number too: leave negative numbers as they are, and a search begins with -inf.
            P = ⇒ maps = maps.clamp(min=0)
            | P =
          or
            keepdim=True) ⇒ keepdim=True).clamp(min=0)
          or
            keepdim=True) ⇒ keepdim=True).clamp(min=0)
            / chosen.sum(dim=(1, 2)) ⇒ / chosen.sum(dim=(1, 2)).clamp(min=1)
        whole maps stand side by side, as repeat sets them: repeat_interleave makes each patch larger, and to split the masks into patches reshape to (B, gh, P, gw, P).
            repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ repeat(1, P, P)
        the pixels of a patch lie apart: its rows are pieces of rows of the image, so a reshape splits masks into (B, gh, P, gw, P), and maps are repeated along both dimensions, one after the other.
            .repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ .flatten(1).repeat_interleave(P * P, 1).reshape(masks.shape)
          or
            repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ repeat(1, P, 1).repeat_interleave(P, 2)
          or
            repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ repeat_interleave(P, 1).repeat(1, 1, P)
          or
            .repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ .repeat(1, P, P).reshape(len(maps), -1, P * P).mT.reshape(masks.shape)
          or
            .repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ .flatten(1).repeat(1, P * P).reshape(masks.shape)
        a patch is as wide as it is high, P: masks.shape[1] // maps.shape[1], height by height or width by width.
            // maps.shape[1] ⇒ // maps.shape[2]
          or
            masks.shape[1] // ⇒ masks.shape[2] //
          or
            masks.shape[1] // ⇒ masks.shape[2] //
            top = maps == ⇒ maps = maps.repeat_interleave(P, 1).repeat_interleave(P, 2)
            | top = maps ==
            top.repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ top
          or
            // maps.shape[1] ⇒ // maps.shape[2]
            top = maps == ⇒ maps = maps.repeat_interleave(P, 1).repeat_interleave(P, 2)
            | top = maps ==
            top.repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒ top
        a row of the grid has gw patches: patch n is in row n // gw and column n % gw, not n // gh and n % gh.
            ⇒ gh, P = maps.shape[1], masks.shape[1] // maps.shape[1]
            | results = []
            | for grid, mask in zip(maps, masks, strict=True):
            |     shares = []
            |     for n in (grid.flatten() == grid.max()).nonzero().flatten().tolist():
            |         rows, columns = (slice(place * P, (place + 1) * P) for place in divmod(n, gh))
            |         shares.append(mask[rows, columns].to(maps.dtype).mean())
            |     results.append(torch.stack(shares).mean())
            | return torch.stack(results)
        you return which share of the object the patches cover: divide by the pixels of the patches, not by those of the object.
            / chosen ⇒ / on
        you divide by all pixels of the image: by those of the patches with the largest number.
            sum(dim=(1, 2)) / chosen.sum(dim=(1, 2)) ⇒ mean(dim=(1, 2))
        you count pixels: divide by how many the patches with the largest number have.
            / chosen.sum(dim=(1, 2)) ⇒
        you add the shares of the patches up: divide by the pixels of all that have the largest number.
            / chosen.sum(dim=(1, 2)) ⇒ / P**2
        you take the best of the patches with the largest number: all their pixels count alike.
            ⇒ P = masks.shape[1] // maps.shape[1]
            | share = F.avg_pool2d(masks[:, None].to(maps.dtype), P)[:, 0]
            | return (share * (maps == maps.amax(dim=(1, 2), keepdim=True))).amax(dim=(1, 2))
        one number for the batch: one for each image, so sum over dim=(1, 2).
            ⇒ return _pointing(maps, masks).mean()
          or
            ⇒ P = masks.shape[1] // maps.shape[1]
            | top = maps == maps.amax(dim=(1, 2), keepdim=True)
            | return masks[top.repeat_interleave(P, 1).repeat_interleave(P, 2)].to(maps.dtype).mean()
        that is the share that misses: the object is where the mask is True.
            ⇒ return 1 - _pointing(maps, masks)
        you ask the middle pixel of the patch alone: all of its pixels count.
            on = masks.to(maps.dtype) ⇒ on = masks[:, P // 2 :: P, P // 2 :: P].to(maps.dtype)
            | on = on.repeat_interleave(P, 1).repeat_interleave(P, 2)
        you ask the first pixel of the patch alone: all of its pixels count.
            on = masks.to(maps.dtype) ⇒ on = masks[:, ::P, ::P].to(maps.dtype)
            | on = on.repeat_interleave(P, 1).repeat_interleave(P, 2)
        you round each patch to the object or to the background: a share may lie between.
            on = masks.to(maps.dtype) ⇒ on = (F.avg_pool2d(masks[:, None].to(maps.dtype), P)[:, 0] >= 0.5).to(maps.dtype)
            | on = on.repeat_interleave(P, 1).repeat_interleave(P, 2)
          or
            on = masks.to(maps.dtype) ⇒ on = (F.avg_pool2d(masks[:, None].to(maps.dtype), P)[:, 0] > 0.5).to(maps.dtype)
            | on = on.repeat_interleave(P, 1).repeat_interleave(P, 2)
        // leaves 0 or 1: divide with /, a share may lie between.
            .sum(dim=(1, 2)) / chosen ⇒ .sum(dim=(1, 2)) // chosen
        a hit is no matter of one half: return the share itself.
            ⇒ return (_pointing(maps, masks) > 0.5).to(maps.dtype)
          or
            ⇒ return (_pointing(maps, masks) >= 0.5).to(maps.dtype)
        you compare with the box around the object: with the mask.
            on = masks.to(maps.dtype) ⇒ rows, columns = masks.any(2).to(maps.dtype), masks.any(1).to(maps.dtype)
            | rows, columns = (x.cummax(1).values * x.flip(1).cummax(1).values.flip(1) for x in (rows, columns))
            | on = rows[:, :, None] * columns[:, None]
        that is the share of the object in the image: only the patches with the largest number count.
            ⇒ return masks.to(maps.dtype).mean(dim=(1, 2))
        you weight the pixels by the whole map: only the patches with the largest number count, and they count alike.
            top = maps == maps.amax(dim=(1, 2), keepdim=True) ⇒ top = maps
        the maps have patches and the masks pixels: enlarge the maps with repeat_interleave, by masks.shape[1] // maps.shape[1] in both directions.
            .repeat_interleave(P, 1).repeat_interleave(P, 2) ⇒
        PyTorch has no mean of True and False: make numbers of them first, .to(maps.dtype).
            ⇒ return masks.mean()
        """,
    ),
)


# The models of the other two exercises are real ones, of these sizes. A probe holds the numbers of all parameters in one
# tensor: how many they are says which config it is.


def _config(C, gh, gw, P, classes, dim=6, depth=1, heads=2, **others):
    sizes = {"img_size": (gh * P, gw * P), "patch_size": P, "in_chans": C, "num_classes": classes}
    return ViTConfig(**sizes, embed_dim=dim, depth=depth, num_heads=heads, **others)


_CLASSIFIERS = (
    _config(3, 2, 3, 2, 4),
    _config(1, 3, 4, 3, 5, global_pool="avg"),
    _config(2, 4, 2, 2, 3),
    _config(2, 1, 5, 1, 7, global_pool="avg"),
    _config(1, 4, 1, 3, 6),
    _config(3, 1, 1, 4, 1),
)
_DEEP = {  # and how many blocks shall be random
    _config(3, 1, 3, 1, 2, dim=2, depth=3, heads=1, pos_embed="relative"): 1,
    _config(1, 1, 2, 2, 4, dim=2, depth=11): 3,  # from block 8 on: numbers of one digit and of two
    _config(2, 2, 2, 1, 7, dim=4, depth=2, pos_embed="sincos2d", global_pool="avg"): 0,
    _config(1, 1, 1, 1, 1, dim=1, depth=1, heads=1, qkv_bias=False): 1,
}


def _new(config):
    with torch.random.fork_rng(devices=[]):
        return VisionTransformer(config)


@functools.cache
def _lengths():
    """{config: how many numbers}."""
    return {config: len(parameters_to_vector(_new(config).parameters())) for config in (*_CLASSIFIERS, *_DEEP)}


def _vit(weights):
    """The Vision Transformer with these numbers, in evaluation mode."""
    (config,) = (config for config, length in _lengths().items() if length == len(weights))
    model = _new(config).to(weights.dtype).eval()
    vector_to_parameters(weights.clone(), model.parameters())
    return model


def _deletion_probes(generator):
    draw, probes = normal(generator), []
    for config in (*_CLASSIFIERS, _CLASSIFIERS[0]):
        h, w = as_pair("img_size", config.img_size)
        C, P, K, D = config.in_chans, config.patch_size, config.num_classes, config.embed_dim
        image, fill = draw(C, h, w), 0.5 * draw(C, h, w) + 0.7
        order = torch.randperm(h // P * (w // P), generator=generator).double().view(h // P, w // P)
        saliency = 1e-6 * (order - order.numel() / 2) ** 3  # below 0 too, and close together
        weights = draw(_lengths()[config])
        if K == 5:  # logits near 1000 for image and near -1000 for fill, and class 0 and 1 change places
            features = _vit(weights)
            features.head = nn.Identity()
            a, b = features(torch.stack([image, fill])).detach()
            way = 2 * (a - b) / (a - b).square().sum()  # from -1 to 1
            size = torch.tensor([1008.0, 992.0, 1000.0, 1000.0, 1000.0]).double()
            weights[-K * D - K : -K] += torch.outer(size, way).flatten()
            weights[-K:] -= size * (way @ (a + b) / 2)
        with torch.no_grad():
            own = _vit(weights)(torch.stack([image, fill])).argmax(dim=1).tolist()
        # None of the model's own answers, so that it shows whose probability is returned.
        label = next((k for k in range(K) if k not in own), 0)
        probes.append({"model": weights, "image": image, "saliency": saliency, "fill": fill, "label": label})
    for name in ("model", "image", "saliency", "fill"):
        probes[2][name] = probes[2][name].float()
    return probes


def _deletion(model, image, saliency, fill, label):
    gh, gw = saliency.shape
    P = image.shape[1] // gh
    image = image.clone()
    steps = [image.clone()]
    for n in saliency.flatten().argsort(descending=True).tolist():
        row, column = divmod(n, gw)
        rows, columns = slice(row * P, (row + 1) * P), slice(column * P, (column + 1) * P)
        image[:, rows, columns] = fill[:, rows, columns]
        steps.append(image.clone())
    logits = model(torch.stack(steps))
    return logits.softmax(dim=-1)[:, label]


def _deletion_staged(answer):
    """`answer(model, ...)` as a function of the model's weights. Nobody asks for gradients, so none are compared."""

    def staged(model, image, saliency, fill, label):
        if isinstance(model, nn.Module):
            return answer(model, image, saliency, fill, label)
        net = _vit(model)
        returned = answer(net, image, saliency, fill, label)
        if any(part.training for part in net.modules()):
            raise ValueError("the model was in evaluation mode, and now it is not")
        if isinstance(returned, tuple | list):
            kinds = {type(item).__name__ for item in returned}
            raise TypeError(f"expected one tensor, got a {type(returned).__name__} of {', '.join(sorted(kinds))}")
        return returned.detach() if isinstance(returned, torch.Tensor) else returned

    return staged


DELETION_CURVE = StagedExercise(
    name="deletion_curve",
    chapter="13",
    signature="deletion_curve(model, image, saliency, fill, label)",
    task="replace patch after patch of the image by that of fill, the one with the largest saliency first, and return the probability of label each time, before the first included: a model, (C, h, w), (gh, gw), (C, h, w), a number -> (gh·gw + 1,).",
    probes=_deletion_probes,
    oracle=_deletion_staged(_deletion),
    stage=_deletion_staged,
    mistakes=edits_of(
        _deletion,
        """
        the least important patch goes first: argsort(descending=True).
            descending=True ⇒
        patches go in the order of reading: in that of their saliency, argsort(descending=True).
            saliency.flatten().argsort(descending=True).tolist() ⇒ range(gh * gw)
        that is the insertion curve: begin with the image, and end with fill.
            image = image.clone() ⇒ image, fill = fill.clone(), image
        the curve is backwards: begin with the whole image.
            [:, label] ⇒ [:, label].flip(0)
        the first point is missing: the image as it is, before anything is replaced.
            [image.clone()] ⇒ []
        the last point is missing, where nothing but fill is left.
            steps) ⇒ steps[:-1])
        you replace one patch at a time, and put it back: what is replaced stays replaced.
            image[:, rows ⇒ image = steps[0].clone()
            | image[:, rows
        you return logits: softmax makes probabilities of them.
            .softmax(dim=-1) ⇒
        you return logarithms: softmax, not log_softmax.
            softmax ⇒ log_softmax
        a sigmoid looks at each class alone: the classes share one probability, softmax over dim=-1.
            softmax(dim=-1) ⇒ sigmoid()
        exp of a large logit is inf, and of a very small one 0: softmax subtracts the largest of each row first.
            logits.softmax(dim=-1) ⇒ (logits.exp() / logits.exp().sum(dim=-1, keepdim=True))
          or
            logits.softmax(dim=-1) ⇒ (logits.exp() / (logits.exp().sum(dim=-1, keepdim=True) + 1e-8))
        the largest logit of the whole batch is subtracted, and the other rows underflow: each row has its own largest, as in softmax.
            logits = model(torch.stack(steps)) ⇒ logits = model(torch.stack(steps))
            | powers = (logits - logits.max()).exp()
            logits.softmax(dim=-1) ⇒ (powers / powers.sum(dim=-1, keepdim=True))
        that is the probability of whatever is largest: of label, throughout.
            [:, label] ⇒ .amax(dim=-1)
        that is the probability of the class which the model names at first: of label.
            [:, label] ⇒ [:, logits[0].argmax()]
        softmax over the images: over the classes, dim=-1.
            dim=-1 ⇒ dim=0
          or
            logits.softmax(dim=-1) ⇒ torch.ones_like(logits)
        you return whether the model is right: the probability of label.
            logits.softmax(dim=-1)[:, label] ⇒ (logits.argmax(dim=-1) == label).to(logits.dtype)
          or
            logits.softmax(dim=-1)[:, label] ⇒ (logits.argmax(dim=-1) == label).double()
          or
            logits.softmax(dim=-1)[:, label] ⇒ (logits.argmax(dim=-1) == label).float()
        you return how far the probability falls: the probability itself.
            ⇒ curve = _deletion(model, image, saliency, fill, label)
            | return curve[0] - curve
        you divide by the first probability: the probabilities themselves.
            ⇒ curve = _deletion(model, image, saliency, fill, label)
            | return curve / curve[0]
        all classes are there: the column of label alone.
            [:, label] ⇒
        that is row `label`, all classes of one image: [:, label] is the class, of all images.
            [:, label] ⇒ [label]
        each step gives a list of one number: of a batch of one take [0, label], or join the steps with torch.cat.
            [:, label] ⇒ [:, label : label + 1]
        you return a list of plain numbers: leave .tolist() and .item() out, and return the tensor.
            [:, label] ⇒ [:, label].tolist()
        you return a list of tensors: torch.stack(...) makes one of them.
            [:, label] ⇒ [:, label].unbind()
          or
            return logits.softmax(dim=-1)[:, label] ⇒ return list(logits.softmax(dim=-1)[:, label, None])
        the curve is in float32, whatever the logits are in: no .float(), and no plain numbers on the way, of which torch.tensor makes float32.
            [:, label] ⇒ [:, label].float()
        one number, the area: return the whole curve.
            [:, label] ⇒ [:, label].mean()
          or
            return logits.softmax(dim=-1)[:, label] ⇒ return torch.trapezoid(logits.softmax(dim=-1)[:, label], dx=1 / (gh * gw))
          or
            return logits.softmax(dim=-1)[:, label] ⇒ return torch.trapezoid(logits.softmax(dim=-1)[:, label])
          or
            [:, label] ⇒ [:, label].sum()
        the patches become 0, and not those of fill: 0 is only one of the things that can stand there.
            = fill[:, rows, columns] ⇒ = 0
        you fill with a mean of fill: each pixel gets that of fill at the same place.
            = fill[:, rows, columns] ⇒ = fill.mean(dim=(1, 2))[:, None, None]
          or
            = fill[:, rows, columns] ⇒ = fill.mean()
          or
            = fill[:, rows, columns] ⇒ = fill[:, rows, columns].mean()
          or
            = fill[:, rows, columns] ⇒ = fill[:, rows, columns].mean(dim=(1, 2))[:, None, None]
          or
            = fill[:, rows, columns] ⇒ = fill.mean(dim=0)[rows, columns]
        you fill with a mean of the image: each pixel gets that of fill at the same place.
            = fill[:, rows, columns] ⇒ = image.mean()
          or
            = fill[:, rows, columns] ⇒ = image.mean(dim=(1, 2))[:, None, None]
          or
            = fill[:, rows, columns] ⇒ = steps[0].mean()
          or
            = fill[:, rows, columns] ⇒ = steps[0].mean(dim=(1, 2))[:, None, None]
          or
            = fill[:, rows, columns] ⇒ = image[:, rows, columns].mean()
          or
            = fill[:, rows, columns] ⇒ = image[:, rows, columns].mean(dim=(1, 2))[:, None, None]
        each patch gets the first patch of fill: that at the same place, fill[:, rows, columns].
            = fill[:, rows, columns] ⇒ = fill[:, :P, :P]
        you add fill, and the patch is still there: replace it.
            = fill[:, rows, columns] ⇒ += fill[:, rows, columns]
        whole rows of the image are replaced: a patch has columns too, image[:, rows, columns].
            image[:, rows, columns] = fill[:, rows, columns] ⇒ image[:, rows] = fill[:, rows]
        only the first colour is replaced: all of them, image[:, rows, columns].
            image[:, rows, columns] = fill[:, rows, columns] ⇒ image[0, rows, columns] = fill[0, rows, columns]
        a patch is P x P pixels: rows from row * P to (row + 1) * P, columns likewise.
            slice(row * P, (row + 1) * P), slice(column * P, (column + 1) * P) ⇒ row * P, column * P
        the patch in row r of the grid begins at pixel r * P, not at pixel r; columns likewise.
            slice(row * P, (row + 1) * P), slice(column * P, (column + 1) * P) ⇒ slice(row, row + P), slice(column, column + P)
        P is the image's height divided by the grid's, image.shape[1] // gh, or width by width.
            image.shape[1] // gh ⇒ image.shape[1] // gw
          or
            image.shape[1] // gh ⇒ image.shape[2] // gh
        you set the model to training mode, and it is not yours: it comes in evaluation mode, leave it there.
            logits = model ⇒ model.train()
            | logits = model
        argsort() of the whole map sorts each of its rows for itself: saliency.flatten() first.
            saliency.flatten().argsort(descending=True) ⇒ saliency.argsort(descending=True).flatten()
        argsort(argsort) gives each patch its rank, and one argsort the patches in their order: you take the one for the other.
            .tolist() ⇒ .argsort().tolist()
        the most important patch is the one with the largest number, not the largest by size: without abs().
            saliency.flatten() ⇒ saliency.flatten().abs()
        rows and columns are swapped: patch n is in row n // gw and column n % gw.
            row, column = divmod(n, gw) ⇒ column, row = divmod(n, gh)
        rows and columns are swapped: n // gw is the row, n % gw the column.
            row, column = ⇒ column, row =
        a row of the grid has gw patches: patch n is in row n // gw and column n % gw, not n // gh and n % gh.
            divmod(n, gw) ⇒ divmod(n, gh)
        all steps show the last picture, for the list holds one image again and again: append image.clone().
            [image.clone()] ⇒ [image]
            steps.append(image.clone()) ⇒ steps.append(image)
        all steps but the first show the last picture, for the list holds one image again and again: append image.clone().
            steps.append(image.clone()) ⇒ steps.append(image)
        the numbers are right, but what you were given has been changed: work on image.clone().
            image = image.clone() ⇒
        the model wants a batch: image[None], and [0] of what it returns; or all images stacked.
            torch.stack(steps) ⇒ image
        """
        + "".join(
            f"""
        P is written into your code: image.shape[1] // gh.
            image.shape[1] // gh ⇒ {P}
        """
            for P in (4, 8, 14, 16)
        ),
    ),
)


def _randomise_probes(generator):
    def draw(length):
        return torch.randn(length, generator=generator)

    settings = [*_DEEP.items(), list(_DEEP.items())[-1]]  # the last two are of one size
    sizes = [(_lengths()[config], blocks) for config, blocks in settings]
    return [{"model": draw(size), "fresh": draw(size), "blocks": blocks} for size, blocks in sizes]


def _randomise(model, fresh, blocks):
    result, depth = copy.deepcopy(model), len(model.blocks)
    parts = ["head", "norm", *(f"blocks.{i}" for i in range(depth - blocks, depth))]
    for name in parts:
        part = result.get_submodule(name)
        part.load_state_dict(fresh.get_submodule(name).state_dict())
    return result


_spare = {}  # {how many numbers: models that were left as they had been}: making one takes long


def _lent(weights):
    """As `_vit`, perhaps a model that has been used before."""
    spare = _spare.get(len(weights))
    if not spare:
        return _vit(weights)
    model = spare.pop()
    vector_to_parameters(weights.clone(), model.parameters())
    return model


def _randomise_staged(answer):
    """`answer(model, fresh, blocks)` as a function of their weights that returns those of the new model, by name."""

    def staged(model, fresh, blocks):
        if isinstance(model, nn.Module):
            return answer(model, fresh, blocks)
        nets = {"model": _lent(model), "fresh": _lent(fresh)}
        returned = answer(*nets.values(), blocks)
        if returned is None:
            return None
        if not isinstance(returned, nn.Module):
            raise ValueError(f"expected a model to be returned, got {type(returned).__name__}")
        for (name, net), weights in zip(nets.items(), (model, fresh), strict=True):
            if not torch.equal(parameters_to_vector(net.parameters()), weights):
                raise ValueError(f"{name} is not what it was: its weights have changed")
            if any(part.training for part in net.modules()):
                raise ValueError("a model that you were given is in training mode now")
            if not all(p.requires_grad for p in net.parameters()):
                raise ValueError("a model that you were given is frozen now: requires_grad has changed")
            if {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in returned.parameters()}:
                raise ValueError(f"the result shares weights with {name}")
        _spare.setdefault(len(model), []).extend(nets.values())
        return {name: p.detach().clone() for name, p in returned.named_parameters()}

    return staged


RANDOMISE_FROM_TOP = StagedExercise(
    name="randomise_from_top",
    chapter="13",
    signature="randomise_from_top(model, fresh, blocks)",
    task="return a copy of model in which head, norm and the last `blocks` blocks have the weights of fresh, and change neither model: two models, a number -> a model.",
    probes=_randomise_probes,
    oracle=_randomise,
    stage=_randomise_staged,
    mistakes=edits_of(
        _randomise,
        """
        with blocks = 0, model.blocks[-0:] is all of them: count from the front, blocks[depth - blocks:].
            range(depth - blocks, depth) ⇒ list(range(depth))[-blocks:]
        you change the model that you are given, and the next step begins with a spoilt one: copy.deepcopy first. (copy.copy shares all parameters with it.)
            copy.deepcopy(model) ⇒ model
        you change fresh, which the next step needs as it is: read from it only, or from a copy.deepcopy of it.
            return result ⇒ fresh.load_state_dict(result.state_dict())
            | return fresh
        you set the mode of a model that is not yours: set that of your copy, if you need to.
            result, depth ⇒ model.train()
            | result, depth
        you freeze a model that is not yours, and whoever trains it wonders: torch.no_grad() is enough to copy numbers.
            result, depth ⇒ model.requires_grad_(False)
            | result, depth
        the copy shares its parts with fresh, and who trains the one changes the other: copy the weights, with load_state_dict.
            part.load_state_dict(fresh.get_submodule(name).state_dict()) ⇒ for own, new in zip(part.parameters(), fresh.get_submodule(name).parameters(), strict=True):
            |     own.data = new.data
          or
            return result ⇒ result.blocks = nn.ModuleList([*result.blocks[: depth - blocks], *fresh.blocks[depth - blocks :]])
            | return result
        the copy shares parts with model, and who changes the one changes the other: copy.deepcopy(model) shares nothing.
            return result ⇒ result.patch_embed = model.patch_embed
            | return result
        the first blocks are random, and the last are as they were: begin at the top, nearest to the answer.
            range(depth - blocks, depth) ⇒ range(blocks)
          or
            range(depth - blocks, depth) ⇒ range(blocks)
            fresh.get_submodule(name) ⇒ (fresh.blocks[int(name[7:]) + depth - blocks] if "." in name else fresh.get_submodule(name))
        all blocks but the last `blocks` are random: these last ones are to be, range(depth - blocks, depth).
            range(depth - blocks, depth) ⇒ range(depth - blocks)
        all blocks but the first `blocks` are random: only the last `blocks` are to be, range(depth - blocks, depth).
            range(depth - blocks, depth) ⇒ range(blocks, depth)
        the last block is left out: its number is depth - 1, and range(depth - blocks, depth) ends with it.
            range(depth - blocks, depth) ⇒ range(depth - blocks, depth - 1)
        model.blocks[-i] with i = 0 is the first block: from the end they are counted -1, -2, and so on.
            range(depth - blocks, depth) ⇒ [-i % depth for i in range(blocks)]
        each block gets the weights of the same block of fresh: fresh, too, is counted from depth - blocks.
            fresh.get_submodule(name) ⇒ (fresh.blocks[int(name[7:]) - depth + blocks] if "." in name else fresh.get_submodule(name))
          or
            fresh.get_submodule(name) ⇒ (fresh.blocks[2 * depth - blocks - 1 - int(name[7:])] if "." in name else fresh.get_submodule(name))
          or
            fresh.get_submodule(name) ⇒ (fresh.blocks[depth - 1 - int(name[7:])] if "." in name else fresh.get_submodule(name))
          or
            fresh.get_submodule(name) ⇒ (fresh.blocks[int(name[7:]) - 1] if "." in name else fresh.get_submodule(name))
          or
            fresh.get_submodule(name) ⇒ (fresh.blocks[-1] if "." in name else fresh.get_submodule(name))
          or
            fresh.get_submodule(name) ⇒ (fresh.blocks[0] if "." in name else fresh.get_submodule(name))
        the head is still the trained one: it is the very top.
            "head", ⇒
        the last norm is still the trained one: it stands between the blocks and the head.
            "norm", ⇒
        head and norm are still the trained ones: they are above the last block.
            "head", "norm", ⇒
        with blocks = 0 nothing is random: head and norm always are.
            parts: ⇒ parts if blocks else ():
        one block too many: the last `blocks` of them.
            depth - blocks, depth ⇒ max(depth - blocks - 1, 0), depth
          or
            range(depth - blocks, depth) ⇒ list(range(depth))[depth - blocks - 1 :]
        one block too few: the last `blocks` of them.
            depth - blocks, depth ⇒ depth - blocks + 1, depth
        you count from the last block downwards and miss it: its number is depth - 1.
            range(depth - blocks, depth) ⇒ range(max(depth - blocks - 1, 0), depth - 1)
          or
            range(depth - blocks, depth) ⇒ [i % depth for i in range(depth - blocks - 1, depth - 1)]
        block depth is none, they are counted from 0: the last is depth - 1, so range(depth - blocks, depth).
            result, depth = ⇒ list(map(model.blocks.__getitem__, range(len(model.blocks) - blocks + 1, len(model.blocks) + 1)))
            | result, depth =
        only one block is random, in the middle of a trained model: that one and all above it.
            range(depth - blocks, depth) ⇒ list(range(depth - blocks, depth))[:1]
        head and norm are random, and no block is: the last `blocks` too.
            range(depth - blocks, depth) ⇒ ()
        all blocks are random, however many were asked for: the last `blocks` of them.
            depth - blocks, depth ⇒ depth
        "norm" in name is true of norm1 and norm2 in every block as well: name.split(".")[0] == "norm" is the last norm alone.
            parts = [ ⇒ parts = [name for i in range(depth) for name in (f"blocks.{i}.norm1", f"blocks.{i}.norm2")]
            | parts += [
        everything is random, patches and class token too: what is below the last `blocks` blocks stays as it was.
            copy.deepcopy(model) ⇒ copy.deepcopy(fresh)
        the patch embedding is random too: what is below the last `blocks` blocks stays as it was.
            "head", ⇒ "head", "patch_embed",
        what stands before the blocks is random too: patches, class token and positions stay as they were, so begin with a copy of model.
            ⇒ result = copy.deepcopy(fresh)
            | for i in range(len(model.blocks) - blocks):
            |     result.blocks[i].load_state_dict(model.blocks[i].state_dict())
            | return result
        nothing is random yet: load the parts of fresh into the copy.
            part.load_state_dict(fresh ⇒ part.load_state_dict(model
        upside down: what should be random is trained, and the rest random.
            ⇒ return _randomise(fresh, model, blocks)
        biases and the norm's shift are still the trained ones: all of a part's weights, its whole state dict.
            part.load_state_dict(fresh.get_submodule(name).state_dict()) ⇒ state = fresh.get_submodule(name).state_dict()
            | part.load_state_dict({key: p for key, p in state.items() if key.endswith("weight")}, strict=False)
        only linear layers are random, norms are not: all of a part's weights, its whole state dict.
            part.load_state_dict(fresh.get_submodule(name).state_dict()) ⇒ for own, new in zip(part.modules(), fresh.get_submodule(name).modules(), strict=True):
            |     if isinstance(own, nn.Linear):
            |         own.load_state_dict(new.state_dict())
        children() are only the modules at the first level, and those inside them stay trained: load_state_dict goes all the way down, as parameters() does.
            part.load_state_dict(fresh.get_submodule(name).state_dict()) ⇒ new = fresh.get_submodule(name)
            | for own, new in zip([part, *part.children()], [new, *new.children()], strict=True):
            |     for key, p in own.named_parameters(recurse=False):
            |         p.data.copy_(getattr(new, key))
        you read one digit of "blocks.10", or compare numbers as text: int(name.split(".")[1]) is the whole number.
            range(depth - blocks, depth) ⇒ range(depth) if int(str(i)[0]) >= depth - blocks
          or
            range(depth - blocks, depth) ⇒ range(depth) if str(i) >= str(depth - blocks)
        you return a state dict: load it into a copy of the model, and return that.
            return result ⇒ return result.state_dict()
        """
        + "".join(
            f"""
        the number of blocks is written into your code: len(model.blocks) says it.
            result, depth = ⇒ list(map(model.blocks.__getitem__, range({depth} - blocks, {depth})))
            | result, depth =
            range(depth - blocks, depth) ⇒ range({depth} - blocks, {depth})
        """
            for depth in (4, 6, 8, 12)
        ),
    ),
)


EXERCISES = (POINTING_GAME, DELETION_CURVE, RANDOMISE_FROM_TOP)
