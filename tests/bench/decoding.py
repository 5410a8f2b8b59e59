"""Decoding and resizing the images of a manifest: medmerge and a PyTorch DataLoader with Pillow, in turn.

    cargo bench --bench decoding --no-run     # prints the path of PROGRAM
    python tests/bench/decoding.py --program PROGRAM CSV [--size 64] [--workers 2] [--rounds 3]

Needs torch, torchvision and Pillow. Both read the files from the operating system's cache, use as many threads or
workers as there are cores, and keep 8-bit RGB. medmerge also writes its cache of decoded images.
"""

import argparse
import csv
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms


class Images(torch.utils.data.Dataset):
    def __init__(self, path, size):
        with open(path, newline="") as rows:
            self.paths = [Path(path).parent / row["image"] for row in csv.DictReader(rows)]
        self.transform = transforms.Compose([transforms.Resize((size, size)), transforms.PILToTensor()])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def pytorch(arguments):
    loader = torch.utils.data.DataLoader(
        Images(arguments.csv, arguments.size), batch_size=256, num_workers=arguments.workers
    )
    start = time.perf_counter()
    images = sum(len(batch) for batch in loader)
    return images, time.perf_counter() - start


def medmerge(arguments):
    command = [arguments.program, arguments.csv, str(arguments.size)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.workers)}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    images, seconds = out.split()
    return int(images), float(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv")
    parser.add_argument("--program", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        images, seconds = medmerge(arguments)
        expected, other = pytorch(arguments)
        assert images == expected, (images, expected)
        ours.append(seconds)
        theirs.append(other)
        print(f"{images} images: medmerge {seconds:.2f} s, PyTorch {other:.2f} s", flush=True)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs))
    print(f"medmerge is {ratio:.2f} times as fast (median of {len(ours)} rounds)")


if __name__ == "__main__":
    main()
