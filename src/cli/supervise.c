/* The parent does nothing but wait: it has no threads, no sockets and no memory worth mentioning, so what kills a
 * server does not kill it. What a child's exit code stands for (a wrong configuration, bad data, a training that
 * failed, a stop) would be the same the next time; only what cannot be an answer, a signal, is tried again. */
#include "cli/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

#define MOST_SHORT_LIVES 10
#define SHORT_LIFE_S 60
#define FIRST_PAUSE_S 0.5
#define LONGEST_PAUSE_S 5.0

static const int passed_on[] = {SIGTERM, SIGINT, SIGUSR1};
#define N_PASSED_ON ((int)(sizeof passed_on / sizeof *passed_on))

static volatile sig_atomic_t told, running;

static void on_signal(int number) {
  told = number;
  if (running > 0) kill((pid_t)running, number);
}

static void catch_signals(struct sigaction before[N_PASSED_ON]) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < N_PASSED_ON; i++) sigaction(passed_on[i], &action, &before[i]);
}

/* Signals wait between fork and the note of who is there, so that none falls between. */
static pid_t start(const struct sigaction before[N_PASSED_ON]) {
  sigset_t some, mask;
  const pid_t parent = getpid();
  sigemptyset(&some);
  for (int i = 0; i < N_PASSED_ON; i++) sigaddset(&some, passed_on[i]);
  sigprocmask(SIG_BLOCK, &some, &mask);
  pid_t pid = fork();
  if (pid > 0) running = pid;
  if (pid == 0) {
    for (int i = 0; i < N_PASSED_ON; i++) sigaction(passed_on[i], &before[i], NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) raise(SIGTERM); /* it died before it could be said */
  }
  sigprocmask(SIG_SETMASK, &mask, NULL);
  return pid;
}

static int wait_for(pid_t pid) {
  int how = 0;
  while (waitpid(pid, &how, 0) < 0 && errno == EINTR) continue;
  running = 0;
  return how;
}

static void pause_s(double seconds) {
  const double end = dl_now_s() + seconds;
  while (!told && dl_now_s() < end) nanosleep(&(struct timespec){0, 50000000}, NULL);
}

dl_status dl_supervise(const char *name, bool *child, int *exit_code) {
  struct sigaction before[N_PASSED_ON];
  double pause = FIRST_PAUSE_S;
  catch_signals(before);
  for (int short_lives = 0;;) {
    const double begin = dl_now_s();
    const pid_t pid = start(before);
    *child = pid == 0;
    if (pid < 0) return dl_fail(DL_ERR_SYSTEM, "no process can be made: %s", strerror(errno));
    if (*child) return DL_OK;
    const int how = wait_for(pid);
    *exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : told ? 128 + WTERMSIG(how) : 1;
    if (WIFEXITED(how) || told) return DL_OK;
    const bool was_short = dl_now_s() - begin < SHORT_LIFE_S;
    short_lives = was_short ? short_lives + 1 : 0;
    if (!was_short) pause = FIRST_PAUSE_S;
    if (short_lives == MOST_SHORT_LIVES) {
      fprintf(stderr, "dldist: error: %s was ended by a signal (%s) for the %dth time in a row: given up\n", name,
              strsignal(WTERMSIG(how)), short_lives);
      return DL_OK;
    }
    fprintf(stderr, "warning: %s was ended by a signal (%s); it is begun again in %.1f s\n", name,
            strsignal(WTERMSIG(how)), pause);
    pause_s(pause);
    if (told) return *exit_code = 128 + told, DL_OK;
    pause = 2 * pause < LONGEST_PAUSE_S ? 2 * pause : LONGEST_PAUSE_S;
  }
}
