#!/usr/bin/python3
"""Writes the seeds of the fuzzing corpus: small valid files of every format. Needs numpy, h5py and Pillow.

Usage: tests/fuzz/make_corpus.py
"""
import gzip
import io
import os
import struct

import h5py
import numpy as np
from PIL import Image

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
rng = np.random.default_rng(1)


def put(target, name, data):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, "seed_%s_%s" % (target, name)), "wb") as f:
        f.write(data)


labels = struct.pack(">BBBBI", 0, 0, 8, 1, 5) + bytes([0, 1, 2, 1, 0])
put("idx", "labels", labels)
put("idx", "packed", gzip.compress(labels, mtime=0))
put("idx", "floats", struct.pack(">BBBBI", 0, 0, 13, 1, 3) + struct.pack(">3f", 1, 2, 3))
put("cifar10", "one", bytes([3]) + bytes(rng.integers(0, 4, 3072).astype("u1")))
put("cifar10", "wrong", bytes([11]) + bytes(3072))
put("text", "char", b"\0" + "to be or not, \u00e4\u20ac\U0001f600".encode())
put("text", "byte", b"\1" + bytes(range(200, 256)))
table = b'a,"b ""c""",y\n1,red,0\n2.5e-3,"bl\nue",1\n?,green,0\n4,red,1\n'
for name, flags in (("mean", 0b0000010), ("zero", 0b0101100), ("drop", 0b1000111), ("error", 1), ("regress", 0b0011011)):
    put("csv", name, bytes([flags]) + table)
put("csv", "blanks", b"\x01 1 2  3\r4 5 6\r\n7 8 9")
put("csv", "packed", b"\x42" + gzip.compress(table, mtime=0))
put("csv_split", "rows", b"2\n0\n")
put("csv_split", "words", b"train\ntest\nvalid\n")
put("fann", "two", b"2 2 1\n0 1\n1\n1 0.5\n0\n")
put("fann", "onehot", b"1 1 2\n-1e-3\n0 1\n")


def saved(save, *arguments, **named):
    f = io.BytesIO()
    save(f, *arguments, **named)
    return f.getvalue()


a = rng.normal(size=(4, 3))
put("npy", "f4", saved(np.save, a.astype("f4")))
put("npy", "columns", saved(np.save, np.asfortranarray(a.astype(">f8"))))
put("npy", "half", saved(np.save, a.astype("f2")))
put("npy", "bool", saved(np.save, a > 0))
put("npz", "stored", saved(np.savez, x=a.astype("f4"), y=np.arange(4)))
put("npz", "packed", saved(np.savez_compressed, x_train=np.zeros((4, 3)), y_train=np.arange(4), x_test=np.zeros((1, 3)), y_test=np.arange(1)))
image = Image.fromarray(rng.integers(0, 256, (6, 9, 3)).astype("u1"))
for name, picture, how in (("rgb.png", image, {}), ("grey.png", image.convert("L"), {}), ("palette.png", image.quantize(4), {}),
                           ("base.jpg", image, {"quality": 30}), ("progressive.jpg", image, {"quality": 30, "progressive": True}),
                           ("grey.jpg", image.convert("L"), {"quality": 30})):
    f = io.BytesIO()
    picture.save(f, "PNG" if name.endswith("png") else "JPEG", **how)
    put("picture", name, f.getvalue())


def hdf5(name, fill):
    f = io.BytesIO()
    with h5py.File(f, "w") as h:
        fill(h)
    put("hdf5", name, f.getvalue())


def plain(h):
    h["train/x"] = a.astype("f4")
    h["train/y"] = np.array([0, 1, 1, 0], "u1")
    h["class_names"] = np.array([b"no", b"yes"])


def chunked(h):
    h.create_dataset("train/x", data=np.zeros((8, 2), "u1"), chunks=(4, 2), fletcher32=True, compression="gzip", shuffle=True)
    h.create_dataset("train/y", data=np.arange(8) % 2, chunks=(8,))


def strings(h):
    h.create_dataset("class_names", data=["a", "longer"], dtype=h5py.string_dtype())
    h["train/x"] = a
    h["train/y"] = np.zeros(4, "i8")


hdf5("plain", plain)
hdf5("chunked", chunked)
hdf5("strings", strings)

# ---- what a run reads back ----
import hashlib
import json

model = "model: [{conv2d: {filters: 2, kernel: 3}}, relu, {maxpool2d: 2}, flatten, {dense: 4}]\n"
put("config", "image", b"\3" + (model + "optimizer: {name: adam, lr: 1e-3}\ntrain: {epochs: 2, batch: 8}\n").encode())
put("config", "row", b"\0" + b"name: r\ndata: {file: [a.h5, b.h5], valid: 0.1}\nloss: mse\ntask: regression\nmodel:\n  - dense: 8\n  - residual: {layers: [{dense: 8}, tanh]}\n  - {dense: {units: 1, init: he_normal}}\n")
put("config", "anchors", b"\0" + b"a: &x [1, 2]\nb: *x\nschedule: {name: cosine, warmup_steps: 3}\n")


def tensors(**arrays):
    header, data = {}, b""
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.astype("<f4").tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


two = {"layers.0.weight": np.eye(2, dtype="f4"), "layers.0.bias": np.zeros(2, "f4")}
put("safetensors", "two", tensors(**two))
put("safetensors", "none", struct.pack("<Q", 2) + b"{}")
put("safetensors", "long", struct.pack("<Q", 1 << 62) + b"{}")
state = {"version": 1, "x_shape": [3, 8, 8], "outputs": 2, "epoch": 1, "step": 4, "step_in_epoch": 0, "train_samples": 9,
         "normalize": {"kind": "unit", "shift": [0], "scale": [1]}, "class_names": ["a", "b"], "config": model}
empty = {"state.json": b'{"x_shape": [2], "outputs": 2, "config": "model: [{dense: 2}]"}', "model.safetensors": struct.pack("<Q", 2) + b"{}",
         "optimizer.safetensors": struct.pack("<Q", 2) + b"{}"}
files = {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in empty.items()}
put("checkpoint", "manifest", b"\0" + json.dumps({"version": 1, "files": files}).encode())
put("checkpoint", "manifest_out", b"\0" + json.dumps({"files": {"../../etc/passwd": files["state.json"], **files}}).encode())
put("checkpoint", "state", b"\1" + json.dumps(state).encode())
put("checkpoint", "model", b"\2" + tensors(**two))

events = [{"event": "start", "time": 0, "step": 0, "version": "1", "ranks": 2, "hosts": ["a"], "threads": 1, "shards": 8, "parameters": 10}]
events += [{"event": "step", "time": i, "step": i, "epoch": 1, "loss": 1 / i, "lr": 1e-3, "grad_norm": 1.0, "samples_per_s": 5,
            "read": [0, 0, 0], "forward": {"min": 0, "median": 1, "max": 2}} for i in (1, 2, 3)]
events += [{"event": "eval", "time": 4, "step": 3, "split": "valid", "epoch": 1, "samples": 9, "loss": 0.5, "accuracy": 0.5,
            "confusion": [[1, 2], [3, 4]]}, {"event": "warning", "time": 4, "step": 3, "code": "c", "message": "<b>&"},
           {"event": "checkpoint", "time": 5, "step": 3, "path": "p", "seconds": 1, "bytes": 9},
           {"event": "end", "time": 6, "step": 3, "status": "completed", "steps": 3, "epochs": 1, "seconds": 6}]
lines = "".join(json.dumps(e) + "\n" for e in events).encode()
put("run_log", "whole", b"\0" + lines)
put("run_log", "torn", b"\0" + lines[:-9])
put("run_log", "two_runs", b"\x42" + lines)
put("run_log", "config", b"\1" + model.encode())
put("run_log", "evaluation", b"\2" + json.dumps({"test": {"accuracy": 0.5, "confusion": [[1, 0], [0, 1]]}}).encode())


def crc32c(data, crc=0xffffffff):
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc


def frame_crc(data):
    """Of four lanes that take eight bytes in turn, the rest by the first; then of the lanes (comm/ps_crc.c)."""
    whole = len(data) // 32 * 32
    lanes = [crc32c(b"".join(data[at:at + 8] for at in range(8 * k, whole, 32))) for k in range(4)]
    lanes[0] = crc32c(data[whole:], lanes[0])
    return crc32c(struct.pack("<4I", *lanes)) ^ 0xffffffff


def frame(kind, payload=b"", version=3, form=0, part=(0, 0), sums=(1.5, 16.0), **wrong):
    header = b"DLPS" + struct.pack("<HHQQQqqiiqq", version, kind, 1, 2, 3, 4, 5, 1, 0, 3, 32)
    header += struct.pack("<%dd" % len(sums), *sums) + bytes(LEAF_SUMS_BYTES - 8 * len(sums))
    header += struct.pack("<QQQI", form, 3, len(payload), frame_crc(payload) if payload else 0)
    header += struct.pack("<ii", *part)
    header += bytes(180 - len(header))
    return b"\0" + header + struct.pack("<I", wrong.get("crc", frame_crc(header))) + payload


LEAF_SUMS_BYTES = 8 * 8  # DL_LEAF_SUMS doubles
put("ps_frame", "short", b"\0" + b"DLPS")
put("ps_frame", "unsealed", b"\0" + b"DLPS" + struct.pack("<HH", 3, 2) + bytes(176) + b"payload")
put("ps_frame", "fields", b"\1" + struct.pack("<i4xQQQqq", 3, 1, 2, 3, 4, 5) + bytes(200) + b"payload")
put("ps_frame", "version_1", frame(5, bytes(range(64)), version=1))
put("ps_frame", "push", frame(5, bytes(range(100))))
put("ps_frame", "halves", frame(5, bytes(range(50)), form=1))
put("ps_frame", "in_memory", frame(5, form=2))
put("ps_frame", "form_unknown", frame(12, form=5))
put("ps_frame", "few", frame(5, struct.pack("<IIf", 1, 7, 0.5), form=3))
put("ps_frame", "in_parts", frame(11, form=4))
put("ps_frame", "part", frame(5, bytes(range(80)), part=(2, 5)))
put("ps_frame", "part_beyond", frame(5, bytes(range(80)), part=(5, 5)))
put("ps_frame", "part_of_none", frame(12, bytes(range(80)), part=(-1, -1)))
put("ps_frame", "join", frame(2, b"0" * 64 + b"name"))
put("ps_frame", "ticket", frame(18, struct.pack("<QQQQ", 0x31765348534c5044, 1, 5, 4096) + bytes(32)))
put("ps_frame", "end", frame(16, b"why"))
put("ps_frame", "damaged", frame(11, b"unit", crc=1))


def few(flags, *blocks):
    """Blocks of {place: value} as words (core/sparse.h); the least of places, bits and all."""
    out = bytes([flags])
    for n, kept in zip((40, 1024, 1, 20), blocks):
        count, places = len(kept), sorted(kept)
        values = struct.pack("<%df" % count, *(kept[k] for k in places))
        if (count + 1) // 2 + count <= min((n + 31) // 32 + count, n):
            body = struct.pack("<%dH" % count, *places) + bytes(count % 2 * 2) + values
        elif (n + 31) // 32 + count <= n:
            body = b"".join(struct.pack("<I", sum(1 << k % 32 for k in places if k // 32 == w)) for w in range((n + 31) // 32)) + values
        else:
            body = struct.pack("<%df" % n, *(kept.get(k, 0) for k in range(n)))
        out += struct.pack("<I", count) + body
    return out


put("ps_few", "none", few(1, {}, {}, {}, {}))
put("ps_few", "places", few(0o3, {7: 1.5}, {0: -1, 512: 2, 1023: 3}, {0: 4}, {19: 0.25}))
put("ps_few", "bits", few(0o15, {k: k + 1 for k in range(18)}, {k: 1 / (k + 1) for k in range(0, 1024, 2)}, {}, {0: 1, 5: 2}))
put("ps_few", "all", few(0o7, {k: -1 for k in range(40)}, {k: k + 1 for k in range(1024)}, {0: 9}, {k: 2 for k in range(20)}))
put("ps_few", "running", few(0o0, {3: 1}, {3: float("nan")}, {}, {k: float("inf") for k in range(20)}))
put("ps_few", "too_many", few(0o1, {3: 1, 4: 1}, {}, {}, {}))
put("ps_few", "twice", few(0o7, {}, {}, {}, {})[:-4] + struct.pack("<IHHff", 2, 4, 4, 1, 2))
put("ps_few", "beyond", few(0o31, {39: 1}, {}, {}, {})[:-4] + struct.pack("<IHHf", 1, 20, 0, 1))
put("ps_few", "cut", few(0o21, {7: 1.5}, {0: -1}, {0: 4}, {19: 0.25})[:-3])
put("ps_few", "more", few(0o11, {7: 1.5}, {}, {}, {}) + b"more")


def base(turn, floats, step=5, generation=7, last=20):
    fields = struct.pack("<8Q", 0x32474F4C53504C44, 77, step, 100, 100 + floats, turn, generation, last)
    fields += bytes(76 - len(fields) - 4) + struct.pack("<I", 3)
    return fields + struct.pack("<I", frame_crc(fields))


def push(name, behind, values, at=5, generation=7):
    head = struct.pack("<Ii12Q", 0x48535550, 0, 1, at, at, 20, 1, 2, 0, 0, generation, behind, name, len(values))
    head += struct.pack("<2d", 1.5, 16) + bytes(LEAF_SUMS_BYTES - 16) + b"host:1"
    head += bytes(248 - len(head)) + struct.pack("<I", frame_crc(values))
    return head + struct.pack("<I", frame_crc(head)) + values


NO_BASE = bytes(80)
three = [push(21 + i, 20 + i, bytes(range(i, i + 40))) for i in range(3)]
short = [push(21, 20, bytes(8)), push(22, 21, b""), push(23, 22, bytes(12))]
put("ps_log", "empty", b"\0" + base(0, 10) + NO_BASE)
put("ps_log", "three", b"\0" + base(0, 10) + NO_BASE + b"".join(three))
put("ps_log", "short", b"\1" + base(0, 10) + NO_BASE + b"".join(short))
put("ps_log", "second", b"\0" + base(0, 10, generation=6) + base(1, 10) + b"".join(three))
put("ps_log", "torn", b"\0" + base(0, 10) + NO_BASE + b"".join(three)[:-3])
put("ps_log", "header_lost", b"\0" + base(0, 10) + NO_BASE + short[0][:20] + b"?" + short[0][21:] + short[1] + short[2])
put("ps_log", "huge", b"\1" + base(0, (1 << 40) - 101) + NO_BASE + push(21, 20, bytes(8)))
put("ps_log", "older", b"\0" + b"DLPSLOG1" + bytes(80 - 8) + NO_BASE)
