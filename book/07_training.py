# %%
import torch
import torch.nn.functional as F

from course_lib import train, vit
from course_lib.data import digits

SMALL = vit.ViTConfig(
    img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=6,
    num_heads=4, mlp_ratio=2.0,
)  # fmt: skip
EPOCHS, BATCH = 16, 48
SCHEDULES = ("constant", "cosine", "warm-up, cosine")


def rate_at(schedule, step, total, peak):
    """The learning rate of a step, for the three schedules that are compared."""
    if schedule == "constant":
        return peak
    warmup_steps = 0 if schedule == "cosine" else total // 10
    return train.warmup_cosine_lr(step, total, warmup_steps, peak)


def train_digits(schedule, peak, stop=None):
    """Train a small ViT on the digits, up to step `stop`; returns it and all losses."""
    data, model = digits("train"), vit.VisionTransformer(SMALL)
    optimizer = torch.optim.AdamW(train.param_groups(model, weight_decay=0.05))
    total, losses = EPOCHS * (len(data) // BATCH), []
    while len(losses) < (stop or total):
        for rows in torch.randperm(len(data)).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(schedule, len(losses), total, peak)
            logits = model(data.normalised(data.images[rows]))
            loss = F.cross_entropy(logits, data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, losses
