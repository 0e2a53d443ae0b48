#!/usr/bin/python3
"""Writes seq_golden.h: what PyTorch computes in float64 for small networks of sequence layers.

Weights, inputs and targets come from a linear congruential generator that tests/nn/nn_fixture.h has too, so only results
are stored: outputs, loss (mean squared error) and the gradients of all parameters in order.
Run: /usr/bin/python3 make_seq.py > seq_golden.h
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from lcg import Lcg

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


class Recurrent(nn.Module):
    """The outputs of a recurrent module: all steps, or what each direction ends with."""

    def __init__(self, kind, *args, last=False, **options):
        super().__init__()
        self.module = kind(*args, batch_first=True, **options)
        self.last = last

    def forward(self, x):
        y, _ = self.module(x)
        if not self.last:
            return y
        h = self.module.hidden_size
        if not self.module.bidirectional:
            return y[:, -1]
        return torch.cat([y[:, -1, :h], y[:, 0, h:]], 1)


class Attention(nn.Module):
    def __init__(self, d, heads, causal=False, bias=True):
        super().__init__()
        self.module = nn.MultiheadAttention(d, heads, bias=bias, batch_first=True)
        self.causal = causal
        self.hidden = None

    def forward(self, x):
        t = x.shape[1]
        mask = torch.triu(torch.ones(t, t, dtype=torch.bool), 1) if self.causal else None
        return self.module(x, x, x, attn_mask=mask, key_padding_mask=self.hidden, need_weights=False)[0]


class Positional(nn.Module):
    def __init__(self, steps, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps, size))

    def forward(self, x):
        return x + self.weight


class Residual(nn.Module):
    def __init__(self, layers, shortcut=None):
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x):
        return self.layers(x) + self.shortcut(x)


class Padded(nn.Module):
    """Embedding, then attention that does not look at the padding token."""

    def __init__(self, vocabulary, size, heads, padding):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=padding)
        self.attention = Attention(size, heads)
        self.padding = padding

    def forward(self, x):
        self.attention.hidden = x == self.padding
        return self.attention(self.embedding(x))


class UNet(nn.Module):
    """Down, across and up again, with what was there before beside it."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 3, 3, padding=1)
        self.across = nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.Conv2d(7, 2, 3, padding=1)

    def forward(self, x):
        before = torch.relu(self.down(x))
        y = torch.tanh(self.across(F.max_pool2d(before, 2)))
        return self.up(torch.cat([F.interpolate(y, scale_factor=2), before], 1))


class Inception(nn.Module):
    """Three looks at the same image, side by side."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3)
        self.narrow = nn.Conv2d(3, 2, 1)
        self.wide = nn.Conv2d(3, 4, 3, padding=1)
        self.pooled = nn.Conv2d(3, 2, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        branches = [self.narrow(x), self.wide(x), self.pooled(F.max_pool2d(x, 3, 1, 1))]
        return self.last(torch.cat(branches, 1).mean((2, 3)))


def mlp(activation):
    return nn.Sequential(nn.Linear(12, 9), activation, nn.Linear(9, 7), activation, nn.Linear(7, 5))


def rows(f_in, f, module, f_module, out):
    return nn.Sequential(nn.Linear(f_in, f), module, nn.Linear(f_module, out))


def mlp_yaml(f):
    return f"[{{dense: 9}}, {f}, {{dense: 7}}, {f}, {{dense: 5}}]"


def block():
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(8), Attention(8, 2, causal=True))),
        Residual(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))),
    )


R = Recurrent
CASES = [  # name, model, shape of a sample, vocabulary (0: x are values), samples, network
    ("leaky_relu", mlp_yaml("{leaky_relu: 0.1}"), (12,), 0, 3, mlp(nn.LeakyReLU(0.1))),
    ("elu", mlp_yaml("{elu: 1.3}"), (12,), 0, 3, mlp(nn.ELU(1.3))),
    ("gelu", mlp_yaml("gelu"), (12,), 0, 3, mlp(nn.GELU())),
    ("gelu_tanh", mlp_yaml("{gelu: {approximate: tanh}}"), (12,), 0, 3, mlp(nn.GELU(approximate="tanh"))),
    ("silu", mlp_yaml("silu"), (12,), 0, 3, mlp(nn.SiLU())),
    ("softplus", mlp_yaml("{softplus: 2}"), (12,), 0, 3, mlp(nn.Softplus(beta=2))),
    ("rows", "[{dense: 7}, relu, {dense: {units: 3, bias: false}}]", (5, 4), 0, 3,
     nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))),
    ("layernorm", "[{dense: 11}, layernorm, {dense: 3}]", (5, 4), 0, 3, rows(4, 11, nn.LayerNorm(11), 11, 3)),
    ("layernorm_dims", "[{dense: 3}, {layernorm: {dims: 2, eps: 0.01}}, {dense: 2}]", (5, 4), 0, 1,
     rows(4, 3, nn.LayerNorm([5, 3], eps=0.01), 3, 2)),
    ("layernorm_plain", "[{dense: 5}, {layernorm: {affine: false}}, {dense: 2}]", (3, 4), 0, 3,
     rows(4, 5, nn.LayerNorm(5, elementwise_affine=False), 5, 2)),
    ("embedding", "[{embedding: {vocabulary: 7, size: 5}}, positional_embedding, {dense: 3}]", (6,), 7, 3,
     nn.Sequential(nn.Embedding(7, 5), Positional(6, 5), nn.Linear(5, 3))),
    ("embedding_padding", "[{embedding: {vocabulary: 3, size: 4, padding: 1}}, {dense: 3}]", (6,), 3, 3,
     nn.Sequential(nn.Embedding(3, 4, padding_idx=1), nn.Linear(4, 3))),
    ("rnn", "[{dense: 3}, {rnn: {units: 5, return_sequences: true}}, {dense: 2}]", (6, 4), 0, 3,
     rows(4, 3, R(nn.RNN, 3, 5), 5, 2)),
    ("rnn_relu", "[{dense: 3}, {rnn: {units: 5, layers: 2, nonlinearity: relu}}, {dense: 2}]", (6, 4), 0, 3,
     rows(4, 3, R(nn.RNN, 3, 5, 2, nonlinearity="relu", last=True), 5, 2)),
    ("lstm", "[{dense: 3}, {lstm: {units: 5, return_sequences: true}}, {dense: 2}]", (6, 4), 0, 3,
     rows(4, 3, R(nn.LSTM, 3, 5), 5, 2)),
    ("lstm_last", "[{dense: 3}, {lstm: 5}, {dense: 2}]", (7, 4), 0, 1, rows(4, 3, R(nn.LSTM, 3, 5, last=True), 5, 2)),
    ("lstm_one_step", "[{dense: 3}, {lstm: 5}, {dense: 2}]", (1, 4), 0, 2,
     rows(4, 3, R(nn.LSTM, 3, 5, last=True), 5, 2)),
    ("lstm_deep", "[{dense: 3}, {lstm: {units: 4, layers: 2, bidirectional: true, return_sequences: true}}, {dense: 2}]",
     (5, 4), 0, 3, rows(4, 3, R(nn.LSTM, 3, 4, 2, bidirectional=True), 8, 2)),
    ("lstm_two_ends", "[{dense: 3}, {lstm: {units: 4, bidirectional: true, bias: false}}, {dense: 2}]", (5, 4), 0, 3,
     rows(4, 3, R(nn.LSTM, 3, 4, bidirectional=True, bias=False, last=True), 8, 2)),
    ("gru", "[{dense: 3}, {gru: {units: 5, return_sequences: true}}, {dense: 2}]", (6, 4), 0, 3,
     rows(4, 3, R(nn.GRU, 3, 5), 5, 2)),
    ("gru_deep", "[{dense: 3}, {gru: {units: 3, layers: 3, bidirectional: true}}, {dense: 2}]", (5, 4), 0, 1,
     rows(4, 3, R(nn.GRU, 3, 3, 3, bidirectional=True, last=True), 6, 2)),
    ("gru_plain", "[{dense: 3}, {gru: {units: 3, bias: false}}, {dense: 2}]", (5, 4), 0, 3,
     rows(4, 3, R(nn.GRU, 3, 3, bias=False, last=True), 3, 2)),
    ("lstm_long", "[{dense: 3}, {lstm: {units: 3, layers: 2, bidirectional: true}}, {dense: 2}]", (11, 4), 0, 3,
     rows(4, 3, R(nn.LSTM, 3, 3, 2, bidirectional=True, last=True), 6, 2)),
    ("gru_long", "[{dense: 3}, {gru: {units: 3, return_sequences: true}}, {dense: 2}]", (9, 4), 0, 2,
     rows(4, 3, R(nn.GRU, 3, 3), 3, 2)),
    ("attention", "[{dense: 6}, {attention: 3}, {dense: 2}]", (5, 4), 0, 3, rows(4, 6, Attention(6, 3), 6, 2)),
    ("attention_causal", "[{dense: 6}, {attention: {heads: 2, causal: true}}, {dense: 2}]", (5, 4), 0, 3,
     rows(4, 6, Attention(6, 2, causal=True), 6, 2)),
    ("attention_plain", "[{dense: 5}, {attention: {heads: 1, bias: false}}, {dense: 2}]", (7, 4), 0, 1,
     rows(4, 5, Attention(5, 1, bias=False), 5, 2)),
    ("attention_long", "[{dense: 4}, {attention: {heads: 2, causal: true}}, {dense: 1}]", (149, 3), 0, 2,
     rows(3, 4, Attention(4, 2, causal=True), 4, 1)),
    ("attention_padding",
     "[{embedding: {vocabulary: 4, size: 6, padding: 2}}, {attention: {heads: 2, padding: 2, from: [layers.0, input]}},"
     " {dense: 2}]", (7,), 4, 3, nn.Sequential(Padded(4, 6, 2, 2), nn.Linear(6, 2))),
    ("residual", "[{residual: {layers: [{dense: 6}, tanh, {dense: 4}]}}, relu,"
     " {residual: {layers: [{dense: 5}, gelu], shortcut: {dense: 5}}}, {dense: 2}]", (4,), 0, 3,
     nn.Sequential(Residual(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))), nn.ReLU(),
                   Residual(nn.Sequential(nn.Linear(4, 5), nn.GELU()), nn.Linear(4, 5)), nn.Linear(5, 2))),
    ("unet", "[{conv2d: {filters: 3, kernel: 3, padding: 1}}, {relu: {name: before}}, {maxpool2d: 2},"
     " {conv2d: {filters: 4, kernel: 3, padding: 1}}, tanh, {upsample2d: {scale: 2, name: up}},"
     " {concat: {from: [up, before]}}, {conv2d: {filters: 2, kernel: 3, padding: 1}}]", (1, 6, 4), 0, 3, UNet()),
    ("inception", "[{conv2d: {filters: 3, kernel: 3}}, {relu: {name: stem}},"
     " {conv2d: {filters: 2, kernel: 1, name: narrow}},"
     " {conv2d: {filters: 4, kernel: 3, padding: 1, from: stem, name: wide}},"
     " {maxpool2d: {kernel: 3, stride: 1, padding: 1, from: stem}}, {conv2d: {filters: 2, kernel: 1, name: pooled}},"
     " {concat: {from: [narrow, wide, pooled]}}, global_avgpool2d, {dense: 3}]", (2, 7, 6), 0, 3, Inception()),
    ("gpt", "[{embedding: {vocabulary: 9, size: 8}}, positional_embedding,"
     " {residual: [layernorm, {attention: {heads: 2, causal: true}}]},"
     " {residual: [layernorm, {dense: 12}, gelu, {dense: 8}]}, layernorm, {dense: 9}]", (6,), 9, 2,
     nn.Sequential(nn.Embedding(9, 8), Positional(6, 8), block(), nn.LayerNorm(8), nn.Linear(8, 9))),
]


def write_array(name, values):
    print(f"static const float {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        text = f" {v:.8g}f," if "." in f"{v:.8g}" or "e" in f"{v:.8g}" else f" {v:.8g}.f,"
        if len(line) + len(text) > 118:
            print(line)
            line = "   "
        line += text
    print(line)
    print("};\n")


def write_case(name, shape, vocabulary, n, net):
    g = Lcg(4242)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(g.tensor(*p.shape) * 0.75)
        for m in net.modules():
            if isinstance(m, nn.Embedding) and m.padding_idx is not None:
                m.weight[m.padding_idx] = 0
    size = 1
    for d in shape:
        size *= d
    x = g.classes(n * size, vocabulary).reshape(n, *shape) if vocabulary else g.tensor(n, *shape)
    outputs = net(x)
    y = g.tensor(*outputs.shape)
    loss = F.mse_loss(outputs, y)
    loss.backward()
    values = outputs.flatten().tolist() + [loss.item()]
    values += [v for p in net.parameters() for v in p.grad.flatten().tolist()]
    write_array(f"golden_{name}", values)
    return outputs.numel() // n, sum(p.numel() for p in net.parameters())


print(f"/* seq_golden.h - made by make_seq.py with PyTorch {torch.__version__}; do not edit. */")
print("#ifndef DL_SEQ_GOLDEN_H\n#define DL_SEQ_GOLDEN_H\n\n#include <stdint.h>\n\n/* clang-format off */\n")
table = []
for name, model, shape, vocabulary, n, net in CASES:
    outputs, parameters = write_case(name, shape, vocabulary, n, net)
    dims = ", ".join(map(str, shape))
    table.append(f'    {{"{name}", "{model}",\n     {len(shape)}, {{{dims}}}, {vocabulary}, {n}, {outputs}, {parameters},'
                 f' golden_{name}}},')
print("/* values: outputs (n, outputs), the loss, gradients (parameters). */")
print("typedef struct seq_golden {\n  const char *name, *model;\n  int dims;\n  int64_t shape[3];\n"
      "  int vocabulary, n, outputs, parameters;\n  const float *values;\n} seq_golden;\n")
print("static const seq_golden golden_cases[] = {")
print("\n".join(table))
print("};\n")
print("#endif")
