/* test_kernels_conv.c - convolutions of few channels against loops over the formula, bit for bit, by every instruction
 * set. */
#include "core/isa.h"
#include "nn/kernels_conv.h"
#include "nn_fixture.h"

DL_ISA_DECLARE(dl_conv_kernels, dl_conv_kernel_table);

static const dl_conv_kernels *tables[2];
static int n_tables;

static void find_tables(void) {
  n_tables = 0;
#if defined(__x86_64__)
  if (dl_isa_in_use() >= DL_ISA_AVX2) tables[n_tables++] = &dl_conv_kernel_table_avx2;
  if (dl_isa_in_use() >= DL_ISA_AVX512) tables[n_tables++] = &dl_conv_kernel_table_avx512;
#endif
}

/* One element: the bias, then a fused multiply-add for each (kh, kw, ic) that lies on the image. */
static float element(const dl_conv_shape *s, const float *x, const float *w, const float *bias, int64_t oy, int64_t ox,
                     int64_t o) {
  float sum = bias ? bias[o] : 0;
  for (int64_t i = 0; i < s->kh; i++)
    for (int64_t j = 0; j < s->kw; j++)
      for (int64_t c = 0; c < s->ic; c++) {
        const int64_t iy = oy * s->sh - s->top + i * s->dh, ix = ox * s->sw - s->left + j;
        if (iy >= 0 && iy < s->ih && ix >= 0 && ix < s->iw)
          sum = fmaf(x[(iy * s->iw + ix) * s->ic + c], w[((o * s->ic + c) * s->kh + i) * s->kw + j], sum);
      }
  return sum;
}

static void check_shape(const dl_conv_shape *s, bool with_bias) {
  enum { N = 2 };
  const int64_t in = s->ih * s->iw * s->ic, out = s->oh * s->ow * s->oc, weights = s->oc * s->ic * s->kh * s->kw;
  float *x = dl_calloc((size_t)(N * in), sizeof *x), *w = dl_calloc((size_t)weights, sizeof *w);
  float *packed = dl_calloc((size_t)weights, sizeof *packed), *bias = dl_calloc((size_t)s->oc, sizeof *bias);
  float *y = dl_calloc((size_t)(N * out), sizeof *y);
  CU_ASSERT_FATAL(x && w && packed && bias && y);
  lcg g = {(uint32_t)(in + out)};
  for (int64_t i = 0; i < N * in; i++) x[i] = lcg_value(&g);
  for (int64_t i = 0; i < weights; i++) w[i] = lcg_value(&g);
  for (int64_t i = 0; i < s->oc; i++) bias[i] = lcg_value(&g);
  dl_conv_few_pack(s, w, packed);
  for (int t = 0; t < n_tables; t++) {
    for (int64_t i = 0; i < N * out; i++) y[i] = NAN;
    tables[t]->few_forward(s, N, x, packed, with_bias ? bias : NULL, y);
    bool equal = true;
    for (int64_t i = 0; i < N * out; i++) {
      const int64_t o = i % s->oc, ox = i / s->oc % s->ow, oy = i / s->oc / s->ow % s->oh;
      equal = equal && y[i] == element(s, x + i / out * in, w, with_bias ? bias : NULL, oy, ox, o);
    }
    CU_ASSERT(equal);
  }
  free(x);
  free(w);
  free(packed);
  free(bias);
  free(y);
}

static void test_every_element_is_the_stated_chain_of_fused_multiply_adds(void) {
  static const int64_t kernels[][2] = {{1, 1}, {3, 3}, {2, 5}, {7, 1}}, sizes[][2] = {{1, 1}, {3, 32}, {9, 13}, {5, 7}};
  static const int64_t strides[] = {1, 2, 5}, dilations[] = {1, 2}, channels[] = {16, 32, 48};
  int checked = 0;
  find_tables();
  for (size_t k = 0; k < 4; k++)
    for (size_t z = 0; z < 4; z++)
      for (size_t t = 0; t < 3; t++)
        for (size_t d = 0; d < 2; d++)
          for (int64_t pad = 0; pad < 4; pad++) {
            dl_conv_shape s = {.ic = 1 + checked % 4,
                               .ih = sizes[z][0],
                               .iw = sizes[z][1],
                               .oc = channels[checked % 3],
                               .groups = 1,
                               .kh = kernels[k][0],
                               .kw = kernels[k][1],
                               .sh = strides[t],
                               .sw = strides[(t + (size_t)pad) % 3],
                               .dh = dilations[d],
                               .dw = 1,
                               .top = pad,
                               .left = (pad + 1) % 4,
                               .bottom = pad / 2,
                               .right = 3 - pad};
            const int64_t high = s.ih + s.top + s.bottom - s.dh * (s.kh - 1) - 1, wide = s.iw + s.left + s.right - s.kw;
            if (high < 0 || wide < 0) continue;
            s.oh = high / s.sh + 1;
            s.ow = wide / s.sw + 1;
            check_shape(&s, checked % 2);
            checked++;
          }
  CU_ASSERT(checked > 150);
}

/* By shape alone; what oneDNN does as well is left to it. */
static void test_few_channels_alone_are_taken(void) {
  dl_conv_shape s = {.ic = 3,
                     .ih = 8,
                     .iw = 8,
                     .oc = 32,
                     .oh = 6,
                     .ow = 6,
                     .groups = 1,
                     .kh = 3,
                     .kw = 3,
                     .sh = 1,
                     .sw = 1,
                     .dh = 1,
                     .dw = 1};
  CU_ASSERT_EQUAL(dl_conv_few_suits(&s), dl_isa_in_use() >= DL_ISA_AVX2);
  s.ic = 8;
  CU_ASSERT(!dl_conv_few_suits(&s));
  s.ic = 3;
  s.oc = 24;
  CU_ASSERT(!dl_conv_few_suits(&s));
}

static const dl_test tests[] = {
    DL_TEST(test_every_element_is_the_stated_chain_of_fused_multiply_adds),
    DL_TEST(test_few_channels_alone_are_taken),
};
DL_TEST_MAIN("kernels_conv", tests)
