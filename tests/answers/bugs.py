"""Answers to the exercises of the bug gallery, which are tests, as readers write them.

RIGHT: tests other than the chapter's own, MORE: others, of which no mutants are made, since nearly every number in a test
may be another. Beside the record's known mistakes, WRONG: mistakes written in another way; each with words of the hint
that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import copy
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_lib.vit import EncoderBlock

# ---- test_attention


def attention_by_pytorch(attention):
    q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0)
    expected = F.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(attention(q, k, v), expected, atol=1e-5)


def attention_by_loops(attention):
    q, k, v = torch.randn(4, 3), torch.randn(6, 3), torch.randn(6, 2)
    out = attention(q, k, v)
    for i in range(4):
        weights = [math.exp(sum(q[i, c].item() * k[j, c].item() for c in range(3)) / math.sqrt(3)) for j in range(6)]
        for c in range(2):
            expected = sum(w * v[j, c].item() for j, w in enumerate(weights)) / sum(weights)
            assert abs(out[i, c].item() - expected) < 1e-4


def attention_by_numpy(attention):
    rng = np.random.default_rng(3)
    q, k, v = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 6))
    scores = np.exp(np.einsum("bqd,bkd->bqk", q, k) / 2)
    expected = scores / scores.sum(axis=-1, keepdims=True) @ v
    np.testing.assert_allclose(attention(*map(torch.tensor, (q, k, v))).numpy(), expected, rtol=1e-6)


def attention_by_one_hot_values(attention):
    torch.manual_seed(0)
    q, k = torch.randn(5, 8), torch.randn(3, 8)
    weights = attention(q, k, torch.eye(3))
    assert weights.shape == (5, 3)
    assert torch.allclose(weights.sum(dim=1), torch.ones(5), atol=1e-5)
    logs = weights.log() - weights.log()[:, :1]
    scores = q @ k.T / 8**0.5
    assert torch.allclose(logs, scores - scores[:, :1], atol=1e-3)


def attention_by_hand(attention):
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    k = torch.tensor([[math.log(2), 0.0, 0.0, 0.0], [0.0, math.log(4), 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    v = torch.tensor([[1.0], [0.0], [10.0]])
    out = attention(q, k, v)
    if (out - torch.tensor([[12 / 4], [11 / 6]])).abs().max() > 1e-4:
        raise AssertionError(f"got {out}")


class CheckedAttention:
    def __init__(self, *sizes):
        self.sizes = sizes

    def __call__(self, attention):
        for nq, nk, d, dv in self.sizes:
            q, k, v = torch.rand(nq, d), torch.rand(nk, d), torch.rand(nk, dv)
            expected = torch.zeros(nq, dv)
            for i, query in enumerate(q):
                expected[i] = torch.softmax(k @ query / d**0.5, 0) @ v
            torch.testing.assert_close(attention(q, k, v), expected, atol=1e-4, rtol=0)


attention_by_a_class = CheckedAttention((4, 6, 9, 2), (3, 2, 8, 5))


def attention_in_double(attention):
    q, k, v = (torch.randn(2, n, w, dtype=torch.float64) for n, w in ((3, 6), (4, 6), (4, 1)))
    assert (attention(q, k, v) - F.scaled_dot_product_attention(q, k, v)).abs().max() < 1e-8


# Wrong


def attention_compared_and_not_asserted(attention):
    q, k, v = torch.randn(3, 4, 5)
    torch.allclose(attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def attention_without_an_assert(attention):
    q, k, v = torch.randn(3, 4, 5)
    if attention(q, k, v).shape != (4, 5):
        print("wrong")


def attention_returned(attention):
    q, k, v = torch.randn(3, 4, 5)
    return torch.allclose(attention(q, k, v), F.scaled_dot_product_attention(q, k, v), atol=1e-4)


def attention_bit_for_bit(attention):
    q, k, v = torch.randn(2, 4, 7), torch.randn(2, 9, 7), torch.randn(2, 9, 3)
    right = torch.softmax(torch.matmul(q, k.transpose(1, 2)) / 7**0.5, -1) @ v
    assert (attention(q, k, v) == right).all()


def attention_of_ones(attention):
    q, k = torch.randn(4, 8), torch.randn(6, 8)
    out = attention(q, k, torch.ones(6, 1))
    assert torch.allclose(out, torch.ones(4, 1), atol=1e-5)


def attention_with_no_root(attention):
    q, k, v = torch.randn(4, 6), torch.randn(7, 6), torch.randn(7, 2)
    torch.testing.assert_close(attention(q, k, v), F.scaled_dot_product_attention(q, k, v, scale=1.0))


def attention_called_by_name(attention):
    q, k, v = torch.randn(4, 6), torch.randn(7, 6), torch.randn(7, 2)
    torch.testing.assert_close(
        attention(key=k, value=v, query=q), F.scaled_dot_product_attention(q, k, v), atol=1e-4, rtol=1e-4
    )


def attention_that_fails_all(attention):
    q, k, v = torch.randn(4, 6), torch.randn(7, 6), torch.randn(7, 2)
    assert attention(q, k, v).shape == (4, 6)


def attention_square(attention):
    q, k, v = torch.randn(3, 5, 5)
    assert torch.allclose(attention(q, k, v), F.scaled_dot_product_attention(q, k, v), atol=1e-4)


# ---- test_patchify


def patches_by_unfold(patchify):
    images = torch.randn(3, 2, 6, 9)
    assert torch.equal(patchify(images, 3), F.unfold(images, 3, stride=3).mT)


def patches_by_a_number_for_each_pixel(patchify):
    b, c, h, w, p = 2, 3, 6, 8, 2
    images = torch.arange(b * c * h * w, dtype=torch.float32).reshape(b, c, h, w)
    out = patchify(images, p)
    assert tuple(out.shape) == (b, 12, 12)
    for n in range(12):
        for m in range(12):
            row, column = n // 4 * p + m % 4 // 2, n % 4 * p + m % 2
            for i in range(b):
                assert out[i, n, m] == images[i, m // 4, row, column]


def patches_put_back(patchify):
    images = torch.rand(2, 3, 4, 8)
    parts = patchify(images, 4)
    assert parts.shape == (2, 2, 48)
    again = parts.view(2, 2, 3, 4, 4).permute(0, 2, 3, 1, 4).reshape(2, 3, 4, 8)
    assert (again == images).all()
    tall = torch.rand(1, 3, 8, 4)
    assert (patchify(tall, 4).view(2, 3, 4, 4).transpose(0, 1).reshape(1, 3, 8, 4) == tall).all()
    grid = torch.rand(1, 1, 8, 12)
    assert torch.equal(patchify(grid, 4)[0, 1], grid[0, 0, :4, 4:8].reshape(-1))


def patches_by_convolution(patchify):
    images, weight = torch.randn(2, 3, 4, 6, dtype=torch.float64), torch.randn(5, 3, 2, 2, dtype=torch.float64)
    wanted = F.conv2d(images, weight, stride=2).flatten(2).mT
    torch.testing.assert_close(patchify(images, 2) @ weight.flatten(1).T, wanted)


def patches_of_digits(patchify):
    image = torch.tensor(
        [[[[11.0, 12, 13, 14], [21, 22, 23, 24]], [[-11, -12, -13, -14], [-21, -22, -23, -24]]]]
    )  # (1, 2, 2, 4)
    assert patchify(image, 2).tolist() == [
        [[11, 12, 21, 22, -11, -12, -21, -22], [13, 14, 23, 24, -13, -14, -23, -24]],
    ]
    tall = image.reshape(1, 1, 4, 4)
    assert patchify(tall, 2)[0, 1].tolist() == [13, 14, 23, 24]


def patches_by_numpy(patchify):
    rng = np.random.default_rng(1)
    pictures = rng.random((2, 3, 10, 15))
    np.testing.assert_array_equal(
        patchify(torch.from_numpy(pictures), 5).numpy(),
        pictures.reshape(2, 3, 2, 5, 3, 5).transpose(0, 2, 4, 1, 3, 5).reshape(2, 6, 75),
    )


def patches_one_at_a_time(patchify):
    for i, j in itertools.product(range(3), range(2)):
        images = torch.zeros(1, 2, 6, 4)
        images[0, 1, 2 * i + 1, 2 * j] = 1.0
        out = patchify(images, 2)
        assert out[0, 2 * i + j, 6] == 1 and out.sum() == 1


# Wrong


def patches_by_their_shape(patchify):
    assert patchify(torch.randn(2, 3, 4, 6), 2).shape == (2, 6, 12)


def patches_of_one_square(patchify):
    image = torch.randn(1, 1, 4, 6)
    assert torch.equal(patchify(image, 2)[0, 0], image[0, 0, :2, :2].flatten())


def patches_of_sums(patchify):
    images = torch.rand(2, 3, 4, 6)
    for n, part in enumerate(patchify(images, 2).unbind(1)):
        top, left = n // 3 * 2, n % 3 * 2
        assert torch.allclose(part.sum(1), images[:, :, top : top + 2, left : left + 2].sum((1, 2, 3)))


def patches_of_grey(patchify):
    image = torch.randn(2, 1, 6, 4)
    assert torch.equal(patchify(image, 2), F.unfold(image, 2, stride=2).mT)


def patches_of_colours_last(patchify):
    images = torch.randn(2, 3, 4, 6)
    wanted = images.reshape(2, 3, 2, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).reshape(2, 6, 12)
    assert torch.equal(patchify(images, 2), wanted)


def patches_called_by_name(patchify):
    images = torch.randn(2, 3, 4, 6)
    assert torch.equal(patchify(images=images, patch_size=2), F.unfold(images, 2, stride=2).mT)


# ---- test_block


def silenced(block, *layers):
    twin = copy.deepcopy(block)
    for name, weight in twin.named_parameters():
        if name.startswith(layers):
            weight.data.zero_()
    return twin


def block_by_two_laws(block):
    x = torch.randn(3, 4, 12)
    assert torch.allclose(silenced(block, "attn.proj.", "mlp.fc2.")(x), x, atol=1e-6)
    calm = silenced(block, "attn.proj.")
    both = calm(x)
    for n in range(4):
        assert torch.allclose(calm(x[:, n : n + 1])[:, 0], both[:, n], atol=1e-5)


def block_by_replacing_layers(block):
    twin = copy.deepcopy(block)
    twin.attn.proj = nn.Linear(12, 12)
    nn.init.constant_(twin.attn.proj.weight, 0)
    nn.init.constant_(twin.attn.proj.bias, 0)
    tokens = torch.rand(1, 6, 12)
    before = twin(tokens)
    twin.mlp.fc2.load_state_dict({name: torch.zeros_like(w) for name, w in twin.mlp.fc2.state_dict().items()})
    assert torch.equal(twin(tokens), tokens)
    twin.mlp.fc2.load_state_dict(block.mlp.fc2.state_dict())
    tokens[:, -1] *= -1
    assert (twin(tokens)[:, :-1] - before[:, :-1]).abs().max() < 1e-5


def block_by_gradients(block):
    twin = copy.deepcopy(block)
    twin.attn.proj.requires_grad_(False).weight.zero_()
    twin.attn.proj.bias.zero_()
    x = torch.randn(1, 3, 12, requires_grad=True)
    twin(x)[0, 0].sum().backward()
    assert x.grad[0, 1:].abs().max() == 0
    twin.mlp.fc2.requires_grad_(False).weight.zero_()
    twin.mlp.fc2.bias.zero_()
    assert torch.equal(twin(x), x)


def block_by_each_half(block):
    x = torch.randn(2, 5, 12)
    with torch.no_grad():
        quiet, alone = copy.deepcopy(block), copy.deepcopy(block)
        for layer in (quiet.attn.proj, quiet.mlp.fc2, alone.attn.proj):
            layer.weight *= 0
            layer.bias *= 0
        np.testing.assert_allclose(quiet(x), x, atol=1e-6)
        shuffled = torch.tensor([4, 3, 2, 1, 0])
        other = torch.cat([x[:, :1], torch.randn(2, 4, 12)], dim=1)
        np.testing.assert_allclose(alone(x)[:, 0], alone(other)[:, 0], atol=1e-5)
        np.testing.assert_allclose(alone(x[:, shuffled]), alone(x)[:, shuffled], atol=1e-5)


def block_with_hooks(block):
    twin = copy.deepcopy(block)
    zero = lambda layer, args, output: output * 0  # noqa: E731
    handle = twin.attn.proj.register_forward_hook(zero)
    x = torch.randn(2, 5, 12)
    y = x + 0
    y[1, 3] = 7
    assert torch.allclose(twin(x)[1, [0, 1, 2, 4]], twin(y)[1, [0, 1, 2, 4]], atol=1e-5)
    twin.mlp.fc2.register_forward_hook(zero)
    assert torch.allclose(twin(x), x)
    handle.remove()


def block_in_a_loop(block):
    x, seen = torch.randn(1, 4, 12), []
    for parts in (["attn.proj"], ["attn.proj", "mlp.fc2"]):
        twin = copy.deepcopy(block)
        with torch.no_grad():
            for part in parts:
                for weight in twin.get_submodule(part).parameters():
                    weight.fill_(0)
        seen.append([twin(x), twin(torch.cat([x[:, :3], x[:, :1]], dim=1))])
    assert torch.allclose(seen[0][0][:, :3], seen[0][1][:, :3], atol=1e-5) and torch.allclose(seen[1][0], x)


# Wrong


def block_by_its_shape(block):
    assert block(torch.randn(2, 3, 12)).shape == (2, 3, 12)


def block_in_place(block):
    for layer in (block.attn.proj, block.mlp.fc2):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    x = torch.randn(2, 3, 12)
    assert torch.equal(block(x), x)


def block_of_identity_alone(block):
    twin = silenced(block, "attn.proj", "mlp.fc2")
    x = torch.randn(2, 3, 12)
    assert torch.equal(twin(x), x)


def block_by_its_parts(block):
    x = torch.rand(2, 3, 12)
    y = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), y + block.mlp(block.norm2(y)))


def block_without_its_biases(block):
    x, twin = torch.randn(2, 3, 12), copy.deepcopy(block)
    twin.attn.proj.weight.data.zero_()
    twin.mlp.fc2.weight.data.zero_()
    assert torch.allclose(twin(x), x)


def block_of_another_width(block):
    assert block(torch.randn(2, 3, 24)).shape == (2, 3, 24)


def block_against_another(block):
    twin = EncoderBlock(12, 3)
    twin.load_state_dict(block.state_dict())
    x = torch.randn(2, 3, 12)
    torch.testing.assert_close(twin.eval()(x), block(x))


# ---- test_train_step


def step_by_another_optimiser(train_step):
    mine = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
    theirs = copy.deepcopy(mine)
    ours, other = (torch.optim.SGD(model.parameters(), lr=0.3) for model in (mine, theirs))
    for _ in range(3):
        x, y = torch.randn(9, 5), torch.randint(0, 4, (9,))
        ours.zero_grad()
        loss = nn.CrossEntropyLoss()(mine(x), y)
        loss.backward()
        ours.step()
        assert math.isclose(train_step(theirs, other, x, y), loss.item(), abs_tol=1e-4)
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def step_by_formula(train_step):
    model = nn.Linear(3, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    W = model.weight.detach().clone()
    for n in (3, 5):
        x, y = torch.randn(n, 3), torch.randint(2, (n,))
        p = (x @ W.T).softmax(1)
        loss = -p[range(n), y].log().mean()
        W = W - 0.1 * (p - F.one_hot(y, 2)).T @ x / n
        assert abs(train_step(model, optimizer, x, y) - loss) < 1e-4
        assert (model.weight - W).abs().max() < 1e-4


def step_in_double(train_step):
    model = nn.Linear(4, 3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
        before = [w.detach().clone().requires_grad_() for w in model.parameters()]
        loss = F.cross_entropy(F.linear(x, *before), y)
        loss.backward()
        assert abs(train_step(model, optimizer, x, y) - loss.item()) < 1e-6
        for was, now in zip(before, model.parameters(), strict=True):
            torch.testing.assert_close(now.detach(), (was - was.grad).detach())


def step_with_a_plain_loop(train_step):
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    start = copy.deepcopy(model)
    given = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = [(torch.randn(7, 4), torch.randint(3, (7,))) for _ in range(4)]
    losses = [train_step(model, given, x, y) for x, y in batches]
    for (x, y), loss in zip(batches, losses, strict=True):
        start.zero_grad()
        wanted = F.cross_entropy(start(x), y)
        wanted.backward()
        assert abs(wanted.item() - loss) < 1e-4
        for weight in start.parameters():
            weight.data.add_(weight.grad, alpha=-0.5)
    for name, weight in start.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], weight, atol=1e-4)


def step_by_functions(train_step):
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)

    def loss_of(weights, x, y):
        return F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    for x, y in ((torch.randn(3, 2), torch.tensor([2, 0, 1])), (torch.randn(3, 2), torch.tensor([1, 1, 0]))):
        weights = {name: w.detach().clone() for name, w in model.named_parameters()}
        gradients, loss = torch.func.grad_and_value(loss_of)(weights, x, y)
        assert abs(train_step(model, optimizer, x, y) - loss.item()) < 1e-4
        for name, now in model.named_parameters():
            assert torch.allclose(now, weights[name] - 0.2 * gradients[name], atol=1e-4)


def step_with_momentum(train_step):
    models = [nn.Linear(3, 4)]
    models.append(copy.deepcopy(models[0]))
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    first, second = (torch.optim.SGD(model.parameters(), **settings) for model in models)
    for _ in range(3):
        x, y = torch.randn(11, 3), torch.randint(4, (11,))
        first.zero_grad()
        loss = -models[0](x).log_softmax(1)[torch.arange(11), y].mean()
        loss.backward()
        first.step()
        assert abs(loss.item() - train_step(models[1], second, x, y)) < 1e-4
    for name, weight in models[0].state_dict().items():
        assert torch.allclose(weight, models[1].state_dict()[name], atol=1e-4), name


# Wrong


def step_that_learns(train_step):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(60, 4)
    y = (x[:, 0] > 0).long()
    first = train_step(model, optimizer, x, y)
    for _ in range(30):
        last = train_step(model, optimizer, x, y)
    assert last < first


def step_of_one_batch(train_step):
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3), torch.randn(7, 4), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    twin = copy.deepcopy(model)
    given = torch.optim.SGD(model.parameters(), lr=0.5)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    expected = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(x), y)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    np.testing.assert_allclose([train_step(model, given, x, y) for _ in range(4)], expected, atol=1e-4)


def step_once(train_step):
    a = nn.Linear(4, 3)
    b = copy.deepcopy(a)
    x, y = torch.randn(5, 4), torch.randint(3, (5,))
    F.cross_entropy(b(x), y).backward()
    train_step(a, torch.optim.SGD(a.parameters(), lr=1.0), x, y)
    assert torch.allclose(a.weight, b.weight - b.weight.grad, atol=1e-5)


def step_of_the_first_loss(train_step):
    model = nn.Linear(4, 3)
    x, y = torch.randn(5, 4), torch.randint(3, (5,))
    wanted = F.cross_entropy(model(x), y).item()
    assert abs(train_step(model, torch.optim.SGD(model.parameters(), lr=1.0), x, y) - wanted) < 1e-5


def step_called_by_name(train_step):
    a = nn.Linear(4, 3)
    b = copy.deepcopy(a)
    opt = torch.optim.SGD(a.parameters(), lr=1.0)
    for _ in range(2):
        x, y = torch.randn(5, 4), torch.randint(3, (5,))
        gradients = torch.autograd.grad(F.cross_entropy(b(x), y), [b.weight, b.bias])
        loss = train_step(model=a, optimizer=opt, images=x, labels=y)
        assert abs(loss - F.cross_entropy(b(x), y).item()) < 1e-4
        b.weight.data -= gradients[0]
        b.bias.data -= gradients[1]
        assert torch.allclose(a.weight, b.weight, atol=1e-4)


def step_to_the_bit(train_step):
    a = nn.Linear(4, 3)
    b = copy.deepcopy(a)
    ours, theirs = (torch.optim.SGD(model.parameters(), lr=0.5) for model in (a, b))
    for _ in range(3):
        x, y = torch.randn(41, 4), torch.randint(3, (41,))
        theirs.zero_grad()
        F.cross_entropy(b(x), y).backward()
        theirs.step()
        train_step(a, ours, x, y)
    assert torch.equal(a.weight, b.weight)


# ---- test_random_flip


def flips_counted(random_flip):
    x = torch.arange(300 * 12.0).reshape(300, 1, 3, 4)
    keep = x.clone()
    patterns = []
    for _ in range(3):
        y = random_flip(x)
        assert torch.equal(x, keep) and y.shape == x.shape
        pattern = ""
        for before, after in zip(x, y, strict=True):
            if torch.equal(after, before.flip(2)):
                pattern += "m"
            else:
                assert torch.equal(after, before)
                pattern += "-"
        assert 90 <= pattern.count("m") <= 210
        patterns.append(pattern)
    assert len(set(patterns)) == 3


def flips_over_many_calls(random_flip):
    image = torch.rand(4, 2, 3, 5)
    total, together = torch.zeros(4), 0
    for _ in range(200):
        mine = image.clone()
        out = random_flip(mine)
        mirrored, same = ((out == other).flatten(1).all(dim=1) for other in (image.flip(-1), image))
        assert torch.equal(mine, image) and (mirrored ^ same).all()
        total += mirrored
        together += int(mirrored.sum() in (0, 4))
    assert total.min() > 60 and total.max() < 140
    assert together < 80


def flips_by_one_column(random_flip):
    x = torch.zeros(400, 1, 2, 3)
    x[:, :, 0, 0] = 1
    a, b = random_flip(x), random_flip(x)
    assert x[:, 0, 0, 0].sum() == 400 and x.sum() == 400
    assert a.sum() == 400 and (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400
    assert 0.35 < a[:, 0, 0, 2].mean() < 0.65
    assert not torch.equal(a, b)


def flips_by_numpy(random_flip):
    x = np.random.default_rng(0).random((256, 3, 2, 4))
    first, second = (random_flip(torch.tensor(x)).numpy() for _ in range(2))
    for y in (first, second):
        flipped = np.array([np.array_equal(b, a[..., ::-1]) for a, b in zip(x, y, strict=True)])
        kept = np.array([np.array_equal(b, a) for a, b in zip(x, y, strict=True)])
        assert np.all(flipped ^ kept) and abs(flipped.mean() - 0.5) < 0.2
    assert (first != second).any()
    given = torch.tensor(x)
    random_flip(given)
    np.testing.assert_array_equal(given.numpy(), x)


def flips_of_twins(random_flip):
    x = torch.randn(1, 1, 2, 2).repeat(500, 1, 1, 1)
    frozen = x.clone()
    y, z = random_flip(x), random_flip(x)
    assert torch.equal(x, frozen)
    kinds = {tuple(image.flatten().tolist()) for image in y}
    assert kinds == {tuple(frozen[0].flatten().tolist()), tuple(frozen[0].flip(-1).flatten().tolist())}
    share = (y == frozen.flip(-1)).flatten(1).all(1).double().mean()
    assert 0.3 < share < 0.7
    assert (y != z).any()


def flips_with_a_helper(random_flip):
    def mirrored(batch):
        before = batch.clone()
        after = random_flip(batch)
        assert torch.equal(batch, before)
        left, right = after.flatten(1), before.flip(-1).flatten(1)
        yes = (left == right).all(1)
        assert ((left == before.flatten(1)).all(1) | yes).all()
        return yes

    found = torch.stack([mirrored(torch.rand(100, 1, 4, 4)) for _ in range(50)])
    assert abs(found.float().mean() - 0.5) < 0.15
    assert found.any(0).all() and not found.all(0).any()
    assert (~found).any(1).all() and found.any(1).all()


# Wrong


def flips_of_four(random_flip):
    x = torch.randn(4, 1, 2, 3)
    y = random_flip(x.clone())
    m = [torch.equal(a, b.flip(-1)) for a, b in zip(y, x, strict=True)]
    assert any(m) and not all(m)


def flips_foretold(random_flip):
    x = torch.randn(100, 1, 2, 3)
    torch.manual_seed(1)
    y = random_flip(x.clone())
    torch.manual_seed(1)
    coins = torch.rand(100) < 0.5
    assert torch.equal(y[coins], x[coins].flip(-1)) and torch.equal(y[~coins], x[~coins])


def flips_of_any_shape(random_flip):
    x = torch.randn(100, 1, 2, 3)
    assert random_flip(x).shape == x.shape


def flips_exactly_half(random_flip):
    x = torch.randn(200, 1, 2, 3)
    y = random_flip(x.clone())
    assert (y == x.flip(-1)).flatten(1).all(1).sum() == 100


def flips_called_once(random_flip):
    x = torch.randn(200, 1, 2, 3)
    given = x.clone()
    y = random_flip(given)
    m, s = ((y == z).flatten(1).all(1) for z in (x.flip(-1), x))
    assert torch.equal(given, x) and (m | s).all() and 50 < m.sum() < 150


# ---- test_evaluate


def known_share(evaluate):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.7))
    x = torch.randn(701, 6)
    y = net.eval()(x).argmax(1).detach()
    y[::7] = (y[::7] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    assert abs(evaluate(net.train(), loader) - (701 - 101) / 701) < 1e-5 or (701 - 101) % 4 == 0
    y[:2] = torch.tensor([9, 9])
    right = (net.eval()(x).argmax(1) == y).sum().item()
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    assert right % 4 and abs(evaluate(net.train(), loader) - right / 701) < 1e-5


class Answers(nn.Module):
    """Says what stands in the first pixel, and nonsense while it is trained."""

    def forward(self, x):
        answers = F.one_hot(x[:, 0].long(), 5).float()
        return answers.roll(1, dims=1) if self.training else answers


def share_of_a_made_up_model(evaluate):
    labels = torch.arange(1000) % 5
    images = labels[:, None].float().repeat(1, 2)
    images[:333, 0] = (labels[:333] + 2) % 5
    batches = DataLoader(list(zip(images, labels, strict=True)), batch_size=300, shuffle=True)
    assert math.isclose(evaluate(Answers().train(), batches), 0.667, abs_tol=1e-5)


class Shuffled:
    """Batches in another order, and of other images, at each walk."""

    def __init__(self, images, labels, size):
        self.images, self.labels, self.size = images, labels, size

    def __iter__(self):
        for rows in torch.randperm(len(self.images)).split(self.size):
            yield self.images[rows], self.labels[rows]


def share_of_own_batches(evaluate):
    labels = torch.randint(5, (515,))
    images = torch.stack([labels.float(), torch.zeros(515)], dim=1)
    images[500:, 0] = (labels[500:] + 1) % 5
    images[300:304, 0] = (labels[300:304] + 1) % 5
    value = evaluate(Answers(), Shuffled(images, labels, 200))
    assert abs(value - 496 / 515) < 1e-5
    images[0, 0] = (labels[0] + 1) % 5
    assert abs(evaluate(Answers(), Shuffled(images, labels, 200)) - 495 / 515) < 1e-5


def share_counted_by_hand(evaluate):
    x = torch.randn(611, 4)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 6)).eval()
    with torch.no_grad():
        answers = model(x).argmax(dim=1)
    y = answers.clone()
    y[:100] = 5 - y[:100]
    right = sum(int(a == b) for a, b in zip(answers, y, strict=True))
    model.train()
    np.testing.assert_allclose(
        evaluate(model, DataLoader(TensorDataset(x, y), batch_size=128, shuffle=True)), right / 611, atol=1e-5
    )


def share_in_many_sizes(evaluate):
    net = nn.Sequential(nn.Dropout(0.6), nn.Linear(3, 4)).eval()
    for n, size in ((1001, 400), (777, 250)):
        x = torch.randn(n, 3)
        y = net(x).argmax(1)
        wrong = n // 3 if (n - n // 3) % 2 else n // 3 + 1
        y[-wrong:] = (y[-wrong:] + 1) % 4
        for _ in range(2):
            got = evaluate(net.train(), DataLoader(TensorDataset(x, y), size, shuffle=True))
            assert abs(got - (n - wrong) / n) < 1e-5
            net.eval()


def share_of_most(evaluate):
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval()
    x = torch.randn(900, 5)
    y = net(x).argmax(1)
    y[701:] = (y[701:] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=512, shuffle=True)
    assert abs(evaluate(net.train(), loader) - 701 / 900) < 1e-5


# Wrong


def share_between(evaluate):
    data = TensorDataset(torch.randn(100, 4), torch.randint(3, (100,)))
    value = evaluate(nn.Linear(4, 3), DataLoader(data, batch_size=30))
    assert isinstance(value, float) and 0 <= value <= 1


def share_of_even_batches(evaluate):
    x = torch.randn(600, 4)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).eval()
    y = net(x).argmax(1)
    y[:49] = (y[:49] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True)
    assert abs(evaluate(net.train(), loader) - 551 / 600) < 1e-5


def share_without_dropout(evaluate):
    x = torch.randn(650, 4)
    net = nn.Linear(4, 3)
    y = net(x).argmax(1)
    y[:49] = (y[:49] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True)
    assert abs(evaluate(net, loader) - 601 / 650) < 1e-5


def share_of_few(evaluate):
    x = torch.randn(45, 4)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).eval()
    y = net(x).argmax(1)
    y[:20] = (y[:20] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
    assert abs(evaluate(net.train(), loader) - 25 / 45) < 1e-5


def share_by_name(evaluate):
    x = torch.randn(650, 4)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).eval()
    y = net(x).argmax(1)
    y[:49] = (y[:49] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True)
    assert abs(evaluate(batches=loader, model=net.train()) - 601 / 650) < 1e-5


def share_in_order(evaluate):
    x = torch.randn(650, 4)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).eval()
    y = net(x).argmax(1)
    y[:49] = (y[:49] + 1) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=100)
    assert abs(evaluate(net.train(), loader) - 601 / 650) < 1e-5


RIGHT = {
    "test_attention": (attention_by_pytorch,),
    "test_patchify": (patches_by_unfold,),
    "test_block": (block_by_two_laws,),
    "test_train_step": (step_by_formula,),
    "test_random_flip": (flips_by_one_column,),
    "test_evaluate": (share_of_most,),
}

MORE = {
    "test_attention": (
        attention_by_loops,
        attention_by_numpy,
        attention_by_one_hot_values,
        attention_by_hand,
        attention_by_a_class,
        attention_in_double,
    ),
    "test_patchify": (
        patches_by_a_number_for_each_pixel,
        patches_put_back,
        patches_by_convolution,
        patches_of_digits,
        patches_by_numpy,
        patches_one_at_a_time,
    ),
    "test_block": (
        block_by_replacing_layers,
        block_by_gradients,
        block_by_each_half,
        block_with_hooks,
        block_in_a_loop,
    ),
    "test_train_step": (
        step_by_another_optimiser,
        step_in_double,
        step_with_a_plain_loop,
        step_by_functions,
        step_with_momentum,
    ),
    "test_random_flip": (
        flips_counted,
        flips_over_many_calls,
        flips_by_numpy,
        flips_of_twins,
        flips_with_a_helper,
    ),
    "test_evaluate": (
        known_share,
        share_of_a_made_up_model,
        share_of_own_batches,
        share_counted_by_hand,
        share_in_many_sizes,
    ),
}

WRONG = {
    "test_attention": {
        attention_compared_and_not_asserted: "is not kept: `assert` it",
        attention_without_an_assert: "nothing is asserted",
        attention_returned: "the task is to assert",
        attention_bit_for_bit: "right code of another make differs in the last digits",
        attention_of_ones: "the size of the scores does not show",
        attention_with_no_root: "it has the bug itself",
        attention_called_by_name: "call by position",
        attention_that_fails_all: "try it on the right code",
        attention_square: "as many keys as d",
    },
    "test_patchify": {
        patches_by_their_shape: "as the shape does",
        patches_of_one_square: "choose an example in which this bug shows",
        patches_of_sums: "whatever its order",
        patches_of_grey: "with one channel nobody sees",
        patches_of_colours_last: "you expect the channels last",
        patches_called_by_name: "call by position",
    },
    "test_block": {
        block_by_its_shape: "as the shape does",
        block_in_place: "work on copy.deepcopy(block)",
        block_of_identity_alone: "whether tokens stay apart",
        block_by_its_parts: "you compare with the parts of the block",
        block_without_its_biases: "weight and bias of attn.proj",
        block_of_another_width: "the task is to assert",
        block_against_another: "you compare with a block of your own",
    },
    "test_train_step": {
        step_that_learns: "a loss that falls",
        step_once: "gradients that were not cleared show at the second step",
        step_of_one_batch: "you compare losses alone",
        step_of_the_first_loss: "you look at the first loss alone",
        step_called_by_name: "call by position",
        step_to_the_bit: "right code of another make differs in the last digits",
    },
    "test_random_flip": {
        flips_of_four: "chance decides",
        flips_foretold: "you foretell the coins",
        flips_of_any_shape: "as the shape does",
        flips_exactly_half: "chance decides",
        flips_called_once: "whether the next one draws anew",
    },
    "test_evaluate": {
        share_between: "as the shape does",
        share_of_even_batches: "all batches are of one size",
        share_without_dropout: "mode does not show",
        share_of_few: "short format",
        share_by_name: "call by position",
        share_in_order: "your batches come in the same order",
    },
}

EQUIVALENT = {
    "test_attention": """
        An example may have other sizes and numbers, as long as they differ where they must.
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(1, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 4, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 2, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 3, 4), torch.randn(1, 5, 4), torch.randn(2, 5, 6))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(1, 5, 6))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 7))
            test_attention: query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 6)) ⇒ query, key, value = (torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 5))
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ k, q, v = torch.randn(3, 2, 4, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, v, k = torch.randn(3, 2, 4, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 7, 5)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 4, 2, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 7, 4, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 5, 7).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 3, 4, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 1, 4, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 5, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 3, 7, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 8, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 6, 5).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 7, 6).unbind(0)
            attention_by_pytorch: q, k, v = torch.randn(3, 2, 4, 7, 5).unbind(0) ⇒ q, k, v = torch.randn(3, 2, 4, 7, 4).unbind(0)
        There is nothing to squeeze, and one number has no sides.
            test_attention: weights = (query @ key.mT / 4 ** 0.5).softmax(dim=-1) ⇒ weights = (query @ key.mT / 4 ** 0.5).softmax(dim=-1).squeeze()
            attention_by_pytorch: expected = F.scaled_dot_product_attention(q, k, v) ⇒ expected = F.scaled_dot_product_attention(q, k, v).squeeze()
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_attention: torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(weights @ value, attention(query, key, value), rtol=0.0001, atol=0.0001)
            test_attention: torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=0.0002, atol=0.0001)
            test_attention: torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(attention(query, key, value), weights @ value, rtol=0.0001, atol=0.0002)
            attention_by_pytorch: assert torch.allclose(attention(q, k, v), expected, atol=1e-05) ⇒ assert torch.allclose(expected, attention(q, k, v), atol=1e-05)
            attention_by_pytorch: assert torch.allclose(attention(q, k, v), expected, atol=1e-05) ⇒ assert torch.allclose(attention(q, k, v), expected, atol=2e-05)
        """,
    "test_patchify": """
        There is nothing to squeeze, and one number has no sides.
            test_patchify: images = torch.randn(2, 3, 4, 6) ⇒ images = torch.randn(2, 3, 4, 6).squeeze()
            test_patchify: patches = patchify(images, 2) ⇒ patches = patchify(images, 2).squeeze()
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(3, 2, 6, 9).squeeze()
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(3, 2, 6, 9).mT
        An example may have other sizes and numbers, as long as they differ where they must.
            test_patchify: for i in range(2): ⇒ for i in range(1):
            test_patchify: for j in range(3): ⇒ for j in range(2):
            test_patchify: square = images[:, :, 2 * i:2 * i + 2, 2 * j:2 * j + 2] ⇒ square = images[:, :, 2 * i:3 * i + 2, 2 * j:2 * j + 2]
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(2, 3, 6, 9)
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(3, 2, 9, 6)
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(4, 2, 6, 9)
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(2, 2, 6, 9)
            patches_by_unfold: images = torch.randn(3, 2, 6, 9) ⇒ images = torch.randn(3, 3, 6, 9)
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_patchify: assert torch.equal(patches[:, 3 * i + j], square.flatten(1)) ⇒ assert torch.equal(square.flatten(1), patches[:, 3 * i + j])
            patches_by_unfold: assert torch.equal(patchify(images, 3), F.unfold(images, 3, stride=3).mT) ⇒ assert torch.equal(F.unfold(images, 3, stride=3).mT, patchify(images, 3))
        """,
    "test_block": """
        There is nothing to squeeze, and one number has no sides.
            test_block: x = torch.randn(2, 5, 12) ⇒ x = torch.randn(2, 5, 12).squeeze()
            test_block: other = x.clone() ⇒ other = x.clone().squeeze()
            block_by_two_laws: x = torch.randn(3, 4, 12) ⇒ x = torch.randn(3, 4, 12).squeeze()
            block_by_two_laws: both = calm(x) ⇒ both = calm(x).squeeze()
        An example may have other sizes and numbers, as long as they differ where they must.
            test_block: x = torch.randn(2, 5, 12) ⇒ x = torch.randn(2, 6, 12)
            test_block: x = torch.randn(2, 5, 12) ⇒ x = torch.randn(2, 4, 12)
            test_block: for layer in (quiet.attn.proj, quiet.mlp.fc2): ⇒ for layer in (quiet.mlp.fc2, quiet.attn.proj):
            test_block: other[:, 0] += torch.randn(2, 12) ⇒ other[:, 0] += 2
            test_block: other[:, 0] += torch.randn(2, 12) ⇒ other[:, 0] += torch.randn(1, 12)
            block_by_two_laws: x = torch.randn(3, 4, 12) ⇒ x = torch.randn(4, 4, 12)
            block_by_two_laws: x = torch.randn(3, 4, 12) ⇒ x = torch.randn(2, 4, 12)
            block_by_two_laws: x = torch.randn(3, 4, 12) ⇒ x = torch.randn(3, 5, 12)
            block_by_two_laws: for n in range(4): ⇒ for n in range(3):
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_block: torch.testing.assert_close(quiet(x), x) ⇒ torch.testing.assert_close(x, quiet(x))
            test_block: torch.testing.assert_close(alone(x)[:, 1:], alone(other)[:, 1:]) ⇒ torch.testing.assert_close(alone(other)[:, 1:], alone(x)[:, 1:])
            block_by_two_laws: assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x, atol=1e-06) ⇒ assert torch.allclose(x, silenced(block, 'attn.proj.', 'mlp.fc2.')(x), atol=1e-06)
            block_by_two_laws: assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x, atol=1e-06) ⇒ assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x)
            block_by_two_laws: assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x, atol=1e-06) ⇒ assert torch.allclose(silenced(block, 'mlp.fc2.', 'attn.proj.')(x), x, atol=1e-06)
            block_by_two_laws: assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x, atol=1e-06) ⇒ assert torch.allclose(silenced(block, 'attn.proj.', 'mlp.fc2.')(x), x, atol=2e-06)
            block_by_two_laws: assert torch.allclose(calm(x[:, n:n + 1])[:, 0], both[:, n], atol=1e-05) ⇒ assert torch.allclose(both[:, n], calm(x[:, n:n + 1])[:, 0], atol=1e-05)
            block_by_two_laws: assert torch.allclose(calm(x[:, n:n + 1])[:, 0], both[:, n], atol=1e-05) ⇒ assert torch.allclose(calm(x[:, n:n + 1])[:, 0], both[:, n], atol=2e-05)
            block_by_two_laws: assert torch.allclose(calm(x[:, n:n + 1])[:, 0], both[:, n], atol=1e-05) ⇒ assert torch.allclose(calm(x[:, n:])[:, 0], both[:, n], atol=1e-05)
            block_by_two_laws: assert torch.allclose(calm(x[:, n:n + 1])[:, 0], both[:, n], atol=1e-05) ⇒ assert torch.allclose(calm(x[:, n:n + 2])[:, 0], both[:, n], atol=1e-05)
        """,
    "test_train_step": """
        An example may have other sizes and numbers, as long as they differ where they must.
            test_train_step: model = nn.Linear(4, 3) ⇒ model = nn.Linear(4, 4)
            test_train_step: for _ in range(2): ⇒ for _ in range(3):
            test_train_step: for weight, wanted in zip(model.parameters(), weights): ⇒ for wanted, weight in zip(model.parameters(), weights):
            test_train_step: for weight, wanted in zip(model.parameters(), weights): ⇒ for weight, wanted in zip(weights, model.parameters()):
            test_train_step: images, labels = (torch.randn(7, 4), torch.randint(3, (7,))) ⇒ images, labels = (torch.randn(7, 4), torch.randint(2, (7,)))
            step_by_formula: W = model.weight.detach().clone() ⇒ W = model.weight.detach()
            step_by_formula: W = model.weight.detach().clone() ⇒ W = model.weight.clone()
            step_by_formula: for n in (3, 5): ⇒ for n in (4, 5):
            step_by_formula: for n in (3, 5): ⇒ for n in (2, 5):
            step_by_formula: for n in (3, 5): ⇒ for n in (3, 6):
            step_by_formula: for n in (3, 5): ⇒ for n in (3, 4):
            step_by_formula: x, y = (torch.randn(n, 3), torch.randint(2, (n,))) ⇒ x, y = (torch.randn(n, 3), torch.randint(1, (n,)))
        There is nothing to squeeze, and one number has no sides.
            test_train_step: loss = F.cross_entropy(twin(images), labels) ⇒ loss = F.cross_entropy(twin(images), labels).squeeze()
            test_train_step: loss = F.cross_entropy(twin(images), labels) ⇒ loss = F.cross_entropy(twin(images), labels).mT
            step_by_formula: W = model.weight.detach().clone() ⇒ W = model.weight.detach().clone().squeeze()
            step_by_formula: p = (x @ W.T).softmax(1) ⇒ p = (x @ W.T).softmax(1).squeeze()
            step_by_formula: W = W - 0.1 * (p - F.one_hot(y, 2)).T @ x / n ⇒ W = (W - 0.1 * (p - F.one_hot(y, 2)).T @ x / n).squeeze()
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_train_step: assert abs(returned - loss.item()) < 0.0001 ⇒ assert abs(returned - loss.item()) <= 0.0001
            test_train_step: assert abs(returned - loss.item()) < 0.0001 ⇒ assert returned - loss.item() < 0.0001
            test_train_step: assert abs(returned - loss.item()) < 0.0001 ⇒ assert abs(returned - loss.item()) < 0.0002
            test_train_step: torch.testing.assert_close(weight, wanted, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(wanted, weight, rtol=0.0001, atol=0.0001)
            test_train_step: assert abs(returned - loss.item()) < 0.0001 ⇒ assert abs(loss.item() - returned) < 0.0001
            test_train_step: assert abs(returned - loss.item()) < 0.0001 ⇒ assert abs(returned - loss) < 0.0001
            test_train_step: torch.testing.assert_close(weight, wanted, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(weight, wanted, rtol=0.0002, atol=0.0001)
            test_train_step: torch.testing.assert_close(weight, wanted, rtol=0.0001, atol=0.0001) ⇒ torch.testing.assert_close(weight, wanted, rtol=0.0001, atol=0.0002)
            step_by_formula: assert abs(train_step(model, optimizer, x, y) - loss) < 0.0001 ⇒ assert abs(train_step(model, optimizer, x, y) - loss) <= 0.0001
            step_by_formula: assert (model.weight - W).abs().max() < 0.0001 ⇒ assert (model.weight - W).abs().max() <= 0.0001
            step_by_formula: assert abs(train_step(model, optimizer, x, y) - loss) < 0.0001 ⇒ assert train_step(model, optimizer, x, y) - loss < 0.0001
            step_by_formula: assert abs(train_step(model, optimizer, x, y) - loss) < 0.0001 ⇒ assert abs(train_step(model, optimizer, x, y) - loss) < 0.0002
            step_by_formula: assert (model.weight - W).abs().max() < 0.0001 ⇒ assert (model.weight - W).abs().min() < 0.0001
            step_by_formula: assert (model.weight - W).abs().max() < 0.0001 ⇒ assert (model.weight - W).abs().max() < 0.0002
            step_by_formula: assert abs(train_step(model, optimizer, x, y) - loss) < 0.0001 ⇒ assert abs(loss - train_step(model, optimizer, x, y)) < 0.0001
            step_by_formula: assert (model.weight - W).abs().max() < 0.0001 ⇒ assert (model.weight - W).max() < 0.0001
            step_by_formula: assert (model.weight - W).abs().max() < 0.0001 ⇒ assert (W - model.weight).abs().max() < 0.0001
        """,
    "test_random_flip": """
        There is nothing to squeeze, and one number has no sides.
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 4, 6).squeeze()
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 4, 6).mT
            test_random_flip: given = images.clone() ⇒ given = images.clone().squeeze()
            test_random_flip: result = random_flip(given) ⇒ result = random_flip(given).squeeze()
            test_random_flip: mirrored = (result == images.flip(-1)).flatten(1).all(dim=1) ⇒ mirrored = (result == images.flip(-1)).flatten(1).all(dim=1).squeeze()
            test_random_flip: as_it_was = (result == images).flatten(1).all(dim=1) ⇒ as_it_was = (result == images).flatten(1).all(dim=1).squeeze()
        An example may have other sizes and numbers, as long as they differ where they must.
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 4, 3, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 6, 4)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(201, 3, 4, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(199, 3, 4, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 4, 4, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 2, 4, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 5, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 3, 6)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 4, 7)
            test_random_flip: images = torch.randn(200, 3, 4, 6) ⇒ images = torch.randn(200, 3, 4, 5)
            test_random_flip: given = images.clone() ⇒ given = images
            test_random_flip: mirrored = (result == images.flip(-1)).flatten(1).all(dim=1) ⇒ mirrored = (result == images.flip(-1)).flatten(1).any(dim=1)
            test_random_flip: as_it_was = (result == images).flatten(1).all(dim=1) ⇒ as_it_was = (result == images).flatten(1).any(dim=1)
            flips_by_one_column: x = torch.zeros(400, 1, 2, 3) ⇒ x = torch.zeros(400, 1, 3, 3)
            flips_by_one_column: x = torch.zeros(400, 1, 2, 3) ⇒ x = torch.zeros(400, 1, 1, 3)
            flips_by_one_column: a, b = (random_flip(x), random_flip(x)) ⇒ b, a = (random_flip(x), random_flip(x))
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_random_flip: assert torch.equal(given, images) ⇒ assert torch.equal(images, given)
            test_random_flip: assert (mirrored | as_it_was).all() ⇒ assert (mirrored | as_it_was).any()
            test_random_flip: assert 60 < mirrored.sum() < 140 ⇒ assert 61 < mirrored.sum() < 140
            test_random_flip: assert 60 < mirrored.sum() < 140 ⇒ assert 59 < mirrored.sum() < 140
            test_random_flip: assert 60 < mirrored.sum() < 140 ⇒ assert 60 < mirrored.sum() < 141
            test_random_flip: assert 60 < mirrored.sum() < 140 ⇒ assert 60 < mirrored.sum() < 139
            flips_by_one_column: assert x[:, 0, 0, 0].sum() == 400 and x.sum() == 400 ⇒ assert x[:, 0, 0, 0].sum() == 400 or x.sum() == 400
            flips_by_one_column: assert x[:, 0, 0, 0].sum() == 400 and x.sum() == 400 ⇒ assert x[:, 0, 0, 0].sum() == 400
            flips_by_one_column: assert x[:, 0, 0, 0].sum() == 400 and x.sum() == 400 ⇒ assert x.sum() == 400
            flips_by_one_column: assert a.sum() == 400 and (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400 ⇒ assert a.sum() == 400 or (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400
            flips_by_one_column: assert a.sum() == 400 and (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400 ⇒ assert a.sum() == 400
            flips_by_one_column: assert a.sum() == 400 and (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400 ⇒ assert (a[:, 0, 0, 0] + a[:, 0, 0, 2]).sum() == 400
            flips_by_one_column: assert not torch.equal(a, b) ⇒ assert not torch.equal(b, a)
        """,
    "test_evaluate": """
        There is nothing to squeeze, and one number has no sides.
            test_evaluate: images = torch.randn(650, 8) ⇒ images = torch.randn(650, 8).squeeze()
            test_evaluate: labels = model.eval()(images).argmax(dim=1) ⇒ labels = model.eval()(images).argmax(dim=1).squeeze()
            test_evaluate: labels[:49] = 3 - labels[:49] ⇒ labels[:49] = (3 - labels[:49]).squeeze()
            share_of_most: x = torch.randn(900, 5) ⇒ x = torch.randn(900, 5).squeeze()
            share_of_most: y = net(x).argmax(1) ⇒ y = net(x).argmax(1).squeeze()
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = ((y[701:] + 1) % 3).squeeze()
        An example may have other sizes and numbers, as long as they differ where they must.
            test_evaluate: model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ model = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5))
            test_evaluate: model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ model = nn.Dropout(0.5)
            test_evaluate: model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ model = nn.Sequential(nn.Dropout(1.0), nn.Linear(8, 4))
            test_evaluate: model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5))
            test_evaluate: model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) ⇒ model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
            test_evaluate: with torch.no_grad(): ⇒ if True:
            test_evaluate: labels[:49] = 3 - labels[:49] ⇒ labels[:49] = 3 + labels[:49]
            test_evaluate: labels[:49] = 3 - labels[:49] ⇒ labels[:49] = labels[:49] - 3
            test_evaluate: model.train() ⇒ pass
            test_evaluate: model.train() ⇒ model
            test_evaluate: batches = DataLoader(data, batch_size=100, shuffle=True) ⇒ batches = DataLoader(data, batch_size=101, shuffle=True)
            test_evaluate: batches = DataLoader(data, batch_size=100, shuffle=True) ⇒ batches = DataLoader(data, batch_size=99, shuffle=True)
            share_of_most: net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval() ⇒ net = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)).eval()
            share_of_most: net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval() ⇒ net = nn.Dropout(0.5).eval()
            share_of_most: net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval() ⇒ net = nn.Sequential(nn.Dropout(1.0), nn.Linear(5, 3)).eval()
            share_of_most: net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval() ⇒ net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 4)).eval()
            share_of_most: net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)).eval() ⇒ net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 2)).eval()
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = y[701:] + 1
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = 3
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = (y[701:] - 1) % 3
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = (y[701:] + 1) % 4
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = (y[701:] + 1) % 2
            share_of_most: y[701:] = (y[701:] + 1) % 3 ⇒ y[701:] = (y[701:] + 2) % 3
            share_of_most: loader = DataLoader(TensorDataset(x, y), batch_size=512, shuffle=True) ⇒ loader = DataLoader(TensorDataset(x, y), batch_size=513, shuffle=True)
            share_of_most: loader = DataLoader(TensorDataset(x, y), batch_size=512, shuffle=True) ⇒ loader = DataLoader(TensorDataset(x, y), batch_size=511, shuffle=True)
        A tolerance may be another, what is compared may stand on either side, and the bugs show in one element, too, and in one half of a condition.
            test_evaluate: assert abs(evaluate(model, batches) - 601 / 650) < 1e-05 ⇒ assert abs(evaluate(model, batches) - 601 / 650) <= 1e-05
            test_evaluate: assert abs(evaluate(model, batches) - 601 / 650) < 1e-05 ⇒ assert abs(evaluate(model, batches) - 601 / 650) < 2e-05
            test_evaluate: assert abs(evaluate(model, batches) - 601 / 650) < 1e-05 ⇒ assert abs(601 / 650 - evaluate(model, batches)) < 1e-05
            share_of_most: assert abs(evaluate(net.train(), loader) - 701 / 900) < 1e-05 ⇒ assert abs(evaluate(net.train(), loader) - 701 / 900) <= 1e-05
            share_of_most: assert abs(evaluate(net.train(), loader) - 701 / 900) < 1e-05 ⇒ assert abs(evaluate(net.train(), loader) - 701 / 900) < 2e-05
            share_of_most: assert abs(evaluate(net.train(), loader) - 701 / 900) < 1e-05 ⇒ assert abs(701 / 900 - evaluate(net.train(), loader)) < 1e-05
            share_of_most: assert abs(evaluate(net.train(), loader) - 701 / 900) < 1e-05 ⇒ assert abs(evaluate(net, loader) - 701 / 900) < 1e-05
        """,
}
