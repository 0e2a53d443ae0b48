/* test_pages.c - pages and pictures: text that cannot break out, lines that keep their spikes, logs of any kind. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "dltest.h"
#include "report/chart.h"
#include "report/page.h"
#include "report/run_page.h"
#include "report/stats_page.h"

static char folder[64];

static void put(const char *run, const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, run);
  DL_ASSERT_OK(dl_dir_make(path));
  snprintf(path, sizeof path, "%s/%s/%s", folder, run, name);
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_EQUAL(fwrite(text, 1, strlen(text), file), strlen(text));
  CU_ASSERT_EQUAL(fclose(file), 0);
}

static dl_status read_log(const char *run, dl_run_log *log) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, run);
  return dl_run_log_read(path, log);
}

static int count(const char *text, const char *part) {
  int n = 0;
  for (; (text = strstr(text, part)); text += strlen(part)) n++;
  return n;
}

/* Every element that is opened is closed, in order; no other oracle of HTML is at hand. */
static bool is_balanced(const char *text) {
  char stack[64][16];
  int depth = 0;
  for (; (text = strchr(text, '<')); text++) {
    char name[16];
    size_t length = strcspn(text + 1 + (text[1] == '/'), " />\n");
    const char *end = strchr(text, '>');
    if (text[1] == '!') continue;
    if (!end || length >= sizeof name) return false;
    snprintf(name, sizeof name, "%.*s", (int)length, text + 1 + (text[1] == '/'));
    if (text[1] == '/') {
      if (depth == 0 || strcmp(stack[--depth], name) != 0) {
        fprintf(stderr, "</%s> closes %s\n", name, depth ? stack[depth] : "nothing");
        return false;
      }
    } else if (end[-1] != '/' && strcmp(name, "meta") != 0) {
      if (depth == 64) return false;
      snprintf(stack[depth++], sizeof *stack, "%s", name);
    }
  }
  return depth == 0;
}

static char *page_of(const dl_run_log *logs, int n, int which) {
  char *text = NULL;
  size_t bytes = 0;
  DL_ASSERT_OK(dl_run_page(logs, n, which, &text, &bytes));
  CU_ASSERT_EQUAL(bytes, strlen(text));
  return text;
}

/* ---- text ---- */

static void test_text_cannot_become_markup(void) {
  char *text = NULL;
  size_t bytes = 0;
  FILE *stream = open_memstream(&text, &bytes);
  dl_page_text(stream, "<script>\"a\" & b</script>\x01\xff caf\xc3\xa9");
  fclose(stream);
  CU_ASSERT_STRING_EQUAL(text, "&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt;? caf\xc3\xa9");
  free(text);
}

static void test_long_text_is_cut(void) {
  char *text = NULL, many[2001];
  size_t bytes = 0;
  memset(many, '<', 2000);
  many[2000] = 0;
  FILE *stream = open_memstream(&text, &bytes);
  dl_page_text(stream, many);
  fclose(stream);
  CU_ASSERT_EQUAL(bytes, 400 * strlen("&lt;"));
  free(text);
}

static void test_figures_read_well(void) {
  static const struct {
    double value;
    const char *text;
  } cases[] = {{0, "0"},
               {12345, "12,345"},
               {0.31214, "0.3121"},
               {-3, "-3"},
               {NAN, "-"},
               {INFINITY, "-"},
               {1.25e-5, "1.250e-05"},
               {1234.56, "1234.6"},
               {95259.31, "95,259"},
               {2.5e12, "2,500,000,000,000"}};
  char text[32];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    CU_ASSERT_STRING_EQUAL(dl_page_number(cases[i].value, text), cases[i].text);
}

/* ---- pictures ---- */

static char *line_chart(const double *x, const double *y, int64_t n) {
  char *text = NULL, *out;
  size_t bytes = 0;
  dl_series series = {.name = "s", .x = x, .y = y, .n = n};
  dl_chart chart = {.title = "t", .x_name = "x", .series = &series, .n_series = 1};
  FILE *stream = open_memstream(&text, &bytes);
  dl_chart_lines(stream, &chart);
  fclose(stream);
  out = strdup(text); /* gcc takes `text` itself for the pointer that is returned */
  free(text);
  return out;
}

/* The highest point of the picture's line, as the smallest y coordinate; and the number of its points. */
static double highest(const char *text, int *points) {
  const char *path = strstr(text, "class=\"line\"");
  double least = INFINITY, x, y;
  *points = 0;
  path = path ? strstr(path, "d=\"") : NULL;
  for (path = path ? path + 3 : ""; *path == 'M' || *path == 'L'; path += 1 + strcspn(path + 1, "ML\""), (*points)++)
    if (sscanf(path + 1, "%lf %lf", &x, &y) == 2 && y < least) least = y;
  return least;
}

static void test_a_long_line_is_thinned_and_keeps_its_spike(void) {
  enum { N = 100000 };
  double *x = calloc(N, sizeof *x), *y = calloc(N, sizeof *y);
  int points;
  for (int i = 0; i < N; i++) x[i] = i, y[i] = 1 + 0.1 * (i % 2);
  y[54321] = 50;
  char *text = line_chart(x, y, N);
  double top = highest(text, &points);
  CU_ASSERT_TRUE(points <= DL_CHART_POINTS);
  CU_ASSERT_TRUE(points > DL_CHART_POINTS / 2);
  CU_ASSERT_TRUE(top < 30); /* the spike reaches the top of the picture */
  free(text);
  y[54321] = 1;
  text = line_chart(x, y, N);
  CU_ASSERT_TRUE(is_balanced(text));
  free(text);
  free(x);
  free(y);
}

static void test_odd_lines_are_drawn_without_odd_numbers(void) {
  static const double x[] = {1, 2, 3, 4}, gaps[] = {1, NAN, INFINITY, 2}, flat[] = {5, 5, 5, 5},
                      none[] = {NAN, NAN, NAN, NAN}, large[] = {1e300, -1e300, 1e308, 0};
  const double *const cases[] = {gaps, flat, none, large};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int64_t n = 0; n <= 4; n++) {
      char *text = line_chart(x, cases[i], n);
      CU_ASSERT_PTR_NULL(strstr(text, "nan"));
      CU_ASSERT_PTR_NULL(strstr(text, "inf"));
      CU_ASSERT_TRUE(is_balanced(text));
      free(text);
    }
}

/* ---- logs ---- */

static const char *const good =
    "{\"event\":\"start\",\"time\":0,\"step\":0,\"ranks\":2,\"parameters\":10,\"fingerprint\":{\"isa\":\"<b>\"}}\n"
    "{\"event\":\"step\",\"time\":1,\"step\":1,\"epoch\":1,\"loss\":2,\"lr\":0.1,\"read\":{\"median\":0.5}}\n"
    "{\"event\":\"step\",\"time\":2,\"step\":2,\"epoch\":1,\"loss\":1,\"lr\":0.1}\n"
    "{\"event\":\"warning\",\"time\":2,\"step\":2,\"code\":\"c\",\"message\":\"it <broke>\"}\n"
    "{\"event\":\"eval\",\"time\":2,\"step\":2,\"split\":\"valid\",\"epoch\":1,\"loss\":1.5,\"accuracy\":0.5,"
    "\"confusion\":[[3,1],[0,4]]}\n"
    "{\"event\":\"end\",\"time\":3,\"step\":2,\"status\":\"completed\",\"steps\":2,\"epochs\":1,\"seconds\":3}\n";

static void test_a_log_is_read_whole(void) {
  dl_run_log log;
  put("good", "metrics.jsonl", good);
  put("good", "config.yaml", "name: a<b\noptimizer: {name: adam, lr: 0.1}\n");
  DL_ASSERT_OK(read_log("good", &log));
  CU_ASSERT_EQUAL(log.steps, 2);
  CU_ASSERT_EQUAL(log.figure[DL_LOG_LOSS][1], 1);
  CU_ASSERT_EQUAL(log.figure[DL_LOG_READ][0], 0.5);
  CU_ASSERT_TRUE(isnan(log.figure[DL_LOG_READ][1]));
  CU_ASSERT_EQUAL(dl_json_size(log.evals), 1);
  CU_ASSERT_EQUAL(log.foreign, 0);
  char *page = page_of(&log, 1, 0);
  CU_ASSERT_TRUE(is_balanced(page));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "it &lt;broke&gt;"));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "a&lt;b"));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "Confusion"));
  CU_ASSERT_PTR_NULL(strstr(page, "<script"));
  CU_ASSERT_PTR_NULL(strstr(page, "http"));
  free(page);
  dl_run_log_clear(&log);
}

static void test_cut_and_foreign_lines_are_counted_and_passed_over(void) {
  char text[4000];
  dl_run_log log;
  snprintf(text, sizeof text,
           "garbage\n[1,2]\n{\"event\":7}\n{\"event\":\"unknown\"}\n\n{\"event\":\"step\"}\n%s"
           "{\"event\":\"step\",\"step\":3,\"lo",
           good);
  put("cut", "metrics.jsonl", text);
  DL_ASSERT_OK(read_log("cut", &log));
  CU_ASSERT_EQUAL(log.steps, 2);
  CU_ASSERT_EQUAL(log.foreign, 6);
  char *page = page_of(&log, 1, 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "6 lines that could not be read"));
  free(page);
  dl_run_log_clear(&log);
}

static void test_a_run_that_went_back_shows_the_later_steps(void) {
  dl_run_log log;
  put("back", "metrics.jsonl",
      "{\"event\":\"step\",\"step\":1,\"loss\":3}\n{\"event\":\"step\",\"step\":2,\"loss\":9}\n"
      "{\"event\":\"step\",\"step\":3,\"loss\":9}\n{\"event\":\"step\",\"step\":2,\"loss\":2}\n");
  DL_ASSERT_OK(read_log("back", &log));
  CU_ASSERT_EQUAL(log.steps, 2);
  CU_ASSERT_EQUAL(log.figure[DL_LOG_LOSS][1], 2);
  dl_run_log_clear(&log);
}

static void test_a_long_run_makes_a_page_of_bounded_size(void) {
  enum { N = 200000 };
  size_t bytes = 0;
  char *text = NULL;
  FILE *stream = open_memstream(&text, &bytes);
  for (int i = 1; i <= N; i++)
    fprintf(stream, "{\"event\":\"step\",\"step\":%d,\"loss\":%.3f,\"lr\":0.1}\n", i, 1 + sin(i));
  fclose(stream);
  put("long", "metrics.jsonl", text);
  free(text);
  dl_run_log log;
  DL_ASSERT_OK(read_log("long", &log));
  CU_ASSERT_TRUE(log.steps <= DL_LOG_STEPS);
  CU_ASSERT_TRUE(log.steps > DL_LOG_STEPS / 3);
  CU_ASSERT_TRUE(log.figure[DL_LOG_STEP][log.steps - 1] > N - 8);
  for (int64_t i = 0; i < log.steps; i++) /* what is left belongs together */
    if (fabs(log.figure[DL_LOG_LOSS][i] - 1 - sin(log.figure[DL_LOG_STEP][i])) > 0.001) CU_FAIL("a step was mixed up");
  char *page = page_of(&log, 1, 0);
  CU_ASSERT_TRUE(strlen(page) < 100000);
  free(page);
  dl_run_log_clear(&log);
}

static void test_runs_are_compared_by_what_differs(void) {
  dl_run_log logs[2];
  put("one", "metrics.jsonl", good);
  put("one", "config.yaml", "name: n\noptimizer: {name: adam, lr: 0.1}\nmodel: [{dense: 3}]\n");
  put("two", "metrics.jsonl", good);
  put("two", "config.yaml", "name: n\noptimizer: {name: adam, lr: 0.2}\nmodel: [{dense: 3}, relu]\n");
  DL_ASSERT_OK(read_log("one", &logs[0]));
  DL_ASSERT_OK(read_log("two", &logs[1]));
  char *page = page_of(logs, 2, 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "<td>optimizer.lr</td><td>0.1</td><td>0.2</td>"));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "<td>model.1</td><td>-</td><td>relu</td>"));
  CU_ASSERT_PTR_NULL(strstr(page, "<td>optimizer.name</td>"));
  CU_ASSERT_TRUE(is_balanced(page));
  free(page);
  dl_run_log_clear(&logs[0]);
  dl_run_log_clear(&logs[1]);
}

static void test_curves_of_a_ranking_and_tables_of_classes_are_shown(void) {
  dl_run_log log;
  put("ranked", "metrics.jsonl", good);
  put("ranked", "evaluation.json",
      "{\"split\":\"test\",\"epoch\":1,\"class_names\":[\"cat\",\"dog\"],\"confusion\":[[5,1],[2,6]],"
      "\"classes\":{\"precision\":[0.25,0.75]},\"roc_curve\":{\"fpr\":[0,0.5,1],\"tpr\":[0,0.8,1]},"
      "\"pr_curve\":{\"recall\":[0,1],\"precision\":[1,0.5]}}");
  DL_ASSERT_OK(read_log("ranked", &log));
  char *page = page_of(&log, 1, 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "ROC"));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "precision against recall"));
  CU_ASSERT_PTR_NOT_NULL(strstr(page, "<td>dog</td><td>0.75</td>"));
  CU_ASSERT_EQUAL(count(page, ">cat</text>"), 2); /* both axes of the confusion */
  CU_ASSERT_TRUE(is_balanced(page));
  free(page);
  dl_run_log_clear(&log);
}

static void test_folders_that_are_no_runs_are_named(void) {
  dl_run_log log;
  put("empty", "other.txt", "x");
  CU_ASSERT_EQUAL(read_log("empty", &log), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "no metrics.jsonl"));
  CU_ASSERT_EQUAL(read_log("nowhere", &log), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "no such folder"));
  CU_ASSERT_EQUAL(read_log("empty/other.txt", &log), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "is a file"));
  char path[200];
  put("pipe", "other.txt", "x");
  snprintf(path, sizeof path, "%s/pipe/metrics.jsonl", folder);
  CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
  CU_ASSERT_EQUAL(read_log("pipe", &log), DL_ERR_DATA); /* and does not wait for it */
}

/* Statistics as they are shown. */
typedef struct shown {
  char *table, *page;
} shown;

static shown show(const char *text) {
  dl_json *stats = NULL;
  shown out = {NULL, NULL};
  size_t bytes;
  DL_ASSERT_OK(dl_json_parse(text, strlen(text), "case", &stats));
  DL_ASSERT_OK(dl_stats_table(stats, &out.table));
  DL_ASSERT_OK(dl_stats_page(stats, &out.page, &bytes));
  dl_json_destroy(&stats);
  return out;
}

static void forget(const shown *s) {
  free(s->table);
  free(s->page);
}

static void test_statistics_of_any_shape_make_a_table_and_a_page(void) {
  static const char *const cases[] = {
      "{}", "[]", "{\"features\":7,\"labels\":[],\"correlation\":\"x\",\"naive_bayes\":3}",
      "{\"features\":[{\"name\":\"<i>\",\"count\":3,\"histogram\":{\"edges\":[0,1],\"counts\":[3]},"
      "\"fits\":[{\"family\":\"normal\",\"best\":true,\"expected\":[2.5]}]},{},7],"
      "\"labels\":{\"classes\":[{\"label\":0,\"count\":2},{\"label\":1,\"name\":\"b\",\"count\":1}]},"
      "\"correlation\":{\"names\":[\"a\",\"b\"],\"pearson\":[[1,0.5],[0.5]]}}"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const shown s = show(cases[i]);
    CU_ASSERT_TRUE(is_balanced(s.page));
    CU_ASSERT_PTR_NULL(strstr(s.page, "<i>"));
    if (i == 3) CU_ASSERT_PTR_NOT_NULL(strstr(s.page, "&lt;i&gt;"));
    if (i == 3) CU_ASSERT_PTR_NOT_NULL(strstr(s.table, "0.5000"));
    forget(&s);
  }
}

static void test_infinite_values_and_names_of_any_script_are_told(void) {
  static const char text[] =
      "{\"samples\":1,\"features\":[{\"name\":\"\u00e9t\u00e9 of a name that is "
      "long\",\"count\":2440,\"infinite\":561},"
      "{\"name\":\"b\",\"count\":7,\"infinite\":0}],\"labels\":{\"classes\":[{\"label\":0,\"name\":\"\u00e9t\u00e9\","
      "\"count\":1}]}}";
  const shown s = show(text);
  CU_ASSERT_PTR_NOT_NULL(strstr(s.table, "\n\xc3\xa9t\xc3\xa9 of a name th       2,440"));
  CU_ASSERT_PTR_NOT_NULL(
      strstr(s.table, "\n\xc3\xa9t\xc3\xa9 of a name that is long: 561 infinite values are left out\n"));
  CU_ASSERT_EQUAL(count(s.table, "infinite"), 1);
  CU_ASSERT_EQUAL(count(s.page, "561 infinite values are left out"), 1);
  CU_ASSERT_EQUAL(count(s.page, "infinite values"), 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(s.table, ", 1 sample, "));
  CU_ASSERT_PTR_NOT_NULL(strstr(s.table, "labels: 1 class, "));
  CU_ASSERT_PTR_NOT_NULL(strstr(s.table, "  0 \xc3\xa9t\xc3\xa9                             1 "));
  forget(&s);
}

static void test_tokens_are_no_samples(void) {
  static const char text[] = "{\"samples\":7000,\"columns_are\":\"tokens\",\"features\":[{\"name\":\"tokens\"}]}";
  const shown s = show(text);
  CU_ASSERT_PTR_NOT_NULL(strstr(s.table, ", 7,000 tokens, "));
  CU_ASSERT_PTR_NOT_NULL(strstr(s.page, "<b>7,000</b>tokens"));
  CU_ASSERT_PTR_NOT_NULL(strstr(s.page, "Tokens"));
  CU_ASSERT_EQUAL(count(s.page, "samples") + count(s.page, "Features"), 0);
  forget(&s);
}

static const dl_test tests[] = {
    DL_TEST(test_text_cannot_become_markup),
    DL_TEST(test_long_text_is_cut),
    DL_TEST(test_figures_read_well),
    DL_TEST(test_a_long_line_is_thinned_and_keeps_its_spike),
    DL_TEST(test_odd_lines_are_drawn_without_odd_numbers),
    DL_TEST(test_a_log_is_read_whole),
    DL_TEST(test_cut_and_foreign_lines_are_counted_and_passed_over),
    DL_TEST(test_a_run_that_went_back_shows_the_later_steps),
    DL_TEST(test_a_long_run_makes_a_page_of_bounded_size),
    DL_TEST(test_runs_are_compared_by_what_differs),
    DL_TEST(test_curves_of_a_ranking_and_tables_of_classes_are_shown),
    DL_TEST(test_folders_that_are_no_runs_are_named),
    DL_TEST(test_infinite_values_and_names_of_any_script_are_told),
    DL_TEST(test_tokens_are_no_samples),
    DL_TEST(test_statistics_of_any_shape_make_a_table_and_a_page),
};

int main(void) {
  snprintf(folder, sizeof folder, "/tmp/dldist-pages-XXXXXX");
  return dl_test_main_in(folder, "pages", tests, sizeof tests / sizeof *tests);
}
