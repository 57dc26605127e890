"""The exercises of the bug gallery: six tests, to be written by the reader."""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_lib.checks import gallery
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise
from course_lib.checks.written_test import EVERYTHING, WrittenTest, seeds, trial


def _written(right, wrong, **record):
    """A `WrittenTest` of these implementations."""
    implementations = right | wrong
    return WrittenTest(
        chapter="B",
        probes=seeds,
        parts=tuple(implementations),
        stage=trial(implementations),
        right=right,
        wrong=wrong,
        **record,
    )


def _test_attention(attention):
    query, key, value = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)
    weights = (query @ key.mT / 4**0.5).softmax(dim=-1)
    torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=1e-4, atol=1e-4)


TEST_ATTENTION = _written(
    gallery.RIGHT_ATTENTION,
    gallery.WRONG_ATTENTION,
    name="test_attention",
    signature="test_attention(attention)",
    task="assert what holds for scaled dot-product attention and not for the bugs; attention(query, key, value) maps (..., Nq, d), (..., Nk, d), (..., Nk, dv) to (..., Nq, dv).",
    oracle=_test_attention,
    mistakes=edits_of(
        _test_attention,
        f"""
        {EVERYTHING}
            torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=1e-4, atol=1e-4) ⇒ assert attention(query, key, value).shape == (2, 3, 6)
        the size of the scores does not show in your example: all weights are alike, or all values, or one score is far above the others. Take queries, keys and values from torch.randn.
            query, key, value = torch.randn(2, 3, 4), ⇒ query, key, value = torch.zeros(2, 3, 4),
          or
            torch.randn(2, 5, 6) ⇒ torch.ones(2, 5, 6)
          or
            query, key, value = torch.randn(2, 3, 4), ⇒ query, key, value = 1e6 * torch.randn(2, 3, 4),
          or
            torch.randn(2, 5, 4), torch.randn(2, 5, 6) ⇒ torch.randn(2, 1, 4), torch.randn(2, 1, 6)
        with one query and one key the only weight is 1, whatever is wrong: take several of each.
            torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6) ⇒ torch.randn(2, 1, 4), torch.randn(2, 1, 4), torch.randn(2, 1, 6)
        in your example d is 1, and so are its root and what divides by nothing at all: take another d.
            torch.randn(2, 3, 4), torch.randn(2, 5, 4) ⇒ torch.randn(2, 3, 1), torch.randn(2, 5, 1)
            4**0.5 ⇒ 1
        in your example there are as many keys as d: sizes that all differ tell one root from the other.
            torch.randn(2, 3, 4), torch.randn(2, 5, 4) ⇒ torch.randn(2, 3, 5), torch.randn(2, 5, 5)
            4**0.5 ⇒ 5**0.5
        what you compare with does not divide by √d: it has the bug itself.
            / 4**0.5) ⇒ )
        what you compare with divides by d: the root of it is right.
            4**0.5 ⇒ 4
        what you compare with takes its softmax over the queries: each row of the weights sums to 1, dim=-1.
            dim=-1 ⇒ dim=-2
        what you compare with divides after the softmax: the scores are divided.
            (query @ key.mT / 4**0.5).softmax(dim=-1) ⇒ (query @ key.mT).softmax(dim=-1) / 4**0.5
        you ask for the same bits: right code of another make differs in the last digits. torch.testing.assert_close has a tolerance.
            torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=1e-4, atol=1e-4) ⇒ assert torch.equal(attention(query, key, value), weights @ value)
        you call by the names of the parameters, and right code may have others: call by position.
            attention(query, key, value) ⇒ attention(query=query, key=key, value=value)
          or
            attention(query, key, value) ⇒ attention(query, key, value=value)
        """,
    ),
)


def _test_patchify(patchify):
    images = torch.randn(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    for i in range(2):
        for j in range(3):
            square = images[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            assert torch.equal(patches[:, 3 * i + j], square.flatten(1))


TEST_PATCHIFY = _written(
    gallery.RIGHT_PATCHES,
    gallery.WRONG_PATCHES,
    name="test_patchify",
    signature="test_patchify(patchify)",
    task="assert which pixels lie where; patchify(images, patch_size) maps (B, C, gh·P, gw·P) to (B, gh·gw, C·P·P), patches in reading order, pixels by channel, row, column.",
    oracle=_test_patchify,
    mistakes=edits_of(
        _test_patchify,
        f"""
        {EVERYTHING}
            assert torch.equal(patches[:, 3 * i + j], square.flatten(1)) ⇒ assert patches.numel() == images.numel()
          or
            torch.randn(2, 3, 4, 6) ⇒ torch.ones(2, 3, 4, 6)
          or
            range(3) ⇒ range(0)
        what is in a patch is right, whatever its order, and patches of one pixel have none: compare each pixel with the one that belongs there, in larger patches.
            torch.equal(patches[:, 3 * i + j], square.flatten(1)) ⇒ torch.equal(patches[:, 3 * i + j].sort().values, square.flatten(1).sort().values)
          or
            torch.equal(patches[:, 3 * i + j], square.flatten(1)) ⇒ torch.allclose(patches[:, 3 * i + j].mean(dim=1), square.flatten(1).mean(dim=1), atol=1e-5)
          or
            torch.randn(2, 3, 4, 6) ⇒ torch.randn(2, 3, 2, 3)
            patchify(images, 2) ⇒ patchify(images, 1)
            (2, 6, 12) ⇒ (2, 6, 3)
            2 * i : 2 * i + 2, 2 * j : 2 * j + 2 ⇒ i : i + 1, j : j + 1
        the first patch and the last lie where they should whichever way the others run, and so do those of a single row or column: look at all, of several rows and several columns.
            range(3) ⇒ range(1)
            range(2) ⇒ range(1)
          or
            range(3) ⇒ [2]
            range(2) ⇒ [1]
          or
            torch.randn(2, 3, 4, 6) ⇒ torch.randn(2, 3, 2, 6)
            (2, 6, 12) ⇒ (2, 3, 12)
            range(2) ⇒ range(1)
        with one channel nobody sees where channels lie: take three.
            torch.randn(2, 3, 4, 6) ⇒ torch.randn(2, 1, 4, 6)
            (2, 6, 12) ⇒ (2, 6, 4)
        you expect the channels last: within a patch the order is channel, row, column.
            square.flatten(1)) ⇒ square.permute(0, 2, 3, 1).flatten(1))
        you expect the patches to run down the columns: they stand in reading order, row by row.
            patches[:, 3 * i + j] ⇒ patches[:, i + 2 * j]
        you expect each patch transposed: rows come before columns.
            square.flatten(1)) ⇒ square.mT.flatten(1))
        what you compare with is only reshaped: it has the bug itself.
            assert torch.equal(patches[:, 3 * i + j], square.flatten(1)) ⇒ assert torch.equal(patches, images.reshape(2, 6, 12))
        you call by the names of the parameters, and right code may have others: call by position.
            patchify(images, 2) ⇒ patchify(images, patch_size=2)
          or
            patchify(images, 2) ⇒ patchify(images=images, patch_size=2)
        """,
    ),
)


def _test_block(block):
    x = torch.randn(2, 5, 12)
    quiet = copy.deepcopy(block)
    for layer in (quiet.attn.proj, quiet.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    torch.testing.assert_close(quiet(x), x)

    alone = copy.deepcopy(block)
    nn.init.zeros_(alone.attn.proj.weight)
    other = x.clone()
    other[:, 0] += torch.randn(2, 12)
    torch.testing.assert_close(alone(x)[:, 1:], alone(other)[:, 1:])


TEST_BLOCK = _written(
    gallery.RIGHT_BLOCKS,
    gallery.WRONG_BLOCKS,
    name="test_block",
    signature="test_block(block)",
    task="assert what holds for a pre-norm block of width 12 and not for the bugs, on a copy of it; block(x) maps (B, N, 12) to the same shape, and attn.proj and mlp.fc2 are the last layers of its two halves.",
    oracle=_test_block,
    mistakes=edits_of(
        _test_block,
        f"""
        {EVERYTHING}
            ⇒ x = torch.randn(2, 5, 12)
            | assert block(x).shape == x.shape
        you do not ask whether tokens stay apart: with attn.proj at zero, what happens to one of several tokens is nothing to the others.
            ⇒ x = torch.randn(2, 5, 12)
            | quiet = copy.deepcopy(block)
            | for layer in (quiet.attn.proj, quiet.mlp.fc2):
            |     nn.init.zeros_(layer.weight)
            |     nn.init.zeros_(layer.bias)
            | torch.testing.assert_close(quiet(x), x)
          or
            x = torch.randn(2, 5, 12) ⇒ x = torch.randn(2, 1, 12)
        you do not ask whether the input gets through: with attn.proj and mlp.fc2 at zero, a block gives back what it was given.
            torch.testing.assert_close(quiet(x), x) ⇒
        you compare with the parts of the block, put together by you: right code may have more parts, such as LayerScale, and the bug may lie in a part. Ask for what must hold of any.
            ⇒ x = torch.randn(2, 5, 12)
            | middle = x + block.attn(block.norm1(x))
            | torch.testing.assert_close(block(x), middle + block.mlp(block.norm2(middle)))
        right code is failed, too: the input comes back only if both halves are silent, weight and bias of attn.proj and of mlp.fc2; tokens stay apart only if attn.proj is; and a pre-norm block does not normalise what it returns.
            nn.init.zeros_(layer.bias) ⇒ pass
          or
            (quiet.attn.proj, quiet.mlp.fc2) ⇒ (quiet.attn.proj,)
          or
            (quiet.attn.proj, quiet.mlp.fc2) ⇒ (quiet.mlp.fc2,)
          or
            nn.init.zeros_(alone.attn.proj.weight) ⇒ pass
          or
            torch.testing.assert_close(quiet(x), x) ⇒ torch.testing.assert_close(quiet(x), F.layer_norm(x, (12,)))
        you change what you are given, and the next test gets it changed: work on copy.deepcopy(block).
            quiet = copy.deepcopy(block) ⇒ quiet = block
          or
            alone = copy.deepcopy(block) ⇒ alone = block
        you compare with a block of your own: right code may have other parts, heads or activations. Ask for what must hold of any.
            ⇒ from course_lib.vit import EncoderBlock
            | twin = EncoderBlock(12, 3)
            | twin.load_state_dict(block.state_dict())
            | x = torch.randn(2, 5, 12)
            | torch.testing.assert_close(twin.eval()(x), block(x))
        """,
    ),
)


def _test_train_step(train_step):
    model = nn.Linear(4, 3)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        images, labels = torch.randn(7, 4), torch.randint(3, (7,))
        loss = F.cross_entropy(twin(images), labels)
        weights = list(twin.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data -= 0.5 * gradient
        assert abs(train_step(model, optimizer, images, labels) - loss.item()) < 1e-4
        for weight, wanted in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4)


TEST_TRAIN_STEP = _written(
    gallery.RIGHT_STEPS,
    gallery.WRONG_STEPS,
    name="test_train_step",
    signature="test_train_step(train_step)",
    task="assert where the weights are after steps that you can compute otherwise; train_step(model, optimizer, images, labels) makes one step on the mean cross-entropy and returns it.",
    oracle=_test_train_step,
    mistakes=edits_of(
        _test_train_step,
        f"""
        {EVERYTHING}
            ⇒ model = nn.Linear(4, 3)
            | optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            | images, labels = torch.randn(64, 4), torch.randint(3, (64,))
            | losses = [train_step(model, optimizer, images, labels) for _ in range(40)]
            | assert losses[-1] < losses[0]
        gradients that were not cleared show at the second step: call it twice, on one model.
            range(2) ⇒ range(1)
          or
            range(2) ⇒ range(1)
            assert abs(train_step(model, optimizer, images, labels) - loss.item()) < 1e-4 ⇒ train_step(model, optimizer, images, labels)
        your example does not tell a sum from a mean: of one image they are the same, and Adam divides by the size of the gradient. Take several images, and SGD.
            torch.optim.SGD(model.parameters(), lr=0.5) ⇒ torch.optim.Adam(model.parameters(), lr=0.5)
            weights = list(twin.parameters()) ⇒ weights = list(twin.parameters())
            | if not _: other = torch.optim.Adam(weights, lr=0.5)
            weight.data -= 0.5 * gradient ⇒ weight.grad = gradient
            assert abs ⇒ other.step()
            | assert abs
            rtol=1e-4, atol=1e-4 ⇒ rtol=1e-2, atol=1e-2
          or
            torch.randn(7, 4), torch.randint(3, (7,)) ⇒ torch.randn(1, 4), torch.randint(3, (1,))
        you look at the first loss alone, or learn at a rate of 0: what a step does to the weights shows in them, and in the losses after it.
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4) ⇒ pass
            range(2) ⇒ range(1)
          or
            lr=0.5 ⇒ lr=0.0
            0.5 * gradient ⇒ 0.0 * gradient
        you compare losses alone: a step that comes one call late shows in none of them, and gradients that were not cleared only in the third. Compare the weights after each call.
            range(2) ⇒ range(4)
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4) ⇒ pass
          or
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4) ⇒ pass
        you do not compare the loss that it returns: it is that from before the step.
            assert abs(train_step(model, optimizer, images, labels) - loss.item()) < 1e-4 ⇒ train_step(model, optimizer, images, labels)
        an even number of images hides the one that is left out: take seven.
            torch.randn(7, 4), torch.randint(3, (7,)) ⇒ torch.randn(8, 4), torch.randint(3, (8,))
        what you compare with puts the logits through a softmax first: cross_entropy takes logits.
            F.cross_entropy(twin(images), labels) ⇒ F.cross_entropy(twin(images).softmax(-1), labels)
        right code is failed, too: the loss is the mean cross-entropy of the logits before the step, and SGD subtracts the rate times its gradient.
            F.cross_entropy(twin(images), labels) ⇒ F.cross_entropy(twin(images), labels, reduction="sum")
          or
            weight.data -= ⇒ weight.data +=
          or
            lr=0.5 ⇒ lr=0.1
        you ask for the same bits: right code of another make differs in the last digits. torch.testing.assert_close has a tolerance.
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4) ⇒ assert torch.equal(weight, wanted)
        you leave gradients in the model before you hand it on: a step that clears them at its end may count on none.
            images, labels = torch.randn(7, 4), torch.randint(3, (7,)) ⇒ images, labels = torch.randn(7, 4), torch.randint(3, (7,))
            | for weight in model.parameters():
            |     weight.grad = torch.ones_like(weight)
        you call by the names of the parameters, and right code may have others: call by position.
            train_step(model, optimizer, images, labels) ⇒ train_step(model=model, optimizer=optimizer, images=images, labels=labels)
          or
            train_step(model, optimizer, images, labels) ⇒ train_step(model, optimizer, images=images, labels=labels)
        """,
    ),
)


def _test_random_flip(random_flip):
    images = torch.randn(200, 3, 4, 6)
    seen = []
    for _ in range(2):
        given = images.clone()
        result = random_flip(given)
        assert torch.equal(given, images)
        mirrored = (result == images.flip(-1)).flatten(1).all(dim=1)
        assert (mirrored | (result == images).flatten(1).all(dim=1)).all()
        assert 60 < mirrored.sum() < 140
        seen.append(mirrored)
    assert not torch.equal(*seen)


TEST_RANDOM_FLIP = _written(
    gallery.RIGHT_MIRRORS,
    gallery.WRONG_MIRRORS,
    name="test_random_flip",
    signature="test_random_flip(random_flip)",
    task="assert that each image is mirrored left to right, or as it was, each by a coin of its own, at each call anew, and that the input stays; random_flip(images) maps (B, C, height, width) to the same shape.",
    oracle=_test_random_flip,
    mistakes=edits_of(
        _test_random_flip,
        f"""
        {EVERYTHING}
            ⇒ images = torch.randn(200, 3, 4, 6)
            | assert random_flip(images.clone()).shape == images.shape
        you do not look at the input after the call: keep a clone, and compare.
            assert torch.equal(given, images) ⇒
        you count images that have changed, and not whether they are mirrored: compare with images.flip(-1).
            mirrored = (result == images.flip(-1)).flatten(1).all(dim=1) ⇒ mirrored = (result != images).flatten(1).any(dim=1)
          or
            assert (mirrored | (result == images).flatten(1).all(dim=1)).all() ⇒ pass
            mirrored = (result == images.flip(-1)).flatten(1).all(dim=1) ⇒ mirrored = (result != images).flatten(1).any(dim=1)
        one call does not show whether the next one draws anew: call it twice, and compare.
            assert not torch.equal(*seen) ⇒
        you ask that some are mirrored and some are not: one in ten is some. Count them, of many.
            60 < mirrored.sum() < 140 ⇒ 0 < mirrored.sum() < 200
        you do not ask how many are mirrored: of many it is about a half, with room for chance.
            assert 60 < mirrored.sum() < 140 ⇒ pass
            assert not torch.equal(*seen) ⇒ pass
        you expect a mirror image upside down: left and right change places, the last dimension.
            images.flip(-1) ⇒ images.flip(-2)
        right code is failed, too: a coin decides, image by image, so neither all come back mirrored nor exactly a half; and images that are alike everywhere always look mirrored.
            60 < mirrored.sum() < 140 ⇒ mirrored.all()
          or
            60 < mirrored.sum() < 140 ⇒ mirrored.sum() == 100
        you foretell the coins from a seed: right code may draw otherwise, or with other random numbers. Count.
            assert 60 < mirrored.sum() < 140 ⇒ torch.manual_seed(0)
            | result = random_flip(images.clone())
            | torch.manual_seed(0)
            | coins = torch.rand(200) < 0.5
            | assert torch.equal(result, torch.where(coins[:, None, None, None], images.flip(-1), images))
          or
            ⇒ images = torch.randn(200, 3, 4, 6)
            | torch.manual_seed(1)
            | result = random_flip(images.clone())
            | torch.manual_seed(1)
            | coins = torch.rand(200) < 0.5
            | assert torch.equal(result[coins], images[coins].flip(-1))
            | assert torch.equal(result[~coins], images[~coins])
        """,
    ),
)


def _test_evaluate(evaluate):
    images = torch.randn(350, 8)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4))
    with torch.no_grad():
        labels = model.eval()(images).argmax(dim=1)
    labels[:51] = 3 - labels[:51]
    model.train()
    batches = DataLoader(TensorDataset(images, labels), batch_size=100, shuffle=True)
    assert abs(evaluate(model, batches) - 299 / 350) < 1e-5


TEST_EVALUATE = _written(
    gallery.RIGHT_ACCURACIES,
    gallery.WRONG_ACCURACIES,
    name="test_evaluate",
    signature="test_evaluate(evaluate)",
    task="assert an accuracy that you know; evaluate(model, batches) returns the share of all images on which the model, in evaluation mode, is right.",
    oracle=_test_evaluate,
    mistakes=edits_of(
        _test_evaluate,
        f"""
        {EVERYTHING}
            assert abs(evaluate(model, batches) - 299 / 350) < 1e-5 ⇒ assert 0 <= evaluate(model, batches) <= 1
        all batches are of one size, or there is one: let the last one be smaller.
            batch_size=100 ⇒ batch_size=50
            torch.randn(350, 8) ⇒ torch.randn(400, 8)
            299 / 350 ⇒ 349 / 400
          or
            batch_size=100 ⇒ batch_size=70
        your model's mode does not show: put a dropout in, and hand it over in training mode.
            nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ nn.Sequential(nn.Linear(8, 4))
          or
            model.train() ⇒ pass
        your batches come in the same order at each walk: a DataLoader with shuffle=True does not.
            shuffle=True ⇒ shuffle=False
          or
            batches = DataLoader(TensorDataset(images, labels), batch_size=100, shuffle=True) ⇒ batches = list(DataLoader(TensorDataset(images, labels), batch_size=100, shuffle=True))
        your number of hits fits into a short format: bfloat16 has all whole numbers up to 256, then the even ones, then every fourth. Take more than 256 hits, and an odd number.
            torch.randn(350, 8) ⇒ torch.randn(130, 8)
            299 / 350 ⇒ 79 / 130
        a model that is right everywhere hides what counts some images more than others: put some mistakes in.
            labels[:51] = 3 - labels[:51] ⇒ pass
            299 / 350 ⇒ 1
          or
            torch.randn(350, 8) ⇒ torch.randn(650, 8)
            labels[:51] = 3 - labels[:51] ⇒ pass
            299 / 350 ⇒ 1
        your tolerance is wide: a per cent is what such bugs cost. 1e-5 leaves room for rounding.
            < 1e-5 ⇒ < 0.1
        you ask for the same bits: a mean of float32 is right, too. Leave 1e-5.
            abs(evaluate(model, batches) - 299 / 350) < 1e-5 ⇒ evaluate(model, batches) == 299 / 350
        right code is failed, too: what is returned is a share, between 0 and 1, of right answers, and those of the model in evaluation mode, without dropout.
            model.eval()(images) ⇒ model(images)
          or
            299 / 350) < 1e-5 ⇒ 100 * 299 / 350) < 1e-3
          or
            299 / 350 ⇒ 51 / 350
        you call by the names of the parameters, and right code may have others: call by position.
            evaluate(model, batches) ⇒ evaluate(model=model, batches=batches)
          or
            evaluate(model, batches) ⇒ evaluate(model, batches=batches)
        """,
    ),
)


EXERCISES: tuple[Exercise, ...] = (
    TEST_ATTENTION,
    TEST_PATCHIFY,
    TEST_BLOCK,
    TEST_TRAIN_STEP,
    TEST_RANDOM_FLIP,
    TEST_EVALUATE,
)
