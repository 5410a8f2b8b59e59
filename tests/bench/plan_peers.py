"""Seconds to plan one graph of stages by medmerge, Snakemake and DVC, in turn.

    python tests/bench/plan_peers.py --medmerge target/release/medmerge --stages 1000 10000

Needs snakemake and dvc on the PATH (both on PyPI). The graph is that of the benchmark `plan`: two sources, and chains of
two fine-tuned models, their average and its scores. Nothing was made before; nothing is made.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

CHAIN = 4

EXPERIMENT = """
[experiment]
name = "peers"
[sweep]
seed = [{seeds}]
[dataset.cells.phantom]
family = "cells"
train = 8
val = 8
test = 8
[train]
epochs = 1
batch_size = 4
[stage.source_a.pretrain]
backbone.resnet18 = {{ stem = "small", width = 4 }}
dataset = "cells"
seed = 1
[stage.source_b.pretrain]
backbone.resnet18 = {{ stem = "small", width = 4 }}
dataset = "cells"
seed = 2
[stage.tuned_a.finetune]
from = "source_a"
dataset = "cells"
[stage.tuned_b.finetune]
from = "source_b"
dataset = "cells"
[stage.merged.merge]
sources = ["tuned_a", "tuned_b"]
method = "average"
batch_norm = "merged"
[stage.scores.evaluate]
models = {{ "merged" = "merged" }}
datasets = ["cells"]
"""

SNAKEFILE = """
rule all:
    input: expand("scores_{{seed}}", seed=range({chains}))
rule source:
    output: "source_{{s}}"
    shell: "touch {{output}}"
rule tuned:
    input: "source_{{s}}"
    output: "tuned_{{s}}_{{seed}}"
    shell: "touch {{output}}"
rule merged:
    input: "tuned_a_{{seed}}", "tuned_b_{{seed}}"
    output: "merged_{{seed}}"
    shell: "touch {{output}}"
rule scores:
    input: "merged_{{seed}}"
    output: "scores_{{seed}}"
    shell: "touch {{output}}"
"""


def stage(name, inputs):
    deps = "".join(f"\n      - {name}" for name in inputs)
    return f"  {name}:\n    cmd: touch {name}\n" + (f"    deps:{deps}\n" if inputs else "") + f"    outs:\n      - {name}\n"


def dvc_yaml(chains):
    text = "stages:\n" + stage("source_a", []) + stage("source_b", [])
    for seed in range(chains):
        for source in "ab":
            text += stage(f"tuned_{source}_{seed}", [f"source_{source}"])
        text += stage(f"merged_{seed}", [f"tuned_a_{seed}", f"tuned_b_{seed}"])
        text += stage(f"scores_{seed}", [f"merged_{seed}"])
    return text


def seconds(command, folder):
    start = time.monotonic()
    run = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{run.stderr[-2000:]}")
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", type=Path, required=True)
    parser.add_argument("--stages", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for stages in arguments.stages:
        chains = stages // CHAIN
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "experiment.toml").write_text(EXPERIMENT.format(seeds=", ".join(map(str, range(chains)))))
            (folder / "Snakefile").write_text(SNAKEFILE.format(chains=chains))
            (folder / "dvc.yaml").write_text(dvc_yaml(chains))
            subprocess.run(["dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
            programs = {
                "medmerge plan": [arguments.medmerge.absolute(), "plan", "experiment.toml"],
                "snakemake -n": ["snakemake", "-n", "--quiet", "all"],
                "dvc dag": ["dvc", "dag", "--dot"],
            }
            times = {name: [] for name in programs}
            for _ in range(arguments.rounds):
                for name, command in programs.items():
                    times[name].append(seconds(command, folder))
            for name, taken in times.items():
                taken.sort()
                print(f"{stages} stages, {name}: {taken[len(taken) // 2]:.2f} s", flush=True)


if __name__ == "__main__":
    main()
