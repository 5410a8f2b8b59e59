#!/usr/bin/env python3
"""Image files get the same probabilities from medmerge, timm and torchvision.

Draws JPEG and PNG files, trains a small model of each backbone on them (deploy_roundtrip.toml) and imports one whose
weights torch made. For each: medmerge predicts the files from the store; the model is exported; timm's or the exported
module's own transforms and network predict the same files through PIL. Needs torch, torchvision, timm, safetensors,
numpy and pillow:

    python tests/deploy_roundtrip.py --medmerge target/release/medmerge

Prints a line for each model with the largest differences of a probability: for PNG files that need no resizing, for
those that are resized, and for JPEG files. All are the same pixels everywhere.
Exits with 1 if one is above the tolerance.
"""

import argparse
import csv
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from program import run

TOLERANCE = 1e-4
SORTS = ["same pixels", "resized PNG", "resized JPEG"]
CLASSES = ["benign", "malignant, or so", "naevus"]
IMAGES = 30
SIZE = 64
# Formats of each stage; timm has no ResNet with another stem or width.
EXPORTS = {
    "resnet": ["timm", "pytorch"], "dense": ["timm", "pytorch"], "vit": ["timm", "pytorch"],
    "bicubic": ["timm", "pytorch"], "narrow": ["pytorch"], "small": ["pytorch"], "imported": ["timm", "pytorch"],
}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def picture(random, label, sides):
    """A photograph in the small: a disc of the class's color on a gradient, with noise."""
    height, width = sides
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([60 + 90 * x / width, 40 + 120 * y / height, np.full(x.shape, 110.0)], axis=2)
    disc = (x - width * random.uniform(0.3, 0.7)) ** 2 + (y - height * random.uniform(0.3, 0.7)) ** 2 < 20 ** 2
    image[disc] = [(220, 60, 60), (60, 190, 80), (70, 70, 230)][label]
    return Image.fromarray((image + random.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8))


def sort_of(i):
    """What the i-th test image is: ten of each."""
    return SORTS[i // 10]


def write_images(folder):
    """Files for training, and those to predict, among them gray ones, with a palette, and with alpha."""
    random = np.random.default_rng(0)
    folder.mkdir()
    rows, files = [("image", "label", "split")], []
    for split, count in [("train", 24), ("val", 6), ("test", IMAGES)]:
        for i in range(count):
            label = i % len(CLASSES)
            fits = split == "test" and sort_of(i) == "same pixels"
            jpeg = i % 2 if split != "test" else sort_of(i) == "resized JPEG"
            image = picture(random, label, (SIZE, SIZE) if fits else random.integers(60, 120, 2))
            if not jpeg and i % 10 in (2, 4, 6):
                image = image.convert({2: "L", 4: "P", 6: "RGBA"}[i % 10])
            name = f"{split}{i:02}." + ("jpg" if jpeg else "png")
            image.save(folder / name, **({"quality": 90} if jpeg else {}))
            rows.append((name, CLASSES[label], split))
            if split == "test":
                files.append(folder / name)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return files


def random_model(architecture, seed):
    """A model of torchvision with random weights, whose statistics have seen images, and of weak residual branches: it
    does not amplify differences between pixels more than a trained model."""
    torch.manual_seed(seed)
    model = getattr(torchvision.models, architecture)(num_classes=len(CLASSES))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
        elif hasattr(module, "downsample"):
            torch.nn.init.constant_(getattr(module, "bn3", module.bn2).weight, 0.2)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, SIZE, SIZE))
    return model.eval()


def write_described(model, path):
    """A file of another program, with metadata that describe it."""
    info = {
        "backbone": {"resnet18": {}},
        "normalize": {key: list(value) for key, value in IMAGENET.items()},
        "head": {"dataset": "", "classes": CLASSES},
        "preprocessing": {"size": SIZE, "pixels": {"crop_mode": "center"}},
    }
    save_file(model.state_dict(), path, metadata={"medmerge": json.dumps({"info": info})})


def predict(program, folder, model, files, *options):
    """Probabilities by medmerge, one row per file."""
    rows = list(csv.reader(run(program, folder, "predict", model, *files, *options).splitlines()))
    assert rows[0] == ["image", "predicted", *(f"p_{name}" for name in CLASSES)], rows[0]
    assert [row[0] for row in rows[1:]] == [str(file) for file in files], "the order of the images"
    probabilities = torch.tensor([[float(cell) for cell in row[2:]] for row in rows[1:]])
    best = [CLASSES[int(i)] for i in probabilities.argmax(1)]
    assert [row[1] for row in rows[1:]] == best, "the predicted classes"
    return probabilities


def forward(model, transform, files):
    """Probabilities by torch, of files through PIL."""
    images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        return model.eval()(images).softmax(1)


def by_timm(folder, files):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = timm.data.resolve_data_config({}, model=model)
    assert model.pretrained_cfg["label_names"] == CLASSES, "the names of the classes"
    return forward(model, timm.data.create_transform(**config), files)


def by_module(folder, files):
    spec = importlib.util.spec_from_file_location("exported", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.CLASSES == CLASSES, "the names of the classes"
    return forward(module.load(), module.transform, files)


def check_card(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n"), "front matter"
    for section in ("## Use", "## Input", "## License"):
        assert section in card, section


def by_torchvision(model, files):
    steps = [torchvision.transforms.Resize(SIZE), torchvision.transforms.CenterCrop(SIZE),
             torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(**IMAGENET)]
    return forward(model, torchvision.transforms.Compose(steps), files)


def compare(program, folder):
    """(what, probabilities by medmerge, by another program) of each model."""
    files = write_images(folder / "images")
    experiment = Path(shutil.copy(Path(__file__).with_suffix(".toml"), folder))
    imported, described = random_model("resnet50", 5), random_model("resnet18", 6)
    torch.save(imported.state_dict(), folder / "resnet50.pth")
    write_described(described, folder / "described.safetensors")
    run(program, folder, "run", experiment, "--quiet")
    of_stage = ("--experiment", experiment)
    for stage, formats in EXPORTS.items():
        ours = predict(program, folder, stage, files, *of_stage)
        for name in formats:
            exported = folder / f"{stage}-{name}"
            run(program, folder, "export", stage, exported, "--to", name, *of_stage)
            check_card(exported)
            again = predict(program, folder, exported, files)
            assert torch.equal(again, ours), f"{stage}: the exported folder predicts something else"
            yield f"{stage}, {name}", ours, (by_timm if name == "timm" else by_module)(exported, files)
    ours = predict(program, folder, "imported", files, *of_stage)
    yield "imported, torchvision", ours, by_torchvision(imported, files)
    ours = predict(program, folder, folder / "described.safetensors", files)
    yield "described, torchvision", ours, by_torchvision(described, files)
    saved = folder / "saved"
    model = timm.create_model("resnet18", num_classes=len(CLASSES))
    model.load_state_dict(described.state_dict())
    timm.models.save_for_hf(model, saved, {"label_names": CLASSES}, safe_serialization=True,
                            data_config={"input_size": (3, SIZE, SIZE), "crop_pct": 0.9})
    yield "saved by timm", predict(program, folder, saved, files), by_timm(saved, files)


def report(what, ours, theirs):
    """Prints the largest difference of each sort of images; whether all are within their tolerances."""
    assert ours.std(0).max() > 0.01, f"{what}: the images hardly change the probabilities"
    right, told = True, []
    for sort in SORTS:
        if what.startswith(("bicubic", "saved")) and sort == "same pixels":
            continue  # it resizes them, too
        difference = (ours - theirs)[[sort_of(i) == sort for i in range(IMAGES)]].abs().max().item()
        good = difference <= TOLERANCE  # a NaN is not
        right &= good
        told.append(f"{sort} {difference:.1e} {'ok' if good else 'TOO LARGE'}")
    print(f"{what:<22}  {', '.join(told)}", flush=True)
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", type=Path, required=True, help="the program")
    program = parser.parse_args().medmerge.resolve()
    with tempfile.TemporaryDirectory() as folder:
        right = [report(*compared) for compared in compare(program, Path(folder))]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
