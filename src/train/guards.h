/* guards.h - what the training loop does about results that are silently wrong (floor: train).
 *
 * The synchroniser finds them (comm/sync.h); here is what only a trainer can do: compute a leaf once more, say which
 * checkpoint is good, and make faults on purpose so that all of it can be tested.
 */
#ifndef DL_TRAIN_GUARDS_H
#define DL_TRAIN_GUARDS_H

#include "train/model.h"

/* Where members are not alike (dl_fingerprint), another one's bits prove nothing: no leaf is recomputed. Collective. */
dl_status dl_guards_begin(dl_model *model);

/* Adds to the hint of the record of a failed training which checkpoint is good; NULL: there is none. Not collective. */
dl_status dl_guards_name_checkpoint(dl_status status, const char *checkpoint);

/* ---- faults on purpose ----
 *
 * The variable DLDIST_TEST_FAULT holds one of
 *   gradient:STEP:RANK:ELEMENT:BIT   that rank flips the bit in every gradient that it computes in that step
 *   weight:STEP:RANK:ELEMENT:BIT     that rank flips the bit in its weights before its first leaf of that step
 *   slow:STEP:RANK:MILLISECONDS      that rank takes so much longer over every leaf from that step on
 * STEP counts steps of the run from 1; in `gradient`, 0 stands for every step. ELEMENT counts floats of the buffer of
 * all parameters. A warning says that it is on. */
typedef struct dl_test_fault {
  int kind; /* 0: none */
  long long step, rank, element, bit;
} dl_test_fault;
/* From the environment; DL_ERR_USAGE for what is not one of these. Not collective. */
dl_status dl_test_fault_read(const dl_model *model, dl_test_fault *out);
void dl_test_fault_before_step(const dl_test_fault *fault, const dl_model *model);
void dl_test_fault_in_leaf(const dl_test_fault *fault, const dl_model *model, float *gradients);

#endif
