"""Classes with unequal numbers of images: against scikit-learn, and counted."""

import pytest
import tiny
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from tiny import same

from course_lib.train.balance import balanced_order, class_weights
from course_lib.train.loop import fit, train_one_epoch
from course_lib.train.optim import soft_cross_entropy
from course_lib.train.run import Run

UNEVEN = torch.tensor([0] * 19 + [1] * 5 + [2] * 1 + [3] * 8)[
    torch.randperm(33, generator=torch.Generator().manual_seed(0))
]


@pytest.mark.parametrize(
    "labels", [UNEVEN, torch.arange(12) % 4, torch.tensor([1, 1, 0])], ids=["uneven", "even", "two"]
)
def test_the_weights_are_scikit_learns(labels):
    classes = labels.unique()
    wanted = torch.from_numpy(compute_class_weight("balanced", classes=classes.numpy(), y=labels.numpy()))
    found = class_weights(labels, len(classes))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=0)
    assert found[labels].mean() == pytest.approx(1)


def test_a_class_without_images_counts_nothing():
    labels = torch.tensor([0, 0, 0, 2])
    assert class_weights(labels, 4).tolist() == pytest.approx([2 / 3, 0, 2, 0])


def test_the_weighted_loss_is_the_formula():
    random = torch.Generator().manual_seed(0)
    logits, shares = torch.randn(11, 4, generator=random), torch.rand(11, 4, generator=random)
    shares, weights = shares / shares.sum(1, keepdim=True), class_weights(UNEVEN, 4)
    for smoothing in (0.0, 0.1):
        wanted = (shares * (1 - smoothing) + smoothing / 4) * weights * -F.log_softmax(logits, dim=1)
        found = soft_cross_entropy(logits, shares, smoothing, weights)
        torch.testing.assert_close(found, wanted.sum(1).mean())


@pytest.mark.parametrize("seed", range(5))
def test_each_class_comes_equally_often(seed):
    """33 rows of four classes: three have eight, one has nine; and each image of a class comes n or n + 1 times."""
    torch.manual_seed(seed)
    rows = balanced_order(UNEVEN)
    assert len(rows) == 33 and sorted(UNEVEN[rows].bincount().tolist()) == [8, 8, 8, 9]
    times = rows.bincount(minlength=33)
    for label in range(4):
        of_class = times[label == UNEVEN]
        assert of_class.max() - of_class.min() <= 1
    assert not torch.equal(rows, balanced_order(UNEVEN))


def test_more_classes_than_images():
    torch.manual_seed(0)
    assert sorted(balanced_order(torch.tensor([5, 9])).tolist()) == [0, 1]


def test_even_classes_come_as_often_as_without():
    torch.manual_seed(0)
    assert sorted(balanced_order(torch.arange(12) % 3).tolist()) == list(range(12))


def uneven_set():
    data = tiny.image_set(33, classes="abcd")
    data.labels.copy_(UNEVEN)
    return data


def test_a_run_sees_the_classes_equally_often(monkeypatch):
    seen = []
    config = tiny.config(balanced=True)
    run = Run(tiny.model(num_classes=4), uneven_set(), config)
    real = run.order
    monkeypatch.setattr(run, "order", lambda: seen.append(real()) or seen[-1])
    train_one_epoch(run)
    train_one_epoch(run)
    assert all(sorted(UNEVEN[rows].bincount().tolist()) == [8, 8, 8, 9] for rows in seen) and len(seen) == 2
    assert not torch.equal(*seen)


def test_a_run_with_class_weights_is_another_run():
    def weights(**settings):
        net = tiny.model(num_classes=4)
        fit(net, uneven_set(), tiny.image_set(7, classes="abcd"), tiny.config(**settings), quiet=True)
        return net.state_dict()

    plain, weighted, even = weights(), weights(class_weights=True), weights(balanced=True)
    assert not (same(plain, weighted) or same(plain, even) or same(weighted, even))
    assert same(weighted, weights(class_weights=True))
