"""Friedman's test in the form of Iman and Davenport, and Nemenyi's critical difference, by SciPy.

    python make_friedman.py OUT_DIR
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from scipy import stats


def case(random, rows, methods, digits):
    """Scores rounded to a few digits, so that some tie; a larger score has a smaller rank."""
    scores = np.round(random.normal(size=(rows, methods)) + 0.4 * np.arange(methods), digits)
    ranks = np.array([stats.rankdata(-row) for row in scores])
    square, _ = stats.friedmanchisquare(*scores.T)
    f = (rows - 1) * square / (rows * (methods - 1) - square)
    return {
        "scores": scores.tolist(),
        "mean_ranks": ranks.mean(axis=0).tolist(),
        "square": square,
        "p": stats.f.sf(f, methods - 1, (methods - 1) * (rows - 1)),
        "difference": stats.studentized_range.ppf(0.95, methods, np.inf) * math.sqrt(methods * (methods + 1) / (12 * rows)),
    }


def main():
    random = np.random.default_rng(7)
    sizes = [(4, 3, 3), (3, 5, 1), (4, 18, 3), (12, 6, 1), (30, 4, 0), (5, 20, 2)]
    cases = [case(random, *size) for size in sizes]
    Path(sys.argv[1], "friedman.json").write_text(json.dumps({"friedman": cases}) + "\n")


main()
