#!/usr/bin/python3
"""Writes loss_golden.h: cross_entropy with its options as PyTorch 1.13 computes it, mean and gradient of the mean.

Logits, labels and weights come from the generator of tests/nn/nn_fixture.h.
Run: /usr/bin/python3 make_loss.py > loss_golden.h
"""
import torch
import torch.nn.functional as F

from lcg import Lcg

N, C = 9, 5
CLASS_WEIGHTS = [0.5, 2.0, 1.25, 0.0, 3.0]
SAMPLE_WEIGHTS = [1.0, 0.5, 2.0, 0.0, 1.5, 1.0, 3.0, 0.25, 1.0]


def inputs():
    g = Lcg(31)
    logits = torch.tensor([4 * g.value() for _ in range(N * C)]).reshape(N, C).requires_grad_()
    return logits, torch.tensor([(g.next() >> 16) % C for _ in range(N)])


w = torch.tensor(CLASS_WEIGHTS)
CASES = [
    ("{name: cross_entropy}", None, 0, False, False),
    ("{name: cross_entropy, label_smoothing: 0.2}", None, 0.2, False, False),
    ("{name: cross_entropy, class_weights: [0.5, 2, 1.25, 0, 3]}", w, 0, False, False),
    ("{name: cross_entropy, class_weights: [0.5, 2, 1.25, 0, 3], label_smoothing: 0.2}", w, 0.2, False, False),
    ("{name: cross_entropy, ignore_index: 2}", None, 0, True, False),
    ("{name: cross_entropy, ignore_index: 2, class_weights: [0.5, 2, 1.25, 0, 3], label_smoothing: 0.1}", w, 0.1, True,
     False),
    ("{name: cross_entropy, label_smoothing: 0.3}", None, 0.3, False, True),
]


def case(weight, smoothing, ignore, by_sample):
    logits, label = inputs()
    options = {"weight": weight, "label_smoothing": smoothing, "ignore_index": 2 if ignore else -100}
    if by_sample:
        s = torch.tensor(SAMPLE_WEIGHTS)
        loss = (F.cross_entropy(logits, label, reduction="none", **options) * s).sum() / s.sum()
    else:
        loss = F.cross_entropy(logits, label, **options)
    loss.backward()
    return loss.item(), logits.grad.flatten().tolist()


def array(values):
    return "{" + ", ".join("%.9gf" % v if "." in "%.9g" % v or "e" in "%.9g" % v else "%.1ff" % v for v in values) + "}"


print(f"/* loss_golden.h - made by make_loss.py with PyTorch {torch.__version__}; do not edit. */")
print("#ifndef DL_LOSS_GOLDEN_H\n#define DL_LOSS_GOLDEN_H\n\n/* clang-format off */\n")
print(f"enum {{ LOSS_N = {N}, LOSS_C = {C} }};")
print(f"static const float loss_sample_weights[LOSS_N] = {array(SAMPLE_WEIGHTS)};")
print("static const struct {\n  const char *yaml;\n  int by_sample;\n  double loss;\n  float gradient[LOSS_N * LOSS_C];")
print("} loss_golden[] = {")
for yaml, *options in CASES:
    loss, gradient = case(*options)
    print(f'  {{"{yaml}", {int(options[-1])}, {loss:.9g},\n   {array(gradient)}}},')
print("};\n\n#endif")
