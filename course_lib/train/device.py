"""What a run stands on: the device, the numbers that it computes in, and the seed of everything random. Chapter 07."""

import ctypes
import hashlib
import platform
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.train import distributed


def set_seed(*key: object, device: torch.device | None = None) -> None:
    """Start Python's and PyTorch's random numbers anew, from a seed that depends on all of `key`: numbers or words.

    Args:
        key: such as `0`, or `0, "dropout", 17`.
        device: the only one to start anew beside the CPU; None for all. PyTorch writes down the whole call stack for a
            graphics card that is not in use, which costs more than a small step.
    """
    seed = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=7).digest(), "big")
    random.seed(seed)
    if device is None:
        torch.manual_seed(seed)
        return
    for generator in _generators(device):
        generator.manual_seed(seed)


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Inside `with`, `set_seed(..., device=device)` may be called: afterwards random numbers go on where they were."""
    python, generators = random.getstate(), _generators(device)
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        random.setstate(python)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    """PyTorch's own on the CPU, and the one of `device` if that is another."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        card = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[card])
    elif device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    return generators


def get_device(name: str = "auto") -> torch.device:
    """The torch.device of that name; "auto" is a graphics card if there is one.

    Raises:
        ValueError: there is no such device here.
    """
    here = ["mps", "cpu"] if torch.backends.mps.is_available() else ["cpu"]
    if torch.cuda.is_available():
        here = ["cuda", *(f"cuda:{card}" for card in range(torch.cuda.device_count())), *here]
    if name == "auto":
        name = here[0]
    if str(name) not in here:
        raise ValueError(
            f"device {str(name)!r} is not here; PyTorch {torch.__version__} finds {', '.join(here)}. With an NVIDIA "
            "card, check that nvidia-smi shows it and that PyTorch was installed with CUDA; device='auto' takes what there is."
        )
    return torch.device(name)


def get_precision(name: str, device: torch.device) -> torch.dtype:
    """The torch.dtype to compute in: "auto" is the fastest that the device has without losing accuracy.

    Raises:
        ValueError: the device does not have it.
    """
    if name == "float64" and device.type == "mps":
        raise ValueError("precision 'float64' is not there on device 'mps': use 'float32', or device='cpu'.")
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16 else torch.float32


def describe(device: torch.device) -> str:
    """The kind of device in words: "NVIDIA H100 80GB HBM3", or "cpu, AMD EPYC, AVX512, 2 threads"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {distributed.world_size()} of them"
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    capability = torch.backends.cpu.get_cpu_capability()
    count = torch.get_num_threads() * distributed.world_size()
    return f"{device.type}, {name}, {capability}, {count} thread{'s' if count > 1 else ''}"


def keep_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc (Linux); elsewhere do nothing.

    Otherwise glibc gives every large tensor back to the system and asks for it anew a moment later, and each page that
    comes back is filled with zeros first. On a CPU that is a tenth of the time of a training step.
    """
    mallopt = sys.platform == "linux" and getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: so much may be free at the end of the heap before it is given back
        mallopt(-2, 1 << 28)  # M_TOP_PAD: ask for so much at a time
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: only what is larger than this, 32 MB, gets pages of its own


def peak_memory(device: torch.device) -> int | None:
    """The most memory, in MB, that this process has had on `device` at one time; None where nobody counts it.

    On a graphics card that is what PyTorch's tensors took, on a processor all that the process took.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return round(getrusage(RUSAGE_SELF).ru_maxrss * unit / 1e6)


def memory_shortage(error: Exception) -> str | None:
    """What an error says, in one line, if it is that the memory of some device is used up; otherwise None.

    PyTorch has a class of errors for graphics cards only. On a processor it raises a RuntimeError, NumPy a MemoryError.
    """
    said = str(error).strip() or "no more memory"
    of_memory = re.search("DefaultCPUAllocator|out of memory|can't allocate memory", said)
    return said.splitlines()[0] if of_memory or isinstance(error, torch.OutOfMemoryError | MemoryError) else None


def training_memory(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """What a training step with AdamW has to keep, in MB, counted from the tensors: the same on every device.

    These are the weights, a gradient and AdamW's two averages for each one that is trained, and the activations that
    the backward pass wants. Scratch space comes on top of it.

    Args:
        model: a classifier, images (B, ...) -> logits (B, K), as it is to be trained.
        images, labels: one batch.

    Source: chapter 10.
    """
    weights = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:  # they are counted below
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(model(images), labels)
    sizes = [weight.nbytes * (4 if weight.requires_grad else 1) for weight in model.parameters()]
    del loss  # until here it held the activations, so that no two of them had the same address
    return (sum(sizes) + sum(kept.values())) / 1e6


def count_parameters(model: nn.Module) -> int:
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
