/* api_fixture.h - what the tests of the public interface share: calls that succeed or fail as they should, and one
 * context. */
#ifndef DL_API_FIXTURE_H
#define DL_API_FIXTURE_H

#include <dldist/dldist.h>
#include <string.h>

#include "dltest.h"

#define OK(call)                                                                 \
  do {                                                                           \
    dl_status ok_status = (call);                                                \
    if (ok_status != DL_OK) fprintf(stderr, "%s: %s\n", #call, dl_last_error()); \
    CU_ASSERT_EQUAL(ok_status, DL_OK);                                           \
  } while (0)

/* The call fails by this status, and the text says this. */
#define FAILS(call, status, words)                                                                \
  do {                                                                                            \
    dl_status fails_status = (call);                                                              \
    bool fails_right = fails_status == (status) && strstr(dl_last_error(), words);                \
    if (!fails_right) fprintf(stderr, "%s: %d: %s\n", #call, (int)fails_status, dl_last_error()); \
    CU_ASSERT(fails_right);                                                                       \
  } while (0)

static dl_context *opened_context;
static inline dl_context *context(void) {
  if (!opened_context) OK(dl_context_open(&opened_context));
  CU_ASSERT_PTR_NOT_NULL_FATAL(opened_context);
  return opened_context;
}

#endif
