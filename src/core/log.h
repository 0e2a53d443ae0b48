/* log.h - warnings on their way to whoever shows them (floor: core).
 *
 * The sink belongs to a thread: rank 0's thread has one, the others none, so a warning that every rank raises is shown
 * once. Without a sink a warning is dropped.
 */
#ifndef DL_CORE_LOG_H
#define DL_CORE_LOG_H

typedef void (*dl_log_sink)(void *context, const char *code, const char *message);

/* Sets this thread's sink; `sink` may be NULL. `context` is borrowed until the next call. Not collective. */
void dl_log_set_sink(dl_log_sink sink, void *context);

/* Sends a warning: `code` is a short stable word for programs ("blas_environment"), the message says what to do. */
void dl_warn(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
