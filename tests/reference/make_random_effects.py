"""Reference numbers for means with random effects of images and two crossed factors, by numpy and SciPy.

    python make_random_effects.py OUT_DIR

Without missing scores, the variances are those of the analysis of variance, from its mean squares. With missing ones,
they solve the equations of the method of moments for the three kinds of pairs of scores. The covariance of the images
is read off the whole matrix of covariances between scores.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

rng = np.random.default_rng(8)


def mean_squares(table):
    """Parts of the variance of the mean with their degrees of freedom, for a table without missing scores."""
    a, b = table.shape
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    first = b * ((rows - mean) ** 2).sum() / (a - 1)
    second = a * ((columns - mean) ** 2).sum() / (b - 1)
    rest = ((table - rows[:, None] - columns + mean) ** 2).sum() / ((a - 1) * (b - 1))
    return [(max(0, (first - rest) / b) / a, a - 1), (max(0, (second - rest) / a) / b, b - 1),
            (rest / (a * b), (a - 1) * (b - 1))]


def moments(scores, i, j):
    """The same with missing scores: half the squared differences of pairs, by what they share."""
    n = len(scores)
    squares = (scores[:, None] - scores) ** 2 / 2
    same_i, same_j = i[:, None] == i, j[:, None] == j
    kinds = [same_i & ~same_j, ~same_i & same_j, ~same_i & ~same_j]
    equations = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]])  # variances of i, j and the rest
    of_i, of_j, of_rest = np.linalg.solve(equations, [squares[kind].mean() for kind in kinds])
    weight = lambda levels: (np.unique(levels, return_counts=True)[1] ** 2).sum() / n**2
    a, b = len(np.unique(i)), len(np.unique(j))
    return [(max(0, of_i) * weight(i), a - 1), (max(0, of_j) * weight(j), b - 1),
            (max(0, of_rest) / n, n - a - b + 1)]


def of_images(resampled, i, j, units):
    """Mean covariance of two scores that share no level of a factor with several levels."""
    covariance = np.atleast_2d(np.cov(resampled))
    several = [levels for levels in [i, j] if len(np.unique(levels)) > 1]
    apart = np.all([levels[:, None] != levels for levels in several], 0) if several else np.ones_like(covariance, bool)
    return max(0, covariance[apart].mean()) * units / (units - 1), units - 1


def case(name, a, b, spreads, missing=(), units=40, resamples=30, shift=0.0):
    i, j = [levels.ravel() for levels in np.indices((a, b))]
    effects = spreads[0] * rng.normal(size=(a, 1)) + spreads[1] * rng.normal(size=b)
    table = shift + effects + 0.02 * rng.normal(size=(a, b))
    kept = np.array([(x, y) not in missing for x, y in zip(i, j)])
    i, j, scores = i[kept], j[kept], table.ravel()[kept]
    n = len(scores)
    resampled = scores[:, None] + 0.03 * rng.normal(size=resamples) + 0.01 * rng.normal(size=(n, resamples))
    if n == 1:
        parts = []
    elif min(len(np.unique(i)), len(np.unique(j))) == 1:
        parts = [(scores.var(ddof=1) / n, n - 1)]
    else:
        parts = moments(scores, i, j) if missing else mean_squares(table)
    parts = [of_images(resampled, i, j, units)] + parts
    variance = sum(part for part, _ in parts)
    freedom = variance / sum(part / nu for part, nu in parts)
    t = stats.t(freedom, loc=scores.mean(), scale=np.sqrt(variance))
    return dict(name=name, places=np.stack([i, j], 1).tolist(), scores=scores.tolist(), resampled=resampled.tolist(),
                units=units, error=float(np.sqrt(variance)), freedom=float(freedom),
                interval=[float(end) for end in t.interval(0.9)],
                p=float(2 * stats.t.sf(abs(scores.mean()) / np.sqrt(variance), freedom)))


cases = [
    case("3 x 5", 3, 5, (0.04, 0.02), shift=0.05),
    case("5 x 3 without effects", 5, 3, (0, 0)),
    case("2 x 2", 2, 2, (0.02, 0.02), shift=0.1),
    case("4 x 4, 20 units", 4, 4, (0.1, 0), units=20, shift=-0.2),
    case("3 x 5 without one score", 3, 5, (0.04, 0.02), missing=[(1, 2)]),
    case("4 x 5 without four scores", 4, 5, (0.04, 0.02), missing=[(0, 0), (0, 1), (2, 3), (3, 4)], shift=0.04),
    case("one seed of 6", 1, 6, (0, 0.03), shift=0.02),
    case("one source of 3", 3, 1, (0.03, 0)),
    case("one score", 1, 1, (0, 0), shift=0.05),
]
reference = dict(source=f"numpy {np.__version__}, SciPy {scipy.__version__}", cases=cases)
Path(sys.argv[1], "random_effects.json").write_text(json.dumps(reference) + "\n")
