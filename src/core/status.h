/* status.h - how errors travel (floor: core).
 *
 * A function that can fail returns a dl_status. The details (message, hint, place in the user's file, rank) are kept in
 * a record of the calling thread, set by dl_fail() and read by whoever prints: nothing below src/cli prints or exits.
 */
#ifndef DL_CORE_STATUS_H
#define DL_CORE_STATUS_H

#include <dldist/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of the last failure of this thread. Plain data, so that it can be sent to other ranks as bytes. */
typedef struct dl_error {
  dl_status status;
  int rank;          /* the member that failed, -1 where not known */
  int line, column;  /* in `file`, from 1; 0 where there is none */
  char file[256];    /* the user's file (configuration, data set, checkpoint), "" where there is none */
  char message[768]; /* what happened, without file and line */
  char hint[256];    /* what to do, "" where there is nothing to add */
} dl_error;

/* Sets this thread's record and returns `status`, so that a failure is one statement: return dl_fail(...). */
dl_status dl_fail(dl_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a place in a file of the user's. `file` may be NULL; line and column count from 1, 0 = none. */
dl_status dl_fail_at(dl_status status, const char *file, int line, int column, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#ifdef __clang_analyzer__ /* which cannot see that these return what they are given */
#define dl_fail(status, ...) (dl_fail((status), __VA_ARGS__), (status))
#define dl_fail_at(status, ...) (dl_fail_at((status), __VA_ARGS__), (status))
#endif

/* Adds to this thread's record what the user can do about it; returns the record's status. */
dl_status dl_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* This thread's record; borrowed, valid until the next failure on this thread. */
const dl_error *dl_error_last(void);

/* Makes `error` this thread's record (used to adopt another rank's failure); returns its status. */
dl_status dl_error_adopt(const dl_error *error);

/* "c.yaml:6:25: unknown key ... (hint)" into `text`, always terminated; returns `text`. */
char *dl_error_format(const dl_error *error, char *text, size_t size);

/* The process exit code that stands for `status`. */
int dl_status_exit_code(dl_status status);

/* Passes an error on. */
#define DL_TRY(expression)                            \
  do {                                                \
    dl_status dl_try_status = (expression);           \
    if (dl_try_status != DL_OK) return dl_try_status; \
  } while (0)

/* Passes an error on through a clean-up label; needs a local `dl_status status`. */
#define DL_TRY_GOTO(expression, label) \
  do {                                 \
    status = (expression);             \
    if (status != DL_OK) goto label;   \
  } while (0)

#endif
