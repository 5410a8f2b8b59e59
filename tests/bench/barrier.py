"""The barrier of loss between two networks, before and after Git Re-Basin and REPAIR.

    target/release/medmerge run tests/bench/barrier.toml --results DIR
    python tests/bench/barrier.py DIR/barrier/metrics.csv

Reads one metrics.csv or several and writes results/barrier/barrier.csv, a row a network on the way from the first
(alpha 0) to the second (alpha 1); prints the barriers: the most, over alpha, that the loss on the training images is
above the line between the losses at both ends.
"""
import argparse
import csv
from pathlib import Path

ROOT = Path(__file__).parents[2]
METHODS = ["average", "average, repaired", "git_rebasin", "git_rebasin, repaired"]
COLUMNS = ["network", "method", "alpha", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def rows(paths):
    for path in paths:
        with open(path) as file:
            yield from csv.DictReader(file)


def points(rows):
    """Scores by network, method and alpha; the ends belong to every method."""
    scores = {}
    for row in rows:
        network = "vit_tiny" if row["stage"].startswith("vit_") else f"resnet18, width {row['width']}"
        ratio = float(row["ratio"] or 0)
        ends = {"a": 0.0, "b": 1.0}
        alpha = ends.get(row["model"], round(ratio / (1 + ratio), 6))
        for method in METHODS if row["model"] in ends else [row["model"]]:
            score = f"{row['split']}_{'loss' if row['metric'] == 'log_loss' else row['metric']}"
            scores.setdefault((network, method, alpha), {})[score] = float(row["value"])
    return scores


def order(key):
    network, method, alpha = key
    return network.startswith("vit"), len(network), network, METHODS.index(method), alpha


def write(scores, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for network, method, alpha in sorted(scores, key=order):
            values = {score: f"{value:.4f}" for score, value in scores[network, method, alpha].items()}
            writer.writerow({"network": network, "method": method, "alpha": alpha, **values})


def barriers(scores):
    """The barrier, and the test accuracy half way, of each network and method."""
    print("| network | method | barrier of the training loss | test accuracy at alpha 0, 0.5, 1 |\n|---|---|---|---|")
    for network, method in dict.fromkeys((key[0], key[1]) for key in sorted(scores, key=order)):
        at = {alpha: score for (n, m, alpha), score in scores.items() if (n, m) == (network, method)}
        first, last = at[0.0]["train_loss"], at[1.0]["train_loss"]
        barrier = max(score["train_loss"] - (1 - alpha) * first - alpha * last for alpha, score in at.items())
        accuracies = ", ".join(f"{at[alpha]['test_accuracy']:.3f}" for alpha in (0.0, 0.5, 1.0))
        print(f"| {network} | {method} | {barrier:.3f} | {accuracies} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("metrics", nargs="+")
    scores = points(rows(parser.parse_args().metrics))
    write(scores, ROOT / "results/barrier/barrier.csv")
    barriers(scores)


if __name__ == "__main__":
    main()
