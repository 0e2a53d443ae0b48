/* fingerprint.c - what bits depend on beside the configuration. */
#include "train/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/isa.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "nn/gemm.h"

extern char **environ;

static void put_processor(dl_json *object) {
  char line[512], model[256] = "unknown";
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
      snprintf(model, sizeof model, "%s", strchr(line, ':') + 2);
      model[strcspn(model, "\n")] = 0;
      break;
    }
  if (file) fclose(file);
  dl_json_put_string(object, "processor", model);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The variables that the libraries obey, in order of name. */
static void put_environment(dl_json *object) {
  static const char *const prefixes[] = {"OPENBLAS_", "DNNL_", "ONEDNN_", "DLDIST_ISA"};
  const char *found[64];
  size_t n = 0;
  for (char **v = environ; *v && n < 64; v++)
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++)
      if (!strncmp(*v, prefixes[p], strlen(prefixes[p])) && strchr(*v, '=') && strchr(*v, '=')[1]) {
        found[n++] = *v;
        break;
      }
  qsort(found, n, sizeof *found, by_text);
  dl_json *list = dl_json_array();
  for (size_t i = 0; i < n; i++) dl_json_put_string(list, NULL, found[i]);
  dl_json_put(object, "environment", list);
}

dl_json *dl_fingerprint(int64_t shards, int backend) {
  dl_json *object = dl_json_object();
  char text[160] = "unknown";
  const dl_gemm_backend *gemm = dl_gemm_choose(backend);
  if (gemm) gemm->describe(text, sizeof text);
  dl_json_put_string(object, "dldist", DLDIST_VERSION);
  dl_json_put_int(object, "shards", shards);
  dl_json_put_int(object, "rng", DL_RNG_VERSION);
  dl_json_put_string(object, "isa", dl_isa_text());
  dl_json_put_string(object, "gemm", text);
  put_processor(object);
  put_environment(object);
  return object;
}

/* The first key whose values differ, as "key: a | b"; false where all agree. */
static bool difference(const dl_json *a, const dl_json *b, char *text, size_t size) {
  const char *key;
  const dl_json *value;
  bool differ = false;
  for (void *at = NULL; !differ && dl_json_next(a, &at, &key, &value);) {
    char *x = NULL, *y = NULL;
    const dl_json *other = dl_json_get(b, key);
    if (dl_json_text(value, false, &x) == DL_OK && other && dl_json_text(other, false, &y) == DL_OK && strcmp(x, y))
      differ = true;
    if (x && (!y || differ)) {
      snprintf(text, size, "%s is %.150s here, %.150s there", key, x, y ? y : "not known");
      differ = true;
    }
    free(x);
    free(y);
  }
  return differ;
}

dl_status dl_fingerprint_compare_team(dl_team *team, const dl_json *mine) {
  if (team->processes == 1) return DL_OK;
  char *text = NULL;
  dl_status status = team->rank == 0 ? dl_json_text(mine, false, &text) : DL_OK;
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_broadcast_text(team, &text, 0);
  DL_TRY(status);
  dl_json *first = NULL;
  struct {
    char text[400];
    int differs;
  } word = {{0}, 0}, *words = NULL;
  if (dl_json_parse(text, strlen(text), "fingerprint", &first) == DL_OK)
    word.differs = difference(mine, first, word.text, sizeof word.text);
  dl_json_destroy(&first);
  free(text);
  words = dl_calloc((size_t)team->size, sizeof *words);
  status = dl_team_agree(team, words ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = dl_team_allgather(team, &word, sizeof word, words);
  for (int r = 1; status == DL_OK && r < team->size; r++)
    if (words[r].differs) {
      dl_warn("fingerprint", "rank %d is not like rank 0 (%s): the same bits are not promised", r, words[r].text);
      break;
    }
  free(words);
  return status;
}

void dl_fingerprint_compare_kept(const dl_json *mine, const dl_json *kept) {
  char text[400];
  if (dl_json_is_object(kept) && difference(mine, kept, text, sizeof text))
    dl_warn("fingerprint",
            "this machine or build is not what the checkpoint was made with (%s): the same bits are not promised",
            text);
}
