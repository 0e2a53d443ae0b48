"""A training step of one of the networks of `dldist bench step` in PyTorch, alone or with DistributedDataParallel over gloo.

usage: torch_model.py MODEL BATCH STEPS        prints the median whole step in ms, and the number of parameters
(running averages included), on rank 0

A step is zero_grad, forward, loss, backward (with DDP's exchange) and Adam's update. One compute thread a rank; images lie
channels last. Started by benchmarks/models.sh, which also preloads jemalloc without decay: without it PyTorch returns memory to
the system at every step and takes up to three times as long.
"""
import math
import os
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
VOCABULARY = 96


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation around which the input goes, by a 1x1 convolution where it is halved."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.na, self.nb = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.way = (nn.Sequential() if stride == 1 else
                    nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)))

    def forward(self, x):
        return F.relu_(self.nb(self.b(F.relu_(self.na(self.a(x))))) + self.way(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True)]
    width = 16
    for outputs in (16, 32, 64):
        for i in range(3):
            layers.append(Block(width, outputs, 2 if i == 0 and outputs > 16 else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def cifar10_cnn():
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(True),
                         nn.MaxPool2d(2), nn.Conv2d(64, 64, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(1024, 64),
                         nn.ReLU(True), nn.Linear(64, 10))


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(True), nn.Linear(512, 512), nn.ReLU(True), nn.Linear(512, 10))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 128)
        self.lstm = nn.LSTM(128, 256, 2, batch_first=True)
        self.head = nn.Linear(256, VOCABULARY)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0]).flatten(0, 1)


class Attention(nn.Module):
    """Causal self-attention: one product for q, k and v, and the mask added by baddbmm on the way."""

    def __init__(self, width, heads, window):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.full((window, window), -math.inf).triu(1), persistent=False)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).flatten(1, 2)
        share = torch.baddbmm(self.mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(d // self.heads)).softmax(-1)
        return self.out(torch.bmm(share, v).view(n, self.heads, t, -1).transpose(1, 2).reshape(n, t, d))


class GptBlock(nn.Module):
    def __init__(self, width, heads, window):
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, window))
        self.dense = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                                   nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.dense(x)


class Gpt(nn.Module):
    def __init__(self, width=256, window=128):
        super().__init__()
        self.token, self.place = nn.Embedding(VOCABULARY, width), nn.Parameter(torch.randn(window, width) * 0.02)
        self.blocks = nn.Sequential(*(GptBlock(width, 8, window) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.token(x) + self.place))).flatten(0, 1)


def image(*shape):
    return lambda n: (torch.rand(n, *shape), torch.randint(0, 10, (n,)))


def tokens(window):
    def make(n):
        row = torch.randint(0, VOCABULARY, (n, window + 1))
        return row[:, :-1].contiguous(), row[:, 1:].flatten()
    return make


MODELS = {"mlp": (mlp, image(784)), "cifar10-cnn": (cifar10_cnn, image(3, 32, 32)), "resnet20": (resnet20, image(3, 32, 32)),
          "lstm": (Lstm, tokens(64)), "gpt": (Gpt, tokens(128))}


def main():
    name, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    make, sample = MODELS[name]
    torch.manual_seed(1)
    model = make()
    parameters = sum(p.numel() for p in model.state_dict().values() if p.is_floating_point())  # and running averages
    batches = [sample(batch) for _ in range(8)]
    if batches[0][0].dim() == 4:
        model = model.to(memory_format=torch.channels_last)
        batches = [(x.contiguous(memory_format=torch.channels_last), y) for x, y in batches]
    if size > 1:
        torch.distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
    loss_function = nn.CrossEntropyLoss()
    times = []
    warm_up = min(30, max(3, steps // 10))
    for step in range(steps + warm_up):
        x, y = batches[step % 8]
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=size == 1)
        loss_function(model(x), y).backward()
        optimizer.step()
        if step >= warm_up:
            times.append(time.perf_counter() - start)
    if rank == 0:
        print(f"{statistics.median(times) * 1e3:.3f} {parameters}")
    if size > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
