/* The table of metrics, in the order of dl_task. */
#include "metrics/kinds.h"

static const dl_metrics_kind *const kinds[] = {
    [DL_TASK_CLASSIFICATION] = &dl_metrics_classification, [DL_TASK_BINARY] = &dl_metrics_binary,
    [DL_TASK_MULTILABEL] = &dl_metrics_multilabel,         [DL_TASK_REGRESSION] = &dl_metrics_regression,
    [DL_TASK_LANGUAGE_MODEL] = &dl_metrics_language_model, [DL_TASK_SEGMENTATION] = &dl_metrics_segmentation,
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

const dl_metrics_kind *const *dl_metrics_kinds(int *n) {
  *n = KINDS;
  return kinds;
}

const dl_metrics_kind *dl_metrics_for(int task) { return task >= 0 && task < KINDS ? kinds[task] : NULL; }

int64_t dl_first_largest(const float *scores, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (scores[i] > scores[best]) best = i;
  return best;
}
