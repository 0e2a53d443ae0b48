#!/usr/bin/python3
"""Writes steps_golden.h: 20 steps of training in float64 (numpy), the forward and backward pass written out.

The network is small: 64-32-10 with relu, softmax cross entropy, SGD with momentum.
Weights, inputs and labels come from the generator of tests/nn/nn_fixture.h.
Run: /usr/bin/python3 make_steps.py > steps_golden.h
"""
import numpy as np

state = 4711


def lcg():
    global state
    state = (state * 1664525 + 1013904223) % 2**32
    return state


def values(*shape):
    flat = [(lcg() >> 8) * 2.0**-23 - 1.0 for _ in range(int(np.prod(shape)))]
    return np.array(flat, dtype=np.float64).reshape(shape)


STEPS, BATCH, LR, MOMENTUM = 20, 24, 0.1, 0.9
w1, b1 = values(32, 64) * 0.125, values(32) * 0.125
w2, b2 = values(10, 32) * 0.125, values(10) * 0.125
weights = [w1, b1, w2, b2]
momentum = [np.zeros_like(w) for w in weights]
losses = []
for step in range(STEPS):
    x = values(BATCH, 64)
    label = np.array([(lcg() >> 16) % 10 for _ in range(BATCH)])
    x[np.arange(BATCH), label] += 2.0  # something to learn
    x = x.astype(np.float32).astype(np.float64)  # what a float32 program reads
    w1, b1, w2, b2 = weights
    h = x @ w1.T + b1
    a = np.maximum(h, 0)
    z = a @ w2.T + b2
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    losses.append(-np.log(p[np.arange(BATCH), label]).mean())
    dz = p.copy()
    dz[np.arange(BATCH), label] -= 1
    dz /= BATCH
    dh = (dz @ w2) * (h > 0)
    gradients = [dh.T @ x, dh.sum(axis=0), dz.T @ a, dz.sum(axis=0)]
    for k in range(4):
        momentum[k] = MOMENTUM * momentum[k] + gradients[k]
        weights[k] = weights[k] - LR * momentum[k]

print("/* steps_golden.h - made by make_steps.py with numpy in float64; do not edit. */")
print("#ifndef DL_STEPS_GOLDEN_H\n#define DL_STEPS_GOLDEN_H\n\n/* clang-format off */\n")
print(f"enum {{ GOLDEN_STEPS = {STEPS}, GOLDEN_BATCH = {BATCH} }};")
print("/* Mean loss of each step, before its update. */")
print("static const double golden_step_losses[GOLDEN_STEPS] = {")
for loss in losses:
    print(f"    {float(loss)!r},")
print("};\n")
print("/* Sum of squares of all weights after the last step. */")
print(f"static const double golden_final_sumsq = {float(sum((w**2).sum() for w in weights))!r};\n")
print("#endif")
