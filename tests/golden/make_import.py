#!/usr/bin/python3
"""Writes import_golden.h: files as numpy and Pillow write them, and what they hold, for tests/data/test_import_arrays.c.

Usage: tests/golden/make_import.py > tests/golden/import_golden.h    (needs numpy and Pillow)
"""
import io

import numpy as np
from PIL import Image

rng = np.random.default_rng(20)
out = ["/* import_golden.h - made by make_import.py with numpy and Pillow. */", "#ifndef DL_IMPORT_GOLDEN_H", "#define DL_IMPORT_GOLDEN_H", ""]


def put_bytes(name, data):
    out.append("static const unsigned char %s[%d] = {" % (name, len(data)))
    for i in range(0, len(data), 24):
        out.append("  " + ", ".join(str(b) for b in data[i : i + 24]) + ",")
    out.append("};")


def put_doubles(name, values):
    out.append("static const double %s[%d] = {" % (name, len(values)))
    for i in range(0, len(values), 6):
        out.append("  " + ", ".join(repr(float(v)) for v in values[i : i + 6]) + ",")
    out.append("};")


def npy(a):
    f = io.BytesIO()
    np.save(f, a)
    return f.getvalue()


# ---- arrays of every type, order and layout: 5 rows of (2, 3) ----
table = []
for kind in "u1 i1 <u2 >i2 <i4 >u4 <i8 >u8 <f2 >f2 <f4 >f4 <f8 >f8 ?".split():
    for layout in "CF":
        a = rng.normal(size=(5, 2, 3)) * 40
        a = a > 0 if kind == "?" else a.astype(kind) if "f" in kind else np.abs(a).astype(kind)
        if kind in ("<f2", ">f2"):
            a.flat[:4] = [6e-8, -65504, 0, 3.05e-5]  # subnormal, largest
        name = "array_%d" % len(table)
        put_bytes(name, npy(np.asarray(a, order=layout)))
        put_doubles(name + "_values", a.astype(np.float64).ravel())
        table.append('  {"%s%s", %s, sizeof %s, %s_values},' % (kind, layout, name, name, name))
out.append("static const struct {\n  const char *name;\n  const unsigned char *bytes;\n  size_t n;\n  const double *values;\n} arrays[] = {")
out.extend(table)
out.append("};")

labels = np.arange(5)
put_bytes("labels_npy", npy(labels))
put_bytes("structured_npy", npy(np.zeros(5, dtype=[("a", "f4"), ("b", "i4")])))
put_bytes("complex_npy", npy(np.zeros(5, dtype="c8")))
x, tx = rng.integers(0, 256, (5, 4, 4)).astype("u1"), rng.integers(0, 256, (2, 4, 4)).astype("u1")
for name, save in (("stored_npz", np.savez), ("packed_npz", np.savez_compressed)):
    f = io.BytesIO()
    save(f, x_train=x, y_train=labels, x_test=tx, y_test=labels[:2])
    put_bytes(name, f.getvalue())
put_doubles("npz_train", x.astype(float).ravel())
put_doubles("npz_test", tx.astype(float).ravel())

# ---- pictures, and Pillow's bilinear resizing of them to 6 x 5 ----
smooth = np.array(Image.fromarray(rng.integers(0, 256, (3, 3, 3)).astype("u1")).resize((17, 11), Image.BICUBIC))
image = Image.fromarray(smooth)
alpha = image.copy()
alpha.putalpha(Image.fromarray(rng.integers(0, 256, (11, 17)).astype("u1")))
deep = Image.fromarray((smooth[..., 0].astype("u2") * 257))
pictures = [("rgb", image, "PNG", {}), ("grey", image.convert("L"), "PNG", {}), ("palette", image.quantize(16), "PNG", {}),
            ("alpha", alpha, "PNG", {}), ("deep", deep, "PNG", {}),
            ("jpeg", image, "JPEG", {"quality": 92}), ("jpeg_grey", image.convert("L"), "JPEG", {"quality": 92}),
            ("jpeg_progressive", image, "JPEG", {"quality": 92, "progressive": True})]
table = []
for name, picture, kind, how in pictures:
    f = io.BytesIO()
    picture.save(f, kind, **how)
    put_bytes("picture_" + name, f.getvalue())
    if name == "deep":
        rgb = Image.fromarray(smooth[..., 0]).convert("RGB")
    else:
        rgb = Image.open(io.BytesIO(f.getvalue()))
        rgb = (rgb.convert("RGBA") if name == "palette" else rgb).convert("RGB")
    for h, w, label in ((11, 17, "same"), (5, 6, "small"), (20, 19, "large")):
        fit = rgb if label == "same" else rgb.resize((w, h), Image.BILINEAR)
        put_bytes("picture_%s_%s" % (name, label), np.asarray(fit).transpose(2, 0, 1).tobytes())
    put_bytes("picture_%s_luma" % name, np.asarray(rgb.convert("L")).tobytes())
    table.append('  {"%s", picture_%s, sizeof picture_%s, {picture_%s_same, picture_%s_small, picture_%s_large}, picture_%s_luma},' % ((name,) * 7))
out.append("static const struct {\n  const char *name;\n  const unsigned char *bytes;\n  size_t n;\n  const unsigned char *fit[3];\n  const unsigned char *luma;\n} pictures[] = {")
out.extend(table)
out.append("};")
out.append("\n#endif")
print("\n".join(out))
