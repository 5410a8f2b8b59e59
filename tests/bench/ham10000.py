"""The recipe of experiments/ham10000.toml in PyTorch: ResNet-18 from scratch on HAM10000 at 64 pixels.

    python tests/bench/ham10000.py DATA/ham10000/labels.csv --out torch.csv [--threads 2] [--seeds 0 1 2]

Writes a row `seed,macro_f1,balanced_accuracy` per seed, as soon as it is known. Images are squashed to 64 pixels by
Pillow once; the augmentations are torchvision's v2 on these. Needs numpy, Pillow, torch and torchvision.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

SIZE, EPOCHS, BATCH = 64, 8, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MEDIUM = v2.Compose([
    v2.RandomResizedCrop(SIZE, scale=(0.08, 1.0), antialias=True),
    v2.RandomHorizontalFlip(),
    v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
])
SCALE = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def read(path):
    """Images `[n, 3, SIZE, SIZE]` (u8) and labels of each split."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    splits = {}
    for split in ("train", "test"):
        of_split = [row for row in rows if row["split"] == split]
        paths = [Path(path).parent / row["image"] for row in of_split]
        squashed = (Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR) for path in paths)
        images = torch.from_numpy(np.stack([np.asarray(image) for image in squashed])).permute(0, 3, 1, 2).contiguous()
        splits[split] = images, torch.tensor([classes.index(row["label"]) for row in of_split])
    return splits, len(classes)


def train(images, labels, classes, seed):
    torch.manual_seed(seed)
    model = torchvision.models.resnet18(num_classes=classes).to(memory_format=torch.channels_last)
    weight = len(labels) / (classes * torch.bincount(labels, minlength=classes))
    loss = torch.nn.CrossEntropyLoss(weight=weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(labels)).split(BATCH):
            if len(batch) == 1:
                continue
            views = torch.stack([MEDIUM(image) for image in images[batch]])
            views = SCALE(views).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            loss(model(views), labels[batch]).backward()
            optimizer.step()
        schedule.step()
        print(f"seed {seed}: epoch {epoch + 1}/{EPOCHS}", flush=True)
    return model.eval()


def score(model, images, labels, classes):
    """Macro F1 and balanced accuracy."""
    with torch.no_grad():
        predicted = torch.cat([model(SCALE(batch)).argmax(1) for batch in images.split(256)])
    pairs = torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    hits, support, answers = pairs.diagonal(), pairs.sum(1), pairs.sum(0)
    f1 = 2 * hits / (support + answers)
    return f1.nan_to_num(0).mean().item(), (hits / support).mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    splits, classes = read(arguments.csv)
    with open(arguments.out, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["seed", "macro_f1", "balanced_accuracy"])
        for seed in arguments.seeds:
            model = train(*splits["train"], classes, seed)
            rows.writerow([seed, *score(model, *splits["test"], classes)])
            file.flush()


if __name__ == "__main__":
    main()
