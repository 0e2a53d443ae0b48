/* signal_guard.h - a stretch of code in which no signal handler runs on the calling thread (floor: nn, private).
 *
 * The generated code of oneDNN's sgemm (2.6.3) keeps data further below the stack pointer than the 128 bytes that the
 * ABI spares: the frame of a handler that runs in the middle of it overwrites them, and then the heap. Signals wait
 * until the product is done; those that a fault raises are let through. Two system calls, about 0.2 us.
 */
#ifndef DL_NN_SIGNAL_GUARD_H
#define DL_NN_SIGNAL_GUARD_H

#include <pthread.h>
#include <signal.h>

static inline void dl_signals_hold(sigset_t *before) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t held;
  sigfillset(&held);
  for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&held, faults[i]);
  pthread_sigmask(SIG_BLOCK, &held, before);
}

static inline void dl_signals_release(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

#endif
