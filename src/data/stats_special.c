/* stats_special.c - the special functions that the fits need and libm has not.
 *
 * Incomplete gamma: the series below the mean, the continued fraction above it (modified Lentz), both times the
 * density, which is taken from Stirling's error and the deviance (Loader 2000) so that large shapes lose no digits.
 * Incomplete beta: the continued fraction on the side where it converges. Quantiles: bisection on the distribution
 * function until neighbouring doubles are reached: slow and certain, and there is one for each column.
 */
#include <float.h>
#include <math.h>

#include "data/stats_column.h"

#define MOST_TERMS 1000000

/* ---- digamma and trigamma ---- */

double dl_log_minus_digamma(double x) {
  double sum = 0, start = x;
  for (; x < 12; x += 1) sum += 1 / x;
  double y = 1 / (x * x);
  double tail = 0.5 / x + y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y / 132))));
  return tail + sum + log(start / x);
}

double dl_inverse_minus_trigamma(double x) {
  double sum = 0, start = x;
  for (; x < 12; x += 1) sum -= 1 / (x * x);
  double y = 1 / (x * x);
  double tail = -y * (0.5 + (1 / x) * (1.0 / 6 - y * (1.0 / 30 - y * (1.0 / 42 - y * (1.0 / 30 - y * 5 / 66)))));
  return tail + sum + (start < x ? 1 / start - 1 / x : 0);
}

/* ---- densities without cancellation ---- */

double dl_stirling_error(double n) {
  if (n < 16) return lgamma(n + 1) - (n + 0.5) * log(n) + n - 0.918938533204672741780329736406;
  double y = 1 / (n * n);
  return (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y * (1.0 / 1680 - y / 1188)))) / n;
}

/* x log(x / m) + m - x */
static double deviance(double x, double m) {
  double v = (x - m) / (x + m);
  if (fabs(v) > 0.1) return x * log(x / m) + m - x;
  double sum = (x - m) * v, term = 2 * x * v;
  for (int j = 1; j < 1000; j++) {
    term *= v * v;
    double more = sum + term / (2 * j + 1);
    if (more == sum) break;
    sum = more;
  }
  return sum;
}

/* x^a e^-x / Gamma(a + 1) */
static double gamma_mass(double x, double a) {
  if (a < 1e-300) return exp(-x);
  return exp(-dl_stirling_error(a) - deviance(a, x)) / sqrt(2 * M_PI * a);
}

/* x^a (1-x)^b Gamma(a+b) / (Gamma(a) Gamma(b)) */
static double beta_mass(double x, double a, double b) {
  double n = a + b;
  double log_mass = dl_stirling_error(n) - dl_stirling_error(a) - dl_stirling_error(b) - deviance(a, n * x) -
                    deviance(b, n * (1 - x));
  return exp(log_mass) * sqrt(a * b / (2 * M_PI * n));
}

/* ---- distribution functions ---- */

static double gamma_series(double x, double a) {
  double term = 1, sum = 1;
  for (int i = 1; i < MOST_TERMS && term > sum * DBL_EPSILON / 4; i++) sum += term *= x / (a + i);
  return sum * gamma_mass(x, a);
}

static double gamma_fraction(double x, double a) {
  double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int i = 1; i < MOST_TERMS; i++) {
    double k = -i * (i - a);
    b += 2;
    d = 1 / (k * d + b);
    c = b + k / c;
    double step = c * d;
    h *= step;
    if (fabs(step - 1) < DBL_EPSILON) break;
  }
  return h * gamma_mass(x, a) * a;
}

double dl_gamma_cdf(double x, double shape) {
  if (!(x > 0)) return 0;
  if (isinf(x)) return 1;
  return x < shape + 1 ? gamma_series(x, shape) : 1 - gamma_fraction(x, shape);
}

double dl_gamma_tail(double x, double shape) {
  if (!(x > 0)) return 1;
  if (isinf(x)) return 0;
  return x < shape + 1 ? 1 - gamma_series(x, shape) : gamma_fraction(x, shape);
}

static double tiny_off(double x) { return fabs(x) < 1e-300 ? 1e-300 : x; }

static double beta_fraction(double x, double a, double b) {
  double c = 1, d = 1 / tiny_off(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m < MOST_TERMS; m++) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / tiny_off(1 + even * d);
    c = tiny_off(1 + even / c);
    h *= d * c;
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / tiny_off(1 + odd * d);
    c = tiny_off(1 + odd / c);
    h *= d * c;
    if (fabs(d * c - 1) < DBL_EPSILON) break;
  }
  return h;
}

double dl_beta_cdf(double x, double a, double b) {
  if (!(x > 0)) return 0;
  if (x >= 1) return 1;
  double mass = beta_mass(x, a, b);
  if (x < (a + 1) / (a + b + 2)) return mass * beta_fraction(x, a, b) / a;
  return 1 - mass * beta_fraction(1 - x, b, a) / b;
}

/* ---- quantiles ---- */

/* The x in [low, high] at which the rising cdf(x, a, b) reaches p. */
static double bisect(double (*cdf)(double, double, double), double p, double a, double b, double low, double high) {
  for (int i = 0; i < 2000; i++) {
    double middle = low + (high - low) / 2;
    if (!(middle > low && middle < high)) break;
    if (cdf(middle, a, b) < p)
      low = middle;
    else
      high = middle;
  }
  return low + (high - low) / 2;
}

static double gamma_cdf_of(double x, double shape, double unused) {
  (void)unused;
  return dl_gamma_cdf(x, shape);
}

double dl_gamma_quantile(double p, double shape) {
  double high = shape + 1;
  while (dl_gamma_cdf(high, shape) < p && high < 1e300) high *= 2;
  return bisect(gamma_cdf_of, p, shape, 0, 0, high);
}

double dl_beta_quantile(double p, double a, double b) { return bisect(dl_beta_cdf, p, a, b, 0, 1); }

/* With x = t^2 / (v + t^2): P(|T| < t) = I_x(1/2, v/2). */
double dl_student_quantile(double p, double freedom) {
  double y = dl_beta_quantile(2 * (1 - p), freedom / 2, 0.5); /* 1 - x, from its own small side */
  return sqrt(freedom * (1 - y) / y);
}
