"""Reference numbers for intervals and paired tests, by SciPy, scikit-learn and numpy.

    python make_statistics.py OUT_DIR
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy
from scipy import stats
from sklearn import metrics

rng = np.random.default_rng(5)


def wilcoxon(differences, method):
    # zeros are dropped, no continuity correction
    return float(stats.wilcoxon(differences, zero_method="wilcox", correction=False, method=method).pvalue)


def signed_ranks():
    """Without ties: exact. With ties and zeros: every sign counted (n up to 13) and the normal distribution."""
    cases = []
    for n in [3, 5, 10, 25, 50]:
        differences = rng.normal(0.3, 1, n)
        cases.append(dict(differences=differences.tolist(), exact=wilcoxon(differences, "exact"),
                          approximate=wilcoxon(differences, "asymptotic")))
    for n in [4, 7, 11, 13]:
        differences = rng.integers(-3, 6, n) / 10
        cases.append(dict(differences=differences.tolist(), exact=wilcoxon(differences, "auto"),
                          approximate=wilcoxon(differences, "asymptotic")))
    for n in [60, 200]:
        for differences in [rng.normal(0.2, 1, n), rng.integers(-3, 6, n) / 10]:
            cases.append(dict(differences=differences.tolist(), exact=None,
                              approximate=wilcoxon(differences, "asymptotic")))
    return cases


def t_tests():
    cases = []
    for n in [2, 3, 5, 12, 40, 200]:
        for shift in [0, 0.4, 3]:
            differences = rng.normal(shift, 1, n)
            test = stats.ttest_1samp(differences, 0)
            interval = test.confidence_interval(0.9)
            cases.append(dict(differences=differences.tolist(), t=float(test.statistic), p=float(test.pvalue),
                              low=float(interval.low), high=float(interval.high)))
    return cases


def holm(p):
    """Step by step, as Holm (1979) rejects: the k-th smallest at alpha / (m - k + 1), until one is not."""
    adjusted = np.zeros(len(p))
    order = np.argsort(p, kind="stable")
    for k, position in enumerate(order):
        adjusted[position] = min(1, max((len(p) - j) * p[order[j]] for j in range(k + 1)))
    return adjusted.tolist()


def corrections():
    cases = [rng.uniform(0, 1, 7), rng.uniform(0, 0.05, 12), np.array([0.01, 0.01, 0.04, 0.03]), np.array([0.2])]
    return [dict(p=p.tolist(), adjusted=holm(p)) for p in cases]


def scores(labels, rows, drawn):
    labels, rows = labels[drawn], rows[drawn]
    classes = np.arange(rows.shape[1])
    predicted = rows.argmax(1)
    auroc = np.nan
    if len(np.unique(labels)) == len(classes):
        auroc = np.mean([metrics.roc_auc_score(labels == c, rows[:, c]) for c in classes])
    return dict(
        macro_f1=metrics.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0),
        accuracy=metrics.accuracy_score(labels, predicted),
        auroc=auroc,
        log_loss=metrics.log_loss(labels, rows, labels=classes),
    )


def bootstrap(images=24, classes=3, seeds=3, resamples=120, confidence=0.9):
    """Two models, images and seeds drawn together for both; the second is the better one."""
    labels = np.arange(images) % classes
    rows = []
    for skill in [0.8, 1.6]:
        logits = rng.normal(0, 1, (seeds, images, classes)) + skill * np.eye(classes)[labels]
        rows.append(np.round(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), 6))
        rows[-1][..., -1] = 1 - rows[-1][..., :-1].sum(-1)
    image_draws = rng.integers(0, images, (resamples, images))
    seed_draws = rng.integers(0, seeds, (resamples, seeds))
    of = [[[scores(labels, model[s], drawn) for drawn in image_draws] for s in range(seeds)] for model in rows]
    expected = {}
    for name in ["macro_f1", "accuracy", "auroc", "log_loss"]:
        means = np.array([
            [np.mean([per_seed[s][b][name] for s in seed_draws[b]]) for b in range(resamples)] for per_seed in of
        ])
        means = means[:, ~np.isnan(means[0])]
        difference = means[1] - means[0]
        tails = [50 * (1 - confidence), 100 - 50 * (1 - confidence)]
        fewer = min((difference <= 1e-12).sum(), (difference >= -1e-12).sum())
        expected[name] = dict(
            intervals=[np.percentile(mean, tails).tolist() for mean in means],
            difference=np.percentile(difference, tails).tolist(),
            p=float(min(1, 2 * (fewer + 1) / (len(difference) + 1))),
            resamples=len(difference),
        )
    return dict(confidence=confidence, labels=labels.tolist(), rows=[model.tolist() for model in rows],
                image_draws=image_draws.tolist(), seed_draws=seed_draws.tolist(), expected=expected)


reference = dict(source=f"SciPy {scipy.__version__}, numpy {np.__version__}", signed_ranks=signed_ranks(),
                 t_tests=t_tests(), holm=corrections(), bootstrap=bootstrap())
Path(sys.argv[1], "statistics.json").write_text(json.dumps(reference) + "\n")
