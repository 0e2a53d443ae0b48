/* sparse.h - blocks of which few elements are left: top-k, and how they travel (floor: core).
 *
 * A block is at most DL_BLOCK floats of one tensor. Which elements are kept depends on their values alone.
 */
#ifndef DL_CORE_SPARSE_H
#define DL_CORE_SPARSE_H

#include <stddef.h>
#include <stdint.h>

/* How many of n elements are kept: fraction * n, rounded up, so never none. */
size_t dl_sparse_keep(double fraction, size_t n);

/* x += scale * residual; then the `keep` elements of the largest magnitudes stay in x, the first of equal ones, and the
 * rest of x becomes 0. What has left x is the new residual, divided by scale; 0 where an element was kept. What is not
 * a number counts as larger than all that is; a zero is never kept. n <= DL_BLOCK. The same bits on every instruction
 * set. Cost: some 15 passes over the block in the first cache. */
void dl_sparse_select(float *x, float *residual, size_t n, size_t keep, float scale);

/* ---- as words ----------------------------------------------------------------------------------------------------
 *
 *   count of elements whose bits are not all 0, then the least of
 *     places, 16 bits each (low half first), and values        (count + 1) / 2 + count words
 *     a bit for each element, and values                       (n + 31) / 32 + count
 *     all elements                                             n
 *
 * Which one it is follows from n and the count: the first of the least ones. All values survive, bit for bit. */

#define DL_SPARSE_WORDS(n) ((n) + 1) /* a block takes no more */

/* Writes a block to `out`; returns the number of words. */
size_t dl_sparse_pack(uint32_t *out, const float *x, size_t n);

/* Reads a block of n elements from at most `words` words into x, what has not travelled becomes 0; returns how many
 * words it took, or 0 where they are no block of n elements. Reads nothing beyond `words`. */
size_t dl_sparse_unpack(float *x, size_t n, const uint32_t *in, size_t words);

#endif
