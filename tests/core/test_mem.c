/* test_mem.c - aligned memory: zero, at its place, and refused where a size overflows. */
#include "core/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dltest.h"

enum { MIB = 1 << 20 };

static bool all_zero(const unsigned char *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if (p[i]) return false;
  return true;
}

/* Each is made twice, the second time perhaps of what the first one left. */
static void test_aligned_memory_is_zero_at_64_bytes_and_large_buffers_at_2_mib(void) {
  static const size_t sizes[] = {0, 1, 65, 4096, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 7};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (int again = 0; again < 2; again++) {
      unsigned char *p = dl_calloc_aligned(sizes[i], 1);
      CU_ASSERT_PTR_NOT_NULL_FATAL(p);
      CU_ASSERT_EQUAL((uintptr_t)p % (sizes[i] < 4 * MIB ? 64 : 2 * MIB), 0);
      CU_ASSERT_TRUE(all_zero(p, sizes[i]));
      memset(p, 0xa5, sizes[i]);
      free(p);
    }
}

static void test_a_size_that_overflows_is_refused(void) {
  static volatile size_t most = SIZE_MAX;
  CU_ASSERT_PTR_NULL(dl_calloc_aligned(most / 2, 3));
  CU_ASSERT_EQUAL(dl_error_last()->status, DL_ERR_NOMEM);
  CU_ASSERT_PTR_NULL(dl_calloc_aligned(most - 63, 1));
  CU_ASSERT_PTR_NULL(dl_calloc_aligned(most, 1));
}

/* Where the system promises memory that it does not have, touching it would end the process. */
static void test_more_than_the_machine_has_is_refused(void) {
  CU_ASSERT_TRUE(dl_memory_bytes() >= 64 * (size_t)MIB);
  CU_ASSERT_PTR_NULL(dl_calloc_aligned(dl_memory_bytes() / 4096 + 1, 4096));
  CU_ASSERT_EQUAL(dl_error_last()->status, DL_ERR_NOMEM);
}

static void test_room_doubles_where_there_is_none_and_keeps_what_is_there(void) {
  int64_t room = 0;
  int *numbers = NULL, moves = 0;
  for (int i = 0; i < 1000; i++) {
    const int64_t before = room;
    int *grown = dl_make_room(numbers, i, &room, sizeof *grown);
    CU_ASSERT_PTR_NOT_NULL_FATAL(grown);
    moves += room != before;
    CU_ASSERT_TRUE(room > i);
    numbers = grown;
    numbers[i] = i;
  }
  for (int i = 0; i < 1000; i++) CU_ASSERT_EQUAL(numbers[i], i);
  CU_ASSERT_EQUAL(moves, 7); /* 16 to 1024 */
  CU_ASSERT_EQUAL(room, 1024);
  free(numbers);
}

static const dl_test tests[] = {
    DL_TEST(test_aligned_memory_is_zero_at_64_bytes_and_large_buffers_at_2_mib),
    DL_TEST(test_a_size_that_overflows_is_refused),
    DL_TEST(test_room_doubles_where_there_is_none_and_keeps_what_is_there),
    DL_TEST(test_more_than_the_machine_has_is_refused),
};
DL_TEST_MAIN("mem", tests)
