"""How far merging and fine-tuning move a model's kernels, and what the merge weights are, in an experiment of the benchmark.

    medmerge plan experiments/benchmark/pbc.toml --json > plan.json
    python tests/bench/moves.py plan.json .medmerge

Reads finished stages of every cell from the store. Distances are ‖W − W'‖ / ‖W'‖ over all kernels of convolutions;
those of sources to each other say what moving all the way would be. Writes Markdown tables: means and standard
deviations over cells, and over all kernels. Needs: numpy, safetensors.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# What is measured: from the model of one stage to that of another, or of the same stage with another seed.
MOVES = [
    ("A to B", "probe_a", "probe_b"),
    ("A to C", "probe_a", "probe_c"),
    ("A to MedMerge", "probe_a", "merged"),
    ("A to LP-FT A", "probe_a", "lpft_a"),
    ("MedMerge to MedMerge + FT", "merged", "merged_ft"),
    ("MedMerge to MedMerge + FT, rate 3e-3", "merged", "merged_ft_fast"),
    ("MedMerge + FT to LP-FT A", "merged_ft", "lpft_a"),
    ("LP-FT A of one seed to another", "lpft_a", None),
]


def kernels(path):
    """All kernels of convolutions, as one vector."""
    tensors = load_file(path)
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors) if tensors[name].ndim == 4])


def cells(plan):
    """Fingerprints of fresh stages: by name, then by axes."""
    found = {}
    for stage in plan["stages"]:
        name, _, axes = stage["id"].partition("[")
        if stage["status"] == "fresh":
            found.setdefault(name, {})[axes.rstrip("]")] = stage["fingerprint"]
    return found


def next_seed(axes, known):
    """The cell of the same network with the next seed."""
    of_network = sorted(other for other in known if without_seed(other) == without_seed(axes))
    return of_network[(of_network.index(axes) + 1) % len(of_network)]


def without_seed(axes):
    return [axis for axis in axes.split(",") if not axis.startswith("seed=")]


def row(name, values):
    return f"| {name} | {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("store", type=Path)
    arguments = parser.parse_args()
    found = cells(json.loads(arguments.plan.read_text()))

    def entry(stage, axes):
        fingerprint = found[stage][axes]
        return arguments.store / "store" / fingerprint[:2] / fingerprint

    print("| kernels | distance |\n|---|---|")
    for name, start, end in MOVES:
        distances = []
        for axes in found[start]:
            to = (end, axes) if end else (start, next_seed(axes, found[start]))
            before = kernels(entry(start, axes) / "model.safetensors")
            after = kernels(entry(*to) / "model.safetensors")
            distances.append(np.linalg.norm(after - before) / np.linalg.norm(before))
        print(row(name, distances))

    print("\n| merge weights | mean | mean magnitude |\n|---|---|---|")
    cells_of = [merge_weights(entry("weights", axes) / "merge_weights.safetensors") for axes in found["weights"]]
    for source, weights in zip("ABC", np.concatenate(cells_of, axis=1)):
        print(f"| of {source} | {weights.mean():.3f} ± {weights.std():.3f} | {np.abs(weights).mean():.3f} |")


def merge_weights(path):
    """Merge weights `[sources, kernels]`, over all layers."""
    tensors = load_file(path)
    return np.concatenate([tensors[name] for name in sorted(tensors) if name.endswith(".merge_weights")], axis=1)


if __name__ == "__main__":
    main()
