"""Coverage of 95 % intervals of tables, and type I error rate of tests at 0.05, in simulations: of `bootstrap` and
`paired_bootstrap`, and of `random_effects`.

    python bootstrap_coverage.py [REPEATS]

Needs numpy and SciPy; with 2000 repeats, the default, about 20 minutes on one core. The standard error of a rate r is
√(r (1 − r) / REPEATS): for 2000, 0.5 percentage points at 0.05 and 0.95.

First one axis, with normal scores of images that have effects of the image and the seed. Then accuracy and macro F1 of
three classes for source networks crossed with seeds: a prediction is right where a normal value is positive, which has
effects of the image (and its group), the network, the seed, and all their interactions. The expected score of a single
network is that of this network. A test's null hypothesis is true: the difference is tested against its expectation.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import special, stats

REFERENCE = Path(__file__).parents[1] / "reference" / "random_effects.json"
ROUNDING = 1e-6
"""Differences closer to 0 than this are rounding errors of single precision."""


def one_axis(images=200, resamples=400, repeats=400, spread_of_images=0.35, rest=0.25):
    rng = np.random.default_rng(0)

    def scores(seeds, spread_of_seeds, of_images):
        of_seeds = rng.normal(0, spread_of_seeds, seeds)
        return of_images + of_seeds[:, None] + rng.normal(0, rest, (seeds, images))

    print("seeds  spread of seeds  coverage  type I error rate")
    for seeds in [1, 3, 5, 10]:
        for spread in [0, 0.02, 0.04]:
            covered = rejected = 0
            for _ in range(repeats):
                of_images = rng.normal(0, spread_of_images, images)
                of_resamples = rng.multinomial(images, [1 / images] * images, size=resamples) / images
                drawn = rng.multinomial(seeds, [1 / seeds] * seeds, size=resamples) / seeds
                a, b = [(drawn * (of_resamples @ scores(seeds, spread, of_images).T)).sum(1) for _ in range(2)]
                low, high = np.percentile(a, [2.5, 97.5])
                covered += low <= 0 <= high
                fewer = min((a - b <= 0).sum(), (a - b >= 0).sum())
                rejected += 2 * (fewer + 1) / (resamples + 1) < 0.05
            print(f"{seeds:5}  {spread:15}  {covered / repeats:8.3f}  {rejected / repeats:17.3f}", flush=True)


CLASSES = np.array([0.6, 0.25, 0.15])
"""Of the first class, 3 in 5 images."""
EASE = 0.84 + np.array([0.25, -0.2, -0.5])
"""A class is right with the probability that a normal value is below this, 0.86 to 0.63."""
WRONG = np.array([[0, 0.6, 0.4], [0.7, 0, 0.3], [0.6, 0.4, 0]])
IMAGE, IMAGE_NETWORK, IMAGE_SEED, REST = 0.6, 0.1, 0.05, 0.25
"""Parts of the variance, 1, of the normal value. 0.3 of the first are a model's own; 2 / 3 are of groups, if any."""
SLOPE = 0.28
"""Accuracy per normal value: a spread of accuracy is one of SLOPE times it."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def scored(right_of, predicted_of, of_class):
    """Accuracy and macro F1 from counts of right predictions, predictions and images by class, the last axis."""
    accuracy = right_of.sum(-1) / of_class.sum(-1)
    return np.stack([accuracy, (2 * right_of / np.maximum(predicted_of + of_class, 1e-9)).mean(-1)])


def truth(shift, spread):
    """Scores of infinitely many images, with normal effects of this spread beside a shift."""
    right = CLASSES * stats.norm.cdf(EASE + (shift + spread * NODES)[:, None])
    predicted = right + ((CLASSES - right)[:, :, None] * WRONG).sum(1)
    return (scored(right, predicted, CLASSES) * WEIGHTS).sum(1)


def predictions(rng, label, of_images, networks, seeds, spreads):
    """Predicted classes [networks, seeds, images], and the effects of networks."""
    n = len(label)
    network, seed, both = [rng.normal(0, spread / SLOPE, shape) for spread, shape in
                           zip(spreads, [(networks, 1, 1), (1, seeds, 1), (networks, seeds, 1)])]
    value = EASE[label] + np.sqrt(0.7) * of_images + rng.normal(0, np.sqrt(0.3 * IMAGE), n) + network + seed + both
    for part, shape in [(IMAGE_NETWORK, (networks, 1, n)), (IMAGE_SEED, (1, seeds, n)), (REST, (networks, seeds, n))]:
        value = value + rng.normal(0, np.sqrt(part), shape)
    other = (rng.random((networks, seeds, n, 1)) > WRONG[label].cumsum(1)).sum(-1).clip(0, 2)
    return np.where(value > 0, label, other), network.ravel()


def counted(label, predicted, group):
    """Counts of each group [groups, …]: right predictions, predictions, images by class."""
    of_class = np.eye(3, dtype=np.float32)[label]
    hot = np.eye(3, dtype=np.float32)[predicted.reshape(-1, len(label)).T]
    by_group = lambda values: values.reshape(-1, group, *values.shape[1:]).sum(1)
    return by_group(hot * of_class[:, None]), by_group(hot), by_group(of_class)


def in_resamples(counts, weights, shape):
    """Scores [2, resamples, networks, seeds] where each group comes as often as weights say."""
    right, predicted, of_class = [np.tensordot(weights, part, 1) for part in counts]
    return scored(right, predicted, of_class[:, None]).reshape(2, -1, *shape)


def random_effects(scores, resampled, groups):
    """Standard error and degrees of freedom, as in src/statistics/random_effects.rs, and Satterthwaite's; of several
    scores, none of them missing."""
    (a, b), n = scores.shape, scores.size
    variance = lambda values: values.var(0, ddof=1, dtype=np.float64).sum()
    single, everything = variance(resampled), variance(resampled.sum((1, 2)))
    if min(a, b) == 1:
        common = (everything - single) / (n * (n - 1))
        parts = [(scores.var(ddof=1) / n, n - 1)]
    else:
        crossed = everything - variance(resampled.sum(1)) - variance(resampled.sum(2)) + single
        common = crossed / (n * (a - 1) * (b - 1))
        rest = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
        rest = (rest**2).sum() / ((a - 1) * (b - 1))
        first, second = b * scores.mean(1).var(ddof=1), a * scores.mean(0).var(ddof=1)
        parts = [(max(0, first - rest) / n, a - 1), (max(0, second - rest) / n, b - 1), (rest / n, (a - 1) * (b - 1))]
    parts.append((max(0, common) * groups / (groups - 1), groups - 1))
    total = sum(part for part, _ in parts)
    plain = total**2 / sum(part**2 / freedom for part, freedom in parts)
    return np.sqrt(total), total / sum(part / freedom for part, freedom in parts), plain


def equals_the_reference():
    """Check `random_effects` against the numbers that tests/it/statistics.rs checks the program against."""
    for case in json.loads(REFERENCE.read_text())["cases"]:
        networks, seeds = shape = [level + 1 for level in np.max(case["places"], 0)]
        count = len(case["scores"])
        if count == 1 or count < networks * seeds:
            continue
        scores = np.reshape(case["scores"], shape)
        resampled = np.moveaxis(np.reshape(case["resampled"], (*shape, -1)), 2, 0)
        error, freedom, _ = random_effects(scores, resampled, case["units"])
        np.testing.assert_allclose([error, freedom], [case["error"], case["freedom"]], 1e-9, err_msg=case["name"])


def rejected(scores, resampled, drawn, groups, true):
    """Whether each method rejects the true mean: by its test or, equivalently, its interval."""
    mean, (error, freedom, satterthwaite) = scores.mean(), random_effects(scores, resampled, groups)
    found = [abs(mean - true) > special.stdtrit(nu, 0.975) * error for nu in [satterthwaite, freedom]]
    means = [(resampled * weights).sum((1, 2)) - true for weights in drawn]
    tails = [min((values <= ROUNDING).sum(), (values >= -ROUNDING).sum()) for values in means]
    return [2 * (tail + 1) / (len(resampled) + 1) < 0.05 for tail in tails] + found


def crossed(networks, seeds, images, group, of_networks, of_seeds, repeats, together=True, resamples=400):
    """Rates at which the true mean and the true difference are rejected, by metric and method. Images of a group are
    drawn together or one by one."""
    rng, groups, shape = np.random.default_rng(0), images // group, (networks, seeds)
    unit = group if together else 1
    draw = lambda n: rng.multinomial(n, [1 / n] * n, size=resamples)
    weights, cells = draw(images // unit).astype(np.float32), draw(networks * seeds).reshape(-1, *shape)
    both = draw(networks)[:, :, None] * draw(seeds)[:, None]
    drawn = [cells / (networks * seeds), both / (networks * seeds)]
    spreads = [of_networks, of_seeds, min(0.01, max(of_networks, of_seeds))]
    rates = np.zeros((2, 2, 4))
    for _ in range(repeats):
        label = np.repeat(rng.choice(3, groups, p=CLASSES), group)
        share = 2 / 3 if group > 1 else 0
        of_images = np.repeat(rng.normal(0, np.sqrt(IMAGE * share), groups), group)
        of_images = of_images + rng.normal(0, np.sqrt(IMAGE * (1 - share)), images)
        found = []
        for _ in range(2):
            predicted, network = predictions(rng, label, of_images, networks, seeds, spreads)
            counts = counted(label, predicted, unit)
            shift, rest = (network[0], spreads[1:]) if networks == 1 else (0, spreads)
            true = truth(shift, np.hypot.reduce(rest) / SLOPE)
            whole = in_resamples(counts, np.ones((1, images // unit)), shape)[:, 0]
            found.append((whole, in_resamples(counts, weights, shape), true))
        (a, of_a, true_a), (b, of_b, true_b) = found
        for m in range(2):
            rates[m, 0] += rejected(a[m], of_a[m], drawn, images // unit, true_a[m])
            difference = a[m] - b[m], of_a[m] - of_b[m]
            rates[m, 1] += rejected(*difference, drawn, images // unit, true_a[m] - true_b[m])
    return rates / repeats


def line(networks, seeds, images, group, spreads, repeats, together=True):
    """Print the rates of a setting, a line for each metric."""
    found = crossed(networks, seeds, images, group, *spreads, repeats, together)
    units = images // group if together else images
    for metric, (missed, errors) in zip(["accuracy", "macro F1"], found):
        rates = ["  ".join(f"{rate:4.3f}"[1:] for rate in row) for row in [1 - missed, errors]]
        print(f"{networks:8}  {seeds:5}  {images:6}  {units:5}  {spreads[0]:.2f}, {spreads[1]:.2f}  {metric:8}"
              f"  {rates[0]}  {rates[1]}", flush=True)


SPREADS = [(0, 0), (0, 0.01), (0.01, 0.01), (0.04, 0.01), (0, 0.04), (0.04, 0.04)]
"""Standard deviation of accuracy between networks, and between seeds."""

if __name__ == "__main__":
    equals_the_reference()
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    one_axis()
    print("\ncoverage, then type I error rate, of: a bootstrap of scores; one of values of each axis, as of tables;")
    print("random effects with Satterthwaite's degrees of freedom; and with fewer, as of tables")
    print("networks  seeds  images  units  spreads     metric    coverage                type I error rate")
    for images, group in [(200, 1), (200, 5), (2000, 10), (2000, 1)]:
        for networks, seeds in [(1, 3), (1, 5), (3, 3), (3, 5), (5, 5)]:
            for spreads in [spreads for spreads in SPREADS if networks > 1 or spreads[0] == 0]:
                line(networks, seeds, images, group, spreads, repeats)
    print("images of groups drawn one by one:")
    for images, group in [(200, 5), (2000, 10)]:
        line(3, 5, images, group, (0, 0.01), repeats, together=False)
