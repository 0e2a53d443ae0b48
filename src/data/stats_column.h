/* stats_column.h - the figures of one column, out of its values in ascending order (floor: data, private). */
#ifndef DL_DATA_STATS_COLUMN_H
#define DL_DATA_STATS_COLUMN_H

#include "core/status.h"

#define DL_STATS_BINS 40     /* of equal width, unless every whole number has its own */
#define DL_STATS_MAX_BINS 64 /* whole numbers that span no more have one bin each */
#define DL_STATS_TABLE 65536 /* whole numbers that span no more are counted, all else is sorted */
#define DL_STATS_QUANTILES 9
#define DL_STATS_FAMILIES 8
extern const double dl_stats_levels[DL_STATS_QUANTILES]; /* 0.01 ... 0.99 */

typedef struct dl_stats_fit {
  int family; /* row of dl_stats_families */
  double parameter[2];
  double log_likelihood, aic, ks;
} dl_stats_fit;

/* An estimate with the ends of its central 95% credible interval. */
typedef struct dl_stats_interval {
  double estimate, low, high;
} dl_stats_interval;

/* Plain data, sent between members as bytes. */
typedef struct dl_stats_column {
  /* What a first look tells, in any order. */
  int64_t n, missing, infinite; /* n: finite values, which alone the rest is about */
  double min, max;
  bool whole; /* all are whole numbers of less than 2^50 */
  /* In ascending order. */
  double mean, variance, skewness, kurtosis; /* of the population; kurtosis is the excess over the normal's */
  double quantile[DL_STATS_QUANTILES];       /* linear between neighbours */
  int64_t distinct, zeros;
  double entropy; /* bits, of the values where they are counted, else of the bins */
  int bins;
  double first_edge, bin_width;
  int64_t count[DL_STATS_MAX_BINS];
  /* What the fits need. */
  double mean_log, variance_log; /* of the logarithms, where min > 0 */
  double log_gap;                /* log mean - mean_log */
  double mean_distance;          /* from the median */
  double sum_lgamma;             /* of log x!, whole numbers of 0 or more */
  int n_fits, best;              /* -1: none */
  dl_stats_fit fit[DL_STATS_FAMILIES];
  bool has_posterior;
  dl_stats_interval posterior[2]; /* mean and variance; a column of zeros and ones: the share of ones */
} dl_stats_column;

/* Whether the column's values are counted in a table of dl_stats_span places rather than sorted. */
bool dl_stats_is_counted(const dl_stats_column *column);
int64_t dl_stats_span(const dl_stats_column *column);
static inline bool dl_stats_is_binary(const dl_stats_column *column) {
  return column->whole && column->min >= 0 && column->max <= 1;
}

/* The bin of a finite value of the column: as numpy.histogram, the last bin has its right edge. */
int dl_stats_bin(const dl_stats_column *column, double value);
double dl_stats_edge(const dl_stats_column *column, int edge);

/* Values in ascending order, `count` of each (NULL: one of each); equal neighbours may come apart. */
typedef void (*dl_stats_take)(void *context, const double *value, const int64_t *count, int64_t n);
/* Hands all values of the column to `take`, piece by piece. */
typedef dl_status (*dl_stats_walk)(void *walker, dl_stats_take take, void *context);

/* Fills everything below the first look; walks three times. */
dl_status dl_stats_column_fill(dl_stats_column *column, dl_stats_walk walk, void *walker);

/* ---- families of distributions (stats_fit.c) ---- */

typedef struct dl_stats_family {
  const char *name;
  int n_parameters;
  const char *parameter[2];
  bool discrete;
  bool (*possible)(const dl_stats_column *column); /* the support holds all values, and there is something to fit */
  bool (*estimate)(const dl_stats_column *column, double *parameter); /* by maximum likelihood; false: none found */
  double (*log_likelihood)(const dl_stats_column *column, const double *parameter);
  double (*cdf)(double x, const double *parameter);
} dl_stats_family;
extern const dl_stats_family dl_stats_families[DL_STATS_FAMILIES];

/* All possible fits, without their distances. */
void dl_stats_fit_all(dl_stats_column *column);
/* The posterior under the reference prior (mean and variance: p ~ 1/variance) or, zeros and ones, Beta(1/2, 1/2). */
void dl_stats_posterior(dl_stats_column *column);
/* How many of the column's values the fit expects in a bin. */
double dl_stats_expected(const dl_stats_column *column, const dl_stats_fit *fit, int bin);

/* ---- special functions (stats_special.c) ---- */

double dl_log_minus_digamma(double x); /* log x - digamma x, x > 0 */
double dl_inverse_minus_trigamma(double x);
double dl_stirling_error(double n);          /* log n! - log(sqrt(2 pi n) (n/e)^n) */
double dl_gamma_cdf(double x, double shape); /* regularised lower incomplete gamma function */
double dl_gamma_tail(double x, double shape);
double dl_beta_cdf(double x, double a, double b);
double dl_gamma_quantile(double p, double shape);
double dl_beta_quantile(double p, double a, double b);
double dl_student_quantile(double p, double freedom); /* p > 1/2 */

/* A sum that loses nothing worth a name (Neumaier 1974). */
typedef struct dl_stats_sum {
  double sum, rest;
} dl_stats_sum;
static inline void dl_stats_add(dl_stats_sum *s, double x) {
  double t = s->sum + x, a = s->sum < 0 ? -s->sum : s->sum, b = x < 0 ? -x : x;
  s->rest += a >= b ? (s->sum - t) + x : (x - t) + s->sum;
  s->sum = t;
}
static inline double dl_stats_total(const dl_stats_sum *s) { return s->sum + s->rest; }

#endif
