"""Seconds and memory to average two checkpoint files by medmerge and by mergekit, in turn.

    python tests/bench/merge.py --medmerge target/release/medmerge --mergekit .../bin/mergekit-pytorch

Needs torch, torchvision, safetensors and NumPy, and for --mergekit another environment with mergekit. The files are two
ResNet-50 with torchvision's random weights; both programs read them from the page cache, and write to the same disk. The
results are compared. Memory is the largest resident set of the process.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# In a process of its own: what this one ever holds counts as the memory of the programs that it starts.
MAKE = """
import sys, torch, torchvision
from safetensors.torch import save_file
for seed, path in enumerate(sys.argv[1:]):
    torch.manual_seed(seed)
    tensors = torchvision.models.resnet50(weights=None).state_dict()
    noisy = lambda tensor: tensor + 0.01 * torch.rand_like(tensor) if tensor.is_floating_point() else tensor
    save_file({name: noisy(tensor) for name, tensor in tensors.items()}, path)
"""


def largest_difference(ours, theirs):
    import numpy
    from safetensors.numpy import load_file

    ours = load_file(ours)
    theirs = {name: tensor for path in theirs.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert ours.keys() == theirs.keys()
    return max(numpy.abs(ours[name] - theirs[name]).max() for name in ours)


def measured(command):
    """Seconds, and MB of the largest resident set."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, message.decode()
    return seconds, usage.ru_maxrss * 1024 / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medmerge", required=True)
    parser.add_argument("--mergekit", help="the program mergekit-pytorch")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = [folder / "a.safetensors", folder / "b.safetensors"]
        subprocess.run([sys.executable, "-c", MAKE, *files], check=True)
        one = files[0].stat().st_size / 1e6
        ours, theirs = folder / "ours.safetensors", folder / "theirs"
        commands = {"medmerge": [options.medmerge, "merge", *files, "--out", ours, "--force"]}
        if options.mergekit:
            models = "".join(f"  - model: {path}\n    parameters:\n      weight: 1.0\n" for path in files)
            (folder / "linear.yaml").write_text(f"merge_method: linear\nmodels:\n{models}")
            commands["mergekit"] = [options.mergekit, folder / "linear.yaml", theirs]
        found = {name: [] for name in commands}
        for _ in range(options.rounds + 1):
            for name, command in commands.items():
                if name == "mergekit":
                    shutil.rmtree(theirs, ignore_errors=True)
                found[name].append(measured(command))
        print(f"one checkpoint: {one:.1f} MB; median (least to most) of {options.rounds} rounds after one to warm up")
        for name, rounds in found.items():
            seconds, memory = zip(*rounds[1:])
            middle = statistics.median(seconds)
            print(f"{name}: {middle:.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), {2 * one / 1e3 / middle:.2f} GB/s "
                  f"of checkpoints read, {max(memory):.0f} MB ({max(memory) / one:.2f} checkpoints)")
        if options.mergekit:
            print("largest difference:", largest_difference(ours, theirs))


main()
