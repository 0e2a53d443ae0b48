/* test_json.c - JSON out and in again, and what is refused. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "dltest.h"
#include "random.h"

static dl_json *parsed(const char *text) {
  dl_json *value = NULL;
  DL_ASSERT_OK(dl_json_parse(text, strlen(text), "t.json", &value));
  return value;
}

/* Text of `value`, which is given away, read back. */
static dl_json *read_back(dl_json *value, bool indent) {
  char *text = NULL;
  DL_ASSERT_OK(dl_json_text(value, indent, &text));
  dl_json_destroy(&value);
  CU_ASSERT_PTR_NULL(value);
  if (!indent) CU_ASSERT_PTR_NULL(strchr(text, '\n'));
  dl_json *again = parsed(text);
  free(text);
  return again;
}

static void test_every_finite_double_reads_back_to_the_same_bits(void) {
  uint64_t random = 1;
  static const double special[] = {0.0,    -0.0, DBL_MIN, DBL_MAX, -DBL_MAX,
                                   5e-324, 0.1,  1.0 / 3, 1e22,    123456789012345680.0};
  enum { N = 5000, SPECIAL = sizeof special / sizeof special[0] };
  double *values = malloc(N * sizeof *values);
  dl_json *list = dl_json_array();
  for (int i = 0; i < N; i++) {
    do {
      uint64_t word = random_word(&random);
      memcpy(&values[i], &word, sizeof word);
    } while (!isfinite(values[i]));
    if (i < SPECIAL) values[i] = special[i];
    dl_json_put_real(list, NULL, values[i]);
  }
  list = read_back(list, false);
  CU_ASSERT_EQUAL(dl_json_size(list), N);
  int wrong = 0;
  for (int i = 0; i < N; i++) {
    double found = dl_json_real(dl_json_at(list, (size_t)i), NAN);
    wrong += memcmp(&found, &values[i], sizeof found) != 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  free(values);
  dl_json_destroy(&list);
}

static void test_what_json_has_not_becomes_null(void) {
  dl_json *map = dl_json_object();
  dl_json_put_real(map, "nan", NAN);
  dl_json_put_real(map, "inf", -INFINITY);
  dl_json_put_string(map, "none", NULL);
  char *text = NULL;
  DL_ASSERT_OK(dl_json_text(map, false, &text));
  CU_ASSERT_STRING_EQUAL(text, "{\"nan\":null,\"inf\":null,\"none\":null}");
  free(text);
  dl_json_destroy(&map);
}

static void test_integers_read_back_to_their_limits(void) {
  static const int64_t values[] = {0, -1, INT64_MAX, INT64_MIN, 9007199254740993};
  dl_json *list = dl_json_array();
  for (size_t i = 0; i < 5; i++) dl_json_put_int(list, NULL, values[i]);
  list = read_back(list, true);
  for (size_t i = 0; i < 5; i++) {
    CU_ASSERT(dl_json_is_int(dl_json_at(list, i)));
    CU_ASSERT_EQUAL(dl_json_int(dl_json_at(list, i), 7), values[i]);
  }
  dl_json_destroy(&list);
}

static void test_strings_of_any_character_read_back(void) {
  static const char *const strings[] = {
      "",
      " ",
      "plain",
      "\"quoted\" and \\",
      "line\nbreak\ttab\r",
      "\x01\x1f\x7f",
      "Stra\xc3\x9f\xc3\xaa",
      "\xe6\x97\xa5\xe6\x9c\xac",
      "\xf0\x9f\x98\x80",
      "\xe2\x80\xa8",
      "</script>",
      "null",
      "{\"a\":1}",
  };
  enum { N = sizeof strings / sizeof strings[0] };
  dl_json *list = dl_json_array(), *map = dl_json_object();
  for (size_t i = 0; i < N; i++) {
    dl_json_put_string(list, NULL, strings[i]);
    dl_json_put_int(map, strings[i], (int64_t)i);
  }
  list = read_back(list, false);
  map = read_back(map, true);
  CU_ASSERT_EQUAL(dl_json_size(map), N);
  for (size_t i = 0; i < N; i++) {
    CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_at(list, i)), strings[i]);
    CU_ASSERT_EQUAL(dl_json_int(dl_json_get(map, strings[i]), -1), (int64_t)i);
  }
  dl_json_destroy(&list);
  dl_json_destroy(&map);
}

static void test_an_object_keeps_its_order_and_a_copy_its_own_life(void) {
  dl_json *map = dl_json_object(), *inner = dl_json_object();
  dl_json_put_bool(inner, "deep", true);
  dl_json_put_int(map, "z", 1);
  dl_json_put(map, "a", inner);
  dl_json_put(map, "m", dl_json_array());
  dl_json *copy = dl_json_copy(map);
  dl_json_put_bool(inner, "deep", false);
  dl_json_destroy(&map);
  static const char *const wanted[] = {"z", "a", "m"};
  copy = read_back(copy, true);
  const char *key;
  const dl_json *value;
  size_t n = 0;
  for (void *at = NULL; dl_json_next(copy, &at, &key, &value) && n < 3; n++) CU_ASSERT_STRING_EQUAL(key, wanted[n]);
  CU_ASSERT_EQUAL(n, 3);
  CU_ASSERT(dl_json_bool(dl_json_get(dl_json_get(copy, "a"), "deep"), false));
  CU_ASSERT(dl_json_is_object(dl_json_get(copy, "a")) && dl_json_is_array(dl_json_get(copy, "m")));
  dl_json_destroy(&copy);
}

static void test_a_missing_or_other_value_gives_the_fallback(void) {
  dl_json *map = parsed("{\"i\": 3, \"r\": 2.5, \"s\": \"x\", \"b\": true, \"l\": [1], \"n\": null}");
  CU_ASSERT_EQUAL(dl_json_int(dl_json_get(map, "none"), -9), -9);
  CU_ASSERT_EQUAL(dl_json_int(dl_json_get(map, "r"), -9), -9);
  CU_ASSERT_EQUAL(dl_json_int(dl_json_get(map, "s"), -9), -9);
  CU_ASSERT(dl_json_real(dl_json_get(map, "i"), -9) == 3);
  CU_ASSERT(dl_json_real(dl_json_get(map, "b"), -9) == -9);
  CU_ASSERT_PTR_NULL(dl_json_string(dl_json_get(map, "i")));
  CU_ASSERT_PTR_NULL(dl_json_string(NULL));
  CU_ASSERT(dl_json_bool(dl_json_get(map, "i"), true) && !dl_json_bool(NULL, false));
  CU_ASSERT_PTR_NULL(dl_json_at(dl_json_get(map, "l"), 1));
  CU_ASSERT_PTR_NULL(dl_json_at(map, 0));
  CU_ASSERT_PTR_NULL(dl_json_get(dl_json_get(map, "l"), "i"));
  CU_ASSERT_EQUAL(dl_json_size(dl_json_get(map, "s")), 0);
  CU_ASSERT_EQUAL(dl_json_size(NULL), 0);
  CU_ASSERT(!dl_json_is_number(dl_json_get(map, "n")) && !dl_json_is_int(dl_json_get(map, "r")));
  dl_json_destroy(&map);
}

static void test_what_is_not_json_is_refused_with_its_place(void) {
  static const struct {
    const char *text;
    int line;
  } bad[] = {
      {"", 1},
      {"{\"a\": 1,\n \"a\": 2}", 2},
      {"{\"a\": 1} x", 1},
      {"{\"a\": 1}\n{}", 2},
      {"{'a': 1}", 1},
      {"[1,]", 1},
      {"[NaN]", 1},
      {"[1e999]", 1},
      {"[99999999999999999999]", 1},
      {"[\"\\u0000\"]", 1},
      {"{\"\\u0000\": 1}", 1},
      {"[\"\xff\"]", 1},
      {"3", 1},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    dl_json *value = NULL;
    CU_ASSERT_EQUAL(dl_json_parse(bad[i].text, strlen(bad[i].text), "run/state.json", &value), DL_ERR_DATA);
    CU_ASSERT_PTR_NULL(value);
    CU_ASSERT_STRING_EQUAL(dl_error_last()->file, "run/state.json");
    CU_ASSERT_EQUAL(dl_error_last()->line, bad[i].line);
  }
}

static void test_endless_nesting_is_refused(void) {
  enum { DEPTH = 100000 };
  char *text = malloc(DEPTH);
  memset(text, '[', DEPTH);
  dl_json *value = NULL;
  CU_ASSERT_EQUAL(dl_json_parse(text, DEPTH, "deep.json", &value), DL_ERR_DATA);
  free(text);
}

static void test_a_truncated_text_is_refused_wherever_it_ends_and_not_read_past_its_end(void) {
  static const char whole[] =
      "{\"__metadata__\": {\"a\": \"b\\n\"}, \"w\": {\"shape\": [3, -4.5e-3], \"ok\": true, \"n\": null}}";
  for (size_t bytes = 0; bytes < sizeof whole - 1; bytes++) {
    char *text = malloc(bytes ? bytes : 1); /* of the exact size, for the address sanitizer */
    memcpy(text, whole, bytes);
    dl_json *value = NULL;
    CU_ASSERT_EQUAL(dl_json_parse(text, bytes, "t.json", &value), DL_ERR_DATA);
    free(text);
  }
}

static void test_mutated_texts_end_in_a_status_and_what_is_read_reads_back_equal(void) {
  static const char whole[] =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"offsets\":[0,24]},\"b\":[true,null,-1.5e3,\"\\u00e9\"]}";
  uint64_t random = 9;
  int read = 0;
  for (int round = 0; round < 20000; round++) {
    char text[sizeof whole];
    memcpy(text, whole, sizeof whole);
    for (int64_t k = 1 + random_below(&random, 3); k-- > 0;)
      text[random_below(&random, sizeof whole - 1)] = "{}[]\",:0eE-\\\xff truefalsn"[random_below(&random, 24)];
    dl_json *value = NULL;
    if (dl_json_parse(text, sizeof whole - 1, "m.json", &value) != DL_OK) continue;
    read++;
    char *once = NULL, *twice = NULL;
    DL_ASSERT_OK(dl_json_text(value, false, &once));
    value = read_back(value, true);
    DL_ASSERT_OK(dl_json_text(value, false, &twice));
    CU_ASSERT_STRING_EQUAL(once, twice);
    free(once);
    free(twice);
    dl_json_destroy(&value);
  }
  CU_ASSERT(read > 100);
}

static void test_reals_are_written_as_short_as_they_read_back(void) {
  static const struct {
    double value;
    const char *text;
  } rows[] = {{0.1, "[0.1]"},
              {0.05, "[0.05]"},
              {1e-7, "[1e-07]"},
              {2, "[2.0]"},
              {1.0 / 3, "[0.3333333333333333]"},
              {123456.789, "[123456.789]"},
              {0.1 + 0.2, "[0.30000000000000004]"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *text = NULL;
    dl_json *array = dl_json_array();
    dl_json_put_real(array, NULL, rows[i].value);
    DL_ASSERT_OK(dl_json_text(array, false, &text));
    CU_ASSERT_STRING_EQUAL(text, rows[i].text);
    free(text);
    dl_json_destroy(&array);
  }
  char *text = NULL;
  dl_json *object = dl_json_object();
  dl_json_put_string(object, "a 0.10000000000000001 \\\" 0.10000000000000001", "0.30000000000000004441");
  dl_json_put_int(object, "n", INT64_MAX);
  DL_ASSERT_OK(dl_json_text(object, false, &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "{\"a 0.10000000000000001 \\\\\\\" 0.10000000000000001\":\"0.30000000000000004441\","
                         "\"n\":9223372036854775807}");
  free(text);
  dl_json_destroy(&object);
}

static const dl_test tests[] = {
    DL_TEST(test_every_finite_double_reads_back_to_the_same_bits),
    DL_TEST(test_what_json_has_not_becomes_null),
    DL_TEST(test_integers_read_back_to_their_limits),
    DL_TEST(test_strings_of_any_character_read_back),
    DL_TEST(test_an_object_keeps_its_order_and_a_copy_its_own_life),
    DL_TEST(test_a_missing_or_other_value_gives_the_fallback),
    DL_TEST(test_what_is_not_json_is_refused_with_its_place),
    DL_TEST(test_endless_nesting_is_refused),
    DL_TEST(test_a_truncated_text_is_refused_wherever_it_ends_and_not_read_past_its_end),
    DL_TEST(test_mutated_texts_end_in_a_status_and_what_is_read_reads_back_equal),
    DL_TEST(test_reals_are_written_as_short_as_they_read_back),
};
DL_TEST_MAIN("core/json", tests)
