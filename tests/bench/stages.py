"""The cost of an epoch of each kind of training stage, beside an ordinary fine-tuning's.

    python tests/bench/stages.py --medmerge target/release/medmerge [--rounds 5]

Runs stages.toml from an empty store each round; the seconds of a stage are those of its manifest. Prints the median of
the rounds' ratios. Needs a quiet machine.
"""
import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

EPOCHS = 3


def seconds(program):
    """Seconds of each stage, from an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Path(__file__).with_suffix(".toml")
        line = [program, "run", experiment, "--quiet", "--store", f"{folder}/store", "--results", f"{folder}/results"]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        manifests = [json.loads(path.read_text()) for path in Path(folder).glob("store/store/*/*/manifest.json")]
        return {stage: manifest["seconds"] for manifest in manifests for stage in manifest["stage_ids"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--medmerge", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rounds = [seconds(args.medmerge) for _ in range(args.rounds)]
    ratios = {
        "step of learn_merge_weights, 2 sources / fine-tuning step": lambda s: s["merge_2"] / s["finetune"],
        "step of learn_merge_weights, 4 sources / 2 sources": lambda s: s["merge_4"] / s["merge_2"],
        "epoch of a linear probe after the first / fine-tuning epoch":
            lambda s: (s["probe_101"] - s["probe_1"]) / 100 / (s["finetune"] / EPOCHS),
    }
    for what, ratio in ratios.items():
        values = [ratio(s) for s in rounds]
        print(f"{what}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
