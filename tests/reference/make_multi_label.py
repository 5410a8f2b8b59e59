"""Scores and losses of multi-label data sets with unknown labels, by scikit-learn and PyTorch.

    python make_multi_label.py OUT_DIR

Needs torch, scikit-learn, numpy. A label is 0, 1 or, if unknown, 2. A score of a class is scikit-learn's on the images
with a known label; without unknown labels, scikit-learn's own multi-label scores are computed and must be the same.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from sklearn import metrics

OUT = Path(sys.argv[1])
rng = np.random.default_rng(7)
torch.manual_seed(7)


def mean(values):
    """The mean; None if a value is undefined."""
    return None if any(value is None for value in values) else float(np.mean(values))


def ranked(score, y, p, needs):
    return float(score(y, p)) if set(needs) <= set(y.tolist()) else None


def scores(y, p):
    known, predicted = y < 2, (p >= 0.5).astype(int)
    classes = [(y[k, c], predicted[k, c], p[k, c]) for c, k in enumerate(known.T)]
    prf = [
        metrics.precision_recall_fscore_support(t, q, average="binary", zero_division=0)[:3] if len(t) else [None] * 3
        for t, q, _ in classes
    ]
    precision, recall, f1 = zip(*prf)
    support = np.array([int(t.sum()) for t, *_ in classes])
    weighted = mean(f1) if mean(f1) is None or support.sum() == 0 else float(np.average(f1, weights=support))
    if support.sum() == 0 and mean(f1) is not None:
        weighted = 0.0
    rows = known.any(axis=1)
    masked = [np.where(known, x, 0)[rows] for x in (y, predicted)]
    return dict(
        macro_f1=mean(f1),
        weighted_f1=weighted,
        micro_f1=float(metrics.f1_score(y[known], predicted[known], zero_division=0)) if known.any() else None,
        accuracy=float(metrics.accuracy_score(*masked)) if rows.any() else None,
        macro_precision=mean(precision),
        macro_recall=mean(recall),
        auroc=mean([ranked(metrics.roc_auc_score, t, s, [0, 1]) for t, _, s in classes]),
        average_precision=mean([ranked(metrics.average_precision_score, t, s, [1]) for t, _, s in classes]),
        log_loss=float(metrics.log_loss(y[known], p[known], labels=[0, 1])) if known.any() else None,
    )


def check(y, p, found):
    """Without unknown labels, the scores are scikit-learn's multi-label ones."""
    q = (p >= 0.5).astype(int)
    for name, average in [("macro_f1", "macro"), ("micro_f1", "micro"), ("weighted_f1", "weighted")]:
        assert np.isclose(found[name], metrics.f1_score(y, q, average=average, zero_division=0)), name
    assert np.isclose(found["accuracy"], metrics.accuracy_score(y, q))
    assert np.isclose(found["macro_precision"], metrics.precision_score(y, q, average="macro", zero_division=0))
    assert np.isclose(found["macro_recall"], metrics.recall_score(y, q, average="macro", zero_division=0))
    if found["auroc"] is not None:
        assert np.isclose(found["auroc"], metrics.roc_auc_score(y, p, average="macro"))
    if found["average_precision"] is not None:
        assert np.isclose(found["average_precision"], metrics.average_precision_score(y, p, average="macro"))


def case(n, c, unknown, rate, ties):
    y = (rng.random((n, c)) < rate).astype(int)
    p = 1 / (1 + np.exp(-(2 * y - 1 + rng.normal(0, 1.5, (n, c)))))
    p = np.round(p, 1) if ties else p
    y[rng.random((n, c)) < unknown] = 2
    return y, p


cases = [
    case(60, 5, 0.0, 0.3, False), case(60, 5, 0.0, 0.3, True), case(80, 14, 0.0, 0.1, False),
    case(60, 5, 0.3, 0.3, False), case(60, 5, 0.3, 0.3, True), case(200, 14, 0.2, 0.15, False),
    case(40, 1, 0.2, 0.5, False), case(40, 2, 0.0, 0.5, True), case(40, 2, 0.5, 0.5, False),
    case(12, 3, 0.9, 0.5, False), case(30, 4, 0.0, 0.0, False),
]
y, p = case(30, 4, 0.1, 0.4, False)
y[:, 2] = np.where(y[:, 2] == 1, 0, y[:, 2])  # a class without images
cases.append((y, p))
y, p = case(30, 4, 0.1, 0.4, False)
y[:, 1] = 2  # a class of which nothing is known
cases.append((y, p))
scored = []
for y, p in cases:
    found = scores(y, p)
    if (y < 2).all():
        check(y, p, found)
    scored.append(dict(y_true=y.tolist(), prob=p.tolist(), **found))


# ---------------------------------------------------------------- losses
def masked(z, y, m, pos_weight):
    return F.binary_cross_entropy_with_logits(z, y, weight=m, pos_weight=pos_weight, reduction="sum"), m.sum()


losses = []
for n, c, unknown, share, balanced in [
    (6, 4, 0.0, 1.0, False), (6, 4, 0.3, 1.0, False), (6, 4, 0.3, 1.0, True), (5, 1, 0.4, 1.0, True),
    (8, 14, 0.5, 0.7, False), (8, 14, 0.5, 0.7, True), (3, 2, 1.0, 1.0, False),
]:
    z = (3 * torch.randn(n, c)).requires_grad_()
    y = (torch.rand(n, c) < 0.4).float()
    y[0], y[-1] = 1, 0  # every class has both
    m = (torch.rand(n, c) >= unknown).float()
    if unknown < 1:
        m[0], m[-1] = 1, 1
    pos_weight = ((1 - y) * m).sum(0) / (y * m).sum(0) if balanced else torch.ones(c)
    own, count = masked(z, y, m, pos_weight)
    other, others = masked(z, y.roll(1, 0), m.roll(1, 0), pos_weight)
    loss = (share * own + (1 - share) * other) / (share * count + (1 - share) * others).clamp(min=1e-30)
    loss.backward()
    losses.append(dict(
        z=z.tolist(), labels=torch.where(m == 1, y, 2 * torch.ones_like(y)).int().tolist(), share=share,
        balanced=balanced, loss=loss.item(), gz=z.grad.tolist()))

source = f"scikit-learn {sklearn.__version__}, PyTorch {torch.__version__}"
json.dump(dict(source=source, scores=scored, losses=losses), open(OUT / "multi_label.json", "w"))
