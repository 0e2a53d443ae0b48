/* gate.h - the one place where members wait for each other in memory (floor: comm).
 *
 * A gate opens when all members stand before it. It is plain memory without addresses inside, so it works between
 * threads and, in a shared mapping, between processes.
 */
#ifndef DL_COMM_GATE_H
#define DL_COMM_GATE_H

#include <stdatomic.h>

#include "core/mem.h"

typedef struct dl_gate {
  _Alignas(DL_CACHE_LINE) _Atomic uint32_t arrived;
  _Alignas(DL_CACHE_LINE) _Atomic uint32_t generation; /* how often it has opened: what waiters look at */
  _Atomic uint32_t sleepers;
} dl_gate;

/* How a member waits. */
typedef struct dl_gate_watch {
  double timeout_s;
  int spins;                                    /* looks before it sleeps */
  const _Atomic int *broken;                    /* not 0: somebody has left who can no longer come; may be NULL */
  bool (*idle)(void *context, double waited_s); /* called now and then by who sleeps long; true: it is of no use. May
                                                   be NULL */
  void *context;
} dl_gate_watch;

typedef enum dl_gate_end { DL_GATE_PASSED, DL_GATE_BROKEN, DL_GATE_LATE } dl_gate_end;

/* Waits until `members` have called it. What they wrote before is seen by all after. Once broken it stays so: whoever
 * left cannot have opened a gate that this caller has not come to yet. A gate that was late is not used again. Cost: an
 * atomic add, and a system call for those who sleep. */
dl_gate_end dl_gate_pass(dl_gate *gate, int members, const dl_gate_watch *watch);

#endif
