"""What one of several processes does in the tests of `course_lib.train.distributed`: `torchrun ... MODE FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path

import tiny
import torch
from accelerate import Accelerator

import course_lib.train.loop
from course_lib.data.augment import Augment
from course_lib.train import distributed
from course_lib.train.device import set_seed
from course_lib.train.loop import evaluate_set, fit, train_step
from course_lib.train.optim import param_groups, soft_cross_entropy, warmup_cosine_lr
from course_lib.train.run import Run

AUGMENT = Augment(crop=1, flip=True, rotate=10, scale=0.1, erase=0.3, mixup=0.4, cutmix=1.0)
BATCH, STEPS = 8, 20
ODD = 7


def config(**changes):
    settings = {"epochs": 4, "batch_size": BATCH, "precision": "float64", "augment": AUGMENT, "ema": 0.9, "lr": 0.01}
    return tiny.config(**{**settings, "label_smoothing": 0.1, "clip_grad": 0.5, **changes})


def data():
    return tiny.image_set(43)  # 5 steps an epoch


def train(weights=0, **changes):
    """20 steps of AdamW; returns all that they changed, and the losses."""
    run = Run(tiny.model(weights), data(), config(**changes))
    losses = []
    for run.progress.step in range(STEPS):
        losses.append(train_step(run, torch.arange(run.progress.step, run.progress.step + BATCH)))
    return {"model": run.model.state_dict(), "average": run.average.state_dict(), "losses": losses}


def train_with_accelerate(accumulate):
    """The same in a loop around Hugging Face's Accelerate, which averages gradients over parts and processes."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    settings, images_of = config(accumulate=accumulate, ema=0.0), data()
    model = tiny.model().double()
    optimizer = torch.optim.AdamW(param_groups(model, settings.weight_decay), settings.lr, settings.betas, fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    for step in range(STEPS):
        set_seed(settings.seed, "augment", step)
        images, targets = AUGMENT(images_of, torch.arange(step, step + BATCH), 5)
        mine = slice(accelerator.process_index, None, accelerator.num_processes)
        images, targets = images[mine].double(), targets[mine].double()
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine_lr(step, 20, 5, settings.lr)
        for part, wanted in zip(images.chunk(accumulate), targets.chunk(accumulate), strict=True):
            with accelerator.accumulate(model):
                accelerator.backward(soft_cross_entropy(model(part), wanted, 0.1))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), settings.clip_grad)
                optimizer.step()
                optimizer.zero_grad()
    return accelerator.unwrap_model(model).state_dict()


def report(folder):
    """What does not need a start of its own; at last, a crash."""
    rank = int(os.environ["RANK"])
    found = {
        "two": train(rank),  # the main process's weights must reach the others
        "two, in parts": train(rank, accumulate=2),
        "accelerate": {parts: train_with_accelerate(parts) for parts in (1, 2)},
        "ours for accelerate": {parts: train(ema=0.0, accumulate=parts)["model"] for parts in (1, 2)},
        "odd": evaluate_set(tiny.model().double(), tiny.image_set(ODD), 3),
        "one": evaluate_set(tiny.model().double(), tiny.image_set(1), 3),
        "largest": distributed.largest(15 + rank, torch.device("cpu")),
        "from main": distributed.from_main({"rank": rank}),
        "sum": distributed.sum_over_processes(torch.tensor([float(rank), 4.0])).tolist(),
        "main": distributed.is_main(),
        "world": distributed.world_size(),
    }
    try:
        Run(tiny.model(), data(), config(batch_size=9))
    except ValueError as error:
        found["odd batch"] = str(error)
    torch.save(found, folder / f"{rank}.pt")
    crash(folder)


def before_step(number, act):
    """Do something at the beginning of that step and all that follow."""
    real = course_lib.train.loop.train_step

    def step(run, rows):
        if run.progress.step >= number:
            act()
        return real(run, rows)

    course_lib.train.loop.train_step = step


def go(folder):
    net = tiny.model(distributed.rank())
    fit(net, data(), tiny.image_set(ODD, seed=1), config(), folder=folder, quiet=True)


def crash(folder):
    """Process 1 dies in the middle of an epoch, while process 0 waits for it."""

    def die():
        if distributed.rank() == 1:
            (folder / "crashed").touch()
            os._exit(3)

    before_step(7, die)
    go(folder / "crash")


def wait(folder):
    """Train; in the middle of the eighth step wait for SIGTERM."""

    def hold():
        (folder / "going").touch()
        while not signal.getsignal(signal.SIGTERM).__self__.number:  # of the `StopSignals` that listen
            time.sleep(0.02)

    before_step(7, hold)
    go(folder / "run")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"report": report, "wait": wait}[sys.argv[1]](Path(sys.argv[2]))
