"""The linear congruential generator that tests/nn/nn_fixture.h has too: inputs that need not be stored.

Tensors have PyTorch's default type: a script that wants float64 sets it first.
"""
import torch


class Lcg:
    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return self.state

    def value(self):
        return (self.next() >> 8) * 2.0**-23 - 1.0

    def tensor(self, *shape):
        n = 1
        for d in shape:
            n *= d
        return torch.tensor([self.value() for _ in range(n)]).reshape(shape)

    def classes(self, n, classes):
        return torch.tensor([(self.next() >> 16) % classes for _ in range(n)])
