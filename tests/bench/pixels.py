"""How far pixels are from Pillow's: the table of the guide, "Pixels are not PIL's".

    python tests/bench/pixels.py --medmerge target/release/medmerge --data DATA [--size 64] [--images 50] [--filter bicubic]

DATA has folders with a labels.csv and images, as `manifest` reads them. Images are taken at regular steps. What medmerge
decoded is read from its cache. Needs numpy and Pillow.
"""

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXPERIMENT = """
[experiment]
name = "pixels"
[dataset.images.manifest]
path = "labels.csv"
images = "{folder}"
size = {size}
pixels.interpolation = "{filter}"
[train]
epochs = 1
select = "none"
[stage.model.pretrain]
backbone.resnet18 = {{ stem = "small", width = 4 }}
dataset = "images"
[stage.scores.evaluate]
models = {{ model = "model" }}
datasets = ["images"]
[table.main]
from = ["scores"]
metrics = ["accuracy"]
"""

HEADER = 80


def decoded(program, folder, names, size, filter):
    """Pixels by medmerge, in the order of the names: all but the last two are for training."""
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        rows = [(name, "ab"[i % 2], "train" if i < len(names) - 2 else "test") for i, name in enumerate(names)]
        with open(place / "labels.csv", "w", newline="") as file:
            csv.writer(file).writerows([("image", "label", "split"), *rows])
        (place / "pixels.toml").write_text(EXPERIMENT.format(folder=folder.resolve(), size=size, filter=filter))
        subprocess.run([Path(program).resolve(), "run", "pixels.toml", "--quiet"], cwd=place, check=True, capture_output=True)
        (cache,) = place.glob(".medmerge/data/*/pixels")
        return np.frombuffer(cache.read_bytes()[HEADER:], np.uint8).reshape(len(names), size, size, 3)


def by_pillow(path, size, filter):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling[filter.upper()]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--filter", choices=["bilinear", "bicubic"], default="bilinear")
    arguments = parser.parse_args()
    for labels in sorted(Path(arguments.data).glob("*/labels.csv")):
        with open(labels, newline="") as file:
            names = sorted(row["image"] for row in csv.DictReader(file))
        names = names[:: max(1, len(names) // arguments.images)][: arguments.images]
        ours = decoded(arguments.medmerge, labels.parent, names, arguments.size, arguments.filter)
        theirs = np.stack([by_pillow(labels.parent / name, arguments.size, arguments.filter) for name in names])
        distance = np.abs(ours.astype(int) - theirs)
        shares = [f"{np.mean(distance > level):.1e}" for level in (0, 1, 2)]
        print(f"{labels.parent.name}: mean {distance.mean():.3f}, largest {distance.max()}, above 0, 1, 2: {shares}")


if __name__ == "__main__":
    main()
