/* dltest.h - what every CUnit program here shares: a table of sentences and a main. */
#ifndef DL_TEST_H
#define DL_TEST_H

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/status.h"

typedef struct dl_test {
  const char *name;
  void (*run)(void);
} dl_test;
#define DL_TEST(function) \
  { #function, function }

/* Asserts success and says why not. */
#define DL_ASSERT_OK(expression)                                                                     \
  do {                                                                                               \
    dl_status dl_test_status = (expression);                                                         \
    if (dl_test_status != DL_OK) fprintf(stderr, "%s: %s\n", #expression, dl_error_last()->message); \
    CU_ASSERT_EQUAL(dl_test_status, DL_OK);                                                          \
  } while (0)

static inline int dl_test_main(const char *suite_name, const dl_test *tests, size_t n) {
  if (CU_initialize_registry() != CUE_SUCCESS) return 1;
  CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
  for (size_t i = 0; suite && i < n; i++)
    if (!CU_add_test(suite, tests[i].name, tests[i].run)) return 1;
  CU_basic_set_mode(CU_BRM_VERBOSE);
  CU_basic_run_tests();
  unsigned failures = CU_get_number_of_failures();
  unsigned ran = CU_get_number_of_tests_run();
  CU_cleanup_registry();
  return failures || ran != n ? 1 : 0;
}
/* The same with a new folder of that name, whose XXXXXX are filled in; it goes with all that is in it. */
static inline int dl_test_main_in(char *folder, const char *suite_name, const dl_test *tests, size_t n) {
  char command[160];
  if (!mkdtemp(folder)) return 1;
  int failed = dl_test_main(suite_name, tests, n);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command) || failed;
}
#define DL_TEST_MAIN(suite, tests) \
  int main(void) { return dl_test_main(suite, tests, sizeof(tests) / sizeof((tests)[0])); }

#endif
