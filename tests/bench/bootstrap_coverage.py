"""How often 95 % intervals of tables hold the truth, and how often two models that are equally good are told apart at
0.05: with `bootstrap` and `paired_bootstrap`, and with `random_effects`.

    python bootstrap_coverage.py [REPEATS] [IMAGES]

First one axis, with normal scores of images: what an image is worth, the luck of a seed, and the rest. Then accuracy
and macro F1 of three classes for source networks crossed with seeds: whether a prediction is right is a normal value
with effects of the image (and its group), the network, the seed, all their interactions, and the rest. With a single
network, the truth is that of this network.
"""

import sys

import numpy as np
from scipy import stats

ARGUMENTS = [int(argument) for argument in sys.argv[1:]]


def one_axis(images=200, resamples=400, repeats=400, spread_of_images=0.35, rest=0.25):
    rng = np.random.default_rng(0)

    def scores(seeds, spread_of_seeds, of_images):
        luck = rng.normal(0, spread_of_seeds, seeds)
        return of_images + luck[:, None] + rng.normal(0, rest, (seeds, images))

    print("seeds  spread of seeds  holds the truth  tells equals apart")
    for seeds in [1, 3, 5, 10]:
        for spread in [0, 0.02, 0.04]:
            holds = apart = 0
            for _ in range(repeats):
                of_images = rng.normal(0, spread_of_images, images)
                of_resamples = rng.multinomial(images, [1 / images] * images, size=resamples) / images
                drawn = rng.multinomial(seeds, [1 / seeds] * seeds, size=resamples) / seeds
                a, b = [(drawn * (of_resamples @ scores(seeds, spread, of_images).T)).sum(1) for _ in range(2)]
                low, high = np.percentile(a, [2.5, 97.5])
                holds += low <= 0 <= high
                fewer = min((a - b <= 0).sum(), (a - b >= 0).sum())
                apart += 2 * (fewer + 1) / (resamples + 1) < 0.05
            print(f"{seeds:5}  {spread:15}  {holds / repeats:15.3f}  {apart / repeats:18.3f}", flush=True)


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


def predictions(rng, label, worth, networks, seeds, spreads):
    """Predicted classes [networks, seeds, images], and the effects of networks."""
    n = len(label)
    network, seed, both = [rng.normal(0, spread / SLOPE, shape) for spread, shape in
                           zip(spreads, [(networks, 1, 1), (1, seeds, 1), (networks, seeds, 1)])]
    value = EASE[label] + np.sqrt(0.7) * worth + rng.normal(0, np.sqrt(0.3 * IMAGE), n) + network + seed + both
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
    """Standard error and degrees of freedom, as in src/statistics/random_effects.rs; with no score missing."""
    (a, b), n = scores.shape, scores.size
    variance = lambda values: values.var(0, ddof=1).sum()
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


def outside(scores, resampled, drawn, groups, true):
    """Whether the truth is outside of the interval, or 0 difference by the test, of each method."""
    mean, (error, freedom, plain) = scores.mean(), random_effects(scores, resampled, groups)
    found = [abs(mean - true) > stats.t.ppf(0.975, nu) * error for nu in [plain, freedom]]
    means = [(resampled * weights).sum((1, 2)) - true for weights in drawn]
    tails = [min((values <= 0).sum(), (values >= 0).sum()) for values in means]
    return [2 * (tail + 1) / (len(resampled) + 1) < 0.05 for tail in tails] + found


def crossed(networks, seeds, images, group, of_networks, of_seeds, repeats, together=True, resamples=400):
    """Rates of outside by metric and method: of the truth from intervals, of 0 from tests of equals. Images of a group
    are drawn together or one by one."""
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
        worth = np.repeat(rng.normal(0, np.sqrt(IMAGE * share), groups), group)
        worth = worth + rng.normal(0, np.sqrt(IMAGE * (1 - share)), images)
        found = []
        for _ in range(2):
            predicted, network = predictions(rng, label, worth, networks, seeds, spreads)
            counts = counted(label, predicted, unit)
            shift, rest = (network[0], spreads[1:]) if networks == 1 else (0, spreads)
            true = truth(shift, np.hypot.reduce(rest) / SLOPE)
            whole = in_resamples(counts, np.ones((1, images // unit)), shape)[:, 0]
            found.append((whole, in_resamples(counts, weights, shape), true))
        (a, of_a, true_a), (b, of_b, true_b) = found
        for m in range(2):
            rates[m, 0] += outside(a[m], of_a[m], drawn, images // unit, true_a[m])
            rates[m, 1] += outside(a[m] - b[m], of_a[m] - of_b[m], drawn, images // unit, true_a[m] - true_b[m])
    return rates / repeats


def line(networks, seeds, images, group, spreads, repeats, together=True):
    """Print the rates of a setting, a line for each metric."""
    found = crossed(networks, seeds, images, group, *spreads, repeats, together)
    units = images // group if together else images
    for metric, (holds, apart) in zip(["accuracy", "macro F1"], found):
        rates = ["  ".join(f"{rate:4.3f}"[1:] for rate in row) for row in [1 - holds, apart]]
        print(f"{networks:8}  {seeds:5}  {images:6}  {units:5}  {spreads[0]:.2f}, {spreads[1]:.2f}  {metric:8}"
              f"  {rates[0]}  {rates[1]}", flush=True)


SPREADS = [(0, 0), (0, 0.01), (0.01, 0.01), (0.04, 0.01), (0, 0.04), (0.04, 0.04)]
"""Of accuracy over networks, and over seeds."""

if __name__ == "__main__":
    repeats = (ARGUMENTS + [1000])[0]
    one_axis()
    print("\nholds the truth, then tells equals apart, by: a bootstrap of scores; one of values of each axis, as of")
    print("tables; random effects with Satterthwaite's degrees of freedom; and with fewer, as of tables")
    print("networks  seeds  images  units  spreads     metric    holds                   apart")
    for images, group in [(200, 1), (200, 5), (2000, 10), (2000, 1)]:
        for networks, seeds in [(1, 3), (1, 5), (3, 3), (3, 5), (5, 5)]:
            for spreads in [spreads for spreads in SPREADS if networks > 1 or spreads[0] == 0]:
                line(networks, seeds, images, group, spreads, repeats if images // group < 2000 else repeats // 5)
    print("images of groups drawn one by one:")
    for images, group in [(200, 5), (2000, 10)]:
        line(3, 5, images, group, (0, 0.01), repeats, together=False)
