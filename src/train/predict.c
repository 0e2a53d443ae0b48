/* predict.c - scores of a split, in rounds: in each one every member runs some of its blocks and member 0 takes what
 * they made, so that no more than a round is ever in memory. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/model.h"

#define ROUND_BYTES (8 << 20) /* of a member's scores */

/* The blocks [begin, end) that a member runs in a round. */
typedef struct share {
  int64_t begin, end;
} share;

typedef struct rounds {
  const dl_team *team;
  int64_t samples, block, blocks; /* samples of the split and of a block; blocks */
  int64_t each, n;                /* blocks a member and round; rounds */
} rounds;

static rounds plan_rounds(const dl_model *model, dl_split_kind split, int64_t width) {
  rounds r = {.team = model->team, .samples = dl_data_samples(model->data, split), .block = dl_eval_block(model)};
  r.blocks = dl_eval_blocks(r.samples, r.block);
  r.each = ROUND_BYTES / (int64_t)sizeof(float) / (width * r.block);
  if (r.each < 1) r.each = 1;
  const int64_t most = (r.blocks + r.team->size - 1) / r.team->size; /* blocks of a member */
  r.n = (most + r.each - 1) / r.each;
  return r;
}

static share share_of(const rounds *r, int member, int64_t round) {
  const int64_t begin = r->blocks * member / r->team->size, end = r->blocks * (member + 1) / r->team->size;
  share s = {begin + round * r->each, begin + (round + 1) * r->each};
  if (s.begin > end) s.begin = end;
  if (s.end > end) s.end = end;
  return s;
}

static int64_t samples_of(const rounds *r, share s) {
  const int64_t first = s.begin * r->block, last = s.end * r->block < r->samples ? s.end * r->block : r->samples;
  return last > first ? last - first : 0;
}

static dl_status run_share(dl_model *model, dl_split_kind split, const rounds *r, share mine, int64_t width,
                           float *out) {
  for (int64_t block = mine.begin; block < mine.end; block++) {
    int64_t n = 0;
    DL_TRY(dl_eval_run_block(model, split, block, false, &n));
    memcpy(out + (block - mine.begin) * r->block * width, dl_net_scores(model->net, n),
           (size_t)(n * width) * sizeof *out);
  }
  return DL_OK;
}

/* Member 0, with what all members made. */
static dl_status take_round(const rounds *r, int64_t round, int64_t width, float *all, dl_predict_take *take,
                            void *context) {
  for (int member = 0; member < r->team->size; member++) {
    const share s = share_of(r, member, round);
    const int64_t n = samples_of(r, s);
    if (n) DL_TRY(take(context, s.begin * r->block, n, all));
    all += n * width;
  }
  return DL_OK;
}

dl_status dl_predict_each(dl_model *model, dl_split_kind split, dl_predict_take *take, void *context) {
  dl_team *team = model->team;
  const int64_t width = dl_net_outputs(model->net) * dl_net_rows(model->net);
  const rounds r = plan_rounds(model, split, width);
  float *mine = dl_calloc((size_t)(r.each * r.block * width), sizeof *mine);
  dl_status status = dl_team_agree(team, mine ? DL_OK : DL_ERR_NOMEM);
  for (int64_t round = 0; round < r.n && status == DL_OK; round++) {
    const share s = share_of(&r, team->rank, round);
    void *all = NULL;
    status = dl_team_agree(team, run_share(model, split, &r, s, width, mine));
    if (status == DL_OK)
      status = dl_team_gather_bytes(team, mine, (size_t)(samples_of(&r, s) * width) * sizeof *mine, 0, &all, NULL);
    if (status == DL_OK)
      status = dl_team_agree(team, team->rank == 0 ? take_round(&r, round, width, all, take, context) : DL_OK);
    free(all);
  }
  free(mine);
  return status;
}

typedef struct whole {
  float *scores;
  int64_t width;
} whole;

static dl_status take_whole(void *context, int64_t first, int64_t n, float *scores) {
  const whole *w = context;
  memcpy(w->scores + first * w->width, scores, (size_t)(n * w->width) * sizeof *scores);
  return DL_OK;
}

dl_status dl_predict(dl_model *model, dl_split_kind split, float **scores) {
  whole w = {.width = dl_net_outputs(model->net) * dl_net_rows(model->net)};
  const bool root = model->team->rank == 0;
  if (root) w.scores = dl_calloc((size_t)(dl_data_samples(model->data, split) * w.width) + 1, sizeof *w.scores);
  dl_status status = dl_team_agree(model->team, root && !w.scores ? DL_ERR_NOMEM : DL_OK);
  if (status == DL_OK) status = dl_predict_each(model, split, take_whole, &w);
  *scores = w.scores;
  if (status == DL_OK) return DL_OK;
  free(w.scores);
  *scores = NULL;
  return status;
}
