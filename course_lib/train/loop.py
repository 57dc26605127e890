"""Train a classifier: fast, repeatable, and safe against crashes. Chapter 07.

Read from the top: evaluation, one step, one epoch, and `fit` around them. Beside it stand the settings (`config`),
what the optimiser is fed with (`optim`), the state of a run (`run`) and what looks after it (`watch`).

Every step starts from a random seed of its own, made of the run's seed and the step's number. So one process, several
processes or gradient accumulation see the same images in the same order, and a run that is continued after any step
makes the same steps: on a CPU, with the same number of threads and the same PyTorch, to the last bit. On a graphics card
the same holds to rounding only: the backward pass of its fused attention adds up in no fixed order.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data.image_set import ImageSet
from course_lib.train import distributed
from course_lib.train.checkpoint import Store
from course_lib.train.config import TrainConfig
from course_lib.train.device import generators_kept, memory_shortage, set_seed
from course_lib.train.optim import SCHEDULES, ema_decay, ema_update, soft_cross_entropy
from course_lib.train.run import Run
from course_lib.train.watch import StopSignals, Watch, progress_bar, tensorboard_writer, write_history


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """(loss, accuracy) over all images: the mean over images, not over batches, which may be of uneven sizes.

    Args:
        model: a classifier; it is in evaluation mode afterwards.
        batches: yields (images, labels); with several processes, each its own part (`evaluate_set` does that).

    Raises:
        ValueError: there are no images, or the loss is not a finite number.

    Source: chapter 07.
    """
    model.eval()
    weight = next(model.parameters())
    sums = torch.zeros(3, dtype=torch.float64, device="cpu" if weight.device.type == "mps" else weight.device)
    for images, labels in batches:
        logits = model(images.to(weight))
        labels = labels.to(logits.device)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        hits = (logits.argmax(dim=-1) == labels).sum()
        sums += torch.stack([loss.to(sums), hits.to(sums), sums.new_tensor(len(labels))])
    loss, hits, count = distributed.sum_over_processes(sums).tolist()
    if not count:
        raise ValueError("0 images to evaluate on: at least 1 is needed.")
    if not math.isfinite(loss):
        raise ValueError(f"the loss on {count:.0f} images is {loss}: the weights or the images are not finite numbers.")
    return loss / count, hits / count


def evaluate_set(model: nn.Module, data: ImageSet, batch_size: int = 250) -> tuple[float, float]:
    """(loss, accuracy) of a model on an `ImageSet`; several processes share the work, each image counts once."""
    rows = torch.arange(len(data))[distributed.rank() :: distributed.world_size()]
    return evaluate(model, data.take(rows).batches(batch_size) if len(rows) else [])


class TrainingError(ValueError):
    """A run that must not go on; the message says why and what to change."""


LEVERS = "Smaller batch_size, larger accumulate (same result), precision='bfloat16', smaller images or a smaller model."


def train_step(run: Run, rows: Tensor) -> float:
    """One step of the optimiser on the images in `rows`; returns the loss.

    Raises:
        TrainingError: the loss or the gradient is not finite, and the weights are still those from before the step;
            or the memory is too small even for one image at a time.
    """
    while True:
        try:
            loss, right = compute_gradients(run, rows)
            break
        except (RuntimeError, MemoryError) as error:
            if not (message := memory_shortage(error)):
                raise
        make_room(run, message)  # only here, where the error no longer keeps in memory what was being computed
    apply_gradients(run, loss, rows)
    run.progress.right += right
    return loss


def compute_gradients(run: Run, rows: Tensor) -> tuple[float, float]:
    """Augment, run forwards and backwards, part by part; returns the mean loss, and how many images were right.

    Both are over all processes. An image is right if the largest logit is that of the largest share of its target.
    """
    config, world = run.config, distributed.world_size()
    step, device = run.progress.step, run.device
    set_seed(
        config.seed, "augment", step, device=device
    )  # alike in all processes: each makes all images, takes its own
    images, targets = config.augment(run.data, rows, len(run.data.classes))
    images, targets = (x[distributed.rank() :: world].to(run.weights_dtype) for x in (images, targets))
    run.leave_out_patches()
    parts = list(zip(images.chunk(run.accumulate), targets.chunk(run.accumulate), strict=True))
    sums = torch.zeros(2, device=device, dtype=run.weights_dtype)
    for index, (part, wanted) in enumerate(parts):
        set_seed(config.seed, "dropout", step, distributed.rank(), index, device=device)
        with distributed.averaging(run.parallel, index == len(parts) - 1):
            with run.autocast():
                logits = run.parallel(part)
            logits = logits.to(run.weights_dtype)
            loss = soft_cross_entropy(logits, wanted, config.label_smoothing, run.class_weights)
            loss = loss * len(part) / len(images)
            run.scaler.scale(loss).backward()
        hits = (logits.argmax(dim=1) == wanted.argmax(dim=1)).sum()
        sums += torch.stack([loss.detach(), hits.to(sums)])
    loss, right = distributed.sum_over_processes(sums).tolist()
    return loss / world, right


def make_room(run: Run, message: str) -> None:
    """After running out of memory: cut each batch into twice as many parts, which changes nothing but the time."""
    run.optimizer.zero_grad()
    size = run.config.batch_size // distributed.world_size()
    if distributed.world_size() > 1 or run.accumulate >= size:
        raise TrainingError(f"out of memory with a batch of {size} in {run.accumulate} parts: {message} {LEVERS}")
    run.accumulate = min(2 * run.accumulate, size)
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    print(
        f"Out of memory ({message}): going on with each batch of {size} in {run.accumulate} parts. {LEVERS}", flush=True
    )


def apply_gradients(run: Run, loss: float, rows: Tensor) -> None:
    """Clip, step, average, and forget the gradients."""
    config, scaler, progress = run.config, run.scaler, run.progress
    warmup = round(config.warmup_epochs * run.steps_per_epoch)
    applied = progress.step - progress.skipped
    rate = SCHEDULES[config.schedule](applied, run.total_steps, warmup, config.lr)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
    scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_grad or math.inf).item()
    overflow = scaler.is_enabled() and math.isfinite(loss) and not math.isfinite(norm)
    if not (math.isfinite(loss) and math.isfinite(norm)) and not overflow:
        run.optimizer.zero_grad()
        before = f"{progress.last_loss:.4g}" if progress.step else "none"
        raise TrainingError(
            f"step {progress.step}: loss {loss}, length of the gradient {norm}, learning rate {rate:.3g}; loss of the step "
            f"before: {before}; images {rows.tolist()}. The weights are as they were before this step. Try a lower lr, "
            "a longer warm-up or precision='float32', and look at these images."
        )
    scaler.step(run.optimizer)
    scaler.update()
    run.optimizer.zero_grad()
    if overflow:
        progress.skipped += 1
        progress.overflows += 1
        if progress.overflows == 20:
            raise TrainingError("20 steps in a row overflowed in float16: use precision='bfloat16' or 'float32'.")
    else:
        progress.overflows = 0
        if config.ema:
            ema_update(run.average, run.model, ema_decay(config.ema, applied, run.total_steps))


def train_mode(model: nn.Module) -> None:
    """Put the model into training mode, but what is frozen as a whole into evaluation mode.

    Otherwise a frozen batch norm goes on changing its statistics, and a frozen block drops parts of what it says.
    """
    model.train()
    for part in model.modules():
        frozen = [not parameter.requires_grad for parameter in part.parameters()]
        if frozen and all(frozen):
            part.eval()


def train_one_epoch(run: Run, after_step: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Train to the end of the epoch in which the run stands; returns (loss, accuracy), means over its batches as trained.

    Args:
        run: a `Run`; its `progress` says where it stands, so an epoch that was begun is finished.
        after_step: called after each step.
    """
    progress, size = run.progress, run.config.batch_size
    first = progress.epoch * run.steps_per_epoch
    set_seed(run.config.seed, "order", progress.epoch, device=run.device)
    order = run.order()
    train_mode(run.model)
    while progress.step < first + run.steps_per_epoch:
        start = (progress.step - first) * size
        progress.last_loss = train_step(run, order[start : start + size])
        progress.loss_sum += progress.last_loss
        progress.step += 1
        after_step()
    loss, right = progress.loss_sum / run.steps_per_epoch, progress.right / (run.steps_per_epoch * size)
    progress.loss_sum = progress.right = 0.0
    progress.epoch += 1
    return loss, right


@contextmanager
def errors_explained() -> Iterator[None]:
    """Inside `with`, running out of memory is a `TrainingError` that says what to change; and a model that cannot be compiled."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if message := memory_shortage(error):
            raise TrainingError(f"out of memory: {message} {LEVERS}") from error
        if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):  # such as without a C++ compiler
            said = str(error).strip().partition("\n")[0]
            raise TrainingError(f"the model cannot be compiled here ({said}): use compile=False.") from error
        raise


def fit(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet,
    config: TrainConfig,
    *,
    rates: Mapping[str, float] | None = None,
    folder: str | Path | None = None,
    copy_to: str | Path | None = None,
    allow_change: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> list[dict]:
    """Train `model` on `train`, look at `val` after each epoch, and return what happened.

    With a folder, the run is saved at the start, after each epoch, every ten minutes, and when it is stopped; the
    same call goes on where it ended. There are then also `history.csv` and `history.json`. Random numbers outside go on
    afterwards as if nothing had happened.

    Args:
        model: a classifier: (B, C, h, w) -> (B, classes). At the end it has the averaged weights, if `config.ema`.
        train, val: `ImageSet`s of the same kind of images.
        config: a `TrainConfig`.
        rates: {name of a parameter: factor for its learning rate}; None for 1 throughout. Frozen ones are not trained.
        folder: where to save; None for nowhere.
        copy_to: a second folder for a copy of each checkpoint, such as one on Google Drive.
        allow_change: go on even if the checkpoint is of a run with other settings.
        tensorboard: write a log for TensorBoard into `folder` too.
        quiet: say nothing of how it goes.

    Returns:
        a list with a dict for each epoch: epoch, lr, train_loss, train_accuracy, val_loss, val_accuracy,
        images_per_second, seconds and cpu_seconds since the beginning. Loss and accuracy in training are means over
        the epoch's batches as they were trained on: augmented, with dropout, and while the weights moved.

    Raises:
        TrainingError, CheckpointError: it cannot go on; both are `ValueError`s. What was saved last stays.
        KeyboardInterrupt, SystemExit: it was asked to stop, and has saved.

    Source: chapter 07.
    """
    with errors_explained():
        run = Run(model, train, config, rates)
        complete(
            run,
            val,
            folder=folder,
            copy_to=copy_to,
            allow_change=allow_change,
            tensorboard=tensorboard,
            quiet=quiet,
        )
    return run.progress.history


def complete(
    run: Run,
    val: ImageSet,
    *,
    folder: str | Path | None = None,
    copy_to: str | Path | None = None,
    allow_change: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> int:
    """Train to the end of a `Run`, from where the folder says that it stands; returns how many epochs were trained.

    Arguments and errors are those of `fit`.
    """
    if len(val.classes) != len(run.data.classes):
        raise ValueError(f"{len(val.classes)} classes in val and {len(run.data.classes)} in train must be the same.")
    if tensorboard and not folder:
        raise ValueError("tensorboard=True needs a folder to write in.")
    with ExitStack() as stack:
        stack.enter_context(generators_kept(run.device))
        store = stack.enter_context(Store(folder, copy_to)) if folder and distributed.is_main() else None
        found = distributed.from_main(store and store.load())
        if found:
            run.restore(found[1], allow_change)
        writer = stack.enter_context(tensorboard_writer(run, store)) if tensorboard and store else None
        if store:  # a full disk shows before training, not after
            store.save(run.progress.step, run.state())
            write_history(store.folder, run.progress.history)
        signals = stack.enter_context(StopSignals())
        bar = stack.enter_context(progress_bar(run, quiet))
        watch, val, before = Watch(run, store, signals, bar, writer, quiet), val.to(run.device), run.progress.epoch
        while not run.finished:
            trained = train_one_epoch(run, watch.after_step)
            with run.autocast():
                judged = evaluate_set(run.average, val)
            watch.after_epoch(trained, judged, val)
        run.model.load_state_dict(run.average.state_dict())
        run.model.eval()
        return run.progress.epoch - before
