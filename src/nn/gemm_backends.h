/* gemm_backends.h - the rows of the table of matrix products (floor: nn, private to gemm*.c). */
#ifndef DL_NN_GEMM_BACKENDS_H
#define DL_NN_GEMM_BACKENDS_H

#include "nn/gemm.h"
#include "nn/kernels_gemm.h"

extern const dl_gemm_backend dl_gemm_openblas;
#ifdef DLDIST_HAVE_ONEDNN
extern const dl_gemm_backend dl_gemm_onednn;
#endif

/* Whether our own tiles are the faster ones for a whole product: a rule on the shape alone. */
bool dl_gemm_tiles_suit(const dl_product *p);
/* Makes the product by our own tiles; false where they are not for the instruction set in use, or the product is tiny.
 */
bool dl_gemm_by_tiles(const dl_product *p);

#endif
