/* conv.c - the choice of a form of convolution: by configuration and shape alone. */
#include "nn/conv.h"

#include "nn/gemm_backends.h"

dl_status dl_conv_new(const dl_conv_shape *shape, const dl_gemm_backend *gemm, dl_conv **out) {
  *out = NULL;
#ifdef DLDIST_HAVE_ONEDNN
  if (gemm == &dl_gemm_onednn) DL_TRY(dl_conv_onednn.new(shape, gemm, out));
  if (*out) return DL_OK;
#endif
  return dl_conv_patches.new(shape, gemm, out);
}

void dl_conv_destroy(dl_conv **conv) {
  if (*conv) (*conv)->ops->destroy(*conv);
  *conv = NULL;
}
