#!/usr/bin/python3
"""Writes conv_golden.h: what PyTorch 1.13 computes in float64 for small networks on images.

Inputs come from a linear congruential generator that tests/nn/nn_fixture.h has too, so only results are stored.
Run: /usr/bin/python3 make_conv.py > conv_golden.h
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from lcg import Lcg

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # so that the reference has no rounding of its own


class Residual(nn.Module):
    def __init__(self, layers, shortcut):
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, x):
        return self.layers(x) + self.shortcut(x)


def plain():
    """The layers of a first network: the order of flatten's output matters to what follows."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, (3, 2), padding=(1, 0)), nn.ReLU(),
        nn.AvgPool2d(2, stride=1, padding=1), nn.Flatten(), nn.Linear(16 * 5 * 4, 5))


def options():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", dilation=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, bias=False), nn.BatchNorm2d(12, momentum=0.3), nn.ReLU(),
        nn.ConvTranspose2d(12, 6, 3, stride=2, padding=1, output_padding=1, groups=2), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.MaxPool2d(3, stride=3, padding=1), nn.Flatten(), nn.Linear(6 * 8 * 7, 5, bias=False), nn.BatchNorm1d(5))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Residual(nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                               nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)),
                 nn.Sequential(nn.Conv2d(16, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16))),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


def write_array(name, values):
    print(f"static const float {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        text = f" {v:.7g}"
        text += "f," if "." in text or "e" in text else ".0f,"
        if len(line) + len(text) > 118:
            print(line)
            line = "   "
        line += text
    print(line)
    print("};\n")


def write_net(name, net):
    g = Lcg(2024)
    net.train()
    with torch.no_grad():
        for key, p in net.state_dict().items():
            if "num_batches" not in key:
                p.copy_(g.tensor(*p.shape) * 0.5 + (1 if "running_var" in key else 0))
    n = 4
    x = g.tensor(n, 3, 11, 10)
    y = g.classes(n, 5)
    outputs = net(x)
    loss = F.cross_entropy(outputs, y)
    loss.backward()
    parameters = dict(net.named_parameters())
    state = net.state_dict()
    results = []
    for key, value in state.items():  # gradients of what is learnt, new values of running averages
        if "num_batches" not in key:
            results += (parameters[key].grad if key in parameters else value).flatten().tolist()
    net.eval()
    write_array(f"golden_{name}_outputs", outputs.flatten().tolist())
    write_array(f"golden_{name}_loss", [loss.item()])
    write_array(f"golden_{name}_results", results)
    write_array(f"golden_{name}_evaluated", net(x).flatten().tolist())


print(f"/* conv_golden.h - made by make_conv.py with PyTorch {torch.__version__}; do not edit. */")
print("#ifndef DL_CONV_GOLDEN_H\n#define DL_CONV_GOLDEN_H\n\n/* clang-format off */\n")
for row in (("plain", plain()), ("options", options()), ("resnet", resnet())):
    write_net(*row)
print("#endif")
