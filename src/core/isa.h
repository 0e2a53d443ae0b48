/* isa.h - which instruction set the kernels use (floor: core).
 *
 * A kernel file NAME.isa.c is compiled once per instruction set; it defines one table `const ops DL_ISA_NAME(table)`
 * and the table in force is chosen once, by what the processor has. Kernels keep the number of lanes of reductions
 * fixed and use no fused multiply-add that is not written out, so that every instruction set gives the same bits.
 */
#ifndef DL_CORE_ISA_H
#define DL_CORE_ISA_H

#define DL_ISA_PASTE_(name, isa) name##_##isa
#define DL_ISA_PASTE(name, isa) DL_ISA_PASTE_(name, isa)
#define DL_ISA_NAME(name) DL_ISA_PASTE(name, DL_ISA)

typedef enum dl_isa { DL_ISA_BASE, DL_ISA_AVX2, DL_ISA_AVX512 } dl_isa;
/* The best this processor has; DLDIST_ISA=base|avx2|avx512 in the environment lowers it (for tests). */
dl_isa dl_isa_in_use(void);
const char *dl_isa_text(void);

/* Chooses among the three tables of a kernel. */
#if defined(__x86_64__)
#define DL_ISA_CHOOSE(table) \
  (dl_isa_in_use() == DL_ISA_AVX512 ? &table##_avx512 : dl_isa_in_use() == DL_ISA_AVX2 ? &table##_avx2 : &table##_base)
#define DL_ISA_DECLARE(type, table) extern const type table##_base, table##_avx2, table##_avx512
#else
#define DL_ISA_CHOOSE(table) (&table##_base)
#define DL_ISA_DECLARE(type, table) extern const type table##_base
#endif

#endif
