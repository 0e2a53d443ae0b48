/* ps_crc.h - the checksum of parameter server frames (floor: comm, private).
 *
 * CRC-32C (Castagnoli) over four lanes: word i of 8 bytes goes to lane i mod 4, what is left of the last 32 bytes goes
 * to lane 0, and the result is the CRC-32C of the four lanes. One lane would wait for itself: an instruction takes
 * three cycles, four lanes keep it busy. Cost: one read of the data.
 */
#ifndef DL_COMM_PS_CRC_H
#define DL_COMM_PS_CRC_H

#include <stddef.h>
#include <stdint.h>

/* By the processor's instruction where it has one. Not collective. */
uint32_t dl_ps_crc(const void *data, size_t bytes);
/* By table: the same values. */
uint32_t dl_ps_crc_portable(const void *data, size_t bytes);

#endif
