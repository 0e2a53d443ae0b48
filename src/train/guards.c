/* guards.c - see guards.h. Whether members are alike is a hash of their fingerprints, compared once at the start. */
#include "train/guards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "train/fingerprint.h"

static dl_status digest_of(const char *text, dl_digest *out) {
  dl_sha256 *hash = NULL;
  DL_TRY(dl_sha256_new(&hash));
  dl_status status = dl_sha256_update(hash, text, strlen(text));
  if (status == DL_OK) status = dl_sha256_finish(hash, out);
  dl_sha256_destroy(&hash);
  return status;
}

dl_status dl_guards_begin(dl_model *model) {
  dl_team *team = model->team;
  if (team->processes == 1 || !model->config->sync.recompute_every) return DL_OK;
  dl_json *fingerprint = dl_fingerprint(model->shards, model->config->compute.backend);
  char *text = NULL;
  dl_digest mine = {{0}}, *all = dl_calloc((size_t)team->size, sizeof *all);
  dl_status status = all ? dl_json_text(fingerprint, false, &text) : DL_ERR_NOMEM;
  dl_json_destroy(&fingerprint);
  if (status == DL_OK) status = digest_of(text, &mine);
  free(text);
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_allgather(team, &mine, sizeof mine, all);
  bool alike = true;
  for (int r = 1; status == DL_OK && r < team->size; r++) alike &= !memcmp(&all[0], &all[r], sizeof mine);
  free(all);
  if (!alike) dl_sync_stop_recomputing(model->sync);
  return status;
}

dl_status dl_guards_name_checkpoint(dl_status status, const char *checkpoint) {
  char hint[sizeof dl_error_last()->hint];
  snprintf(hint, sizeof hint, "%s", dl_error_last()->hint);
  if (status != DL_ERR_TRAIN || !checkpoint) return status;
  dl_hint("%s%sthe last good checkpoint is %.120s", hint, *hint ? "; " : "", checkpoint);
  return status;
}

/* ---- faults on purpose ---- */

enum { NO_FAULT, IN_GRADIENT, IN_WEIGHT, SLOW };
static const struct {
  const char *name;
  int numbers; /* after the name */
} faults[] = {[NO_FAULT] = {"", 0}, [IN_GRADIENT] = {"gradient", 4}, [IN_WEIGHT] = {"weight", 4}, [SLOW] = {"slow", 3}};

dl_status dl_test_fault_read(const dl_model *model, dl_test_fault *out) {
  const char *text = getenv("DLDIST_TEST_FAULT");
  char name[16] = "";
  *out = (dl_test_fault){0};
  if (!text || !*text) return DL_OK;
  int n = sscanf(text, "%15[a-z]:%lld:%lld:%lld:%lld", name, &out->step, &out->rank, &out->element, &out->bit);
  for (int k = IN_GRADIENT; k <= SLOW; k++)
    if (!strcmp(name, faults[k].name) && n == faults[k].numbers + 1) out->kind = k;
  bool sound = out->kind && out->step >= 0 && out->element >= 0 && out->bit >= 0 && out->bit < 32 &&
               (out->kind == SLOW || (size_t)out->element < model->group.count);
  if (!sound) return dl_fail(DL_ERR_USAGE, "DLDIST_TEST_FAULT: '%.60s' is no fault to make", text);
  if (model->team->rank == 0) dl_warn("test_fault", "DLDIST_TEST_FAULT is set: %.60s", text);
  return DL_OK;
}

static void flip(float *values, const dl_test_fault *fault) {
  uint32_t word;
  memcpy(&word, values + fault->element, sizeof word);
  word ^= (uint32_t)1 << fault->bit;
  memcpy(values + fault->element, &word, sizeof word);
}

void dl_test_fault_before_step(const dl_test_fault *fault, const dl_model *model) {
  if (fault->kind == IN_WEIGHT && fault->step == model->at.step + 1 && fault->rank == model->team->rank)
    flip((float *)(uintptr_t)model->weights, fault);
}

void dl_test_fault_in_leaf(const dl_test_fault *fault, const dl_model *model, float *gradients) {
  const int64_t step = model->at.step + 1;
  if (!fault->kind || fault->rank != model->team->rank) return;
  if (fault->kind == IN_GRADIENT && (!fault->step || fault->step == step)) flip(gradients, fault);
  if (fault->kind == SLOW && step >= fault->step)
    nanosleep(&(struct timespec){fault->element / 1000, fault->element % 1000 * 1000000}, NULL);
}
