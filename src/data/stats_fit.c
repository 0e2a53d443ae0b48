/* stats_fit.c - families of distributions fitted by maximum likelihood, and posteriors: one row a family.
 *
 * All but gamma have their estimates in closed form. Gamma's shape solves log k - digamma k = log mean - mean log by
 * Newton's method from Minka's starting value (2002), with both sides written so that nothing cancels. Likelihoods come
 * from the same few sums, so that no family reads the values again.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "data/stats_column.h"

static bool varies(const dl_stats_column *c) { return c->max > c->min && c->variance > 0; }
static bool varies_and_not_binary(const dl_stats_column *c) { return varies(c) && !dl_stats_is_binary(c); }
static bool positive(const dl_stats_column *c) { return varies_and_not_binary(c) && c->min > 0; }
static bool not_negative(const dl_stats_column *c) { return varies_and_not_binary(c) && c->min >= 0; }
static bool binary(const dl_stats_column *c) { return dl_stats_is_binary(c); }
/* Only where there are few values: each costs a sum of some square roots of the mean in length. */
static bool counts(const dl_stats_column *c) { return not_negative(c) && dl_stats_is_counted(c) && c->max < 1e6; }

/* ---- normal ---- */

static bool estimate_normal(const dl_stats_column *c, double *p) {
  p[0] = c->mean;
  p[1] = sqrt(c->variance);
  return true;
}
static double likelihood_normal(const dl_stats_column *c, const double *p) {
  return -0.5 * (double)c->n * (log(2 * M_PI) + 2 * log(p[1]) + 1);
}
static double cdf_normal(double x, const double *p) { return 0.5 * erfc(-(x - p[0]) / (p[1] * M_SQRT2)); }

/* ---- lognormal ---- */

static bool estimate_lognormal(const dl_stats_column *c, double *p) {
  p[0] = c->mean_log;
  p[1] = sqrt(c->variance_log);
  return p[1] > 0;
}
static double likelihood_lognormal(const dl_stats_column *c, const double *p) {
  return likelihood_normal(c, p) - (double)c->n * c->mean_log;
}
static double cdf_lognormal(double x, const double *p) { return x > 0 ? cdf_normal(log(x), p) : 0; }

/* ---- exponential ---- */

static bool estimate_exponential(const dl_stats_column *c, double *p) {
  p[0] = c->mean;
  return c->mean > 0;
}
static double likelihood_exponential(const dl_stats_column *c, const double *p) {
  return -(double)c->n * (log(p[0]) + 1);
}
static double cdf_exponential(double x, const double *p) { return x > 0 ? -expm1(-x / p[0]) : 0; }

/* ---- gamma: left out where its shape is above MOST_SHAPE, as it is the normal then ---- */

#define MOST_SHAPE 10000.0

static bool estimate_gamma(const dl_stats_column *c, double *p) {
  double s = c->log_gap;
  if (!(s > 0)) return false;
  double k = (3 - s + sqrt((s - 3) * (s - 3) + 24 * s)) / (12 * s);
  for (int i = 0; i < 100; i++) {
    double next = k - (dl_log_minus_digamma(k) - s) / dl_inverse_minus_trigamma(k);
    if (!(next > 0)) next = k / 2;
    bool done = fabs(next - k) <= 4 * DBL_EPSILON * k;
    k = next;
    if (done) break;
  }
  p[0] = k;
  p[1] = c->mean / k;
  return k > 0 && k < MOST_SHAPE && p[1] > 0;
}
static double likelihood_gamma(const dl_stats_column *c, const double *p) {
  double k = p[0]; /* (k - 1) mean log - mean / scale - k log scale - log Gamma(k), without what cancels */
  return (double)c->n * (0.5 * log(k / (2 * M_PI)) - dl_stirling_error(k) - k * c->log_gap - c->mean_log);
}
static double cdf_gamma(double x, const double *p) { return dl_gamma_cdf(x / p[1], p[0]); }

/* ---- uniform ---- */

static bool estimate_uniform(const dl_stats_column *c, double *p) {
  p[0] = c->min;
  p[1] = c->max;
  return isfinite(c->max - c->min);
}
static double likelihood_uniform(const dl_stats_column *c, const double *p) { return -(double)c->n * log(p[1] - p[0]); }
static double cdf_uniform(double x, const double *p) {
  return x <= p[0] ? 0 : x >= p[1] ? 1 : (x - p[0]) / (p[1] - p[0]);
}

/* ---- Laplace ---- */

static bool estimate_laplace(const dl_stats_column *c, double *p) {
  p[0] = c->quantile[DL_STATS_QUANTILES / 2];
  p[1] = c->mean_distance;
  return p[1] > 0;
}
static double likelihood_laplace(const dl_stats_column *c, const double *p) {
  return -(double)c->n * (log(2 * p[1]) + 1);
}
static double cdf_laplace(double x, const double *p) {
  double z = (x - p[0]) / p[1];
  return z < 0 ? 0.5 * exp(z) : 1 - 0.5 * exp(-z);
}

/* ---- Bernoulli ---- */

static bool estimate_bernoulli(const dl_stats_column *c, double *p) {
  p[0] = (double)(c->n - c->zeros) / (double)c->n;
  return true;
}
static double likelihood_bernoulli(const dl_stats_column *c, const double *p) {
  double zeros = (double)c->zeros, ones = (double)(c->n - c->zeros);
  return (ones > 0 ? ones * log(p[0]) : 0) + (zeros > 0 ? zeros * log1p(-p[0]) : 0);
}
static double cdf_bernoulli(double x, const double *p) { return x < 0 ? 0 : x < 1 ? 1 - p[0] : 1; }

/* ---- Poisson ---- */

static bool estimate_poisson(const dl_stats_column *c, double *p) {
  p[0] = c->mean;
  return c->mean > 0;
}
static double likelihood_poisson(const dl_stats_column *c, const double *p) {
  return (double)c->n * (c->mean * log(p[0]) - p[0]) - c->sum_lgamma;
}
static double cdf_poisson(double x, const double *p) { return x < 0 ? 0 : dl_gamma_tail(p[0], floor(x) + 1); }

const dl_stats_family dl_stats_families[DL_STATS_FAMILIES] = {
    {"normal", 2, {"mean", "std"}, false, varies_and_not_binary, estimate_normal, likelihood_normal, cdf_normal},
    {"lognormal", 2, {"mean_log", "std_log"}, false, positive, estimate_lognormal, likelihood_lognormal, cdf_lognormal},
    {"exponential", 1, {"mean"}, false, not_negative, estimate_exponential, likelihood_exponential, cdf_exponential},
    {"gamma", 2, {"shape", "scale"}, false, positive, estimate_gamma, likelihood_gamma, cdf_gamma},
    {"uniform", 2, {"low", "high"}, false, varies_and_not_binary, estimate_uniform, likelihood_uniform, cdf_uniform},
    {"laplace",
     2,
     {"median", "scale"},
     false,
     varies_and_not_binary,
     estimate_laplace,
     likelihood_laplace,
     cdf_laplace},
    {"bernoulli", 1, {"p"}, true, binary, estimate_bernoulli, likelihood_bernoulli, cdf_bernoulli},
    {"poisson", 1, {"rate"}, true, counts, estimate_poisson, likelihood_poisson, cdf_poisson},
};

void dl_stats_fit_all(dl_stats_column *column) {
  column->n_fits = 0;
  column->best = -1;
  for (int i = 0; i < DL_STATS_FAMILIES && column->n > 0; i++) {
    const dl_stats_family *family = &dl_stats_families[i];
    dl_stats_fit fit = {.family = i};
    if (!family->possible(column) || !family->estimate(column, fit.parameter)) continue;
    fit.log_likelihood = family->log_likelihood(column, fit.parameter);
    fit.aic = 2 * family->n_parameters - 2 * fit.log_likelihood;
    if (!isfinite(fit.aic)) continue;
    if (column->best < 0 || fit.aic < column->fit[column->best].aic) column->best = column->n_fits;
    column->fit[column->n_fits++] = fit;
  }
}

/* A discrete family's mass lies on whole numbers: those within the edges. */
double dl_stats_expected(const dl_stats_column *column, const dl_stats_fit *fit, int bin) {
  const dl_stats_family *family = &dl_stats_families[fit->family];
  double left = dl_stats_edge(column, bin), right = dl_stats_edge(column, bin + 1);
  return (double)column->n * (family->cdf(right, fit->parameter) - family->cdf(left, fit->parameter));
}

/* ---- posteriors ---- */

#define LEVEL 0.95

/* Normal data, p(mean, variance) ~ 1/variance: the mean is Student's t about the sample mean, the variance inverse
 * gamma of shape (n-1)/2 and scale SS/2: the conjugate normal-inverse-gamma in its reference form. */
static void mean_and_variance(dl_stats_column *c) {
  double n = (double)c->n, half = c->variance * n / 2, shape = (n - 1) / 2;
  double reach = dl_student_quantile(0.5 + LEVEL / 2, n - 1) * sqrt(c->variance / (n - 1));
  c->posterior[0] = (dl_stats_interval){c->mean, c->mean - reach, c->mean + reach};
  c->posterior[1] =
      (dl_stats_interval){shape > 1 ? half / (shape - 1) : NAN, half / dl_gamma_quantile(0.5 + LEVEL / 2, shape),
                          half / dl_gamma_quantile(0.5 - LEVEL / 2, shape)};
}

void dl_stats_posterior(dl_stats_column *c) {
  c->has_posterior = false;
  if (dl_stats_is_binary(c) && c->n > 0) {
    double a = (double)(c->n - c->zeros) + 0.5, b = (double)c->zeros + 0.5;
    c->posterior[0] = (dl_stats_interval){a / (a + b), dl_beta_quantile(0.5 - LEVEL / 2, a, b),
                                          dl_beta_quantile(0.5 + LEVEL / 2, a, b)};
    c->has_posterior = true;
  } else if (c->n >= 2 && varies(c)) {
    mean_and_variance(c);
    c->has_posterior = true;
  }
}
