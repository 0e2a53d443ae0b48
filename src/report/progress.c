/* The progress line is built from pieces that are taken in the order of their worth until the terminal's width is used
 * up, and shown in reading order; the bar gets what is left. It is drawn over with a carriage return and blanks, which
 * every terminal knows.
 *
 * Time left: the pace of steps within an epoch is an exponential mean, so that it follows a machine that gets slower.
 * What happens between the last step of an epoch and the first of the next (evaluation, checkpoints) is measured apart.
 */
#include "report/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"
#include "report/format.h"

#define DRAW_EVERY_S 0.1
#define LINE_BYTES 512
#define NOTE_BYTES 4096
#define BAR_MIN 8
#define BAR_MAX 30

/* An exponential mean that is unbiased from the first value on (Kingma and Ba's correction). */
typedef struct dl_smooth {
  double weight, sum;
} dl_smooth;

static void smooth_add(dl_smooth *smooth, double value, double share) {
  smooth->weight += share * (1 - smooth->weight);
  smooth->sum += share * (value - smooth->sum);
}

static double smooth_value(const dl_smooth *smooth) { return smooth->weight > 0 ? smooth->sum / smooth->weight : NAN; }

struct dl_progress {
  dl_progress_options options;
  dl_progress_state state; /* of the last step; epoch 0: none yet */
  double state_s;          /* when it was */
  double drawn_s;          /* when the line was last drawn */
  int line_columns;        /* what stands on the terminal's line now */
  bool header_shown;
  dl_smooth loss, step_s, gap_s;
};

dl_status dl_progress_new(const dl_progress_options *options, dl_progress **out) {
  *out = dl_calloc(1, sizeof **out);
  if (!*out) return DL_ERR_NOMEM;
  (*out)->options = *options;
  (*out)->drawn_s = -INFINITY;
  return DL_OK;
}

void dl_progress_destroy(dl_progress **progress) {
  if (!*progress) return;
  dl_progress_clear(*progress);
  free(*progress);
  *progress = NULL;
}

static void emit(dl_progress *progress, const char *text) { progress->options.write(progress->options.context, text); }

/* ---- the line ---------------------------------------------------------------------------------------------------- */

enum { PLACE, BAR, RATE, LOSS, LEFT, PIECES };

/* Seconds to the end of the epoch and of the run; NaN where not known yet. */
static double epoch_left_s(const dl_progress *progress) {
  return (double)(progress->options.epoch_steps - progress->state.step) * smooth_value(&progress->step_s);
}
static double run_left_s(const dl_progress *progress) {
  double epochs = (double)(progress->options.epochs - progress->state.epoch);
  double gap_s = progress->gap_s.weight > 0 ? smooth_value(&progress->gap_s) : 0;
  return epoch_left_s(progress) +
         epochs * ((double)progress->options.epoch_steps * smooth_value(&progress->step_s) + gap_s);
}

static void write_left(const dl_progress *progress, char *text, size_t size) {
  char epoch[32], all[32];
  double epoch_s = epoch_left_s(progress), all_s = run_left_s(progress);
  if (!isfinite(epoch_s)) return;
  dl_format_duration(epoch_s, epoch);
  if (progress->state.epoch >= progress->options.epochs)
    snprintf(text, size, "%s left", epoch);
  else
    snprintf(text, size, "epoch %s, all %s left", epoch, dl_format_duration(all_s, all));
}

static void write_bar(const dl_progress *progress, int columns, char *text) {
  int inner = columns - 2;
  double part = (double)progress->state.step / fmax(1, (double)progress->options.epoch_steps);
  int full = (int)(fmin(1, part) * inner);
  *text++ = '[';
  for (int i = 0; i < inner; i++) *text++ = i < full ? '=' : i == full ? '>' : ' ';
  *text++ = ']';
  *text = 0;
}

/* Digits of the largest value, so that the pieces keep their places. */
static int digits(int64_t value) {
  int n = 1;
  for (; value > 9; value /= 10) n++;
  return n;
}

/* Returns the columns of the line, less than `columns`, so that the cursor does not wrap. */
static int write_line(const dl_progress *progress, int columns, char line[LINE_BYTES]) {
  static const int worth[] = {PLACE, LOSS, LEFT, RATE};
  const dl_progress_options *options = &progress->options;
  const dl_progress_state *state = &progress->state;
  char piece[PIECES][96] = {{0}}, number[DL_FIGURE_BYTES];
  snprintf(piece[PLACE], sizeof piece[PLACE], "epoch %*" PRId64 "/%" PRId64 "  step %*" PRId64 "/%" PRId64,
           digits(options->epochs), state->epoch, options->epochs, digits(options->epoch_steps), state->step,
           options->epoch_steps);
  snprintf(piece[LOSS], sizeof piece[LOSS], "loss %s", dl_format_figure(smooth_value(&progress->loss), number));
  if (isfinite(state->samples_per_s) && state->samples_per_s > 0)
    snprintf(piece[RATE], sizeof piece[RATE], "%s samples/s", dl_format_rate(state->samples_per_s, number));
  write_left(progress, piece[LEFT], sizeof piece[LEFT]);

  bool taken[PIECES] = {false};
  int room = columns - 1, used = 0;
  for (size_t i = 0; i < sizeof(worth) / sizeof(worth[0]); i++) {
    int bytes = (int)strlen(piece[worth[i]]), need = bytes + (used ? 2 : 0);
    if (bytes == 0) continue;
    if (used && used + need > room) break; /* what is worth less must not come and go with a digit */
    taken[worth[i]] = true;
    used += need;
  }
  if (room - used - 2 >= BAR_MIN) {
    taken[BAR] = true;
    write_bar(progress, room - used - 2 < BAR_MAX ? room - used - 2 : BAR_MAX, piece[BAR]);
  }
  int n = 0;
  for (int k = 0; k < PIECES; k++)
    if (taken[k]) n += snprintf(line + n, (size_t)(LINE_BYTES - n), "%s%s", n ? "  " : "", piece[k]);
  if (n > room) line[n = room] = 0;
  return n;
}

static void draw(dl_progress *progress) {
  char line[LINE_BYTES], text[2 * LINE_BYTES];
  int columns = progress->options.columns > 0 ? progress->options.columns : 80;
  if (columns > LINE_BYTES / 2) columns = LINE_BYTES / 2;
  int n = write_line(progress, columns, line);
  int blanks = progress->line_columns > n ? progress->line_columns - n : 0;
  snprintf(text, sizeof text, "\r%s%*s", line, blanks, "");
  emit(progress, text);
  progress->line_columns = n;
}

void dl_progress_clear(dl_progress *progress) {
  if (progress->line_columns == 0) return;
  char text[LINE_BYTES];
  snprintf(text, sizeof text, "\r%*s\r", progress->line_columns, "");
  emit(progress, text);
  progress->line_columns = 0;
  progress->drawn_s = -INFINITY;
}

/* Steps of one epoch give the pace; the change of epoch, less one step, the gap. */
static void keep_pace(dl_progress *progress, const dl_progress_state *state, double now_s) {
  const dl_progress_state *last = &progress->state;
  double passed = now_s - progress->state_s;
  if (state->epoch == last->epoch && state->step > last->step)
    smooth_add(&progress->step_s, passed / (double)(state->step - last->step), 0.05);
  else if (last->epoch > 0 && state->epoch == last->epoch + 1 && progress->step_s.weight > 0)
    smooth_add(&progress->gap_s, fmax(0, passed - (double)state->step * smooth_value(&progress->step_s)), 0.5);
}

void dl_progress_step(dl_progress *progress, const dl_progress_state *state, double now_s) {
  if (progress->options.quiet || !progress->options.terminal) return;
  keep_pace(progress, state, now_s);
  if (isfinite(state->loss)) smooth_add(&progress->loss, state->loss, 0.02);
  progress->state = *state;
  progress->state_s = now_s;
  if (now_s - progress->drawn_s < DRAW_EVERY_S) return;
  draw(progress);
  progress->drawn_s = now_s;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Writes a line of its own above the progress line. Every newline in the text goes on indented by `indent` columns. */
static void write_lines(dl_progress *progress, const char *prefix, const char *message, int indent) {
  char text[NOTE_BYTES + 2 * LINE_BYTES];
  size_t n = 0, room = sizeof text - 2;
  if (progress->options.quiet) return;
  bool redraw = progress->line_columns > 0;
  double drawn_s = progress->drawn_s;
  dl_progress_clear(progress);
  for (const char *from = prefix; *from && n < room; from++) text[n++] = *from;
  for (const char *from = message; *from && n < room; from++) {
    text[n++] = *from == '\n' || (unsigned char)*from >= ' ' ? *from : '?'; /* a file's name may hold anything */
    for (int i = 0; *from == '\n' && i < indent && n < room; i++) text[n++] = ' ';
  }
  text[n++] = '\n';
  text[n] = 0;
  emit(progress, text);
  if (!redraw) return;
  draw(progress);
  progress->drawn_s = drawn_s;
}

void dl_progress_note(dl_progress *progress, const char *format, ...) {
  char message[NOTE_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  write_lines(progress, "", message, 2);
}

void dl_progress_warning(void *progress, const char *code, const char *message) {
  (void)code;
  write_lines(progress, "warning: ", message, 9);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* One column: its text for a row, and its worth: columns of the highest number go first where the terminal is narrow.
 */
typedef struct dl_column {
  const char *title;
  int worth;
  void (*cell)(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]);
} dl_column;

static char *figure_or_dash(double value, char text[DL_FIGURE_BYTES]) {
  if (!isnan(value)) return dl_format_figure(value, text);
  snprintf(text, DL_FIGURE_BYTES, "-");
  return text;
}
static void cell_epoch(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  snprintf(text, DL_FIGURE_BYTES, "%" PRId64 "/%" PRId64, row->epoch, progress->options.epochs);
}
static void cell_steps(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  dl_format_count(row->steps, text);
}
static void cell_loss(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  dl_format_figure(row->loss, text);
}
static void cell_valid_loss(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  figure_or_dash(row->valid_loss, text);
}
static void cell_valid_metric(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  figure_or_dash(row->valid_metric, text);
}
static void cell_lr(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  snprintf(text, DL_FIGURE_BYTES, "%.3g", row->lr);
}
static void cell_rate(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  if (isfinite(row->samples_per_s) && row->samples_per_s > 0)
    dl_format_rate(row->samples_per_s, text);
  else
    snprintf(text, DL_FIGURE_BYTES, "-"); /* an epoch that ended before the first steps that count */
}
static void cell_time(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  dl_format_duration(row->seconds, text);
}

static void cell_slowest(const dl_progress *progress, const dl_progress_row *row, char text[DL_FIGURE_BYTES]) {
  (void)progress;
  if (row->slowest < 0 || !isfinite(row->over_median))
    snprintf(text, DL_FIGURE_BYTES, "-");
  else
    snprintf(text, DL_FIGURE_BYTES, "%d (%.2fx)", row->slowest, row->over_median);
}

enum { EPOCH, STEPS, TRAIN_LOSS, VALID_LOSS, VALID_METRIC, LR, SAMPLES_PER_S, SLOWEST, TIME, COLUMNS };
static const dl_column table[COLUMNS] = {
    [EPOCH] = {"epoch", 0, cell_epoch},
    [STEPS] = {"steps", 7, cell_steps},
    [TRAIN_LOSS] = {"loss", 1, cell_loss},
    [VALID_LOSS] = {"valid loss", 4, cell_valid_loss},
    [VALID_METRIC] = {"valid metric", 2, cell_valid_metric},
    [LR] = {"lr", 6, cell_lr},
    [SAMPLES_PER_S] = {"samples/s", 5, cell_rate},
    [SLOWEST] = {"slowest rank", 8, cell_slowest},
    [TIME] = {"time", 3, cell_time},
};

/* Titles and widths of the columns that fit; width 0: not shown. Returns the width of all. */
static void lay_out(const dl_progress *progress, char title[COLUMNS][40], int width[COLUMNS]) {
  const dl_progress_options *options = &progress->options;
  int all = 0;
  for (int c = 0; c < COLUMNS; c++) {
    bool shown = (c != VALID_LOSS || options->valid) && (c != VALID_METRIC || (options->valid && options->metric)) &&
                 (c != SLOWEST || options->slowest);
    if (c == VALID_METRIC)
      snprintf(title[c], 40, "valid %s", shown ? options->metric : "");
    else
      snprintf(title[c], 40, "%s", table[c].title);
    int least = c == EPOCH ? 2 * digits(options->epochs) + 1 : c == TIME ? 7 : 9;
    width[c] = !shown ? 0 : (int)strlen(title[c]) > least ? (int)strlen(title[c]) : least;
    all += width[c] ? width[c] + 2 : 0;
  }
  for (int worth = COLUMNS; options->columns > 0 && all - 2 > options->columns && worth > 0; worth--)
    for (int c = 0; c < COLUMNS; c++)
      if (table[c].worth == worth && width[c]) {
        all -= width[c] + 2;
        width[c] = 0;
      }
}

static void write_row(char cell[COLUMNS][40], const int width[COLUMNS], const char *mark, char text[LINE_BYTES]) {
  int n = 0;
  for (int c = 0; c < COLUMNS; c++)
    if (width[c]) n += snprintf(text + n, (size_t)(LINE_BYTES - n), "%s%*s", n ? "  " : "", width[c], cell[c]);
  snprintf(text + n, (size_t)(LINE_BYTES - n), "%s\n", mark);
}

void dl_progress_epoch(dl_progress *progress, const dl_progress_row *row) {
  if (progress->options.quiet) return;
  char cell[COLUMNS][40], text[LINE_BYTES];
  int width[COLUMNS];
  dl_progress_clear(progress);
  lay_out(progress, cell, width);
  if (!progress->header_shown) {
    write_row(cell, width, "", text);
    emit(progress, text);
    progress->header_shown = true;
  }
  for (int c = 0; c < COLUMNS; c++) table[c].cell(progress, row, cell[c]);
  write_row(cell, width, row->best ? "  best" : "", text);
  emit(progress, text);
}
