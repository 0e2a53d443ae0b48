#!/usr/bin/python3
"""Writes optim_golden.h: 50 steps of each optimizer and of each schedule.

PyTorch 1.13 computes what it has; lars and lamb are the papers' algorithms in numpy's float64, written out. Penalties
are terms of the loss that autograd differentiates. Clipping is torch.nn.utils.clip_grad_norm_.
Weights and gradients come from the generator of tests/nn/nn_fixture.h: a weight of 4 values and a bias of 2.
Run: /usr/bin/python3 make_optim.py > optim_golden.h
"""
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
torch.set_num_threads(1)
STEPS = 50


class Lcg:
    def __init__(self, state):
        self.state = state

    def values(self, n):
        out = []
        for _ in range(n):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            out.append((self.state >> 8) * 2.0**-23 - 1.0)
        return out


def by_torch(make, clip=0.0, l1=0.0, l2=0.0, decay_biases=True, factor=None):
    g = Lcg(77)
    weight, bias = (torch.nn.Parameter(torch.tensor(g.values(n), dtype=torch.float32)) for n in (4, 2))
    groups = [weight, bias] if decay_biases else [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = make(groups)
    base = [group["lr"] for group in optimizer.param_groups]
    trail = []
    for step in range(STEPS):
        dw, db = (torch.tensor(g.values(n), dtype=torch.float32) for n in (4, 2))
        optimizer.zero_grad()
        loss = (weight * dw).sum() + (bias * db).sum() + l1 * weight.abs().sum() + l2 * (weight**2).sum()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([weight, bias], clip)
        for group, lr in zip(optimizer.param_groups, base):
            group["lr"] = lr * (factor(step + 1) if factor else 1)
        optimizer.step()
        trail += weight.tolist() + bias.tolist()
    return trail


def norm(x):
    return np.sqrt((x * x).sum())


def by_paper(update, clip=0.0, factor=None):
    """update(t, lr_factor, w, g, state, adapts) -> new w, for each tensor on its own."""
    g = Lcg(77)
    tensors = [np.array(g.values(n)) for n in (4, 2)]
    states = [{}, {}]
    trail = []
    for step in range(STEPS):
        gradients = [np.array(g.values(n)) for n in (4, 2)]
        if clip:
            total = np.sqrt(sum((d * d).sum() for d in gradients))
            gradients = [d * min(1.0, clip / (total + 1e-6)) for d in gradients]
        scale = factor(step + 1) if factor else 1.0
        tensors = [update(step + 1, scale, w, d, s, i == 0)
                   for i, (w, d, s) in enumerate(zip(tensors, gradients, states))]
        trail += list(tensors[0]) + list(tensors[1])
    return trail


def lars(lr, momentum, trust, decay, decay_biases=True):
    def update(t, scale, w, g, s, is_weight):
        exempt = not is_weight and not decay_biases
        beta = 0.0 if exempt else decay
        ratio = 1.0 if exempt else trust * norm(w) / (norm(g) + beta * norm(w))
        s["v"] = momentum * s.get("v", 0.0) + lr * scale * ratio * (g + beta * w)
        return w - s["v"]
    return update


def lamb(lr, beta1, beta2, eps, decay, decay_biases=True):
    def update(t, scale, w, g, s, is_weight):
        exempt = not is_weight and not decay_biases
        s["m"] = beta1 * s.get("m", 0.0) + (1 - beta1) * g
        s["v"] = beta2 * s.get("v", 0.0) + (1 - beta2) * g * g
        r = (s["m"] / (1 - beta1**t)) / (np.sqrt(s["v"] / (1 - beta2**t)) + eps) + (0.0 if exempt else decay) * w
        return w - lr * scale * (1.0 if exempt else norm(w) / norm(r)) * r
    return update


def falling(t):
    return 1 / (1 + 0.1 * (t - 1))


O = torch.optim
OPTIMIZERS = [
    ("{name: sgd, lr: 0.05}", 1.0, 0, by_torch(lambda p: O.SGD(p, lr=0.05), clip=1.0)),
    ("{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.1, decay_biases: false}", 0, 0,
     by_torch(lambda p: O.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1), decay_biases=False)),
    ("{name: sgd, lr: 0.05, l1: 0.1, l2: 0.2}", 0, 0, by_torch(lambda p: O.SGD(p, lr=0.05), l1=0.1, l2=0.2)),
    ("{name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, l1: 0.03, l2: 0.2}", 0.9, 1,
     by_torch(lambda p: O.SGD(p, lr=0.05, momentum=0.9, nesterov=True), clip=0.9, l1=0.03, l2=0.2, factor=falling)),
    ("adam", 0.5, 0, by_torch(lambda p: O.Adam(p), clip=0.5)),
    ("{name: adam, lr: 0.01, l2: 0.05}", 1.0, 1,
     by_torch(lambda p: O.Adam(p, lr=0.01), clip=1.0, l2=0.05, factor=falling)),
    ("{name: adamw, lr: 0.02, weight_decay: 0.3, decay_biases: false}", 1.0, 1,
     by_torch(lambda p: O.AdamW(p, lr=0.02, weight_decay=0.3), clip=1.0, decay_biases=False, factor=falling)),
    ("adagrad", 0, 0, by_torch(lambda p: O.Adagrad(p))),
    ("{name: adagrad, lr: 0.1, lr_decay: 0.05, initial_accumulator: 0.3, weight_decay: 0.02}", 1.0, 0,
     by_torch(lambda p: O.Adagrad(p, lr=0.1, lr_decay=0.05, initial_accumulator_value=0.3, weight_decay=0.02),
              clip=1.0)),
    ("rmsprop", 0, 0, by_torch(lambda p: O.RMSprop(p))),
    ("{name: rmsprop, lr: 0.02, alpha: 0.9, momentum: 0.8}", 1.0, 0,
     by_torch(lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.8), clip=1.0)),
    ("{name: rmsprop, lr: 0.02, alpha: 0.9, centered: true, eps: 1e-3}", 0, 1,
     by_torch(lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, centered=True, eps=1e-3), factor=falling)),
    ("{name: rmsprop, lr: 0.005, alpha: 0.95, centered: true, momentum: 0.5, weight_decay: 0.1, eps: 1e-3}", 1.0, 0,
     by_torch(lambda p: O.RMSprop(p, lr=0.005, alpha=0.95, centered=True, momentum=0.5, weight_decay=0.1, eps=1e-3),
              clip=1.0)),
    ("lars", 0, 0, by_paper(lars(0.1, 0.9, 0.001, 0.0))),
    ("{name: lars, lr: 2, momentum: 0.8, trust: 0.02, weight_decay: 0.1}", 1.0, 1,
     by_paper(lars(2, 0.8, 0.02, 0.1), clip=1.0, factor=falling)),
    ("{name: lars, lr: 0.05, momentum: 0, trust: 0.5, weight_decay: 0.1, decay_biases: false}", 0, 0,
     by_paper(lars(0.05, 0.0, 0.5, 0.1, decay_biases=False))),
    ("lamb", 0, 0, by_paper(lamb(0.001, 0.9, 0.999, 1e-6, 0.01))),
    ("{name: lamb, lr: 0.02, beta1: 0.8, beta2: 0.95, weight_decay: 0.1}", 1.0, 1,
     by_paper(lamb(0.02, 0.8, 0.95, 1e-6, 0.1), clip=1.0, factor=falling)),
    ("{name: lamb, lr: 0.01, weight_decay: 0.1, decay_biases: false}", 0, 0,
     by_paper(lamb(0.01, 0.9, 0.999, 1e-6, 0.1, decay_biases=False))),
]

# ---- schedules: 50 steps, 5 a epoch, base lr 0.2 ----

EPOCH_STEPS, LR = 5, 0.2
LOSSES = [2.0, 1.5, 1.49999, 1.2, 1.3, 1.25, 1.4, 1.19999, 1.0, 1.1]  # of the validation, after each epoch
S = O.lr_scheduler


def optimizer():
    return O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def by_step(make):
    o = optimizer()
    s = make(o)
    out = []
    for _ in range(STEPS):
        out.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    return out


def by_epoch(make, loss=False):
    o = optimizer()
    s = make(o)
    out = []
    for epoch in range(STEPS // EPOCH_STEPS):
        out += [o.param_groups[0]["lr"]] * EPOCH_STEPS
        o.step()
        s.step(LOSSES[epoch]) if loss else s.step()
    return out


def warm_cosine(o):
    warm = S.LinearLR(o, start_factor=1 / 10, total_iters=9)
    return S.SequentialLR(o, [warm, S.CosineAnnealingLR(o, T_max=40)], milestones=[10])


SCHEDULES = [
    ("constant", by_step(lambda o: S.ConstantLR(o, factor=1.0))),
    ("{name: step, every_epochs: 3, gamma: 0.5}", by_epoch(lambda o: S.StepLR(o, step_size=3, gamma=0.5))),
    ("{name: exponential, gamma: 0.9}", by_epoch(lambda o: S.ExponentialLR(o, gamma=0.9))),
    ("{name: inverse_time, decay: 0.03}", by_step(lambda o: S.LambdaLR(o, lambda t: 1 / (1 + 0.03 * t)))),
    ("polynomial", by_step(lambda o: S.PolynomialLR(o, total_iters=50))),
    ("{name: polynomial, power: 2}", by_step(lambda o: S.PolynomialLR(o, total_iters=50, power=2))),
    ("cosine", by_step(lambda o: S.CosineAnnealingLR(o, T_max=50))),
    ("{name: cosine, final_factor: 0.1}", by_step(lambda o: S.CosineAnnealingLR(o, T_max=50, eta_min=0.02))),
    ("{name: cosine, warmup_steps: 10}", by_step(warm_cosine)),
    ("one_cycle", by_step(lambda o: S.OneCycleLR(o, max_lr=LR, total_steps=50, cycle_momentum=False))),
    ("{name: one_cycle, pct_start: 0.25, div_factor: 10, final_div_factor: 100}",
     by_step(lambda o: S.OneCycleLR(o, max_lr=LR, total_steps=50, pct_start=0.25, div_factor=10, final_div_factor=100,
                                    cycle_momentum=False))),
    ("{name: plateau, patience: 1, factor: 0.5}",
     by_epoch(lambda o: S.ReduceLROnPlateau(o, patience=1, factor=0.5), loss=True)),
    ("{name: plateau, patience: 0, factor: 0.3, threshold: 0.01, cooldown: 1, min_lr: 0.05}",
     by_epoch(lambda o: S.ReduceLROnPlateau(o, patience=0, factor=0.3, threshold=0.01, cooldown=1, min_lr=0.05),
              loss=True)),
]


def rows(values, form):
    line = "     "
    for v in values:
        text = " " + form(float(v)) + ","
        if len(line) + len(text) > 118:
            print(line)
            line = "     "
        line += text
    print(line)


def real(v):
    text = "%.9g" % v
    return text if any(c in text for c in ".en") else text + ".0"


print(f"/* optim_golden.h - made by make_optim.py with PyTorch {torch.__version__} and numpy; do not edit. */")
print("#ifndef DL_OPTIM_GOLDEN_H\n#define DL_OPTIM_GOLDEN_H\n\n/* clang-format off */\n")
print(f"enum {{ OPTIM_STEPS = {STEPS}, OPTIM_WEIGHTS = 4, OPTIM_BIASES = 2, OPTIM_EPOCH_STEPS = {EPOCH_STEPS} }};")
print(f"#define OPTIM_SCHEDULE_LR {LR}\n")
print("/* Weight and bias after each step. `falling`: lr is divided by 1 + 0.1 (t - 1). */")
print("static const struct {\n  const char *yaml;\n  double clip;\n  int falling;")
print("  float trail[OPTIM_STEPS * (OPTIM_WEIGHTS + OPTIM_BIASES)];\n} optim_golden[] = {")
for yaml, clip, is_falling, trail in OPTIMIZERS:
    print(f'  {{"{yaml}", {float(clip)}, {is_falling},\n   {{')
    rows(trail, lambda v: real(v) + "f")
    print("   }},")
print("};\n")
print("/* The validation loss after each epoch, for plateau. */")
print("static const double optim_losses[] = {" + ", ".join(map(repr, LOSSES)) + "};\n")
print("/* The learning rate of each step. */")
print("static const struct {\n  const char *yaml;\n  double lr[OPTIM_STEPS];\n} schedule_golden[] = {")
for yaml, lr in SCHEDULES:
    print(f'  {{"{yaml}",\n   {{')
    rows(lr, lambda v: "%.12g" % v if v != int(v) else "%.1f" % v)
    print("   }},")
print("};\n\n#endif")
