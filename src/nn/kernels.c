/* kernels.c - the table of kernels in force. */
#include "nn/kernels.h"

#include "core/isa.h"

DL_ISA_DECLARE(dl_kernels, dl_kernel_table);

const dl_kernels *dl_kernels_in_use(void) { return DL_ISA_CHOOSE(dl_kernel_table); }
