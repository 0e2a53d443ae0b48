"""Random batches of train/x of an HDF5 file by h5py, and the file read and unpacked as a whole.

usage: h5py_loader.py make FOLDER        writes the files that benchmarks/loader.sh reads
       h5py_loader.py read FILE.h5       prints three figures: random batches, whole file, raw chunks through zlib (GB/s of x)
"""

import sys
import time
import zlib

import h5py
import numpy

ROWS, WIDTH, BATCH, CHUNK = 300000, 784, 512, 256


def make(folder):
    random = numpy.random.default_rng(1)
    x = random.integers(0, 256, (ROWS, WIDTH), dtype=numpy.uint8)
    packs = (x // 64 * 16).astype(numpy.uint8)  # to about a fifth
    packs[:, ::2] = 0
    chunks = (CHUNK, WIDTH)
    kinds = {
        "contiguous": (x, {}),
        "chunks": (x, {"chunks": chunks}),
        "fletcher32": (x, {"chunks": chunks, "fletcher32": True}),
        "deflate1": (packs, {"chunks": chunks, "compression": "gzip", "compression_opts": 1}),
    }
    for name, (values, how) in kinds.items():
        with h5py.File(f"{folder}/{name}.h5", "w") as file:
            file.create_dataset("train/x", data=values, **how)


def random_batches(data):
    """Float batches of random rows, as a map-style loader asks for them; stops after two seconds."""
    random = numpy.random.default_rng(2)
    order = random.permutation(len(data))
    begin = time.perf_counter()
    rows = 0
    for at in range(0, len(order), BATCH):
        batch = data[numpy.sort(order[at : at + BATCH])].astype(numpy.float32) / 255
        rows += len(batch)
        if time.perf_counter() - begin > 2:
            break
    return rows * WIDTH / (time.perf_counter() - begin) / 1e9


def whole_file(data):
    begin = time.perf_counter()
    values = data[...]
    return values.nbytes / (time.perf_counter() - begin) / 1e9


def raw_chunks(data):
    """What one core can unpack: each chunk as it is stored, through zlib where it is deflated."""
    if data.chunks is None:
        return float("nan")
    begin = time.perf_counter()
    for row in range(0, len(data), data.chunks[0]):
        _, chunk = data.id.read_direct_chunk((row, 0))
        if data.compression == "gzip":
            zlib.decompress(chunk)
    return data.size / (time.perf_counter() - begin) / 1e9


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    with h5py.File(sys.argv[2], "r") as source:
        train = source["train/x"]
        raw_chunks(train)  # into the page cache
        print(f"{random_batches(train):.4f} {whole_file(train):.3f} {raw_chunks(train):.3f}")
