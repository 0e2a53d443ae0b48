#!/usr/bin/python3
"""Makes share/digits.h5, the built-in demo's data set: byte for byte the same on every run.

Needs Debian's python3-sklearn and python3-h5py. Usage: make_digits.py OUTPUT.h5
"""
import sys

import h5py
import numpy as np
from sklearn.datasets import load_digits

SEED = 20240501
TEST_FRACTION = 0.2


def stratified_fifth(labels):
    """A boolean mask: of each class a fifth (rounded) by a fixed seed, with MT19937's raw words, which never change."""
    bits = np.random.MT19937(SEED)
    keys = bits.random_raw(len(labels))
    test = np.zeros(len(labels), bool)
    for c in range(10):
        members = np.flatnonzero(labels == c)
        order = members[np.argsort(keys[members], kind="stable")]
        test[order[: round(TEST_FRACTION * len(members))]] = True
    return test


def main(path):
    digits = load_digits()
    x = digits.images.astype(np.uint8)
    y = digits.target.astype(np.uint8)
    assert x.shape == (1797, 8, 8) and x.max() == 16 and np.array_equal(x, digits.images)
    test = stratified_fifth(y)
    with h5py.File(path, "w", libver="earliest") as f:
        f.attrs["title"] = "Optical recognition of handwritten digits: 1,797 images of 8x8 pixels, values 0 to 16"
        f.attrs["source"] = (
            "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
            "doi:10.24432/C50P49; the part that scikit-learn ships"
        )
        f.attrs["licence"] = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
        f.attrs["split"] = "test: a fifth of each class, by a fixed seed (tests/golden/make_digits.py)"
        f.create_dataset("class_names", data=np.array([str(c).encode() for c in range(10)], "S1"), track_times=False)
        for name, rows in (("train", ~test), ("test", test)):
            for key, values in (("x", x[rows]), ("y", y[rows])):
                f.create_dataset(f"{name}/{key}", data=values, chunks=values.shape, fletcher32=True, track_times=False)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
