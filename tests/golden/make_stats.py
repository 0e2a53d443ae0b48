#!/usr/bin/env python3
"""Writes stats_golden.h: a small table of float64 values and what numpy, scipy and scikit-learn say of it.

Columns: normal, lognormal, exponential, gamma, uniform, Laplace, zeros and ones, Poisson, values with missing ones,
a constant. y: three classes.

Usage: /usr/bin/python3 tests/golden/make_stats.py > tests/golden/stats_golden.h   (Debian: python3-sklearn, python3-scipy)
"""
import sys
import warnings

import numpy as np
import scipy.special as sp
import scipy.stats as st
from sklearn.metrics import mutual_info_score
from sklearn.naive_bayes import GaussianNB

warnings.filterwarnings("ignore")
ROWS = 150
rng = np.random.default_rng(20)
columns = [rng.normal(3, 2, ROWS), rng.lognormal(0.5, 0.7, ROWS), rng.exponential(2.5, ROWS), rng.gamma(3, 1.5, ROWS),
           rng.uniform(-1, 4, ROWS), rng.laplace(1, 0.5, ROWS), rng.integers(0, 2, ROWS).astype(float),
           rng.poisson(4, ROWS).astype(float), rng.normal(0, 1, ROWS), np.full(ROWS, 2.5)]
columns[0] += 0.8 * columns[2]
x = np.array([[float(f"{v:.7g}") for v in row] for row in np.stack(columns, 1)])
x[::17, 8] = np.nan
x[5, 8] = np.inf
y = (x[:, 0] > 5).astype(int) + (x[:, 4] > 2)
figures, fits, posteriors = [], [], []


def dist(family, v):
    """The distribution fitted, by scipy where it has the fit and by hand where not."""
    if family == "normal":
        return st.norm(*st.norm.fit(v)), 2
    if family == "lognormal":
        shape, loc, scale = st.lognorm.fit(v, floc=0)
        return st.lognorm(shape, loc, scale), 2
    if family == "exponential":
        return st.expon(*st.expon.fit(v, floc=0)), 1
    if family == "gamma":
        s = np.log(v.mean()) - np.log(v).mean()
        from scipy.optimize import brentq
        k = brentq(lambda a: np.log(a) - sp.digamma(a) - s, 1e-3, 1e4, xtol=1e-15, rtol=1e-15)
        return st.gamma(k, scale=v.mean() / k), 2
    if family == "uniform":
        return st.uniform(*st.uniform.fit(v)), 2
    if family == "laplace":
        return st.laplace(*st.laplace.fit(v)), 2
    if family == "bernoulli":
        return st.bernoulli(v.mean()), 1
    return st.poisson(v.mean()), 1


for i in range(x.shape[1]):
    v = x[:, i]
    v = v[np.isfinite(v)]
    add = lambda key, value: figures.append((i, key, value))
    add("count", len(v))
    add("missing", np.isnan(x[:, i]).sum())
    add("infinite", np.isinf(x[:, i]).sum())
    add("mean", v.mean())
    add("variance", v.var())
    add("std", v.std())
    add("min", v.min())
    add("max", v.max())
    add("distinct", len(np.unique(v)))
    add("zeros", (v == 0).sum())
    if v.std() > 0:
        add("skewness", st.skew(v))
        add("kurtosis", st.kurtosis(v))
    for q in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        add(f"quantiles/{q}", np.quantile(v, q))
    whole = np.all(v == np.rint(v))
    values, counts = np.unique(v, return_counts=True)
    edges = np.arange(v.min(), v.max() + 2) - 0.5 if whole else np.linspace(v.min(), v.max(), 41)
    histogram = np.histogram(v, edges)[0] if v.std() > 0 else np.array([len(v)])
    for b, c in enumerate(histogram):
        add(f"histogram/counts/{b}", c)
    share = counts / len(v) if whole else histogram / len(v)
    add("entropy_bits", st.entropy(share[share > 0], base=2))
    ok = np.isfinite(x[:, i])
    bins = np.digitize(v, edges[1:-1]) if v.std() > 0 else np.zeros(len(v))
    add("mutual_information_bits", mutual_info_score(bins, y[ok]) / np.log(2))
    add("mutual_information_by_chance_bits",
        (len(np.unique(bins)) - 1) * (len(np.unique(y[ok])) - 1) / (2 * len(v) * np.log(2)))
    families = []
    if v.std() > 0:
        binary = set(v) <= {0, 1}
        families = ["bernoulli"] if binary else ["normal", "uniform", "laplace"]
        families += ["lognormal", "gamma"] if v.min() > 0 else []
        families += ["exponential"] if v.min() >= 0 and not binary else []
        families += ["poisson"] if whole and v.min() >= 0 and not binary else []
    for family in families:
        d, parameters = dist(family, v)
        discrete = family in ("bernoulli", "poisson")
        likelihood = (d.logpmf(v) if discrete else d.logpdf(v)).sum()
        below, with_it = np.searchsorted(np.sort(v), values) / len(v), np.cumsum(counts) / len(v)
        before = d.cdf(values - 1) if discrete else d.cdf(values)
        ks = max(np.abs(d.cdf(values) - with_it).max(), np.abs(before - below).max())
        fits.append((i, family, likelihood, 2 * parameters - 2 * likelihood, ks))
    n = len(v)
    if families == ["bernoulli"]:
        d = st.beta(v.sum() + 0.5, n - v.sum() + 0.5)
        posteriors.append((i, "p", d.ppf(0.025), d.ppf(0.975)))
    elif v.std() > 0:
        d = st.t(n - 1, v.mean(), v.std(ddof=1) / np.sqrt(n))
        posteriors.append((i, "mean", d.ppf(0.025), d.ppf(0.975)))
        d = st.invgamma((n - 1) / 2, scale=n * v.var() / 2)
        posteriors.append((i, "variance", d.ppf(0.025), d.ppf(0.975)))

whole_rows = x[np.isfinite(x).all(1)][:, :9]
pearson, spearman = np.corrcoef(whole_rows.T), st.spearmanr(whole_rows)[0]
bayes = GaussianNB().fit(x[:, :8], y).score(x[:, :8], y)
tails = [("dl_gamma_cdf", x_, a, sp.gammainc(a, x_)) for a in (0.3, 1, 7.5, 300, 5000.5) for x_ in (a * 0.6, a, a * 1.3)]
tails += [("dl_gamma_tail", x_, a, sp.gammaincc(a, x_)) for a in (0.3, 7.5, 300) for x_ in (a * 0.6, a * 1.3)]


def number(value):
    return "NAN" if np.isnan(value) else "INFINITY" if np.isinf(value) else f"{float(value):.17g}"


def table(name, kind, rows):
    body = ",\n".join("    {" + ", ".join(f'"{c}"' if isinstance(c, str) else number(c) if isinstance(c, float) else
                                           str(int(c)) for c in row) + "}" for row in rows)
    return f"static const {kind} {name}[] = {{\n{body},\n}};\n"


def array(name, values):
    body = ",\n".join("    " + ", ".join(number(v) for v in row) for row in values)
    return f"static const double {name}[] = {{\n{body},\n}};\n"


f = sys.stdout
f.write("/* Generated by make_stats.py: do not edit. */\n/* clang-format off */\n#include <math.h>\n")
f.write(f"enum {{ GOLDEN_ROWS = {ROWS}, GOLDEN_COLUMNS = {x.shape[1]}, GOLDEN_WHOLE_ROWS = {len(whole_rows)} }};\n")
f.write(array("golden_x", x))
f.write("static const int golden_y[] = {" + ", ".join(str(v) for v in y) + "};\n")
f.write(table("golden_figures", "golden_figure", [(i, k, float(v)) for i, k, v in figures]))
f.write(table("golden_fits", "golden_fit", [(i, k, float(a), float(b), float(c)) for i, k, a, b, c in fits]))
f.write(table("golden_posteriors", "golden_posterior", [(i, k, float(a), float(b)) for i, k, a, b in posteriors]))
f.write(array("golden_pearson", pearson) + array("golden_spearman", spearman))
f.write(f"static const double golden_bayes = {number(bayes)};\n")
f.write(table("golden_tails", "golden_tail", [(n, float(a), float(b), float(c)) for n, a, b, c in tails]))
