/* ps_log.h - the pushes that a server has applied since a checkpoint, on disk (floor: comm, private).
 *
 *   base     magic, job, the checkpoint's step, the server's slice and the checksum of its weights at that step; how
 *            often the log began anew, and names for what follows
 *   base     the same: they take turns, and the one that counts is the later one of those that are whole
 *   entry    magic, what was pushed and by whom, names, checksums; then the values, as they were summed: the
 *            slice's floats, or few elements of them (ps_few.h)
 *   ...
 *
 * Numbers are little-endian. An entry's values are never longer than those of the base's slice can be. A new checkpoint
 * begins the log anew in the same file, over what is there: the system has its pages ready, and writes to them three to
 * ten times as fast as to new ones. So whatever lies behind the last entry is of no account, be it half written when
 * the server died or whole and of an earlier time: an entry counts only where it names the generation of the base and
 * the very entry that it was put behind. Names are random numbers of 64 bits of one opening of the file, and count on
 * from there, so none comes twice, whatever a crash left where.
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
  int64_t bytes;          /* of its values; 0: those of the slice's floats */
  /* set by this module */
  int64_t place;         /* of its floats in the file */
  uint64_t name, behind; /* its own, and that of what it was put behind */
} dl_ps_log_entry;

typedef struct dl_ps_log dl_ps_log;

/* Opens or makes the file and finds its whole entries. With `synced` an entry is on the disk when dl_ps_log_append
 * returns, without it the system has it, which a process's death does not undo but the machine's may. DL_ERR_DATA: it
 * has entries in the form of an older version. Cost: the entries are read once. */
dl_status dl_ps_log_open(const char *path, bool synced, dl_ps_log **out);
/* Gives back what lies behind the last entry. */
void dl_ps_log_close(dl_ps_log **log);

/* What is in it; NULL: nothing. Borrowed until the next append or restart. */
const dl_ps_log_base *dl_ps_log_base_of(const dl_ps_log *log);
const dl_ps_log_entry *dl_ps_log_entries(const dl_ps_log *log, int64_t *n);
int64_t dl_ps_log_bytes(const dl_ps_log *log);
/* Of an entry with all floats. */
int64_t dl_ps_log_entry_bytes(const dl_ps_log *log);
/* Bytes from the last whole entry to the end of the last one of this generation whose beginning can be read, as found
 * when the log was opened: one entry's where it was torn, more where one in the middle is damaged. Without a base that
 * can be read: all of the file. */
int64_t dl_ps_log_torn(const dl_ps_log *log);

/* The values of an entry: entry->bytes of them. */
dl_status dl_ps_log_values(const dl_ps_log *log, const dl_ps_log_entry *entry, void *out);
dl_status dl_ps_log_append(dl_ps_log *log, const dl_ps_log_entry *entry, const void *values);
/* The same in two halves, between which the entry is written by a thread of its own where it is long: `values` stay as
 * they are until the second, and nothing else is asked of the log. The entry is in when that returns DL_OK. */
void dl_ps_log_begin(dl_ps_log *log, const dl_ps_log_entry *entry, const void *values);
dl_status dl_ps_log_finish(dl_ps_log *log);
/* Begins anew upon `base`, with the entries from number `from` on kept. After a crash the log is old or new. */
dl_status dl_ps_log_restart(dl_ps_log *log, const dl_ps_log_base *base, int64_t from);

#endif
