/* test_group.c - blocks and slices of parameter groups, against counting element by element. */
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "core/tree.h"
#include "dltest.h"
#include "random.h"

enum { MOST_TENSORS = 12 };

static dl_tensor tensors[MOST_TENSORS];

static dl_param_group random_group(uint64_t *random) {
  memset(tensors, 0, sizeof tensors);
  dl_param_group group = {.tensors = tensors, .n_tensors = 1 + (int)random_below(random, MOST_TENSORS)};
  for (int t = 0; t < group.n_tensors; t++) {
    static const int64_t most[] = {4, 1100, 20, 5000, 1025};
    tensors[t].count = (size_t)(1 + random_below(random, most[random_below(random, 5)]));
    if (random_below(random, 6) == 0) tensors[t].count = (size_t)(DL_BLOCK * (1 + random_below(random, 3)));
    tensors[t].offset = group.count;
    group.count += (tensors[t].count + 15) / 16 * 16;
  }
  return group;
}

static void test_blocks_cover_every_element_once_and_no_padding(void) {
  uint64_t random = 1;
  for (int round = 0; round < 300; round++) {
    dl_param_group group = random_group(&random);
    int64_t blocks = dl_group_blocks(&group);
    dl_block_ref *list = malloc((size_t)(blocks + 1) * sizeof *list);
    unsigned char *hits = calloc(group.count, 1);
    list[blocks] = (dl_block_ref){-7, 7, 7};
    dl_group_list_blocks(&group, list);
    CU_ASSERT(list[blocks].tensor == -7 && list[blocks].n == 7 && list[blocks].offset == 7);
    for (int64_t i = 0; i < blocks; i++) {
      const dl_tensor *tensor = &tensors[list[i].tensor];
      CU_ASSERT(list[i].n >= 1 && list[i].n <= DL_BLOCK);
      CU_ASSERT_EQUAL((list[i].offset - tensor->offset) % DL_BLOCK, 0);
      CU_ASSERT(i == 0 || list[i].offset > list[i - 1].offset);
      for (size_t e = 0; e < list[i].n; e++) hits[list[i].offset + e]++;
    }
    int wrong = 0;
    for (size_t e = 0; e < group.count; e++) {
      int inside = 0;
      for (int t = 0; t < group.n_tensors; t++)
        inside += e >= tensors[t].offset && e < tensors[t].offset + tensors[t].count;
      wrong += hits[e] != inside;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free(hits);
    free(list);
  }
}

static void test_slices_cover_all_blocks_evenly_for_any_number(void) {
  uint64_t random = 2;
  for (int round = 0; round < 300; round++) {
    dl_param_group group = random_group(&random);
    int64_t blocks = dl_group_blocks(&group);
    dl_block_ref *list = malloc((size_t)blocks * sizeof *list);
    dl_group_list_blocks(&group, list);
    double elements = 0;
    for (int64_t i = 0; i < blocks; i++) elements += list[i].n;
    for (int slices = 1; slices <= 40; slices++) {
      CU_ASSERT_EQUAL(dl_group_slice_begin(&group, 0, slices), 0);
      CU_ASSERT_EQUAL(dl_group_slice_begin(&group, slices, slices), blocks);
      for (int s = 0; s < slices; s++) {
        int64_t begin = dl_group_slice_begin(&group, s, slices), end = dl_group_slice_begin(&group, s + 1, slices);
        double held = 0;
        CU_ASSERT(begin <= end && end <= blocks);
        for (int64_t i = begin; i < end; i++) held += list[i].n;
        /* Both ends are rounded down to a block's start. */
        CU_ASSERT(held - elements / slices < DL_BLOCK + 1 && elements / slices - held < DL_BLOCK + 1);
      }
    }
    free(list);
  }
}

static void test_a_group_without_tensors_has_no_blocks(void) {
  dl_param_group group = {.tensors = tensors};
  CU_ASSERT_EQUAL(dl_group_blocks(&group), 0);
  for (int s = 0; s <= 3; s++) CU_ASSERT_EQUAL(dl_group_slice_begin(&group, s, 3), 0);
}

static const dl_test tests[] = {
    DL_TEST(test_blocks_cover_every_element_once_and_no_padding),
    DL_TEST(test_slices_cover_all_blocks_evenly_for_any_number),
    DL_TEST(test_a_group_without_tensors_has_no_blocks),
};
DL_TEST_MAIN("core/group", tests)
