#!/usr/bin/env python3
"""Checkpoints of every family of backbones, made by torchvision and timm, give the same logits in medmerge.

Writes one checkpoint a backbone (torchvision's as .pth, timm's as safetensors), lets medmerge import and evaluate it
on random images, and loads what medmerge stored with load_state_dict(strict=True). Needs torch, torchvision, timm,
safetensors, numpy and pillow:

    python tests/import_families.py --medmerge target/release/medmerge [backbone ...]

Prints a line for each backbone; exits with 1 if a log probability differs by more than the tolerance.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-3
CLASSES = ["adipose", "mucosa", "stroma", "tumour"]
IMAGES = 8
BACKBONES = {
    "resnet18": ("resnet18", 64), "resnet34": ("resnet34", 64), "resnet50": ("resnet50", 64),
    "resnet101": ("resnet101", 64), "densenet121": ("densenet121", 64),
    "vit_tiny": ("vit_tiny_patch16_224", 224), "vit_small": ("vit_small_patch16_224", 224),
    "vit_base": ("vit_base_patch16_224", 224), "deit_small": ("deit_small_patch16_224", 224),
    "deit_base": ("deit_base_patch16_224", 224),
}

EXPERIMENT = """
[experiment]
name = "{backbone}"
[dataset.noise.manifest]
path = "images/labels.csv"
size = {size}
[stage.model.import]
path = "{file}"
backbone.{backbone} = {{}}
head.keep = {classes}
normalize = {{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}
[stage.scores.evaluate]
datasets = ["noise"]
models = {{ "model" = "model" }}
[table.main]
from = ["scores"]
rows = "model"
columns = ["metric"]
metrics = ["accuracy"]
"""


def make_model(architecture, size):
    """Random weights, statistics that have seen images, logits that differ between images."""
    torch.manual_seed(sum(map(ord, architecture)))
    if architecture.startswith(("vit", "deit")):
        model = timm.create_model(architecture, num_classes=len(CLASSES))
        torch.nn.init.normal_(model.head.weight, std=1.0)
    else:
        model = getattr(torchvision.models, architecture)(num_classes=len(CLASSES))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(16, 3, size, size))
    return model.eval()


def write_images(folder, size):
    """Random pictures as PNG files, with labels; the pixels."""
    folder.mkdir()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    # Coarse patterns of different strength, so that images are not alike to a network.
    pixels = (pixels * np.linspace(0.1, 1, IMAGES)[:, None, None, None]).astype(np.uint8)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "split"])
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{i}.png")
            rows.writerow([f"{i}.png", CLASSES[i % len(CLASSES)], "test"])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def run(program, experiment):
    folder = experiment.parent
    line = [program, "run", experiment, "--quiet", "--store", folder / "store", "--results", folder / "results"]
    done = subprocess.run(line, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"medmerge run {experiment.name} ended with exit code {done.returncode}")


def probabilities(folder):
    (path,) = folder.glob("store/store/*/*/*.predictions.csv")
    with path.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(Path(row["image"]).stem))
    return torch.tensor([[float(row[f"p_{c}"]) for c in range(len(CLASSES))] for row in rows])


def compare(program, backbone, folder):
    """The largest difference of a log probability, and of a stored tensor."""
    architecture, size = BACKBONES[backbone]
    model = make_model(architecture, size)
    images = write_images(folder / "images", size)
    if architecture in timm.list_models("*vit_*") + timm.list_models("deit_*"):
        file = "model.safetensors"
        save_file(model.state_dict(), folder / file)
    else:
        file = "model.pth"
        torch.save(model.state_dict(), folder / file)
    experiment = folder / f"{backbone}.toml"
    classes = "[" + ", ".join(f'"{name}"' for name in CLASSES) + "]"
    experiment.write_text(EXPERIMENT.format(backbone=backbone, size=size, file=file, classes=classes))
    run(program, experiment)
    with torch.no_grad():
        expected = torch.log_softmax(model(images), dim=1)
    assert expected.std(0).max() > 10 * TOLERANCE, f"{backbone}: the images hardly change the logits"
    (stored,) = folder.glob("store/store/*/*/model.safetensors")
    tensors = load_file(stored)
    model.load_state_dict(tensors, strict=True)
    return (probabilities(folder).log() - expected).abs().max().item(), len(tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", type=Path, required=True, help="the program")
    parser.add_argument("backbones", nargs="*", default=list(BACKBONES))
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.medmerge)
    right = True
    for backbone in arguments.backbones:
        with tempfile.TemporaryDirectory() as folder:
            difference, tensors = compare(program, backbone, Path(folder))
        good = difference <= TOLERANCE
        right &= good
        verdict = "ok" if good else "TOO LARGE"
        print(f"{backbone:<12} {tensors:4} tensors, log probabilities within {difference:.1e}  {verdict}", flush=True)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
