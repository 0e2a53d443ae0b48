/* csv_pieces.c - rounds: the first member reads as many pieces as there are members, everybody parses one, and the
 * first member takes the results of a round while the others are at the next one.
 *
 * Finding the cuts takes a look at the quotes alone, and costs a small part of the parsing. An error of the stream
 * itself (a truncated gzip file, a record without end) waits until the records before it have been parsed: they may
 * have an earlier one.
 */
#include "data/csv_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

size_t dl_csv_piece_bytes = 1 << 20;

/* ---- bytes ---- */

void *dl_csv_bytes_add(dl_csv_bytes *to, size_t n) {
  if (to->used + n > to->size) {
    size_t size = to->size ? 2 * to->size : 4096;
    if (size < to->used + n) size = to->used + n;
    char *more = dl_reallocarray(to->bytes, size, 1);
    if (!more) return NULL;
    to->bytes = more;
    to->size = size;
  }
  to->used += n;
  return to->bytes + to->used - n;
}

dl_status dl_csv_bytes_put(dl_csv_bytes *to, const void *what, size_t n) {
  void *at = dl_csv_bytes_add(to, n);
  if (!at) return DL_ERR_NOMEM;
  if (n) memcpy(at, what, n);
  return DL_OK;
}

/* ---- the text, on the first member ---- */

typedef struct source {
  const dl_import_job *job;
  const dl_csv_pass *pass;
  int input;
  dl_csv *csv; /* NULL: the input is to be opened */
  dl_csv_bytes text;
  size_t at;    /* where the next piece begins */
  int64_t line; /* there */
  bool ended;   /* the input, by its end or by an error that waits */
  dl_error error;
} source;

/* The error waits for the records before it; where it has a line, that is the last one read. */
static void end_with_error(source *s) {
  s->ended = true;
  s->error = *dl_error_last();
  if (s->error.line) s->error.line = (int)(s->line + dl_csv_lines(s->text.bytes, s->text.used));
}

static void read_more(source *s, size_t bytes) {
  if (s->at) {
    s->text.used -= s->at;
    memmove(s->text.bytes, s->text.bytes + s->at, s->text.used);
    s->at = 0;
  }
  while (s->text.used < bytes && !s->ended) {
    const size_t want = bytes - s->text.used;
    size_t got = 0;
    char *to = dl_csv_bytes_add(&s->text, want);
    if (to) s->text.used -= want;
    const dl_status status = to ? dl_csv_read(s->csv, to, want, &got) : DL_ERR_NOMEM;
    s->text.used += got;
    if (status != DL_OK) end_with_error(s);
    s->ended = s->ended || got == 0;
  }
}

/* A piece of what has been read: behind the last whole record of `dl_csv_piece_bytes`, or of more where there is none.
 * 0: what is there is no whole record. */
static size_t find_piece(const source *s) {
  const char *text = s->text.bytes + s->at;
  const size_t there = s->text.used - s->at;
  size_t cut = 0;
  for (size_t n = dl_csv_piece_bytes; n < there && !cut; n *= 2) cut = dl_csv_cut(s->csv, text, n);
  if (!cut && s->ended && !s->error.status) return there;
  return cut ? cut : dl_csv_cut(s->csv, text, there);
}

static dl_status next_input(source *s) {
  dl_csv_close(&s->csv);
  s->text.used = s->at = 0;
  s->line = 1;
  s->ended = false;
  return dl_csv_open(s->job->inputs[s->input], s->pass->delimiter, &s->csv);
}

/* Up to `most` pieces of one input, all in s->text. None: that was all, or the error that waited. */
static dl_status next_pieces(source *s, int most, dl_csv_piece *pieces, int *n) {
  *n = 0;
  while (!*n) {
    bool first = !s->csv;
    if (first) DL_TRY(next_input(s));
    size_t want = (size_t)most * dl_csv_piece_bytes;
    read_more(s, want);
    while (*n < most && s->at < s->text.used) {
      const size_t bytes = find_piece(s);
      if (!bytes && (*n || s->ended)) break;
      if (!bytes) {
        if (want > DL_CSV_MOST_RECORD) {
          dl_fail_at(DL_ERR_DATA, s->job->inputs[s->input], (int)s->line, 0, "the record is longer than 64 MiB");
          return dl_hint("is a closing quote missing?");
        }
        read_more(s, want *= 2);
        continue;
      }
      pieces[(*n)++] = (dl_csv_piece){s->text.bytes + s->at, bytes, s->line, s->input, first};
      first = false;
      s->line += dl_csv_lines(s->text.bytes + s->at, bytes);
      s->at += bytes;
    }
    if (*n || !s->ended) continue;
    if (s->error.status) return dl_error_adopt(&s->error);
    if (++s->input == s->job->n_inputs) return DL_OK;
    dl_csv_close(&s->csv);
  }
  return DL_OK;
}

/* ---- rounds ---- */

/* What the first member says of a piece before its text. */
typedef struct label {
  int64_t bytes, line;
  int32_t input, first;
} label;

typedef struct round {
  const dl_import_job *job;
  const dl_csv_pass *pass;
  dl_team *team; /* NULL: one member alone */
  int rank, size;
  source source;        /* on the first member */
  dl_csv_piece *pieces; /* of all, there */
  label *labels;
  dl_message *messages;
  int n;
  dl_csv_piece mine; /* bytes 0: none */
  dl_csv_bytes text, out;
  char *results; /* of the round before, on the first member */
  size_t results_bytes;
  int *inputs, results_n; /* which input each is of */
} round_state;

static dl_status agree(const round_state *r, dl_status mine) { return r->team ? dl_team_agree(r->team, mine) : mine; }

/* The text was read on the first member: that another one parsed it is nobody's business. */
static dl_status without_rank(dl_status status) {
  dl_error error = *dl_error_last();
  if (status != DL_ERR_DATA) return status;
  error.rank = 0;
  return dl_error_adopt(&error);
}

static dl_status hand_out(round_state *r) {
  int n_sends = 0;
  for (int i = 0; r->rank == 0 && i < r->size; i++) {
    r->labels[i] = (label){.bytes = 0};
    if (i >= r->n) continue;
    const dl_csv_piece *p = &r->pieces[i];
    r->labels[i] = (label){(int64_t)p->bytes, p->line, p->input, p->first};
    if (i) r->messages[n_sends++] = (dl_message){i, 0, (void *)(uintptr_t)p->text, p->bytes};
  }
  if (!r->team) return r->mine = r->pieces[0], DL_OK;
  DL_TRY(dl_team_broadcast(r->team, r->labels, (size_t)r->size * sizeof *r->labels, 0));
  r->n = 0;
  while (r->n < r->size && r->labels[r->n].bytes) r->n++;
  const label *own = &r->labels[r->rank];
  r->text.used = 0;
  const bool receives = r->rank && own->bytes;
  char *to = receives ? dl_csv_bytes_add(&r->text, (size_t)own->bytes) : NULL;
  DL_TRY(agree(r, receives && !to ? DL_ERR_NOMEM : DL_OK));
  const dl_message message = {0, 0, to, (size_t)own->bytes};
  r->mine = (dl_csv_piece){r->rank ? to
                           : r->n  ? r->pieces[0].text
                                   : NULL,
                           (size_t)own->bytes, own->line, own->input, own->first != 0};
  return r->team->ops->exchange(r->team, r->messages, n_sends, &message, receives);
}

/* The result with its length before it. */
static dl_status parse_mine(round_state *r) {
  int64_t length = 0;
  r->out.used = 0;
  if (!r->mine.bytes) return DL_OK;
  DL_TRY(dl_csv_bytes_put(&r->out, &length, sizeof length));
  DL_TRY(r->pass->parse(&r->mine, &r->out, r->pass->context));
  length = (int64_t)(r->out.used - sizeof length);
  memcpy(r->out.bytes, &length, sizeof length);
  return DL_OK;
}

/* What came together in the round before. */
static dl_status take_results(round_state *r) {
  const char *at = r->results;
  for (int i = 0; i < r->results_n; i++) {
    int64_t length;
    memcpy(&length, at, sizeof length);
    DL_TRY(r->pass->take(at + sizeof length, (size_t)length, r->inputs[i], r->pass->context));
    at += sizeof length + (size_t)length;
  }
  r->results_n = 0;
  return DL_OK;
}

static dl_status bring_together(round_state *r) {
  if (r->rank == 0) {
    free(r->results);
    r->results = NULL;
  }
  if (r->team)
    DL_TRY(dl_team_gather_bytes(r->team, r->out.bytes, r->out.used, 0, (void **)&r->results, &r->results_bytes));
  else {
    r->results = r->out.bytes;
    r->out = (dl_csv_bytes){NULL, 0, 0};
  }
  for (int i = 0; r->rank == 0 && i < r->n; i++) r->inputs[r->results_n++] = r->labels[i].input;
  return DL_OK;
}

static dl_status run_rounds(round_state *r) {
  for (;;) {
    dl_status status = r->rank ? DL_OK : next_pieces(&r->source, r->size, r->pieces, &r->n);
    DL_TRY(agree(r, status));
    if (r->team || r->n) DL_TRY(hand_out(r));
    status = r->rank ? DL_OK : take_results(r);
    if (!r->n) return agree(r, status);
    if (status == DL_OK) status = parse_mine(r);
    DL_TRY(without_rank(agree(r, status)));
    DL_TRY(bring_together(r));
    if (r->rank == 0)
      dl_import_progress(r->job, r->pass->phase, dl_csv_position(r->source.csv), dl_csv_size(r->source.csv));
  }
}

dl_status dl_csv_pieces_read(const dl_import_job *job, const dl_csv_pass *pass) {
  dl_team *team = job->team;
  round_state r = {
      .job = job, .pass = pass, .team = team, .size = team ? team->size : 1, .rank = team ? team->rank : 0};
  r.source = (source){.job = job, .pass = pass};
  r.pieces = dl_calloc((size_t)r.size, sizeof *r.pieces);
  r.labels = dl_calloc((size_t)r.size, sizeof *r.labels);
  r.messages = dl_calloc((size_t)r.size, sizeof *r.messages);
  r.inputs = dl_calloc((size_t)r.size, sizeof *r.inputs);
  dl_status status = agree(&r, r.pieces && r.labels && r.messages && r.inputs ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = run_rounds(&r);
  dl_csv_close(&r.source.csv);
  free(r.source.text.bytes);
  free(r.pieces);
  free(r.labels);
  free(r.messages);
  free(r.inputs);
  free(r.text.bytes);
  free(r.out.bytes);
  if (r.rank == 0) free(r.results);
  return status;
}
