"""Folders with the layouts of experiments/paper, to measure time and memory without the data.

    python tests/bench/paper_folders.py OUT --images 2000 --size 600x450
    python tests/bench/paper_folders.py OUT --images official --size 48x36   # as many as published, for `plan`
    MEDMERGE_DATA=OUT medmerge run experiments/paper/main.toml --set stage.source_a.sha256=… (it is printed)

Each set has so many images in all, in the shares of the published classes and splits. A set draws a few pictures and
repeats them with different comments in the file, so no two files are equal; nothing can be learned from them. Weights
are random. Needs numpy, Pillow, torch, torchvision, and timm with --deit.
"""

import argparse
import csv
import hashlib
import io
import zlib
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

PICTURES = 24
SKIN = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC", "SCC"]
# Published numbers of images, by split and class.
ISIC2018 = {"Training": [1113, 6705, 514, 327, 1099, 115, 142], "Validation": [21, 123, 15, 8, 22, 1, 3],
            "Test": [171, 909, 93, 43, 217, 44, 35]}
ISIC2019 = [4522, 12875, 3323, 867, 2624, 239, 253, 628]
EYEPACS = {"train": [25810, 2443, 5292, 873, 708], "Public": [8130, 720, 1579, 237, 240],
           "Private": [31403, 3042, 6282, 977, 966]}
APTOS = [1805, 370, 999, 193, 295]


class Writer:
    """Pictures of a fixed size, as JPEG or PNG files that all differ."""

    def __init__(self, width, height):
        random = np.random.default_rng(0)
        y, x = np.mgrid[0:height, 0:width]
        self.pictures = []
        for _ in range(PICTURES):
            waves = [np.sin(x / random.uniform(9, 60) + y / random.uniform(9, 60)) for _ in range(3)]
            levels = 120 + 60 * np.stack(waves, axis=2) + random.normal(0, 12, (height, width, 3))
            self.pictures.append(Image.fromarray(levels.clip(0, 255).astype(np.uint8)))
        self.encoded = {kind: [self.encode(picture, kind) for picture in self.pictures] for kind in ("JPEG", "PNG")}
        self.number = 0

    @staticmethod
    def encode(picture, kind):
        out = io.BytesIO()
        picture.save(out, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 1}))
        return out.getvalue()

    def write(self, path, kind="JPEG"):
        bytes_ = self.encoded[kind][self.number % PICTURES]
        self.number += 1
        text = f"{self.number}".encode()
        if kind == "JPEG":
            comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
            path.write_bytes(bytes_[:2] + comment + bytes_[2:])
        else:
            chunk = b"tEXt" + b"Comment\0" + text
            framed = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
            path.write_bytes(bytes_[:33] + framed + bytes_[33:])


def scaled(published, images):
    """The number of images of each class, by split: as published, or so many in all with the same shares."""
    splits = published if isinstance(published, dict) else {"all": published}
    if images == "official":
        return splits
    total = sum(map(sum, splits.values()))
    return {split: [max(4, round(n * int(images) / total)) for n in counts] for split, counts in splits.items()}


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def one_hot(label, classes):
    return [1.0 if i == label else 0.0 for i in range(classes)]


def isic2018(folder, images, writer):
    number, lesions = 0, []
    for part, counts in scaled(ISIC2018, images).items():
        (folder / f"ISIC2018_Task3_{part}_Input").mkdir(parents=True)
        rows = []
        for label in (label for label, count in enumerate(counts) for _ in range(count)):
            number += 1
            name = f"ISIC_{number:07}"
            writer.write(folder / f"ISIC2018_Task3_{part}_Input/{name}.jpg")
            rows.append([name, *one_hot(label, 7)])
            if part == "Training":
                lesions.append([name, f"HAM_{label}{number // 2:06}", "histopathology"])
        write_csv(folder / f"ISIC2018_Task3_{part}_GroundTruth.csv", ["image", *SKIN[:7]], rows)
    header = ["image", "lesion_id", "diagnosis_confirm_type"]
    write_csv(folder / "ISIC2018_Task3_Training_LesionGroupings.csv", header, lesions)


def isic2019(folder, images, writer):
    (folder / "ISIC_2019_Training_Input").mkdir(parents=True)
    truth, metadata = [], []
    (counts,) = scaled(ISIC2019, images).values()
    for number, label in enumerate(label for label, count in enumerate(counts) for _ in range(count)):
        name = f"ISIC_{number:07}"
        writer.write(folder / f"ISIC_2019_Training_Input/{name}.jpg")
        truth.append([name, *one_hot(label, 9)])
        metadata.append([name, 55, "anterior torso", f"BCN_{label}{number // 2:06}", "female"])
    header = ["image", *(name.replace("AKIEC", "AK") for name in SKIN), "UNK"]
    write_csv(folder / "ISIC_2019_Training_GroundTruth.csv", header, truth)
    header = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    write_csv(folder / "ISIC_2019_Training_Metadata.csv", header, metadata)


def eyepacs(folder, images, writer):
    tables = {"train": [], "test": []}
    patient = 0
    for split, counts in scaled(EYEPACS, images).items():
        part = "train" if split == "train" else "test"
        (folder / part).mkdir(parents=True, exist_ok=True)
        for grade in (grade for grade, count in enumerate(counts) for _ in range(count // 2)):
            patient += 1
            for eye in ("left", "right"):
                writer.write(folder / f"{part}/{patient}_{eye}.jpeg")
                tables[part].append([f"{patient}_{eye}", grade, *([split] if part == "test" else [])])
    write_csv(folder / "trainLabels.csv", ["image", "level"], tables["train"])
    write_csv(folder / "retinopathy_solution.csv", ["image", "level", "Usage"], tables["test"])


def aptos2019(folder, images, writer):
    (folder / "train_images").mkdir(parents=True)
    (counts,) = scaled(APTOS, images).values()
    rows = [[f"{number:012x}", grade] for number, grade in
            enumerate(grade for grade, count in enumerate(counts) for _ in range(count))]
    for name, _ in rows:
        writer.write(folder / f"train_images/{name}.png", "PNG")
    write_csv(folder / "train.csv", ["id_code", "diagnosis"], rows)


def weights(folder, deit):
    """Random weights with the names of the published files; prints the start of their SHA-256."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    models = {"resnet50-0676ba61.pth": lambda: torchvision.models.resnet50()}
    if deit:
        import timm
        models["deit_base_patch16_224-b5f2ef4d.pth"] = lambda: timm.create_model("deit_base_patch16_224")
    for name, make in models.items():
        state = make().state_dict()
        torch.save({"model": state} if name.startswith("deit") else state, folder / name)
        print(f"{name}: --set stage.source_a.sha256={hashlib.sha256((folder / name).read_bytes()).hexdigest()[:8]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", default="2000", help="images of each set, or `official`")
    parser.add_argument("--size", default="600x450", help="width and height")
    parser.add_argument("--deit", action="store_true", help="weights for deit_base.toml, too")
    arguments = parser.parse_args()
    writer = Writer(*map(int, arguments.size.split("x")))
    for kind in (isic2018, isic2019, eyepacs, aptos2019):
        kind(arguments.out / kind.__name__, arguments.images, writer)
    weights(arguments.out / "weights", arguments.deit)


if __name__ == "__main__":
    main()
