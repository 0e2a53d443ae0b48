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
