"""On a graphics card the model, its maps, its training and its images are what they are on the processor.

Skipped where there is none. What can be asked without one is asked on PyTorch's "meta" device, beside the rest of its
kind: test_augment.py, test_model.py.
"""

import pytest
import tiny
import torch
from libraries import ours, random_images, run_ours, run_ours_fused, run_reference, within_bar
from test_parity import CASES, check_pass

from course_lib.data.augment import Augment
from course_lib.interpret.maps import attention_maps, attention_rollout
from course_lib.train.loop import evaluate_set, fit

DEVICE = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
pytestmark = pytest.mark.skipif(DEVICE is None, reason="no accelerator")
DTYPES = [dtype for dtype in (torch.float64, torch.float32) if (DEVICE and DEVICE.type) != "mps" or dtype.itemsize < 8]


def back(found):
    """A forward pass, moved to the processor."""
    blocks, maps = ([tensor.cpu() for tensor in tensors] for tensors in (found.blocks, found.attention))
    return type(found)(found.logits.cpu(), blocks, maps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "_"))
def test_forward_pass(case, dtype):
    model, images = ours(CASES[case], dtype), random_images(CASES[case], batch=3, dtype=dtype)
    expected = run_reference(model, images)
    model, images = model.to(DEVICE), images.to(DEVICE)
    check_pass(back(run_ours(model, images)), expected)
    check_pass(back(run_ours_fused(model, images)), expected, maps=False)


def test_recorded_maps_and_their_rollout():
    model, images = ours(CASES["not square"]), random_images(CASES["not square"], batch=3)
    expected = attention_maps(model, images)
    found = attention_maps(model.to(DEVICE), images.to(DEVICE))
    assert found.device.type == DEVICE.type
    assert within_bar(found.cpu(), expected.double())
    assert within_bar(attention_rollout(found).cpu(), attention_rollout(expected).double())


def trained(device, **settings):
    """(weights, history) of a run that draws no random images: those would be other ones on another device."""
    net = tiny.model()
    history = fit(net, tiny.image_set(), tiny.val_set(), tiny.config(device=str(device), **settings), quiet=True)
    return {name: value.cpu() for name, value in net.state_dict().items()}, history


def test_training_steps():
    (weights, history), (found, on_device) = (trained(device, augment=Augment()) for device in ("cpu", DEVICE))
    for name, value in weights.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-5), name
    for row, expected in zip(on_device, history, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
        assert row["val_accuracy"] == expected["val_accuracy"]


def test_training_with_everything_drawn_on_the_device():
    """Again with the same seed, the same up to rounding; and in half precision it still trains."""
    (weights, _), (again, history) = (trained(DEVICE) for _ in range(2))
    assert all(torch.allclose(again[name], value, rtol=1e-4, atol=1e-5) for name, value in weights.items())
    _, half = trained(DEVICE, precision="bfloat16")
    for row in (*history, *half):
        assert 0 < row["train_loss"] < 10


def test_evaluation():
    net, data = tiny.model().eval(), tiny.val_set()
    loss, accuracy = evaluate_set(net, data)
    found = evaluate_set(net.to(DEVICE), data.to(DEVICE))
    assert found == (pytest.approx(loss, rel=1e-5), accuracy)


def test_augmented_images_stay_on_the_device():
    data = tiny.image_set().to(DEVICE)
    images, targets = Augment(crop=1, flip=True, rotate=10, rand_augment=2, erase=0.5, mixup=0.4)(
        data, torch.arange(6, device=DEVICE), 5
    )
    assert images.device.type == targets.device.type == DEVICE.type
    assert images.shape == (6, 1, 8, 8) and images.isfinite().all()
    assert targets.sum(dim=1).tolist() == pytest.approx([1] * 6)
