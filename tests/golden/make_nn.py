#!/usr/bin/python3
"""Writes nn_golden.h: what PyTorch 1.13 computes for small networks and optimizers.

Inputs come from a linear congruential generator that tests/nn/nn_fixture.h has too, so only results are stored.
Run: /usr/bin/python3 make_nn.py > nn_golden.h
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from lcg import Lcg

torch.set_num_threads(1)


def mlp(activation):
    return nn.Sequential(nn.Linear(12, 9), activation(), nn.Linear(9, 7), activation(), nn.Linear(7, 5))


NETS = [
    ("relu_cross_entropy", nn.ReLU, F.cross_entropy, "label"),
    ("tanh_smoothed", nn.Tanh, lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1), "label"),
    ("sigmoid_bce", nn.Sigmoid, F.binary_cross_entropy_with_logits, "bits"),
    ("tanh_mse", nn.Tanh, F.mse_loss, "real"),
    ("relu_mae", nn.ReLU, F.l1_loss, "real"),
    ("relu_huber", nn.ReLU, lambda o, y: F.huber_loss(o, y, delta=0.5), "real"),
]

OPTIMIZERS = [
    ("sgd", lambda p: torch.optim.SGD(p, lr=0.05)),
    ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    ("sgd_nesterov_decay", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.02)),
    ("adam", lambda p: torch.optim.Adam(p, lr=0.01)),
    ("adam_decay", lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05)),
    ("adamw", lambda p: torch.optim.AdamW(p)),
    ("adamw_decay", lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.3)),
]


def write_array(name, values):
    print(f"static const float {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        text = " " + float(v).hex().replace("0000000p", "p") + "f,"
        if len(line) + len(text) > 118:
            print(line)
            line = "   "
        line += text
    print(line)
    print("};\n")


def write_net(name, activation, loss_of, truth):
    g = Lcg(2023)
    net = mlp(activation)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(g.tensor(*p.shape) * 0.75)
    x = g.tensor(6, 12)
    y = g.classes(6, 5) if truth == "label" else g.tensor(6, 5)
    if truth == "bits":
        y = (y > 0).float()
    outputs = net(x)
    loss = loss_of(outputs, y)
    loss.backward()
    write_array(f"golden_{name}_outputs", outputs.flatten().tolist())
    write_array(f"golden_{name}_loss", [loss.item()])
    write_array(f"golden_{name}_gradients", [v for p in net.parameters() for v in p.grad.flatten().tolist()])


def write_optimizer(name, make):
    g = Lcg(77)
    w = nn.Parameter(g.tensor(6))
    optimizer = make([w])
    trail = []
    for _ in range(50):
        w.grad = g.tensor(6)
        optimizer.step()
        trail += w.tolist()
    write_array(f"golden_{name}", trail)


print(f"/* nn_golden.h - made by make_nn.py with PyTorch {torch.__version__}; do not edit. */")
print("#ifndef DL_NN_GOLDEN_H\n#define DL_NN_GOLDEN_H\n\n/* clang-format off */\n")
for row in NETS:
    write_net(*row)
for row in OPTIMIZERS:
    write_optimizer(*row)
print("#endif")
