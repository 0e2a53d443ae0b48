/* vector.c - the vector table in force. */
#include "core/vector.h"

#include "core/isa.h"

DL_ISA_DECLARE(dl_vector_ops, dl_vector_table);

const dl_vector_ops *dl_vector(void) { return DL_ISA_CHOOSE(dl_vector_table); }
