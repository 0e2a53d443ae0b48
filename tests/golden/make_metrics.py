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
    body = ", ".join(f'{{"{k}", {float(v)!r}}}' for k, v in values.items())
    print(f"static const dl_metric {name}[] = {{{body}}};\n")


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


def classification(name, truth, scores):
    predicted = scores.argmax(axis=1)
    common = {"zero_division": 0}
    array("float", name + "_scores", scores)
    array("int32_t", name + "_truth", truth)
    array("int64_t", name + "_confusion", m.confusion_matrix(truth, predicted, labels=range(scores.shape[1])))
    recall = m.recall_score(truth, predicted, average=None, labels=sorted(set(truth)), **common)
    golden(name, {
        "accuracy": m.accuracy_score(truth, predicted),
        "balanced_accuracy": recall.mean(),
        "macro_precision": m.precision_score(truth, predicted, average="macro", **common),
        "macro_recall": m.recall_score(truth, predicted, average="macro", **common),
        "macro_f1": m.f1_score(truth, predicted, average="macro", **common),
        "weighted_f1": m.f1_score(truth, predicted, average="weighted", **common),
    })


def binary(name, truth, scores):
    predicted = (scores > 0.5).astype(int)
    array("float", name + "_scores", scores)
    array("float", name + "_truth", truth)
    golden(name, {
        "accuracy": m.accuracy_score(truth, predicted),
        "precision": m.precision_score(truth, predicted, zero_division=0),
        "recall": m.recall_score(truth, predicted, zero_division=0),
        "f1": m.f1_score(truth, predicted, zero_division=0),
    })


def regression(name, truth, scores, reference):
    t, s = truth.astype(np.float64), scores.astype(np.float64)
    array("float", name + "_scores", scores)
    array("float", name + "_truth", truth)
    array("float", name + "_reference", reference)
    golden(name, {
        "mse": m.mean_squared_error(t, s),
        "rmse": np.sqrt(m.mean_squared_error(t, s)),
        "mae": m.mean_absolute_error(t, s),
        "r2": m.r2_score(t, s),
    })


print("/* Made by make_metrics.py with scikit-learn; do not edit. */\n#ifndef DL_METRICS_GOLDEN_H\n#define DL_METRICS_GOLDEN_H\n")
print('#include "metrics/metrics.h"\n\n/* clang-format off */')

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
predicted = (scores > 0.5).astype(int)
array("float", "golden_labels_scores", scores)
array("float", "golden_labels_truth", truth)
golden("golden_labels", {
    "subset_accuracy": m.accuracy_score(truth, predicted),
    "label_accuracy": 1 - m.hamming_loss(truth, predicted),
    "micro_precision": m.precision_score(truth, predicted, average="micro"),
    "micro_recall": m.recall_score(truth, predicted, average="micro"),
    "micro_f1": m.f1_score(truth, predicted, average="micro"),
    "macro_f1": m.f1_score(truth, predicted, average="macro", zero_division=0),
})

truth = rng.normal(size=40).astype(np.float32)
regression("golden_values", truth, (truth + 0.3 * rng.normal(size=40)).astype(np.float32), [0.1])
# Three outputs: one far from zero, one constant and not met.
truth = np.stack([rng.normal(size=40), 100000 + rng.normal(size=40), np.full(40, 2.5)], axis=1).astype(np.float32)
scores = (truth + 0.5 * rng.normal(size=(40, 3))).astype(np.float32)
regression("golden_outputs", truth, scores, [0.0, 100000.0, 2.25])
print("#endif")
