"""The training curve of an example network in PyTorch, on the very batches that dldist reads.

usage: torch_curve.py prepare MODEL SOURCE.h5 STEPS SEED OUT.h5    the samples of STEPS batches, in an order drawn from SEED
       torch_curve.py train MODEL DATA.h5 SEED                     prints the loss of each step of one pass over DATA.h5

Both programs read DATA.h5 from its beginning to its end, so that they see the same samples in the same steps. Text is cut
into windows of the example's length, and these are drawn: the token after a window is then the first one of another window,
for both. Model, batch, optimizer, clipping and normalisation are those of examples/MODEL.yaml, without a schedule; weights
are drawn by PyTorch's own rules, those of dldist, from other random numbers. Started by benchmarks/curves.sh.
"""
import sys

import h5py
import numpy as np
import torch
from torch import nn

import torch_model

# batch, learning rate, largest norm of the gradient, tokens of a window
SETTINGS = {"cifar10-cnn": (32, 1e-3, None, None), "kjv-lstm": (32, 2e-3, 1.0, 64), "kjv-gpt": (16, 5e-4, 1.0, 128)}
MODELS = {"cifar10-cnn": torch_model.cifar10_cnn, "kjv-lstm": torch_model.Lstm, "kjv-gpt": torch_model.Gpt}


def prepare(name, source, steps, seed, out):
    batch, _, _, window = SETTINGS[name]
    n = int(steps) * batch
    order = np.random.default_rng(int(seed))
    with h5py.File(source) as f, h5py.File(out, "w") as o:
        if window is None:
            chosen = order.permutation(len(f["train/x"]))[:n]
            o["train/x"], o["train/y"] = f["train/x"][:][chosen], f["train/y"][:][chosen]
            return
        tokens = f["train/tokens"][:]
        rows = tokens[:len(tokens) // window * window].reshape(-1, window)
        chosen = rows[order.permutation(len(rows))[:n + 1]].reshape(-1)
        o["train/tokens"] = chosen[:n * window + 1]
        o["vocabulary"] = f["vocabulary"][:]


def batches(name, path):
    batch, _, _, window = SETTINGS[name]
    with h5py.File(path) as f:
        if window is None:
            x, y = f["train/x"][:].astype(np.float32), f["train/y"][:].astype(np.int64)
            x = (x - x.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)) / x.std(axis=(0, 2, 3), keepdims=True,
                                                                                     dtype=np.float64)
            x = torch.from_numpy(x.astype(np.float32)).contiguous(memory_format=torch.channels_last)
            y = torch.from_numpy(y)
        else:
            tokens = torch.from_numpy(f["train/tokens"][:].astype(np.int64))
            torch_model.VOCABULARY = len(f["vocabulary"])
            x, y = tokens[:-1].view(-1, window), tokens[1:].view(-1, window)
    for i in range(0, len(x), batch):
        yield x[i:i + batch], y[i:i + batch].flatten()


def train(name, path, seed):
    _, lr, clip, window = SETTINGS[name]
    model = optimizer = None
    for x, y in batches(name, path):
        if model is None:  # once the vocabulary is known
            torch.manual_seed(int(seed))
            model = MODELS[name]()
            if window is None:
                model = model.to(memory_format=torch.channels_last)
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        print(f"{loss.item():.6f}")


{"prepare": prepare, "train": train}[sys.argv[1]](*sys.argv[2:])
