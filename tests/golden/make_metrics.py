#!/usr/bin/env python3
"""Writes metrics_golden.h: scores, truth and what scikit-learn makes of them.

Usage: /usr/bin/python3 tests/golden/make_metrics.py > tests/golden/metrics_golden.h   (Debian: python3-sklearn)
"""
import numpy as np
from sklearn import metrics as m

rng = np.random.default_rng(7)


def array(kind, name, values):
    flat = np.asarray(values).reshape(-1)
    text = ", ".join((f"{float(v):.9g}" + ("" if "." in f"{float(v):.9g}" or "e" in f"{float(v):.9g}" else ".0") + "F")
                     if kind == "float" else str(int(v)) for v in flat)
    print(f"static const {kind} {name}[] = {{{text}}};")


def golden(name, values):
    body = ", ".join(f'{{"{k}", {number(v)}}}' for k, v in values.items())
    print(f"static const dl_metric {name}[] = {{{body}}};\n")


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


EPS = float(np.finfo(np.float32).eps)


def mean_defined(values):
    values = [v for v in values if v is not None]
    return np.mean(values) if values else np.nan


def areas(truth, scores, weight):
    """ROC AUC and average precision of yes or no, None where not defined."""
    kept = truth if weight is None else truth[weight > 0]
    roc = m.roc_auc_score(truth, scores, sample_weight=weight) if 0 < kept.sum() < len(kept) else None
    return roc, m.average_precision_score(truth, scores, sample_weight=weight) if kept.sum() else None


def best_f1(truth, scores, weight):
    precision, recall, _ = m.precision_recall_curve(truth, scores, sample_weight=weight)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return f1.max()


def number(v):
    return "NAN" if v is None or np.isnan(v) else repr(float(v))


def table(name, rows):
    print(f"static const double {name}[] = {{{', '.join(number(v) for row in rows for v in row)}}};")


def classification(name, truth, scores, weight=None):
    predicted = scores.argmax(axis=1)
    classes = range(scores.shape[1])
    common = {"zero_division": 0, "sample_weight": weight}
    array("float", name + "_scores", scores)
    array("int32_t", name + "_truth", truth)
    if weight is not None:
        array("float", name + "_weight", weight)
    array("int64_t", name + "_confusion", m.confusion_matrix(truth, predicted, labels=classes))
    recall = m.recall_score(truth, predicted, average=None, labels=sorted(set(truth)), **common)
    ranked = [areas((truth == c).astype(int), scores[:, c], weight) for c in classes]
    each = m.precision_recall_fscore_support(truth, predicted, labels=classes, **common)
    table(name + "_each", [[each[k][c] for k in range(4)] + list(ranked[c]) for c in classes])
    values = {
        "accuracy": m.accuracy_score(truth, predicted, sample_weight=weight),
        "balanced_accuracy": recall.mean(),
        "macro_precision": m.precision_score(truth, predicted, average="macro", **common),
        "macro_recall": m.recall_score(truth, predicted, average="macro", **common),
        "macro_f1": m.f1_score(truth, predicted, average="macro", **common),
        "micro_f1": m.f1_score(truth, predicted, average="micro", **common),
        "weighted_precision": m.precision_score(truth, predicted, average="weighted", **common),
        "weighted_recall": m.recall_score(truth, predicted, average="weighted", **common),
        "weighted_f1": m.f1_score(truth, predicted, average="weighted", **common),
        "mcc": m.matthews_corrcoef(truth, predicted, sample_weight=weight),
        "macro_roc_auc": mean_defined([r[0] for r in ranked]),
    }
    if scores.shape[1] > 5:
        # Of equal scores the lower class comes first, as in the prediction; scikit-learn takes the higher one.
        first = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        values["top5_accuracy"] = np.average((first == np.asarray(truth)[:, None]).any(axis=1), weights=weight)
        if all(len(set(row)) == len(row) for row in scores):
            assert values["top5_accuracy"] == m.top_k_accuracy_score(truth, scores, k=5, labels=classes)
    elif weight is None and set(truth) == set(classes):  # sums to 1 as roc_auc_score wants it
        wide = scores.astype(np.float64)
        whole = m.roc_auc_score(truth, wide / wide.sum(axis=1, keepdims=True), multi_class="ovr", average="macro")
        assert abs(whole - values["macro_roc_auc"]) < 1e-3
    golden(name, values)


def binary(name, truth, scores, weight=None, threshold=0.5):
    predicted = (scores > threshold).astype(int)
    common = {"sample_weight": weight}
    array("float", name + "_scores", scores)
    array("float", name + "_truth", truth)
    if weight is not None:
        array("float", name + "_weight", weight)
    wide = scores.astype(np.float64)
    roc, pr = areas(truth, scores, weight)
    golden(name, {
        "accuracy": m.accuracy_score(truth, predicted, **common),
        "precision": m.precision_score(truth, predicted, zero_division=0, **common),
        "recall": m.recall_score(truth, predicted, zero_division=0, **common),
        "f1": m.f1_score(truth, predicted, zero_division=0, **common),
        "mcc": m.matthews_corrcoef(truth, predicted, **common),
        "log_loss": m.log_loss(truth, wide, eps=EPS, labels=[0, 1], **common),
        "brier": m.brier_score_loss(truth, wide, pos_label=1, **common),
        "roc_auc": np.nan if roc is None else roc,
        "pr_auc": np.nan if pr is None else pr,
        "best_f1": best_f1(truth, scores, weight),
    })


def multilabel(name, truth, scores, weight=None):
    predicted = (scores > 0.5).astype(int)
    common = {"zero_division": 0, "sample_weight": weight}
    array("float", name + "_scores", scores)
    array("float", name + "_truth", truth)
    if weight is not None:
        array("float", name + "_weight", weight)
    labels = range(truth.shape[1])
    ranked = [areas(truth[:, o], scores[:, o], weight) for o in labels]
    each = m.precision_recall_fscore_support(truth, predicted, labels=list(labels), **common)
    table(name + "_each", [[each[k][o] for k in range(4)] + list(ranked[o]) for o in labels])
    values = {"subset_accuracy": m.accuracy_score(truth, predicted, sample_weight=weight),
              "label_accuracy": 1 - m.hamming_loss(truth, predicted, sample_weight=weight)}
    for average in ("micro", "macro"):
        values[average + "_precision"] = m.precision_score(truth, predicted, average=average, **common)
        values[average + "_recall"] = m.recall_score(truth, predicted, average=average, **common)
        values[average + "_f1"] = m.f1_score(truth, predicted, average=average, **common)
    values["macro_roc_auc"] = mean_defined([r[0] for r in ranked])
    values["macro_pr_auc"] = mean_defined([r[1] for r in ranked])
    golden(name, values)


def regression(name, truth, scores, reference, weight=None):
    t, s = truth.astype(np.float64), scores.astype(np.float64)
    array("float", name + "_scores", scores)
    array("float", name + "_truth", truth)
    array("float", name + "_reference", reference)
    if weight is not None:
        array("float", name + "_weight", weight)
    common = {"sample_weight": weight}
    golden(name, {
        "mse": m.mean_squared_error(t, s, **common),
        "rmse": np.sqrt(m.mean_squared_error(t, s, **common)),
        "mae": m.mean_absolute_error(t, s, **common),
        "r2": m.r2_score(t, s, **common),
        "explained_variance": m.explained_variance_score(t, s, **common),
        "max_error": np.abs(t - s).max(),
    })


print("/* Made by make_metrics.py with scikit-learn; do not edit. */\n#ifndef DL_METRICS_GOLDEN_H\n#define DL_METRICS_GOLDEN_H\n")
print('#include <math.h>\n\n#include "metrics/metrics.h"\n\n/* clang-format off */')

n, c = 60, 5
truth = rng.integers(0, c, n)
classification("golden_classes", truth, softmax(rng.normal(size=(n, c)) + 1.5 * np.eye(c)[truth]))

# Class 2 is in the truth and never predicted, class 4 predicted and not in the truth, class 5 in neither.
truth = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 0])
picked = np.array([0, 1, 1, 1, 0, 4, 3, 3, 4, 0])
classification("golden_gaps", truth, softmax(3.0 * np.eye(6)[picked] + 0.1 * rng.normal(size=(10, 6))))

truth = rng.integers(0, 2, 50)
binary("golden_binary", truth, (1 / (1 + np.exp(-(rng.normal(size=50) + 1.2 * truth - 0.4)))).astype(np.float32))
binary("golden_no_positive", np.ones(6), np.array([0.1, 0.2, 0.5, 0.4, 0.3, 0.05], dtype=np.float32))

truth = rng.integers(0, 2, (30, 4))
truth[:, 3] = 0
scores = (1 / (1 + np.exp(-(rng.normal(size=(30, 4)) + 3.0 * truth - 1.5)))).astype(np.float32)
scores[:, 3] *= 0.5
multilabel("golden_labels", truth, scores)

truth = rng.normal(size=40).astype(np.float32)
regression("golden_values", truth, (truth + 0.3 * rng.normal(size=40)).astype(np.float32), [0.1])
# Three outputs: one far from zero, one constant and not met.
truth = np.stack([rng.normal(size=40), 100000 + rng.normal(size=40), np.full(40, 2.5)], axis=1).astype(np.float32)
scores = (truth + 0.5 * rng.normal(size=(40, 3))).astype(np.float32)
regression("golden_outputs", truth, scores, [0.0, 100000.0, 2.25])

# Weights, ties in all places (scores of two digits), a sample of weight 0, scores of 0 and 1.
def weights(n):
    w = rng.uniform(0.1, 3, n).astype(np.float32)
    w[n // 2] = 0
    return w.astype(np.float64)  # the values of float32, for sums that are not


n = 120
truth = rng.integers(0, 7, n)
scores = softmax(np.round(rng.normal(size=(n, 7)) + 1.2 * np.eye(7)[truth], 1))
classification("golden_weighted_classes", truth, scores, weights(n))
truth = rng.integers(0, 2, n)
scores = np.clip(np.round(0.5 + 0.35 * rng.normal(size=n) + 0.2 * (truth - 0.5), 2), 0, 1).astype(np.float32)
binary("golden_ties", truth, scores)
binary("golden_weighted_ties", truth, scores, weights(n))
binary("golden_threshold", truth, scores, threshold=0.25)
truth = rng.integers(0, 2, (50, 3))
scores = np.clip(np.round(0.5 + 0.3 * rng.normal(size=(50, 3)) + 0.4 * (truth - 0.5), 1), 0, 1).astype(np.float32)
multilabel("golden_weighted_labels", truth, scores, weights(50))
truth = (3 + rng.normal(size=(40, 2))).astype(np.float32)
regression("golden_weighted_values", truth, (truth + 0.3 * rng.normal(size=(40, 2)) + 0.2).astype(np.float32), [3.0, 3.0],
           np.float64(np.float32(weights(40)[::-1] + 0.5)))


def maps(name, truth, scores):
    """Pixels; -1 is none."""
    array("float", name + "_scores", scores)
    array("int32_t", name + "_truth", truth)
    kept, predicted = truth[truth >= 0], scores.argmax(axis=1)[truth >= 0]
    common = {"zero_division": 0}
    classes = list(range(scores.shape[1]))
    each = m.precision_recall_fscore_support(kept, predicted, labels=classes, **common)
    iou = m.jaccard_score(kept, predicted, average=None, labels=classes, **common)
    table(name + "_each", [[each[0][c], each[1][c], each[2][c], iou[c], each[3][c]] for c in classes])
    golden(name, {
        "accuracy": m.accuracy_score(kept, predicted),
        "balanced_accuracy": m.recall_score(kept, predicted, average=None, labels=sorted(set(kept)), **common).mean(),
        "mean_iou": m.jaccard_score(kept, predicted, average="macro", **common),
        "weighted_iou": m.jaccard_score(kept, predicted, average="weighted", **common),
        "macro_f1": m.f1_score(kept, predicted, average="macro", **common),
        "weighted_f1": m.f1_score(kept, predicted, average="weighted", **common),
    })


# Class 3 is never predicted, class 4 is not in the truth but predicted.
truth = rng.choice([0, 0, 0, 1, 2, 2, 3, -1], 150)
shift = np.where(np.arange(5) == 3, -9, np.where(np.arange(5) == 4, -0.5, 0))
maps("golden_maps", truth, softmax(rng.normal(size=(150, 5)) + 1.5 * np.eye(5)[truth.clip(0)] + shift))
print("#endif")
