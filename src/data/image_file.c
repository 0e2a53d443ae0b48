/* image_file.c - libpng's and libjpeg's decoders behind checks of size; resampling in float32, one axis at a time.
 *
 * A progressive JPEG may have thousands of scans that each cost a pass over the picture: their number is bounded.
 */
#include "data/image_file.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* after stdio.h, which it needs */
#include <jerror.h>
#include <jpeglib.h>

#include "core/file.h"
#include "core/mem.h"

#define MOST_PIXELS (64LL << 20)
#define MOST_FILE_BYTES ((size_t)1 << 28)
enum { MOST_SCANS = 200 };

bool dl_picture_is_named(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

void dl_picture_clear(dl_picture *picture) {
  free(picture->rgb);
  picture->rgb = NULL;
}

static dl_status check_size(const char *path, int64_t height, int64_t width) {
  if (height >= 1 && width >= 1 && height <= MOST_PIXELS / width) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, path, 0, 0, "claims %lld x %lld pixels; at most 64 million are read",
                    (long long)height, (long long)width);
}

/* ---- PNG ---- */

static dl_status finish_png(png_image *image, const char *path, dl_picture *out) {
  DL_TRY(check_size(path, image->height, image->width));
  const size_t pixels = (size_t)image->height * image->width;
  unsigned char *rgba = dl_calloc(pixels, 4);
  if (!rgba) return DL_ERR_NOMEM;
  image->format = PNG_FORMAT_RGBA;
  image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  dl_status status = DL_OK;
  if (!png_image_finish_read(image, NULL, rgba, 0, NULL) || image->warning_or_error & PNG_IMAGE_ERROR)
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "damaged PNG file: %s", image->message);
  for (size_t i = 0; i < pixels && status == DL_OK; i++) memmove(rgba + 3 * i, rgba + 4 * i, 3);
  out->height = (int)image->height;
  out->width = (int)image->width;
  out->rgb = rgba;
  return status;
}

static dl_status read_png(const char *path, const void *bytes, size_t n, dl_picture *out) {
  png_image image;
  memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, bytes, n))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "damaged PNG file: %s", image.message);
  const dl_status status = finish_png(&image, path, out);
  png_image_free(&image);
  return status;
}

/* ---- JPEG ---- */

typedef struct jpeg_reader {
  struct jpeg_decompress_struct info; /* first: libjpeg hands it back */
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf leave;
  char message[JMSG_LENGTH_MAX];
  unsigned char *rgb;
  bool strange; /* not damaged */
} jpeg_reader;

static __attribute__((noreturn)) void on_error(j_common_ptr info) {
  jpeg_reader *reader = (jpeg_reader *)(void *)info;
  info->err->format_message(info, reader->message);
  longjmp(reader->leave, 1);
}

/* A warning goes by, but what is cut off or does not fit is damage. */
static void on_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_BOGUS_PROGRESSION ||
                    code == JWRN_HUFF_BAD_CODE))
    on_error(info);
}

static void on_progress(j_common_ptr info) {
  jpeg_reader *reader = (jpeg_reader *)(void *)info;
  if (reader->info.input_scan_number <= MOST_SCANS) return;
  snprintf(reader->message, sizeof reader->message, "more than %d scans", MOST_SCANS);
  longjmp(reader->leave, 1);
}

/* Header to pixels. False: the reader's message says why. */
static bool decode(jpeg_reader *reader, const unsigned char *bytes, size_t n) {
  struct jpeg_decompress_struct *info = &reader->info;
  if (setjmp(reader->leave)) return false;
  jpeg_create_decompress(info);
  jpeg_mem_src(info, bytes, (unsigned long)n);
  info->progress = &reader->progress;
  jpeg_read_header(info, TRUE);
  if ((int64_t)info->image_height * info->image_width > MOST_PIXELS) {
    snprintf(reader->message, sizeof reader->message, "more than 64 million pixels");
    return false;
  }
  if (info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK) {
    reader->strange = true;
    snprintf(reader->message, sizeof reader->message, "its colours are CMYK: convert it to RGB");
    return false;
  }
  info->out_color_space = JCS_RGB;
  jpeg_start_decompress(info);
  reader->rgb = dl_calloc((size_t)info->output_height * info->output_width, 3);
  while (reader->rgb && info->output_scanline < info->output_height) {
    JSAMPROW row = reader->rgb + (size_t)info->output_scanline * info->output_width * 3;
    jpeg_read_scanlines(info, &row, 1);
  }
  if (reader->rgb) jpeg_finish_decompress(info);
  return reader->rgb != NULL;
}

static dl_status read_jpeg(const char *path, const void *bytes, size_t n, dl_picture *out) {
  jpeg_reader *reader = dl_calloc(1, sizeof *reader);
  if (!reader) return DL_ERR_NOMEM;
  reader->info.err = jpeg_std_error(&reader->errors);
  reader->errors.error_exit = on_error;
  reader->errors.emit_message = on_message;
  reader->progress.progress_monitor = on_progress;
  const bool good = decode(reader, bytes, n);
  out->height = (int)reader->info.output_height;
  out->width = (int)reader->info.output_width;
  out->rgb = reader->rgb;
  dl_status status =
      good ? DL_OK
           : dl_fail_at(DL_ERR_DATA, path, 0, 0, "%sJPEG file: %s", reader->strange ? "" : "damaged ", reader->message);
  jpeg_destroy_decompress(&reader->info);
  free(reader);
  return status;
}

/* ---- both ---- */

dl_status dl_picture_read(const char *path, dl_picture *out) {
  char *bytes = NULL;
  size_t n = 0;
  *out = (dl_picture){.rgb = NULL};
  DL_TRY(dl_file_read(path, MOST_FILE_BYTES, DL_ERR_DATA, &bytes, &n));
  dl_status status;
  if (n > 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8))
    status = read_png(path, bytes, n, out);
  else if (n > 3 && !memcmp(bytes, "\xff\xd8\xff", 3))
    status = read_jpeg(path, bytes, n, out);
  else
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "is neither a PNG nor a JPEG file");
  free(bytes);
  if (status != DL_OK) dl_picture_clear(out);
  return status;
}

/* ---- size ---- */

/* Resamples `lines` lines of `from` pixels of 3 values into `to` pixels each. Pixel i of a line of `in` is at
 * in[(line * in_line + i * in_step) ...]; likewise out. */
typedef struct axis {
  int from, to, lines;
  size_t in_line, in_step, out_line, out_step;
} axis;

static void resample(const axis *a, const float *in, float *out, float *weights) {
  const double scale = (double)a->from / a->to, reach = scale > 1 ? scale : 1;
  for (int i = 0; i < a->to; i++) {
    const double centre = (i + 0.5) * scale;
    int first = (int)(centre - reach + 0.5), end = (int)(centre + reach + 0.5);
    if (first < 0) first = 0;
    if (end > a->from) end = a->from;
    double all = 0;
    for (int k = first; k < end; k++) {
      const double away = fabs((k + 0.5 - centre) / reach), weight = away < 1 ? 1 - away : 0;
      weights[k - first] = (float)weight;
      all += weight;
    }
    for (int k = first; k < end; k++) weights[k - first] = (float)(weights[k - first] / all);
    for (int line = 0; line < a->lines; line++) {
      float *to = out + (size_t)line * a->out_line + (size_t)i * a->out_step;
      for (int c = 0; c < 3; c++) {
        float sum = 0;
        for (int k = first; k < end; k++)
          sum += weights[k - first] * in[(size_t)line * a->in_line + (size_t)k * a->in_step + (size_t)c];
        to[c] = sum;
      }
    }
  }
}

static unsigned char to_byte(float value) { return (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5f); }

static dl_status resize(const dl_picture *p, int height, int width, unsigned char *rgb) {
  const size_t pixels = (size_t)p->height * (size_t)p->width, h = (size_t)height, w = (size_t)width;
  float *in = dl_calloc(pixels, 3 * sizeof *in), *wide = dl_calloc((size_t)p->height * w, 3 * sizeof *wide),
        *out = dl_calloc(h * w, 3 * sizeof *out),
        *weights = dl_calloc((size_t)(p->height > p->width ? p->height : p->width) + 2, sizeof *weights);
  const bool good = in && wide && out && weights;
  if (good) {
    for (size_t i = 0; i < 3 * pixels; i++) in[i] = p->rgb[i];
    resample(&(axis){p->width, width, p->height, 3 * (size_t)p->width, 3, 3 * w, 3}, in, wide, weights);
    for (size_t i = 0; i < 3 * (size_t)p->height * w; i++) wide[i] = to_byte(wide[i]);
    resample(&(axis){p->height, height, width, 3, 3 * w, 3, 3 * w}, wide, out, weights);
    for (size_t i = 0; i < 3 * h * w; i++) rgb[i] = to_byte(out[i]);
  }
  free(in);
  free(wide);
  free(out);
  free(weights);
  return good ? DL_OK : DL_ERR_NOMEM;
}

dl_status dl_picture_fit(const dl_picture *picture, int height, int width, int channels, unsigned char *out) {
  const size_t pixels = (size_t)height * (size_t)width;
  const bool same = picture->height == height && picture->width == width;
  unsigned char *rgb = same ? picture->rgb : dl_calloc(pixels, 3);
  if (!rgb) return DL_ERR_NOMEM;
  dl_status status = same ? DL_OK : resize(picture, height, width, rgb);
  for (size_t i = 0; i < pixels && status == DL_OK; i++) {
    const unsigned r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
    if (channels == 1) { /* 0.299, 0.587 and 0.114 in 16 bits */
      out[i] = (unsigned char)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
    } else {
      out[i] = (unsigned char)r;
      out[pixels + i] = (unsigned char)g;
      out[2 * pixels + i] = (unsigned char)b;
    }
  }
  if (!same) free(rgb);
  return status;
}
