"""What the comparisons of a table could show: power for a difference of 3 points, and the smallest one with 80 % power.

    python tests/bench/power.py results/benchmark/*/macro_f1.compare.csv [--difference 0.03] [--row "MedMerge + FT" ...]

Reads comparisons by random effects (`compare = { test = "random_effects" }`) and writes a Markdown table. A comparison has a
standard error s of its difference and df degrees of freedom. If the true difference is d, difference / s has the noncentral
t distribution with noncentrality d / s; the power is the probability that it is above the critical value of a two-sided
test at 0.05, for one comparison without a correction. Needs: scipy.
"""
import argparse
import csv
from pathlib import Path

from scipy.optimize import brentq
from scipy.stats import nct, t

ALPHA = 0.05


def power(difference, error, df):
    """The probability of a significant difference in the true direction."""
    return nct.sf(t.ppf(1 - ALPHA / 2, df), df, difference / error)


def detectable(error, df):
    """The difference with a power of 80 %."""
    most = error
    while power(most, error, df) < 0.8:
        most *= 1.5
    return brentq(lambda difference: power(difference, error, df) - 0.8, 0, most)


def line(found, folder, columns, difference):
    """A row of the table."""
    cells = [folder, *(found[column] for column in columns), found["row"], found["to"]]
    number = {key: float(found[key]) for key in ("difference", "low", "high", "error", "df") if found[key]}
    cells.append(f"{number['difference']:+.3f}")
    if "error" not in number:
        return cells + ["–"] * 4
    cells += [f"[{number['low']:+.3f}, {number['high']:+.3f}]", f"{float(found['p_adjusted']):.3f}"]
    cells += [f"{100 * power(difference, number['error'], number['df']):.0f} %"]
    return cells + [f"{detectable(number['error'], number['df']):.3f}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--difference", type=float, default=0.03)
    parser.add_argument("--row", action="append")
    args = parser.parse_intermixed_args()
    for i, path in enumerate(args.tables):
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
        columns = list(found[0])[:list(found[0]).index("row")] if found else []
        if i == 0:
            header = ["experiment", *columns, "row", "to", "difference", "95 % interval", "p (Holm)"]
            header += [f"power for {args.difference:g}", "80 % power for"]
            print("| " + " | ".join(header) + " |")
            print("|" + "---|" * len(header))
        for one in found:
            if not args.row or one["row"] in args.row:
                print("| " + " | ".join(line(one, path.parent.name, columns, args.difference)) + " |")


if __name__ == "__main__":
    main()
