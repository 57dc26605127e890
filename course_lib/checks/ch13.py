"""The exercises of chapter 13, do the maps explain?"""

import copy

import torch
from torch import nn

from course_lib.checks.exercise import Mistake
from course_lib.checks.staged import StagedExercise


def _mistakes(*pairs):
    return tuple(Mistake(hint, function) for hint, function in pairs)


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


# --- pointing_game -----------------------------------------------------------------------------------


def _pointing_probes(generator):
    """Several patches have the largest number, the first of them lies on the object in part, and one map has a number below 0 that is larger by size."""
    probes = []
    for batch, gh, gw, side, tied in ((4, 3, 5, 2, 2), (5, 4, 3, 4, 3), (3, 2, 6, 3, 2)):
        maps = _normal(generator)(batch, gh, gw)
        masks = torch.rand(batch, gh * side, gw * side, generator=generator) < 0.5
        masks[:, :side], masks[:, :, :side] = False, False  # so that the box around the object is not everything
        maps[0, 0, 0] = -9.0
        for i in range(batch):
            row = int(torch.randint(1, gh, (), generator=generator))
            column = int(torch.randint(1, gw, (), generator=generator))
            others = torch.randperm(gh * gw - 1, generator=generator)[: tied - 1] + 1
            maps[i, row, column] = 4.0 + i
            maps[i].view(-1)[others] = 4.0 + i
            masks[i, row * side, column * side] = False
            masks[i, row * side, column * side + 1] = True
        probes.append({"maps": maps, "masks": masks})
    return probes


def _pixels(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    return maps.repeat_interleave(side, 1).repeat_interleave(side, 2)


def _pointed(choose, score=lambda on, chosen: (on * chosen).sum((1, 2)) / chosen.sum((1, 2)), enlarge=_pixels):
    """`score(masks, chosen pixels)`, both as numbers, where `choose(maps)` says True for the patches that count."""

    def pointing(maps, masks):
        return score(masks.to(maps), enlarge(choose(maps).to(maps), masks))

    return pointing


def _largest(maps):
    return maps == maps.amax(dim=(1, 2), keepdim=True)


def _first_largest(maps):
    return torch.zeros_like(maps).flatten(1).scatter(1, maps.flatten(1).argmax(1, keepdim=True), 1.0).view_as(maps) > 0


def _last_largest(maps):
    return _first_largest(maps.flip(1, 2)).flip(1, 2)


def _tiled(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    return maps.repeat(1, side, side)


def _largest_of(change):
    return lambda maps: _largest(change(maps))


def _middle_pixel(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    middle = masks[:, side // 2 :: side, side // 2 :: side].to(maps)
    chosen = _largest(maps).to(maps)
    return (middle * chosen).sum((1, 2)) / chosen.sum((1, 2))


def _corner_pixel(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    corner = masks[:, ::side, ::side].to(maps)
    chosen = _largest(maps).to(maps)
    return (corner * chosen).sum((1, 2)) / chosen.sum((1, 2))


def _boxes(masks):
    rows, columns = masks.any(2), masks.any(1)
    between = [(x.cummax(1).values & x.flip(1).cummax(1).values.flip(1)) for x in (rows.int() > 0, columns.int() > 0)]
    return between[0][:, :, None] & between[1][:, None]


def _majority(maps, masks):
    gh, gw = maps.shape[1:]
    share = masks.to(maps).unflatten(2, (gw, -1)).unflatten(1, (gh, -1)).mean((2, 4))
    chosen = _largest(maps).to(maps)
    return ((share >= 0.5).to(maps) * chosen).sum((1, 2)) / chosen.sum((1, 2))


def _pointing(maps, masks):
    return _pointed(_largest)(maps, masks)


def _pointing_staged(answer):
    """`answer`, but what PyTorch raises for the mean of booleans is an error, and not the mark of an empty stub."""

    def staged(maps, masks):
        try:
            return answer(maps, masks)
        except NotImplementedError as error:
            if "Bool" not in str(error):
                raise
            raise TypeError(str(error)) from error

    return staged


POINTING_GAME = StagedExercise(
    name="pointing_game",
    chapter="13",
    signature="pointing_game(maps, masks)",
    task="find all patches of a map that have its largest number, and return which share of their pixels is on the object: (B, gh, gw), (B, gh·P, gw·P) boolean -> (B,) of the maps' dtype.",
    probes=_pointing_probes,
    oracle=_pointing,
    stage=_pointing_staged,
    mistakes=_mistakes(
        (
            "several patches share the largest number, and argmax returns the first alone: compare with the maximum, maps == maps.amax(dim=(1, 2), keepdim=True).",
            _pointed(_first_largest),
        ),
        (
            "several patches share the largest number, and you take the last alone: compare with the maximum instead.",
            _pointed(_last_largest),
        ),
        (
            "one hit counts as all: return the share of the pixels, a patch may be on the object in part.",
            _pointed(_largest, lambda on, chosen: (on * chosen).amax((1, 2))),
        ),
        (
            "that is the largest number of the whole batch: each map has its own, amax over dim=(1, 2).",
            lambda maps, masks: _pointed(lambda m: m == m.max())(maps, masks),
        ),
        (
            "that is the smallest number of each map: the largest points.",
            _pointed(_largest_of(torch.neg)),
        ),
        (
            "you take the largest by size, and negative numbers win: without abs().",
            _pointed(lambda maps: maps.abs() == maps.abs().amax(dim=(1, 2), keepdim=True)),
        ),
        (
            "repeat sets whole maps side by side: repeat_interleave makes each patch larger.",
            _pointed(_largest, enlarge=_tiled),
        ),
        (
            "you return which share of the object the patches cover: divide by the pixels of the patches, not by those of the object.",
            _pointed(_largest, lambda on, chosen: (on * chosen).sum((1, 2)) / on.sum((1, 2))),
        ),
        (
            "you divide by all pixels of the image: by those of the patches with the largest number.",
            _pointed(_largest, lambda on, chosen: (on * chosen).mean((1, 2))),
        ),
        (
            "you count pixels: divide by how many the patches with the largest number have.",
            _pointed(_largest, lambda on, chosen: (on * chosen).sum((1, 2))),
        ),
        (
            "one number for the batch: one for each image, so sum over dim=(1, 2).",
            lambda maps, masks: _pointing(maps, masks).mean(),
        ),
        (
            "that is the share that misses: the object is where the mask is True.",
            lambda maps, masks: _pointing(maps, ~masks),
        ),
        (
            "you ask the middle pixel of the patch alone: all of its pixels count.",
            _middle_pixel,
        ),
        (
            "you ask the first pixel of the patch alone: all of its pixels count.",
            _corner_pixel,
        ),
        (
            "you round each patch to the object or to the background: a share may lie between.",
            _majority,
        ),
        (
            "a hit is no matter of one half: return the share itself.",
            lambda maps, masks: (_pointing(maps, masks) > 0.5).to(maps),
        ),
        (
            "you compare with the box around the object: with the mask.",
            lambda maps, masks: _pointing(maps, _boxes(masks)),
        ),
        (
            "that is the share of the object in the image: only the patches with the largest number count.",
            lambda maps, masks: masks.to(maps).mean((1, 2)),
        ),
        (
            "you weight the pixels by the whole map: only the patches with the largest number count, and they count alike.",
            lambda maps, masks: (_pixels(maps, masks) * masks).sum((1, 2)) / _pixels(maps, masks).sum((1, 2)),
        ),
        (
            "the maps have patches and the masks pixels: enlarge the maps with repeat_interleave, by masks.shape[1] // maps.shape[1] in both directions.",
            lambda maps, masks: (_largest(maps) & masks).to(maps).sum((1, 2)),
        ),
        (
            "PyTorch has no mean of True and False: make numbers of them first, .to(maps.dtype).",
            lambda maps, masks: masks.mean(),
        ),
    ),
)


# --- deletion_curve ----------------------------------------------------------------------------------


def _small_model(weight):
    """A classifier with these weights (K, C·h·w), whose answer is no linear function of the patches."""

    def model(images):
        if images.ndim != 4:
            raise ValueError(f"the model takes a batch, (B, C, h, w), got {tuple(images.shape)}")
        return (images.flatten(1) @ weight.T).tanh() * 2.0

    return model


def _deletion_probes(generator):
    normal, probes = _normal(generator), []
    for channels, gh, gw, side, classes in ((3, 2, 3, 2, 4), (1, 3, 4, 3, 5), (2, 4, 2, 2, 3)):
        image, fill = normal(channels, gh * side, gw * side), 0.5 * normal(channels, gh * side, gw * side) + 0.7
        weight = 0.6 * normal(classes, image.numel()) / (channels * side)
        saliency = torch.randperm(gh * gw, generator=generator).double().view(gh, gw) - gh * gw / 2
        at_first, at_last = ((x.flatten() @ weight.T).argmax().item() for x in (image, fill))
        # None of the model's own answers, so that it shows whose probability is returned.
        label = next(k for k in range(classes) if k not in (at_first, at_last))
        probes.append({"model": weight, "image": image, "saliency": saliency, "fill": fill, "label": label})
    return probes


def _deletion_staged(answer):
    """`answer(model, ...)` as a function of the model's weights."""

    def staged(model, image, saliency, fill, label):
        return answer(model if callable(model) else _small_model(model), image, saliency, fill, label)

    return staged


def _shown(kept, image):
    side = image.shape[1] // kept.shape[0]
    return kept.repeat_interleave(side, 0).repeat_interleave(side, 1)


def _probability(logits, label):
    return logits.softmax(dim=-1)[:, label]


def _deleting(
    keep=lambda rank, done: rank >= done,
    read=_probability,
    rank=lambda saliency: saliency.flatten().argsort(descending=True).argsort().view_as(saliency),
    steps=lambda count: range(count + 1),
    mix=lambda shown, image, fill: torch.where(shown, image, fill),
):
    """The curve, where after `done` patches those stay for which `keep(rank, done)`."""

    def curve(model, image, saliency, fill, label):
        ranks = rank(saliency)
        images = [mix(_shown(keep(ranks, done), image), image, fill) for done in steps(saliency.numel())]
        return read(model(torch.stack(images)), label)

    return curve


def _rank_by(order):
    return lambda saliency: order(saliency).argsort().view_as(saliency)


def _rank_transposed(by):
    """Rows and columns swapped, where a patch's number is divided by the grid's height, `by` 0, or width, 1."""

    def rank_of(saliency):
        order = saliency.flatten().argsort(descending=True)
        rank = torch.full_like(saliency, saliency.numel())  # a patch that is never hit stays
        for place, patch in enumerate(order.tolist()):
            column, row = divmod(patch, saliency.shape[by])
            if row < saliency.shape[0] and column < saliency.shape[1]:  # slices beyond the edge are empty
                rank[row, column] = place
        return rank

    return rank_of


def _stacked_without_clones(first_too):
    """The list holds one image again and again, and in the end all of them show nothing but fill."""

    def shown(model, image, saliency, fill, label):
        steps = torch.stack([fill] * (saliency.numel() + 1))
        if not first_too:
            steps[0] = image
        return _probability(model(steps), label)

    return shown


def _delete_with_clones(start, each=lambda image: image, fill_of=lambda fill, rows, columns: fill[:, rows, columns]):
    """A loop over the patches, as it is written most."""

    def curve(model, image, saliency, fill, label):
        current, side = start(image), image.shape[1] // saliency.shape[0]
        points = [_probability(model(current[None]), label)[0]]
        for patch in saliency.flatten().argsort(descending=True).tolist():
            row, column = divmod(patch, saliency.shape[1])
            rows, columns = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            current = each(current)
            current[:, rows, columns] = fill_of(fill, rows, columns)
            points.append(_probability(model(current[None]), label)[0])
        return torch.stack(points)

    return curve


def _whole_fill(model, image, saliency, fill, label):
    mean = fill.mean(dim=(1, 2), keepdim=True).expand_as(fill)
    return _deleting()(model, image, saliency, mean, label)


DELETION_CURVE = StagedExercise(
    name="deletion_curve",
    chapter="13",
    signature="deletion_curve(model, image, saliency, fill, label)",
    task="replace patch after patch of the image by that of fill, the one with the largest saliency first, and return the probability of label each time, before the first included: a model, (C, h, w), (gh, gw), (C, h, w), a number -> (gh·gw + 1,).",
    probes=_deletion_probes,
    oracle=_deletion_staged(_deleting()),
    stage=_deletion_staged,
    mistakes=_mistakes(
        (
            "the least important patch goes first: argsort(descending=True).",
            _deleting(keep=lambda rank, done: rank >= done, rank=_rank_by(lambda s: s.flatten().argsort())),
        ),
        (
            "that is the insertion curve: begin with the image, and end with fill.",
            _deleting(keep=lambda rank, done: rank < done),
        ),
        (
            "the curve is backwards: begin with the whole image.",
            _deleting(steps=lambda count: range(count, -1, -1)),
        ),
        (
            "the first point is missing: the image as it is, before anything is replaced.",
            _deleting(steps=lambda count: range(1, count + 1)),
        ),
        (
            "the last point is missing, where nothing but fill is left.",
            _deleting(steps=range),
        ),
        (
            "you replace one patch at a time, and put it back: what is replaced stays replaced.",
            _deleting(keep=lambda rank, done: rank != done - 1),
        ),
        (
            "you return logits: softmax makes probabilities of them.",
            _deleting(read=lambda logits, label: logits[:, label]),
        ),
        (
            "that is the probability of whatever is largest: of label, throughout.",
            _deleting(read=lambda logits, label: logits.softmax(dim=-1).amax(dim=-1)),
        ),
        (
            "that is the probability of the class which the model names at first: of label.",
            _deleting(read=lambda logits, label: logits.softmax(dim=-1)[:, logits[0].argmax()]),
        ),
        (
            "softmax over the images: over the classes, dim=-1.",
            _deleting(read=lambda logits, label: logits.softmax(dim=0)[:, label]),
        ),
        (
            "you return whether the model is right: the probability of label.",
            _deleting(read=lambda logits, label: (logits.argmax(dim=-1) == label).double()),
        ),
        (
            "you return how far the probability falls: the probability itself.",
            _deleting(read=lambda logits, label: _probability(logits, label)[0] - _probability(logits, label)),
        ),
        (
            "all classes are there: the column of label alone.",
            _deleting(read=lambda logits, label: logits.softmax(dim=-1)),
        ),
        (
            "one number, the area: return the whole curve.",
            _deleting(read=lambda logits, label: _probability(logits, label).mean()),
        ),
        (
            "the patches become 0, and not those of fill: 0 is only one of the things that can stand there.",
            _deleting(mix=lambda shown, image, fill: image * shown),
        ),
        (
            "you fill with the mean of fill: each patch with the pixels of fill at the same place.",
            _whole_fill,
        ),
        (
            "you add fill, and the patch is still there: replace it.",
            _deleting(mix=lambda shown, image, fill: image + fill * ~shown),
        ),
        (
            "argsort(argsort) gives each patch its rank, and one argsort the patches in their order: you take the one for the other.",
            _deleting(rank=lambda s: s.flatten().argsort(descending=True).view_as(s)),
        ),
        (
            "the most important patch is the one with the largest number, not the largest by size: without abs().",
            _deleting(rank=_rank_by(lambda s: s.abs().flatten().argsort(descending=True))),
        ),
        (
            "rows and columns are swapped: patch n is in row n // gw and column n % gw.",
            _deleting(rank=_rank_transposed(0)),
        ),
        (
            "rows and columns are swapped: n // gw is the row, n % gw the column.",
            _deleting(rank=_rank_transposed(1)),
        ),
        (
            "all steps show the last picture, for the list holds one image again and again: append image.clone().",
            _stacked_without_clones(first_too=True),
        ),
        (
            "all steps but the first show the last picture, for the list holds one image again and again: append image.clone().",
            _stacked_without_clones(first_too=False),
        ),
        (
            "the numbers are right, but the image that you were given has been changed: work on image.clone().",
            _delete_with_clones(lambda image: image),
        ),
        (
            "the model wants a batch: image[None], and [0] of what it returns; or all images stacked.",
            lambda model, image, saliency, fill, label: model(image),
        ),
    ),
)


# --- randomise_from_top ------------------------------------------------------------------------------


class _Blocks(nn.Module):
    """What the exercise needs of a Vision Transformer: its parts, under their names. It need not run."""

    def __init__(self, state):
        super().__init__()
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        self.cls_token = nn.Parameter(torch.zeros_like(state["cls_token"]))
        self.patch_embed = _linear_like(state, "patch_embed")
        self.blocks = nn.Sequential(*(_linear_like(state, f"blocks.{i}") for i in range(depth)))
        self.norm = nn.LayerNorm(len(state["norm.weight"]), dtype=state["norm.weight"].dtype)
        self.head = _linear_like(state, "head")
        self.load_state_dict(state)


def _linear_like(state, name):
    outputs, inputs = state[f"{name}.weight"].shape
    return nn.Linear(inputs, outputs, dtype=state[f"{name}.weight"].dtype)


def _randomise_probes(generator):
    """Some blocks, three of which two have numbers of two digits, and none."""
    normal, probes = _normal(generator), []

    def weights(depth, width, classes):
        shapes = {"cls_token": (1, 1, width), "patch_embed.weight": (width, 5), "patch_embed.bias": (width,)}
        for i in range(depth):
            shapes |= {f"blocks.{i}.weight": (width, width), f"blocks.{i}.bias": (width,)}
        shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
        shapes |= {"head.weight": (classes, width), "head.bias": (classes,)}
        return {name: normal(*shape) for name, shape in shapes.items()}

    for depth, width, classes, blocks in ((5, 4, 3, 2), (12, 3, 4, 3), (4, 6, 7, 0)):
        sizes = (depth, width, classes)
        probes.append({"model": weights(*sizes), "fresh": weights(*sizes), "blocks": blocks})
    return probes


def _randomise_staged(answer):
    """`answer(model, fresh, blocks)` as a function of two state dicts that returns the new one."""

    def staged(model, fresh, blocks):
        if isinstance(model, nn.Module):
            return answer(model, fresh, blocks)
        nets = _Blocks(model), _Blocks(fresh)
        returned = answer(*nets, blocks)
        if returned is None:
            return None
        if not isinstance(returned, nn.Module):
            raise ValueError(f"expected a model to be returned, got {type(returned).__name__}")
        for net, state, name in zip(nets, (model, fresh), ("model", "fresh"), strict=True):
            if any(not torch.equal(value, state[key]) for key, value in net.state_dict().items()):
                raise ValueError(f"{name} is not what it was: its weights have changed")
        shared = {p.data_ptr() for net in nets for p in net.parameters()} & {
            p.data_ptr() for p in returned.parameters()
        }
        if shared:
            raise ValueError("the result shares weights with a model that it was made from")
        return {name: value.detach().clone() for name, value in returned.state_dict().items()}

    return staged


def _top(depth, blocks):
    return ["head", "norm", *(f"blocks.{i}" for i in range(depth - blocks, depth))]


def _randomised(parts=_top, copy_of=copy.deepcopy, keep=lambda name: True):
    """A copy with the parts that `parts(depth, blocks)` names from `fresh`."""

    def randomise(model, fresh, blocks):
        result = copy_of(model)
        for part in parts(len(model.blocks), blocks):
            new = {name: v for name, v in fresh.get_submodule(part).state_dict().items() if keep(name)}
            result.get_submodule(part).load_state_dict(new, strict=False)
        return result

    return randomise


def _slice_of_minus(depth, blocks):
    """`model.blocks[-blocks:]`, which for 0 is all of them."""
    return ["head", "norm", *(f"blocks.{i}" for i in list(range(depth))[-blocks:])]


def _by_one_digit(depth, blocks):
    return ["head", "norm", *(f"blocks.{i}" for i in range(depth) if int(str(i)[0]) >= depth - blocks)]


def _shares(model, fresh, blocks):
    result = copy.deepcopy(model)
    result.head, result.norm = fresh.head, fresh.norm
    for i in range(len(model.blocks) - blocks, len(model.blocks)):
        result.blocks[i] = fresh.blocks[i]
    return result


def _only_block(depth, blocks):
    return ["head", "norm", *([f"blocks.{depth - blocks}"] if blocks else [])]


def _fresh_below(model, fresh, blocks):
    result = copy.deepcopy(fresh)
    for part in _top(len(model.blocks), blocks):
        result.get_submodule(part).load_state_dict(model.get_submodule(part).state_dict())
    return result


RANDOMISE_FROM_TOP = StagedExercise(
    name="randomise_from_top",
    chapter="13",
    signature="randomise_from_top(model, fresh, blocks)",
    task="return a copy of model in which head, norm and the last `blocks` blocks have the weights of fresh, and change neither model: two models, a number -> a model.",
    probes=_randomise_probes,
    oracle=_randomised(),
    stage=_randomise_staged,
    mistakes=_mistakes(
        (
            "with blocks = 0, model.blocks[-0:] is all of them: count from the front, blocks[depth - blocks:].",
            _randomised(_slice_of_minus),
        ),
        (
            "you change the model that you are given, and the next step begins with a spoilt one: copy.deepcopy first. (copy.copy shares all parameters with it.)",
            _randomised(copy_of=lambda model: model),
        ),
        (
            "the copy shares its parts with fresh, and who trains the one changes the other: copy the weights, with load_state_dict.",
            _shares,
        ),
        (
            "the first blocks are random, and the last are as they were: begin at the top, nearest to the answer.",
            _randomised(lambda depth, blocks: ["head", "norm", *(f"blocks.{i}" for i in range(blocks))]),
        ),
        (
            "the head is still the trained one: it is the very top.",
            _randomised(lambda depth, blocks: _top(depth, blocks)[1:]),
        ),
        (
            "the last norm is still the trained one: it stands between the blocks and the head.",
            _randomised(lambda depth, blocks: ["head", *_top(depth, blocks)[2:]]),
        ),
        (
            "head and norm are still the trained ones: they are above the last block.",
            _randomised(lambda depth, blocks: _top(depth, blocks)[2:]),
        ),
        (
            "one block too many: the last `blocks` of them.",
            _randomised(lambda depth, blocks: _top(depth, min(blocks + 1, depth))),
        ),
        (
            "one block too few: the last `blocks` of them.",
            _randomised(lambda depth, blocks: _top(depth, max(blocks - 1, 0))),
        ),
        (
            "only one block is random, in the middle of a trained model: that one and all above it.",
            _randomised(_only_block),
        ),
        (
            "head and norm are random, and no block is: the last `blocks` too.",
            _randomised(lambda depth, blocks: ["head", "norm"]),
        ),
        (
            "all blocks are random, however many were asked for: the last `blocks` of them.",
            _randomised(lambda depth, blocks: _top(depth, depth)),
        ),
        (
            "everything is random, patches and class token too: what is below the last `blocks` blocks stays as it was.",
            lambda model, fresh, blocks: copy.deepcopy(fresh),
        ),
        (
            "nothing is random yet: load the parts of fresh into the copy.",
            lambda model, fresh, blocks: copy.deepcopy(model),
        ),
        (
            "upside down: what should be random is trained, and the rest random.",
            _fresh_below,
        ),
        (
            "biases and the norm's shift are still the trained ones: all of a part's weights, its whole state dict.",
            _randomised(keep=lambda name: name.endswith("weight")),
        ),
        (
            'you read one digit of "blocks.10", or compare numbers as text: int(name.split(".")[1]) is the whole number.',
            _randomised(_by_one_digit),
        ),
        (
            "you return a state dict: load it into a copy of the model, and return that.",
            lambda model, fresh, blocks: _randomised()(model, fresh, blocks).state_dict(),
        ),
    ),
)


EXERCISES = (POINTING_GAME, DELETION_CURVE, RANDOMISE_FROM_TOP)
