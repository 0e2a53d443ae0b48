/* data_view.c - views, and images read through them.
 *
 * A view that is not warped is read a row at a time, by the kernel that converts. A warped one is read a piece of a row
 * at a time: the places and weights of the four pixels about each point are found once, and serve all channels.
 */
#include "data/data_view.h"

#include <math.h>

#include "data/convert.h"

/* ---- views ---- */

void dl_view_begin(dl_view *view, int64_t height, int64_t width) {
  *view = (dl_view){.rows = {.size = height, .end = height, .step = 1},
                    .columns = {.size = width, .end = width, .step = 1},
                    .map = {{1, 0, 0}, {0, 1, 0}}};
}

/* What is seen at p is what was seen at f * p. */
static void compose(dl_view *view, double f[2][3]) {
  double out[2][3];
  for (int r = 0; r < 2; r++)
    for (int c = 0; c < 3; c++)
      out[r][c] = view->map[r][0] * f[0][c] + view->map[r][1] * f[1][c] + (c == 2 ? view->map[r][2] : 0);
  for (int r = 0; r < 2; r++)
    for (int c = 0; c < 3; c++) view->map[r][c] = out[r][c];
  view->warped = true;
}

/* One of the two coordinates becomes step * itself + at. */
static void compose_side(dl_view *view, dl_view_side side, double step, double at) {
  double f[2][3] = {{1, 0, 0}, {0, 1, 0}};
  f[side][side] = step;
  f[side][2] = at;
  compose(view, f);
}

static dl_view_axis *axis_of(dl_view *view, dl_view_side side) {
  return side == DL_VIEW_ROWS ? &view->rows : &view->columns;
}

void dl_view_flip(dl_view *view, dl_view_side side) {
  dl_view_axis *axis = axis_of(view, side);
  if (view->warped) {
    compose_side(view, side, -1, (double)(axis->size - 1));
    return;
  }
  const int64_t begin = axis->begin;
  axis->at += axis->step * (axis->size - 1);
  axis->step = -axis->step;
  axis->begin = axis->size - axis->end;
  axis->end = axis->size - begin;
}

static int64_t within(int64_t i, int64_t size) { return i < 0 ? 0 : i > size ? size : i; }

void dl_view_shift(dl_view *view, dl_view_side side, int64_t by) {
  dl_view_axis *axis = axis_of(view, side);
  if (view->warped) {
    compose_side(view, side, 1, (double)by);
    return;
  }
  axis->at += axis->step * by;
  axis->begin = within(axis->begin - by, axis->size);
  axis->end = within(axis->end - by, axis->size);
}

/* Sine and cosine in float: the last bits of a library's double are its own affair. */
void dl_view_turn(dl_view *view, double degrees) {
  const double angle = degrees * (3.14159265358979323846 / 180), sine = (double)(float)sin(angle),
               cosine = (double)(float)cos(angle), y = (double)(view->rows.size - 1) / 2,
               x = (double)(view->columns.size - 1) / 2;
  double f[2][3] = {{cosine, sine, y - cosine * y - sine * x}, {-sine, cosine, x + sine * y - cosine * x}};
  compose(view, f);
}

void dl_view_fill(dl_view *view, double top, double left, double height, double width) {
  const double y = height / (double)view->rows.size, x = width / (double)view->columns.size;
  compose_side(view, DL_VIEW_ROWS, y, top + y / 2 - 0.5);
  compose_side(view, DL_VIEW_COLUMNS, x, left + x / 2 - 0.5);
}

/* ---- normalisation ---- */

/* (x - shift) * scale, value `first` of the sample being the first one here; the bits are those of the kernels. */
static void normalise(const dl_norm *norm, int64_t first, int64_t channel, int64_t n, float *x) {
  if (norm->kind == DL_NORMALIZE_PER_FEATURE) {
    for (int64_t i = 0; i < n; i++) x[i] = (x[i] - norm->shift[first + i]) * norm->scale[first + i];
    return;
  }
  const int64_t figure = norm->n > 1 ? channel : 0;
  const float shift = norm->shift[figure], scale = norm->scale[figure];
  for (int64_t i = 0; i < n; i++) x[i] = (x[i] - shift) * scale;
}

void dl_view_normalise(const dl_norm *norm, int64_t channels, int64_t plane, float *x) {
  for (int64_t c = 0; c < channels; c++) normalise(norm, c * plane, c, plane, x + c * plane);
}

/* ---- reading by rows ---- */

static void reverse(float *x, int64_t n) {
  for (int64_t i = 0, j = n; i + 1 < j; i++) {
    const float first = x[i];
    x[i] = x[--j];
    x[j] = first;
  }
}

/* One row of an image as its columns are seen; `in` is the row it shows, NULL: none. */
static void look_at_row(const dl_convert_ops *ops, const dl_view_axis *columns, size_t element_bytes, const char *in,
                        float *out) {
  const int64_t width = columns->size, begin = in ? columns->begin : width, n = in ? columns->end - columns->begin : 0;
  for (int64_t i = 0; i < begin; i++) out[i] = 0;
  for (int64_t i = begin + n; i < width; i++) out[i] = 0;
  if (!n) return;
  const int64_t shown = columns->step > 0 ? columns->begin : columns->end - 1;
  const size_t first = (size_t)(columns->step * shown + columns->at);
  ops->uniform(out + begin, in + first * element_bytes, (size_t)n, 0, 1);
  if (columns->step < 0) reverse(out + begin, n);
}

static void read_rows(const dl_view *view, int element, int64_t channels, const char *in, const dl_norm *norm,
                      float *out) {
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[element];
  const dl_view_axis *rows = &view->rows;
  const int64_t width = view->columns.size;
  const size_t bytes = dl_element_bytes(element);
  for (int64_t c = 0; c < channels; c++)
    for (int64_t y = 0; y < rows->size; y++) {
      const bool shown = y >= rows->begin && y < rows->end;
      const int64_t from = shown ? (c * rows->size + rows->step * y + rows->at) * width : 0,
                    to = (c * rows->size + y) * width;
      look_at_row(ops, &view->columns, bytes, shown ? in + (size_t)from * bytes : NULL, out + to);
      if (norm) normalise(norm, to, c, width, out + to);
    }
}

/* ---- reading between pixels ---- */

enum { PIECE = 64 };

/* What `piece` columns of a row are made of: by point, four places in a channel's plane and their weights. */
typedef struct taps {
  int64_t at[4 * PIECE];
  float weight[4 * PIECE];
} taps;

/* The two pixels of one axis about a point of it, -1: none is shown there. False: the point is beside the image. */
static bool neighbours(const dl_view_axis *axis, double point, int64_t place[2], double weight[2]) {
  if (!(point >= -0.5 && point < (double)axis->size - 0.5)) return false;
  const int64_t floor_ = (int64_t)(point + 1) - 1; /* point + 1 is not negative */
  weight[1] = point - (double)floor_;
  weight[0] = 1 - weight[1];
  for (int k = 0; k < 2; k++) {
    int64_t i = floor_ + k;
    i = i < 0 ? 0 : i >= axis->size ? axis->size - 1 : i;
    place[k] = i >= axis->begin && i < axis->end ? axis->step * i + axis->at : -1;
  }
  return true;
}

static void find_taps(const dl_view *view, int64_t y, int64_t x, int64_t n, taps *out) {
  const double(*map)[3] = view->map;
  for (int64_t i = 0; i < n; i++) {
    const double row = map[0][0] * (double)y + map[0][1] * (double)(x + i) + map[0][2],
                 column = map[1][0] * (double)y + map[1][1] * (double)(x + i) + map[1][2];
    int64_t rows[2] = {-1, -1}, columns[2] = {-1, -1};
    double row_weight[2] = {0}, column_weight[2] = {0};
    const bool inside =
        neighbours(&view->rows, row, rows, row_weight) && neighbours(&view->columns, column, columns, column_weight);
    for (int k = 0; k < 4; k++) {
      const bool shown = inside && rows[k / 2] >= 0 && columns[k % 2] >= 0;
      out->at[k * n + i] = shown ? rows[k / 2] * view->columns.size + columns[k % 2] : 0;
      out->weight[k * n + i] = shown ? (float)(row_weight[k / 2] * column_weight[k % 2]) : 0;
    }
  }
}

static void read_warped(const dl_view *view, int element, int64_t channels, const char *in, const dl_norm *norm,
                        float *out) {
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[element];
  const int64_t height = view->rows.size, width = view->columns.size, plane = height * width;
  const size_t plane_bytes = (size_t)plane * dl_element_bytes(element);
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x += PIECE) {
      const int64_t n = width - x < PIECE ? width - x : PIECE;
      taps found;
      find_taps(view, y, x, n, &found);
      for (int64_t c = 0; c < channels; c++) {
        const int64_t to = c * plane + y * width + x;
        ops->blend(out + to, in + (size_t)c * plane_bytes, (size_t)n, found.at, found.weight);
        if (norm) normalise(norm, to, c, n, out + to);
      }
    }
}

void dl_view_read(const dl_view *view, int element, int64_t channels, const void *in, const dl_norm *norm, float *out) {
  (view->warped ? read_warped : read_rows)(view, element, channels, in, norm, out);
}

/* ---- labels ---- */

/* The pixel nearest to a point of an axis, -1: none is shown there. */
static int64_t nearest(const dl_view_axis *axis, double point) {
  if (!(point >= -0.5 && point < (double)axis->size - 0.5)) return -1;
  int64_t i = (int64_t)(point + 0.5);
  i = i < axis->size ? i : axis->size - 1;
  return i >= axis->begin && i < axis->end ? axis->step * i + axis->at : -1;
}

void dl_view_read_labels(const dl_view *view, const int32_t *in, int32_t *out) {
  const double(*map)[3] = view->map;
  for (int64_t y = 0; y < view->rows.size; y++)
    for (int64_t x = 0; x < view->columns.size; x++) {
      const int64_t row = nearest(&view->rows, map[0][0] * (double)y + map[0][1] * (double)x + map[0][2]),
                    column = nearest(&view->columns, map[1][0] * (double)y + map[1][1] * (double)x + map[1][2]);
      *out++ = row >= 0 && column >= 0 ? in[row * view->columns.size + column] : -1;
    }
}
