/* stats_bayes.h - Gaussian naive Bayes: what the labels give away without any training (floor: data, private). */
#ifndef DL_DATA_STATS_BAYES_H
#define DL_DATA_STATS_BAYES_H

#include "data/stats_pairs.h"

typedef struct dl_stats_bayes {
  bool there;
  double accuracy, test_accuracy; /* on the split itself; on test, NAN where it is the split or is not there */
  double largest_class;           /* the accuracy of always saying the most frequent class */
} dl_stats_bayes;

/* A normal distribution for each value of x in each class, every class as likely as it is frequent, variances raised by
 * 1e-9 of the largest variance of a value over all classes. Left out where there are no labels, values are missing, or
 * classes times values of a sample are more than 2^18. Collective; results on all members. */
dl_status dl_stats_bayes_judge(dl_stats_source *source, const dl_stats_options *options, const dl_stats_labels *labels,
                               const dl_stats_column *columns, dl_stats_bayes *out);

#endif
