/* ps_log.h - the pushes that a server has applied since a checkpoint, on disk (floor: comm, private).
 *
 *   header   magic, job, the checkpoint's step, the server's slice and the checksum of its weights at that step
 *   entry    magic, what was pushed and by whom, checksums; then the floats of the slice, as they were summed
 *   ...
 *
 * Numbers are little-endian. Entries are only ever put behind one another, so what a crash leaves half is the last one:
 * whatever follows the last whole entry is dropped when the log is opened. Each entry's length follows from the header,
 * so no length is read from the file. A new checkpoint begins a new file, which takes the old one's place by its name.
 */
#ifndef DL_COMM_PS_LOG_H
#define DL_COMM_PS_LOG_H

#include "core/group.h"
#include "core/status.h"
#include "core/tree.h"

#define DL_PS_NAME_BYTES 80

/* What the entries follow upon. */
typedef struct dl_ps_log_base {
  uint64_t job;
  int64_t step;
  size_t begin, end; /* the server's floats */
  uint32_t weights_crc;
} dl_ps_log_base;

typedef struct dl_ps_log_entry {
  int64_t at;   /* the oldest step in progress when it was applied: its learning rate is this step's */
  int64_t step; /* the unit */
  dl_tree_node node;
  int64_t samples; /* of the step's batch */
  double sums[DL_LEAF_SUMS];
  uint64_t incarnation, sequence; /* of the worker, and its request: the key of the push */
  char worker[DL_PS_NAME_BYTES];
  int64_t updates, ahead; /* how old its weights were */
  int64_t place;          /* of its floats in the file: set by this module */
} dl_ps_log_entry;

typedef struct dl_ps_log dl_ps_log;

/* Opens or makes the file, finds its whole entries and cuts off what follows them. With `synced` an entry is on the
 * disk when dl_ps_log_append returns, without it the system has it, which a process's death does not undo but the
 * machine's may. Cost: the file is read once. */
dl_status dl_ps_log_open(const char *path, bool synced, dl_ps_log **out);
void dl_ps_log_close(dl_ps_log **log);

/* What is in it; NULL: nothing. Borrowed until the next append or restart. */
const dl_ps_log_base *dl_ps_log_base_of(const dl_ps_log *log);
const dl_ps_log_entry *dl_ps_log_entries(const dl_ps_log *log, int64_t *n);
int64_t dl_ps_log_bytes(const dl_ps_log *log);
/* Bytes behind the last whole entry that were dropped when it was opened. */
int64_t dl_ps_log_torn(const dl_ps_log *log);

/* The floats of an entry: end - begin of them. */
dl_status dl_ps_log_values(const dl_ps_log *log, const dl_ps_log_entry *entry, float *out);
dl_status dl_ps_log_append(dl_ps_log *log, const dl_ps_log_entry *entry, const float *values);
/* Begins anew upon `base`, with the entries from number `from` on kept. After a crash the file is old or new. */
dl_status dl_ps_log_restart(dl_ps_log *log, const dl_ps_log_base *base, int64_t from);

#endif
