"""What comparisons of several experiments say together, and what they could have shown.

    python tests/bench/power.py results/benchmark/*/primary.compare.csv [--difference 0.03] [--row "MedMerge + FT" ...] \
        [--where labels=200]

Reads comparisons by random effects (`compare = { test = "random_effects" }`) and writes a Markdown table. A comparison has a
difference d with a standard error s and f degrees of freedom. If the true difference is D, d / s has the noncentral t
distribution with noncentrality D / s; the power for D is the probability that it is above the critical value of a two-sided
test at 0.05, for one comparison without a correction. p values are corrected by Holm over all rows that are written. With one
row a table, the last row is their mean difference, as of independent experiments: its squared standard error is Σ s² / k²,
and its degrees of freedom are (Σ s²)² / Σ (s⁴ / f). Needs: scipy.
"""
import argparse
import csv
from pathlib import Path

from scipy.optimize import brentq
from scipy.stats import nct, t

ALPHA = 0.05


class Comparison:
    """A difference of two rows of a table."""

    def __init__(self, labels, difference, error, df):
        self.labels, self.difference, self.error, self.df = labels, difference, error, df

    def p(self):
        return 2 * t.sf(abs(self.difference) / self.error, self.df)

    def interval(self):
        half = t.ppf(1 - ALPHA / 2, self.df) * self.error
        return self.difference - half, self.difference + half

    def power(self, true):
        """The probability of a significant difference in the true direction."""
        return nct.sf(t.ppf(1 - ALPHA / 2, self.df), self.df, true / self.error)

    def detectable(self):
        """The true difference with a power of 80 %."""
        most = self.error
        while self.power(most) < 0.8:
            most *= 1.5
        return brentq(lambda true: self.power(true) - 0.8, 0, most)


def holm(ps):
    """Holm's correction."""
    corrected, most = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        most = corrected[i] = max(most, min(1.0, (len(ps) - rank) * ps[i]))
    return corrected


def mean_of(comparisons):
    """Their mean, if they are independent."""
    variances = [one.error**2 for one in comparisons]
    k, total = len(comparisons), sum(variances)
    df = total**2 / sum(variance**2 / one.df for variance, one in zip(variances, comparisons))
    labels = ["mean"] + [""] * (len(comparisons[0].labels) - 1)
    return Comparison(labels, sum(one.difference for one in comparisons) / k, total**0.5 / k, df)


def read(path, rows, where):
    """The names of a table's columns, and its comparisons."""
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    columns = list(found[0])[:list(found[0]).index("row")]
    comparisons = []
    for one in found:
        is_asked = all(one[column] == value for column, value in where)
        if is_asked and (not rows or one["row"] in rows) and one["error"]:
            labels = [path.parent.name, *(one[column] for column in columns), one["row"], one["to"]]
            comparisons.append(Comparison(labels, float(one["difference"]), float(one["error"]), float(one["df"])))
    return columns, comparisons


def line(one, p, true):
    low, high = one.interval()
    numbers = [f"{one.difference:+.3f}", f"[{low:+.3f}, {high:+.3f}]", f"{p:.3f}"]
    numbers += [f"{100 * one.power(true):.0f} %", f"{one.detectable():.3f}"]
    return "| " + " | ".join(one.labels + numbers) + " |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--difference", type=float, default=0.03)
    parser.add_argument("--row", action="append")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", type=lambda text: text.split("=", 1))
    args = parser.parse_intermixed_args()
    read_tables = [read(path, args.row, args.where) for path in args.tables]
    comparisons = [one for _, of_table in read_tables for one in of_table]
    header = ["experiment", *read_tables[0][0], "row", "to", "difference", "95 % interval", "p (Holm)"]
    header += [f"power for {args.difference:g}", "80 % power for"]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for one, p in zip(comparisons, holm([one.p() for one in comparisons])):
        print(line(one, p, args.difference))
    if 1 < len(comparisons) == len(args.tables):
        mean = mean_of(comparisons)
        print(line(mean, mean.p(), args.difference))


if __name__ == "__main__":
    main()
