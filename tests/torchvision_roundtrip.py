#!/usr/bin/env python3
"""Checkpoints go from torchvision to medmerge and back, and both compute the same.

Writes two ResNet-18 with torchvision (a .pth and a safetensors file), lets medmerge import, probe, merge and
evaluate them (torchvision_roundtrip.toml), then loads what medmerge made with load_state_dict(strict=True) and
compares. Needs torch, torchvision, safetensors and numpy, and BreastMNIST in the data folder:

    python tests/torchvision_roundtrip.py --medmerge target/release/medmerge --data ../shared/data

Prints a line for each comparison; exits with 1 if a difference is above the tolerance.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

TOLERANCE = 1e-3
CLASSES = 2
# A probability below this has lost its digits in f32, so its logarithm says nothing.
SMALLEST_PROBABILITY = 1e-30


def source(images, seed):
    """A ResNet-18 whose norms are as uneven as a trained one's and have seen images: every tensor counts."""
    torch.manual_seed(seed)
    model = resnet18(num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            module.momentum = None  # running statistics are those of the one batch
    with torch.no_grad():
        model.train()(images)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def write_sources(folder, images):
    a, b = source(images, seed=1), source(images, seed=2)
    torch.save({"state_dict": a, "epoch": 3}, folder / "source_a.pth")
    save_file(b, folder / "source_b.safetensors")
    return {"source_a": a, "source_b": b}


class Medmerge:
    """The program, one experiment, and a store of its own."""

    def __init__(self, program, experiment, data):
        self.program, self.experiment = program, experiment
        self.store = experiment.parent / "store"
        self.environment = {**os.environ, "MEDMERGE_DATA": str(data)}

    def __call__(self, command, *options):
        folders = ["--store", self.store, "--results", self.experiment.parent / "results"]
        line = [self.program, command, self.experiment, *options, *folders]
        output = subprocess.run(line, env=self.environment, stdout=subprocess.PIPE, text=True)
        if output.returncode != 0:
            sys.exit(f"medmerge {command} ended with exit code {output.returncode}")
        return output.stdout

    def stages(self):
        """What `plan --json` says of each stage, by id."""
        return {stage["id"]: stage for stage in json.loads(self("plan", "--json"))["stages"]}

    def entry(self, fingerprint):
        return self.store / "store" / fingerprint[:2] / fingerprint

    def model(self, stage):
        return load_file(self.entry(stage["fingerprint"]) / "model.safetensors")


def test_images(data):
    """BreastMNIST's test images as medmerge's default `normalize` scales them, (n, 3, 28, 28)."""
    grey = np.load(data / "breastmnist" / "breastmnist.npz")["test_images"]
    pixels = torch.from_numpy(grey.astype(np.float32))
    return ((pixels / 255 - 0.5) / 0.5).unsqueeze(1).repeat(1, 3, 1, 1)


def torchvision_log_probabilities(tensors, images):
    model = resnet18(num_classes=tensors["fc.weight"].shape[0])
    model.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        return torch.log_softmax(model.eval()(images), dim=1)


def medmerge_probabilities(entry, model, images):
    """The columns p_0, p_1, … of the predictions of a model."""
    (path,) = entry.glob(f"{model[:12]}.*.predictions.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"test/{i}" for i in range(len(images))], "the order of the images"
    return torch.tensor([[float(row[f"p_{c}"]) for c in range(CLASSES)] for row in rows])


def largest_difference(a, b):
    return (a.double() - b.double()).abs().max().item()


def compare_predictions(medmerge, stages, images):
    """Probabilities, and log probabilities: logits up to a constant."""
    entry = medmerge.entry(stages["scores"]["fingerprint"])
    by_fingerprint = {stage["fingerprint"]: stage for stage in stages.values()}
    for role, fingerprint in stages["scores"]["inputs"].items():
        ours = medmerge_probabilities(entry, fingerprint, images)
        theirs = torchvision_log_probabilities(medmerge.model(by_fingerprint[fingerprint]), images)
        name = role.removeprefix("model.")
        yield f"{name}: probabilities", largest_difference(ours, theirs.exp())
        told = ours > SMALLEST_PROBABILITY
        assert ours[told].log().std() > 10 * TOLERANCE, f"{name}: the images hardly change the probabilities"
        yield f"{name}: log probabilities", largest_difference(ours[told].log(), theirs[told])


def compare_imports(medmerge, stages, sources):
    """Every tensor of an imported model is the file's."""
    for name, tensors in sources.items():
        imported = medmerge.model(stages[name])
        assert imported.keys() == tensors.keys(), f"{name}: names of the tensors"
        yield f"{name}: tensors", max(largest_difference(imported[key], tensors[key]) for key in tensors)


def norm_of(layer):
    """The batch norm that follows a convolution, by torchvision's names."""
    return layer.replace("conv", "bn").replace("downsample.0", "downsample.1")


def compare_merges(medmerge, stages):
    """Merged kernels against sums over the sources: W[k] = Σ_i w_i[k] · W_i[k], with norm and bias alike."""
    probes = [medmerge.model(stages[name]) for name in ("probe_a", "probe_b")]
    merge_weights = load_file(medmerge.entry(stages["weights"]["fingerprint"]) / "merge_weights.safetensors")
    average, learned = medmerge.model(stages["average"]), medmerge.model(stages["learned"])
    layers = [name.removesuffix(".merge_weights") for name in merge_weights if name.endswith(".merge_weights")]
    assert len(layers) == 20, "a ResNet-18 has 20 convolutions"
    of_average = of_learned = moved = 0.0
    for layer in layers:
        weights = merge_weights[f"{layer}.merge_weights"]
        moved = max(moved, largest_difference(weights[1], torch.zeros(())))
        for name in (f"{layer}.weight", f"{norm_of(layer)}.weight", f"{norm_of(layer)}.bias"):
            tensors = torch.stack([probe[name] for probe in probes])
            shares = weights.reshape(weights.shape + (1,) * (tensors.dim() - 2))
            of_average = max(of_average, largest_difference(average[name], tensors.mean(0)))
            of_learned = max(of_learned, largest_difference(learned[name], (shares * tensors).sum(0)))
    assert moved > TOLERANCE, "no merge weight of the other source was learned"
    yield "average: kernels and norms", of_average
    yield "learned: kernels and norms", of_learned
    yield "learned: head", largest_difference(learned["fc.weight"], merge_weights["fc.weight"])


def report(comparisons):
    """Prints a table; whether every difference is within the tolerance."""
    right = True
    print(f"{'largest difference':<40}  (tolerance {TOLERANCE:g})")
    for what, difference in comparisons:
        good = difference <= TOLERANCE  # a NaN is not
        right &= good
        print(f"{what:<40}  {difference:.2e}  {'ok' if good else 'TOO LARGE'}")
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", type=Path, required=True, help="the program")
    parser.add_argument("--data", type=Path, default=os.environ.get("MEDMERGE_DATA"), help="default: MEDMERGE_DATA")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder of breastmnist/ with --data, or set MEDMERGE_DATA")
    program, data = arguments.medmerge.resolve(), arguments.data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        experiment = Path(shutil.copy(Path(__file__).with_suffix(".toml"), folder))
        images = test_images(data)
        sources = write_sources(experiment.parent, images)
        medmerge = Medmerge(program, experiment, data)
        print(medmerge("run"))
        stages = medmerge.stages()
        right = report([
            *compare_imports(medmerge, stages, sources),
            *compare_merges(medmerge, stages),
            *compare_predictions(medmerge, stages, images),
        ])
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
