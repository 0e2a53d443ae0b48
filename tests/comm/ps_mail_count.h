/* ps_mail_count.h - counts the messages that this program has taken from libzmq and not closed.
 *
 * To be included by one file of a test program: its zmq_msg_recv and zmq_msg_close stand before libzmq's. libzmq 4.3.4
 * itself loses messages now and then that were never handed out, when a socket closes while many peers send
 * (tests/house/leaks.supp), so a leak checker cannot tell whether we forget one: this can. */
#ifndef DL_TEST_PS_MAIL_COUNT_H
#define DL_TEST_PS_MAIL_COUNT_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { MAIL_MOST = 65536 };
static pthread_mutex_t mail_lock = PTHREAD_MUTEX_INITIALIZER;
static const void *mail_held[MAIL_MOST];
static int mail_n;
static long mail_received, mail_lost; /* lost: overwritten by another one */

static void mail_real(const char *name, void *out) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) abort();
  memcpy(out, &function, sizeof function);
}

static bool mail_drop(const void *message) {
  bool held = false;
  for (int i = mail_n - 1; i >= 0 && !held; i--) {
    if (mail_held[i] != message) continue;
    mail_held[i] = mail_held[--mail_n];
    held = true;
  }
  return held;
}

int zmq_msg_init(zmq_msg_t *message) {
  static int (*real)(zmq_msg_t *);
  pthread_mutex_lock(&mail_lock);
  if (!real) mail_real("zmq_msg_init", &real);
  mail_lost += mail_drop(message);
  pthread_mutex_unlock(&mail_lock);
  return real(message);
}

int zmq_msg_recv(zmq_msg_t *message, void *socket, int flags) {
  static int (*real)(zmq_msg_t *, void *, int);
  pthread_mutex_lock(&mail_lock);
  if (!real) mail_real("zmq_msg_recv", &real);
  pthread_mutex_unlock(&mail_lock);
  const int bytes = real(message, socket, flags);
  if (bytes < 0) return bytes;
  pthread_mutex_lock(&mail_lock);
  if (mail_n == MAIL_MOST) abort();
  mail_held[mail_n++] = message;
  mail_received++;
  pthread_mutex_unlock(&mail_lock);
  return bytes;
}

int zmq_msg_close(zmq_msg_t *message) {
  static int (*real)(zmq_msg_t *);
  pthread_mutex_lock(&mail_lock);
  if (!real) mail_real("zmq_msg_close", &real);
  mail_drop(message);
  pthread_mutex_unlock(&mail_lock);
  return real(message);
}

/* A message that is moved is another's content: its old place is empty, and is closed or not. */
int zmq_msg_move(zmq_msg_t *to, zmq_msg_t *from) {
  static int (*real)(zmq_msg_t *, zmq_msg_t *);
  pthread_mutex_lock(&mail_lock);
  if (!real) mail_real("zmq_msg_move", &real);
  if (mail_drop(from)) mail_held[mail_n++] = to;
  pthread_mutex_unlock(&mail_lock);
  return real(to, from);
}

#endif
