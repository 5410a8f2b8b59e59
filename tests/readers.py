#!/usr/bin/env python3
"""What medmerge writes is read by the programs that it is for: TensorBoard, MedMNIST's evaluator, rocrate-validator, pandas.

Draws small files of three of MedMNIST's tasks, trains on them (readers.toml), and exports the experiment. Then
tensorboard reads every value of every history, MedMNIST's evaluator computes the scores that are in the names of files
and in metrics.csv, rocrate-validator checks the crate against Workflow Run Crate 0.5, the lines of Python in the
guide make a table of the scores, and figures hold scikit-learn's curves. Needs tensorboard, medmnist, pandas,
scikit-learn, roc-validator and rocrate:

    python tests/readers.py --medmerge target/release/medmerge

The validator's JSON-LD context comes from the package rocrate, which has that of RO-Crate 1.3, with the terms of 1.1, four
of them at other addresses: no network is needed. Exits with 1 if something is not read, or differs.
"""

import argparse
import csv
import json
import math
import os
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

from program import run

# Task, number of classes and side of each set.
SETS = {"retinamnist": ("ordinal", 5, 28), "pneumoniamnist_64": ("binary", 2, 64), "chestmnist": ("multi", 14, 28)}
COUNTS = {"train": 64, "val": 32, "test": 48}


def labels_of(random, task, classes, count):
    if task == "multi":
        return random.integers(0, 2, (count, classes)).astype(np.uint8)
    return (np.arange(count) % classes).astype(np.uint8)[:, None]


def write_set(path, task, classes, side):
    """Images whose gray level follows the label, so that scores differ from chance."""
    random, arrays = np.random.default_rng(1), {}
    for split, count in COUNTS.items():
        labels = labels_of(random, task, classes, count)
        levels = 40 + 150 * labels.mean(axis=1, keepdims=True) / labels.max()
        noise = random.normal(0, 25, (count, side, side))
        arrays[f"{split}_images"] = (levels[:, :, None] + noise).clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez_compressed(path, **arrays)


def histories(program, folder):
    """history.csv of each stage that was trained, by its id."""
    entries = json.loads(run(program, folder, "store", "list", "--json"))
    found = {}
    for entry in entries:
        path = folder / ".medmerge/store" / entry["fingerprint"][:2] / entry["fingerprint"] / "history.csv"
        if path.exists():
            with path.open() as file:
                found[entry["stage_ids"][0]] = list(csv.DictReader(file))
    return found


def check_tensorboard(program, folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(program, folder, "export", "readers.toml", "logs", "--to", "tensorboard")
    expected, compared = histories(program, folder), 0
    runs = sorted((folder / "logs").iterdir())
    assert len(runs) == len(expected) == 6, f"{len(runs)} runs, {len(expected)} histories"
    by_name = {re.sub(r"[^\w.=+-]", "_", stage): rows for stage, rows in expected.items()}
    for path in runs:
        events = EventAccumulator(str(path))
        events.Reload()
        rows = by_name[path.name]
        columns = {"lr": "train/lr", "train_loss": "train/loss"}
        columns |= {name: f"val/{name.removeprefix('val_')}" for name in rows[0] if name.startswith("val_")}
        assert sorted(events.Tags()["scalars"]) == sorted(columns.values()), (events.Tags(), columns)
        for column, tag in columns.items():
            scalars = events.Scalars(tag)
            assert [scalar.step for scalar in scalars] == [int(row["epoch"]) + 1 for row in rows], tag
            for scalar, row in zip(scalars, rows):
                assert scalar.value == np.float32(row[column]), (path.name, tag, scalar, row[column])
                compared += 1
    print(f"tensorboard: {len(runs)} runs, {compared} values equal")


def check_medmnist(program, folder):
    # The evaluator looks for the sets in the home folder.
    os.environ["HOME"] = str(folder)
    home = folder / ".medmnist"
    home.mkdir()
    for name in SETS:
        shutil.copy(folder / f"{name}.npz", home)
    from medmnist import Evaluator

    run(program, folder, "export", "readers.toml", "evaluation", "--to", "medmnist")
    with (folder / "results/readers/metrics.csv").open() as file:
        ours = {(row["dataset"], row["seed"], row["metric"]): float(row["value"])
                for row in csv.DictReader(file) if row["value"]}
    files = sorted((folder / "evaluation").iterdir())
    assert len(files) == 6, files
    for path in files:
        metrics = Evaluator.parse_and_evaluate(str(path))
        again = [other.name for other in path.parent.iterdir()]
        assert len(again) == len(files), f"the evaluator names its file otherwise: {again}"
        dataset = re.match("(.+?)mnist", path.name)[1]
        seed = re.search(r"seed=(\d+)", path.name)[1]
        assert math.isclose(metrics.AUC, ours[dataset, seed, "auroc"], abs_tol=1e-9), path.name
        if dataset != "chest":  # our accuracy of several labels is that of whole rows
            assert math.isclose(metrics.ACC, ours[dataset, seed, "accuracy"], abs_tol=1e-9), path.name
    print(f"medmnist: {len(files)} files evaluated, same scores")


def serve_context():
    """The context of RO-Crate 1.1, for whatever the validator fetches."""
    import requests
    from rocrate_validator.utils.http import HttpRequester

    context = json.loads(resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text())
    context["@context"] |= {term: f"https://bioschemas.org/{term}" for term in ("ComputationalWorkflow", "FormalParameter")}
    context["@context"] |= {term: f"https://bioschemas.org/ComputationalWorkflow#{term}" for term in ("input", "output")}

    def get(_, url, **__):
        assert url == "https://w3id.org/ro/crate/1.1/context", f"the validator fetches {url}"
        response = requests.Response()
        response.status_code, response.url = 200, url
        response.headers["Content-Type"] = "application/ld+json"
        response._content = json.dumps(context).encode()
        return response

    HttpRequester.get = get


def check_crate(program, folder):
    from rocrate_validator import services
    from rocrate_validator.models import ValidationSettings

    serve_context()
    run(program, folder, "export", "readers.toml", "crate", "--to", "ro-crate",
        "--license", "https://spdx.org/licenses/CC-BY-4.0", "--author", "A. Name")
    for severity, must_pass in [("REQUIRED", True), ("RECOMMENDED", False)]:
        settings = ValidationSettings(
            rocrate_uri=str(folder / "crate"), profile_identifier="workflow-run-crate", requirement_severity=severity)
        result = services.validate(settings)
        issues = [f"{issue.severity.name} {issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
        print(f"rocrate-validator, {severity}: {len(issues)} issues in {len(result.executed_checks)} checks")
        print("".join(f"  {issue}\n" for issue in issues), end="")
        assert result.executed_checks and (not must_pass or result.passed()), "the crate is not valid"
    graph = {entity["@id"]: entity for entity in json.loads((folder / "crate/ro-crate-metadata.json").read_text())["@graph"]}
    for path in ("results/metrics.csv", "results/main.csv", "experiment/readers.toml"):
        assert path in graph and (folder / "crate" / path).is_file(), path
    metrics = (folder / "crate/results/metrics.csv").read_bytes()
    assert metrics == (folder / "results/readers/metrics.csv").read_bytes()


def check_pandas(folder):
    """The example of the guide, for this experiment, gives the means that are in its table."""
    guide = Path(__file__).parent.parent / "src/guide/other-programs.md"
    blocks = re.findall("```python\n(.*?)```", guide.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("results/quickstart/", f"{folder}/results/readers/").replace("macro_f1", "auroc")
    names = {}
    exec(lines, names)
    table, compared = names["table"], 0
    with (folder / "results/readers/main.csv").open() as file:
        for row in csv.DictReader(file):
            for dataset in ("retina", "pneumonia", "chest"):
                if ours := row[f"{dataset}.auroc.mean"]:
                    assert math.isclose(table["mean"][dataset][row["model"]], float(ours), abs_tol=1e-12), (row["model"], dataset)
                    compared += 1
    assert compared == 3, compared
    print(f"pandas: {compared} means equal")


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def without_straight(points):
    """A line without points on a straight part of it."""
    kept = [points[0]]
    for point, after in zip(points[1:], points[2:]):
        before, ahead = point - kept[-1], after - point
        if abs(before[0] * ahead[1] - before[1] * ahead[0]) > 1e-12:
            kept.append(point)
    return np.array([*kept, points[-1]])


def check_curves(folder):
    """Figures hold scikit-learn's curves and counts of the stored predictions."""
    from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

    results, compared = folder / "results/readers", 0
    figures = {name: read_csv(results / f"{name}.csv") for name in ("roc", "precision_recall", "matrix", "reliability")}
    near = lambda ours, theirs: np.testing.assert_allclose(np.array(ours, float), theirs, atol=1e-9, rtol=0)
    bins, counts = np.zeros((15, 3)), 0
    for seed in ("0", "1"):
        rows = read_csv(next((results / "predictions").glob(f"*.retina.*seed={seed}*.csv")))
        classes = list(rows[0])[3:]
        scores = np.array([[np.float32(row[name]) for name in classes] for row in rows]).astype(float)
        labels = np.array([classes.index(row["label"]) for row in rows])
        for i, name in enumerate(classes):
            curve = lambda figure, *columns: [
                [float(row[column]) for column in columns] for row in figures[figure]
                if row["dataset"] == "retina" and row["seed"] == seed and row["class"] == name]
            x, y, _ = roc_curve(labels == i, scores[:, i], drop_intermediate=False)
            near(curve("roc", "false_positive_rate", "true_positive_rate"), without_straight(np.stack([x, y], 1)))
            precision, recall, _ = precision_recall_curve(labels == i, scores[:, i], drop_intermediate=False)
            ours = curve("precision_recall", "recall", "precision")
            # scikit-learn goes on to lower thresholds after all are found; ours ends there.
            theirs = np.stack([recall, precision], 1)[::-1]
            near(ours, theirs[:len(ours)])
            assert (theirs[len(ours):, 0] == 1).all() and ours[-1][0] == 1
            compared += len(x) + len(ours)
        predicted = scores.argmax(1)
        counts = counts + confusion_matrix(labels, predicted, labels=range(len(classes)))
        confidence = scores.max(1)
        edges = np.linspace(0, 1, 16)
        for image in range(len(labels)):
            at = max(np.searchsorted(edges, confidence[image], side="left") - 1, 0)
            bins[at] += 1, confidence[image], labels[image] == predicted[image]
    near([float(row["images"]) for row in figures["matrix"] if row["dataset"] == "retina"], counts.ravel())
    shown = [row for row in figures["reliability"] if row["dataset"] == "retina"]
    near([float(row["images"]) for row in shown], bins[:, 0])
    for row, (images, confidence, right) in zip(shown, bins):
        if images:
            near([row["confidence"], row["accuracy"]], [confidence / images, right / images])
    print(f"scikit-learn: {compared} points of curves, a confusion matrix and {len(shown)} bins equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medmerge", type=Path, required=True, help="the program")
    program = parser.parse_args().medmerge.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, options in SETS.items():
            write_set(folder / f"{name}.npz", *options)
        shutil.copy(Path(__file__).with_suffix(".toml"), folder)
        run(program, folder, "run", "readers.toml", "--quiet", "--predictions")
        check_tensorboard(program, folder)
        check_medmnist(program, folder)
        check_crate(program, folder)
        check_pandas(folder)
        check_curves(folder)


if __name__ == "__main__":
    main()
