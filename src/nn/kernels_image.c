/* kernels_image.c - the table of image kernels in force. */
#include "nn/kernels_image.h"

#include "core/isa.h"

DL_ISA_DECLARE(dl_image_kernels, dl_image_kernel_table);

const dl_image_kernels *dl_image_kernels_in_use(void) { return DL_ISA_CHOOSE(dl_image_kernel_table); }
