"""Images per second and peak memory beside PyTorch's, in the same run, alternating.

    cargo bench --no-run
    python tests/bench/compare.py PATH/torch_train.py [--rounds 5] [--threads 2] [--steps 6] [--bf16] [case ...]

torch_train.py takes a training step (AdamW, cross entropy, f32) and an evaluation of random images in two layouts and
prints the better one's images per second as a JSON line; `cargo bench --bench throughput` does the same work here. Each
round runs one after the other; the ratio of a round is ours over PyTorch's, and the median of the rounds counts.
Memory is the largest resident set of the whole process. --bf16 sets PyTorch's autocast to bf16 beside ours in f32.
Needs: torch torchvision timm, and a quiet machine.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

CASES = ["resnet18:small:28:64", "resnet18:standard:64:64", "resnet50:standard:64:32", "densenet121:standard:64:32",
         "vit_tiny_patch16_224:-:224:16", "resnet18:standard:224:16", "resnet50:standard:224:16"]
ROOT = Path(__file__).resolve().parents[2]

# Runs a program with all its operators in autocast. Without a cache, so that weights are cast anew in every step.
AUTOCAST = """import runpy, sys, torch
torch.set_autocast_cache_enabled(False)
torch.autocast("cpu", torch.bfloat16).__enter__()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def measure(command, env):
    """The JSON line that a command prints, and its peak memory in MiB."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.read().strip().splitlines()[-1]
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {command}")
    return json.loads(line) | {"peak_mib": usage.ru_maxrss / 1024}


def bench_program():
    """The benchmark that cargo built last."""
    build = ["cargo", "bench", "--bench", "throughput", "--no-run", "--message-format=json", "--quiet"]
    messages = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = [json.loads(line).get("executable") for line in messages if '"throughput"' in line]
    return next(program for program in reversed(programs) if program)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("torch_train", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("cases", nargs="*", default=CASES)
    args = parser.parse_intermixed_args()
    program = bench_program()
    env = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    print("| case | training: ours | PyTorch | ratio | evaluation: ours | PyTorch | ratio | MiB: ours | PyTorch |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in args.cases:
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(measure([program, "--steps", str(args.steps), case], env))
            torch = [sys.executable, *(["-c", AUTOCAST] if args.bf16 else []), str(args.torch_train)]
            torch += ["--threads", str(args.threads)]
            theirs.append(measure(torch + ["--steps", str(args.steps), case], env))
        row = [case]
        for key in ("train_images_per_s", "eval_images_per_s"):
            ratios = [a[key] / b[key] for a, b in zip(ours, theirs)]
            row += [f"{statistics.median(x[key] for x in side):.1f}" for side in (ours, theirs)]
            row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        row += [f"{max(x['peak_mib'] for x in side):.0f}" for side in (ours, theirs)]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
