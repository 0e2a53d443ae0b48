/* Memory that another process reads: what the right ticket opens, what no other does, and that nothing its owner does
 * or fails to do is felt by the reader. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/ps_share.h"
#include "core/clock.h"
#include "dltest.h"

#define BYTES 300000

static void put_number(unsigned char *p, uint64_t value) {
  for (int b = 0; b < 8; b++) p[b] = (unsigned char)(value >> 8 * b);
}

static void close_share(dl_ps_share *share) {
  const dl_ps_share *s = share;
  dl_ps_share_close(&s);
}

static void test_another_process_reads_what_is_written(void) {
  dl_ps_share *share = dl_ps_share_new(BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(share);
  unsigned char *data = dl_ps_share_data(share), ticket[DL_PS_TICKET_BYTES];
  dl_ps_share_ticket(share, ticket);
  for (size_t i = 0; i < BYTES; i++) CU_ASSERT_EQUAL_FATAL(data[i], 0);
  for (size_t i = 0; i < BYTES; i++) data[i] = (unsigned char)(i * 31 + i / 251);
  pid_t child = fork();
  if (child == 0) {
    const dl_ps_share *seen = dl_ps_share_open(ticket, sizeof ticket, BYTES);
    _exit(seen && !memcmp(dl_ps_share_data(seen), data, BYTES) ? 0 : 1);
  }
  int how = -1;
  CU_ASSERT_EQUAL(waitpid(child, &how, 0), child);
  CU_ASSERT_EQUAL(how, 0);
  close_share(share);
}

static void test_no_other_ticket_opens(void) {
  dl_ps_share *share = dl_ps_share_new(BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(share);
  unsigned char ticket[DL_PS_TICKET_BYTES + 1] = {0}, wrong[DL_PS_TICKET_BYTES];
  dl_ps_share_ticket(share, ticket);
  const dl_ps_share *seen = dl_ps_share_open(ticket, DL_PS_TICKET_BYTES, BYTES);
  CU_ASSERT_PTR_NOT_NULL(seen);
  dl_ps_share_close(&seen);
  for (size_t bytes = 0; bytes <= sizeof ticket; bytes++)
    if (bytes != DL_PS_TICKET_BYTES) CU_ASSERT_PTR_NULL(dl_ps_share_open(ticket, bytes, BYTES));
  for (size_t bit = 0; bit < 8 * sizeof wrong; bit++) { /* another process, descriptor, size or secret */
    memcpy(wrong, ticket, sizeof wrong);
    wrong[bit / 8] ^= (unsigned char)(1 << bit % 8);
    CU_ASSERT_PTR_NULL(dl_ps_share_open(wrong, sizeof wrong, BYTES));
  }
  CU_ASSERT_PTR_NULL(dl_ps_share_open(ticket, DL_PS_TICKET_BYTES, BYTES + 4)); /* not the model's size */
  memcpy(wrong, ticket, sizeof wrong);
  put_number(wrong + 24, BYTES * 10ull); /* nor the size that it claims */
  CU_ASSERT_PTR_NULL(dl_ps_share_open(wrong, sizeof wrong, BYTES * 10ull));
  close_share(share);
  CU_ASSERT_PTR_NULL(dl_ps_share_open(ticket, DL_PS_TICKET_BYTES, BYTES)); /* it is gone */
}

/* Whatever else a process may have open: looked at without waiting and without effect, and not taken. */
static void test_other_descriptors_are_not_taken(void) {
  dl_ps_share *share = dl_ps_share_new(BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(share);
  unsigned char ticket[DL_PS_TICKET_BYTES];
  int ends[2], others[5], n = 0;
  char path[] = "/tmp/dl-test-share-XXXXXX";
  CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
  others[n++] = ends[0];
  others[n++] = open("/dev/zero", O_RDWR);
  others[n++] = open("/proc/self/status", O_RDONLY);
  others[n++] = mkstemp(path);
  others[n++] = memfd_create("unsealed", MFD_ALLOW_SEALING);
  dl_ps_share_ticket(share, ticket);
  unsigned char *head = (unsigned char *)dl_ps_share_data(share) - 4096; /* all of it, secret included */
  for (int i = 3; i < n; i++) CU_ASSERT_EQUAL(write(others[i], head, BYTES + 4096), BYTES + 4096);
  for (int i = 0; i < n; i++) {
    CU_ASSERT(others[i] >= 0);
    put_number(ticket + 16, (uint64_t)others[i]);
    CU_ASSERT_PTR_NULL(dl_ps_share_open(ticket, sizeof ticket, BYTES));
  }
  CU_ASSERT_EQUAL(fcntl(others[4], F_ADD_SEALS, F_SEAL_SHRINK), 0); /* what was missing there */
  const dl_ps_share *seen = dl_ps_share_open(ticket, sizeof ticket, BYTES);
  CU_ASSERT_PTR_NOT_NULL(seen);
  dl_ps_share_close(&seen);
  for (int i = 0; i < n; i++) close(others[i]);
  close(ends[1]);
  unlink(path);
  close_share(share);
}

static void test_the_owner_cannot_take_it_away_and_readers_cannot_write(void) {
  dl_ps_share *share = dl_ps_share_new(BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(share);
  unsigned char ticket[DL_PS_TICKET_BYTES], *data = dl_ps_share_data(share);
  dl_ps_share_ticket(share, ticket);
  int fd = ticket[16] | ticket[17] << 8;
  CU_ASSERT(ftruncate(fd, 0) < 0 && errno == EPERM);
  CU_ASSERT(ftruncate(fd, 2 * BYTES) < 0 && errno == EPERM);
  CU_ASSERT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
  memset(data, 7, BYTES);
  const dl_ps_share *seen = dl_ps_share_open(ticket, sizeof ticket, BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int again = open(name, O_RDWR);
  if (again >= 0 && fcntl(fd, F_GET_SEALS) & 0x10) /* F_SEAL_FUTURE_WRITE */
    CU_ASSERT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED);
  if (again >= 0) close(again);
  close_share(share);
  const unsigned char *there = dl_ps_share_data(seen);
  int sevens = 0;
  for (size_t i = 0; i < BYTES; i++) sevens += there[i] == 7;
  CU_ASSERT_EQUAL(sevens, BYTES);
  dl_ps_share_close(&seen);
}

/* ---- views ---- */

#define VIEW_FLOATS 5000

static void test_a_view_is_read_whole_or_not_at_all(void) {
  const size_t bytes = VIEW_FLOATS * sizeof(float);
  dl_ps_share *share = dl_ps_share_new(DL_PS_VIEWS * bytes);
  CU_ASSERT_PTR_NOT_NULL_FATAL(share);
  float *values = malloc(bytes), *out = malloc(bytes);
  if (!values || !out) abort();
  CU_ASSERT_FALSE(dl_ps_share_read_view(share, 0, out, bytes));
  CU_ASSERT_FALSE(dl_ps_share_read_view(share, -1, out, bytes));
  for (int64_t version = 0; version < 3 * DL_PS_VIEWS; version++) {
    for (int i = 0; i < VIEW_FLOATS; i++) values[i] = (float)version;
    dl_ps_share_write_view(share, version, values, bytes);
    values[0] = NAN;
    dl_ps_share_write_view(share, version, values, bytes); /* is there already */
    for (int64_t asked = 0; asked < 3 * DL_PS_VIEWS; asked++) {
      bool whole = dl_ps_share_read_view(share, asked, out, bytes);
      CU_ASSERT_EQUAL(whole, asked <= version && asked > version - DL_PS_VIEWS);
      if (whole) CU_ASSERT(out[0] == (float)asked && out[VIEW_FLOATS - 1] == (float)asked);
    }
  }
  CU_ASSERT_FALSE(dl_ps_share_read_view(share, 3 * DL_PS_VIEWS - 1, out, bytes + 4)); /* longer than a view */
  dl_ps_share_begin_view(share, 3 * DL_PS_VIEWS);
  CU_ASSERT_FALSE(dl_ps_share_read_view(share, 2 * DL_PS_VIEWS, out, bytes)); /* its place is being written */
  CU_ASSERT_FALSE(dl_ps_share_read_view(share, 3 * DL_PS_VIEWS, out, bytes));
  free(values);
  free(out);
  close_share(share);
}

typedef struct writer {
  dl_ps_share *share;
  _Atomic int64_t last;
  _Atomic bool over;
} writer;

static void *write_on(void *argument) {
  writer *w = argument;
  float values[VIEW_FLOATS];
  for (int64_t version = 0; !atomic_load(&w->over); version++) {
    for (int i = 0; i < VIEW_FLOATS; i++) values[i] = (float)(version % 1000000);
    dl_ps_share_write_view(w->share, version, values, sizeof values);
    atomic_store(&w->last, version);
  }
  return NULL;
}

static void test_no_view_is_ever_half_of_another(void) {
  writer w = {.share = dl_ps_share_new(DL_PS_VIEWS * VIEW_FLOATS * sizeof(float)), .last = -1};
  CU_ASSERT_PTR_NOT_NULL_FATAL(w.share);
  pthread_t thread;
  float out[VIEW_FLOATS];
  int whole = 0, torn = 0;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_on, &w), 0);
  for (const double begin = dl_now_s(); whole < 300 && dl_now_s() - begin < 30;) {
    const int64_t version = atomic_load(&w.last);
    if (!dl_ps_share_read_view(w.share, version, out, sizeof out)) continue;
    whole++;
    for (int i = 0; i < VIEW_FLOATS; i++) torn += out[i] != (float)(version % 1000000);
  }
  atomic_store(&w.over, true);
  pthread_join(thread, NULL);
  CU_ASSERT(whole > 0);
  CU_ASSERT_EQUAL(torn, 0);
  close_share(w.share);
}

static const dl_test tests[] = {
    DL_TEST(test_another_process_reads_what_is_written),
    DL_TEST(test_no_other_ticket_opens),
    DL_TEST(test_other_descriptors_are_not_taken),
    DL_TEST(test_the_owner_cannot_take_it_away_and_readers_cannot_write),
    DL_TEST(test_a_view_is_read_whole_or_not_at_all),
    DL_TEST(test_no_view_is_ever_half_of_another),
};
DL_TEST_MAIN("memory that parameter servers and workers share", tests)
