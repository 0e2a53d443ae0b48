/* not_finite.c - why a step's loss or gradient is not finite.
 *
 * A loss that is not finite has left the weights alone, so the members run the forward passes of their leaves once more
 * and look at every output; the first leaf of the batch that shows something speaks for all, whoever ran it. Where the
 * loss is finite and the gradient is not, the step itself knows the tensor nearest the loss: backward goes that way.
 */
#include "train/not_finite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"

/* What a member found: a leaf and the layer (or -1, or the number of layers: dl_net_first_not_finite). */
typedef struct finding {
  int64_t found, leaf, layer;
} finding;

static dl_status look_at_leaf(dl_model *m, const dl_cut *cut, int64_t leaf, finding *out) {
  int64_t begin, end;
  double sums[2];
  dl_cut_leaf_range(cut, leaf, &begin, &end);
  DL_TRY(dl_data_read_step(m->data, m->at.epoch, m->config->train.batch, m->at.step_in_epoch, begin, end, &m->batch));
  const dl_pass pass = dl_model_pass(m, begin);
  const int layer = dl_net_first_not_finite(m->net, m->weights, end - begin, &pass);
  bool found = layer < dl_net_layers(m->net);
  if (!found) {
    dl_net_forward(m->net, m->weights, end - begin, &pass);
    dl_net_loss(m->net, end - begin, m->batch.label, m->batch.y, m->batch.weight, &sums[0], &sums[1]);
    found = !isfinite(sums[0]) || !isfinite(sums[1]);
  }
  *out = (finding){found, leaf, layer};
  return DL_OK;
}

/* Collective. */
static dl_status find_in_batch(dl_model *m, const dl_cut *cut, finding *out) {
  dl_team *team = m->team;
  finding mine = {0}, *all = dl_calloc((size_t)team->size, sizeof *all);
  int64_t begin, end;
  dl_cut_rank_leaves(cut, team->rank, team->size, &begin, &end);
  dl_status status = all ? DL_OK : DL_ERR_NOMEM;
  for (int64_t leaf = begin; status == DL_OK && leaf < end && !mine.found; leaf++)
    status = look_at_leaf(m, cut, leaf, &mine);
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_allgather(team, &mine, sizeof mine, all);
  *out = (finding){0};
  for (int r = 0; status == DL_OK && r < team->size && !out->found; r++) *out = all[r];
  free(all);
  return status;
}

static void describe_layer(const dl_net *net, const finding *f, char *text, size_t size) {
  char layer[160];
  if (f->layer < 0)
    snprintf(text, size, ": it first appears in the input");
  else if (f->layer < dl_net_layers(net))
    snprintf(text, size, ": it first appears in the output of %s",
             dl_net_layer_text(net, (int)f->layer, layer, sizeof layer));
  else
    snprintf(text, size, ": it first appears in the loss itself, all layers' outputs are finite");
}

dl_status dl_fail_not_finite(dl_model *m, const dl_cut *cut, const dl_sync_result *result) {
  const bool loss = !isfinite(result->sums[0]) || !isfinite(result->sums[1]), weightless = result->sums[1] <= 0;
  char where[256] = "", layer[160];
  finding f;
  if (loss) {
    DL_TRY(find_in_batch(m, cut, &f));
    if (f.found) describe_layer(m->net, &f, where, sizeof where);
  } else if (result->bad_tensor >= 0) {
    snprintf(where, sizeof where, ": it first appears in the gradient of %s",
             dl_net_layer_text(m->net, dl_net_tensor_layer(m->net, result->bad_tensor), layer, sizeof layer));
  }
  const long long step = (long long)m->at.step + 1, epoch = (long long)m->at.epoch + 1;
  if (weightless) {
    dl_fail(DL_ERR_TRAIN, "training failed at step %lld (epoch %lld): the batch weighs nothing", step, epoch);
    return dl_hint("look at loss.ignore_index, loss.class_weights and the weights of samples, or take larger batches");
  }
  dl_fail(DL_ERR_TRAIN, "training failed at step %lld (epoch %lld): the %s is not finite%s", step, epoch,
          loss ? "loss" : "gradient norm", where);
  return dl_hint("lower optimizer.lr, set train.clip_norm, or look for extreme values in the data");
}
