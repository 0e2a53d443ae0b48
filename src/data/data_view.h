/* data_view.h - ways of looking at an image, and reading it in one (floor: data, private).
 *
 * A view is what stands in each place of the image that is made. Flips and shifts of rows and columns are closed under
 * composition and exact: i -> step * i + at on a range of i. As soon as something turns or scales, what comes later is
 * an affine map in front of them.
 */
#ifndef DL_DATA_VIEW_H
#define DL_DATA_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "data/data.h"

/* Output index i shows input index step * i + at where begin <= i < end, and nothing elsewhere; 0 <= begin <= end <=
 * size.
 */
typedef struct dl_view_axis {
  int64_t size, begin, end, step, at; /* step: 1 or -1 */
} dl_view_axis;

typedef struct dl_view {
  dl_view_axis rows, columns;
  /* Where warped: place (y, x) shows what rows and columns show at map * (y, x, 1), between pixels by their bilinear
   * mean. Pixels are squares about whole numbers; beside the image, from -0.5 to size - 0.5, there is nothing. */
  double map[2][3];
  bool warped;
} dl_view;

typedef enum dl_view_side { DL_VIEW_ROWS, DL_VIEW_COLUMNS } dl_view_side;

/* The image as it is. */
void dl_view_begin(dl_view *view, int64_t height, int64_t width);
/* What is seen afterwards is: the same from the other end; what was `by` further on; turned about the middle, counter-
 * clockwise; the piece of these sides (pixels, larger than 0) at (top, left), brought to the image's size. */
void dl_view_flip(dl_view *view, dl_view_side side);
void dl_view_shift(dl_view *view, dl_view_side side, int64_t by);
void dl_view_turn(dl_view *view, double degrees);
void dl_view_fill(dl_view *view, double top, double left, double height, double width);

/* Reads an image (channels, view->rows.size, view->columns.size) of elements (convert.h) through the view into out, of
 * the same shape. Where nothing is shown stands 0. Every value is then normalised, unless norm is NULL. The same bits
 * on every instruction set. */
void dl_view_read(const dl_view *view, int element, int64_t channels, const void *in, const dl_norm *norm, float *out);

/* The same for a map of labels that lies over the image: of the nearest pixel, -1 where nothing is shown. */
void dl_view_read_labels(const dl_view *view, const int32_t *in, int32_t *out);

/* The normalisation alone, in place. */
void dl_view_normalise(const dl_norm *norm, int64_t channels, int64_t plane, float *x);

#endif
