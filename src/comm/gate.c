/* The last who arrives resets the count and raises the generation; the others watch the generation: first by looking,
 * then by yielding (a sleeper is often woken on the core of who wakes it, and stays there), at last asleep on a futex.
 * The futex is not private, so that it works across processes, and is slept on in slices, so that the deadline and a
 * broken team are seen even where nobody wakes the sleeper. */
#include "comm/gate.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

#define SLICE_NS 100000000L
#define YIELD_S 1e-3 /* the difference that a step's members usually have */

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void futex_sleep(_Atomic uint32_t *word, uint32_t while_value) {
  struct timespec slice = {0, SLICE_NS};
  syscall(SYS_futex, (void *)(uintptr_t)word, FUTEX_WAIT, while_value, &slice, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word) {
  syscall(SYS_futex, (void *)(uintptr_t)word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void open_gate(dl_gate *gate) {
  atomic_store_explicit(&gate->arrived, 0, memory_order_relaxed);
  atomic_fetch_add(&gate->generation, 1); /* sequentially consistent against the count of sleepers below */
  if (atomic_load(&gate->sleepers) > 0) futex_wake_all(&gate->generation);
}

static bool yield_until_open(dl_gate *gate, uint32_t generation) {
  double end = dl_now_s() + YIELD_S;
  do {
    for (int i = 0; i < 8; i++) {
      if (atomic_load_explicit(&gate->generation, memory_order_acquire) != generation) return true;
      sched_yield();
    }
  } while (dl_now_s() < end);
  return false;
}

static dl_gate_end sleep_until_open(dl_gate *gate, uint32_t generation, const dl_gate_watch *watch) {
  double begin = dl_now_s();
  dl_gate_end end = DL_GATE_PASSED;
  atomic_fetch_add(&gate->sleepers, 1);
  while (atomic_load(&gate->generation) == generation) {
    /* Whoever left after this gate had opened is seen to have opened it, if the generation is read again. */
    if (watch->broken && atomic_load_explicit(watch->broken, memory_order_acquire) != 0) {
      end = atomic_load(&gate->generation) == generation ? DL_GATE_BROKEN : DL_GATE_PASSED;
      break;
    }
    double waited = dl_now_s() - begin;
    if (waited > watch->timeout_s || (watch->idle && watch->idle(watch->context, waited))) {
      end = DL_GATE_LATE;
      break;
    }
    futex_sleep(&gate->generation, generation);
  }
  atomic_fetch_sub(&gate->sleepers, 1);
  return end;
}

dl_gate_end dl_gate_pass(dl_gate *gate, int members, const dl_gate_watch *watch) {
  if (watch->broken && atomic_load_explicit(watch->broken, memory_order_acquire) != 0) return DL_GATE_BROKEN;
  uint32_t generation = atomic_load_explicit(&gate->generation, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&gate->arrived, 1, memory_order_acq_rel) == (uint32_t)members - 1) {
    open_gate(gate);
    return DL_GATE_PASSED;
  }
  for (int i = 0; i < watch->spins; i++) {
    if (atomic_load_explicit(&gate->generation, memory_order_acquire) != generation) return DL_GATE_PASSED;
    relax();
  }
  if (yield_until_open(gate, generation)) return DL_GATE_PASSED;
  return sleep_until_open(gate, generation, watch);
}
