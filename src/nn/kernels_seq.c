/* kernels_seq.c - the table of sequence kernels in force. */
#include "nn/kernels_seq.h"

#include "core/isa.h"

DL_ISA_DECLARE(dl_seq_kernels, dl_seq_kernel_table);

const dl_seq_kernels *dl_seq_kernels_in_use(void) { return DL_ISA_CHOOSE(dl_seq_kernel_table); }
