/* cmd_verify.c - dldist data verify and dldist data split. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_data.h"
#include "core/json.h"
#include "data/import.h"
#include "data/verify.h"

static void print_table(const dl_verification *v) {
  for (int i = 0; i < v->n_sets; i++) {
    const dl_verified_set *s = &v->sets[i];
    printf("%-14s %-8s %-22s %s\n", s->name, s->type, s->shape,
           s->checksums ? "every chunk read against its checksum"
           : s->chunks  ? "every chunk read; there are no checksums"
                        : "read; there are no checksums");
  }
  for (int i = 0; i < v->n; i++) {
    const dl_finding *f = &v->findings[i];
    printf("%s: %s", f->set, dl_finding_name(f->kind));
    if (f->chunk >= 0) printf(": chunk %lld", (long long)f->chunk);
    if (f->first >= 0)
      printf("%s row%s %lld", f->chunk >= 0 ? "," : ":", f->last > f->first ? "s" : "", (long long)f->first);
    if (f->last > f->first) printf(" to %lld", (long long)f->last);
    printf(": %s\n", f->text);
  }
  if (!v->errors) printf("nothing is wrong\n");
}

static void put_findings(const dl_verification *v, dl_json *all) {
  dl_json *list = dl_json_array();
  for (int i = 0; i < v->n; i++) {
    const dl_finding *f = &v->findings[i];
    dl_json *one = dl_json_object();
    dl_json_put_string(one, "set", f->set);
    dl_json_put_string(one, "kind", dl_finding_name(f->kind));
    dl_json_put_bool(one, "error", f->kind != DL_FINDING_REPEATED);
    if (f->chunk >= 0) dl_json_put_int(one, "chunk", f->chunk);
    if (f->first >= 0) dl_json_put_int(one, "first_row", f->first);
    if (f->first >= 0) dl_json_put_int(one, "last_row", f->last);
    dl_json_put_int(one, "count", f->count);
    dl_json_put_string(one, "text", f->text);
    dl_json_put(list, NULL, one);
  }
  dl_json_put(all, "findings", list);
}

static dl_status print_json(const dl_verification *v, const char *path) {
  dl_json *all = dl_json_object(), *sets = dl_json_array();
  char *text = NULL;
  dl_json_put_string(all, "file", path);
  dl_json_put_int(all, "errors", v->errors);
  for (int i = 0; i < v->n_sets; i++) {
    const dl_verified_set *s = &v->sets[i];
    dl_json *one = dl_json_object();
    dl_json_put_string(one, "name", s->name);
    dl_json_put_string(one, "type", s->type);
    dl_json_put_string(one, "shape", s->shape);
    dl_json_put_int(one, "rows", s->rows);
    dl_json_put_int(one, "bytes", s->bytes);
    dl_json_put_int(one, "chunks", s->chunks);
    dl_json_put_bool(one, "checksums", s->checksums);
    dl_json_put(sets, NULL, one);
  }
  dl_json_put(all, "sets", sets);
  put_findings(v, all);
  dl_status status = dl_json_text(all, true, &text);
  if (status == DL_OK) puts(text);
  free(text);
  dl_json_destroy(&all);
  return status;
}

dl_status dl_data_verify_command(const dl_command *command, const dl_args *args) {
  if (args->n_positional != 2) return dl_fail(DL_ERR_USAGE, "dldist data verify needs one FILE");
  dl_verification v;
  const char *path = args->positional[1];
  DL_TRY(dl_data_verify(path, &v));
  dl_status status = DL_OK;
  if (dl_option_of(command, args, "--json"))
    status = print_json(&v, path);
  else
    print_table(&v);
  if (status == DL_OK && v.errors)
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "%lld finding%s", (long long)v.errors, v.errors == 1 ? "" : "s");
  dl_verification_clear(&v);
  return status;
}

static dl_status fraction_of(const dl_command *command, const dl_args *args, const char *option, double *out) {
  const char *text = dl_option_of(command, args, option);
  char *end;
  *out = text ? strtod(text, &end) : 0;
  if (!text || (end != text && !*end && *out >= 0 && *out < 1)) return DL_OK;
  return dl_fail(DL_ERR_USAGE, "%s takes a fraction from 0 to below 1, not '%.40s'", option, text);
}

dl_status dl_data_split_command(const dl_command *command, const dl_args *args) {
  const char *output = dl_option_of(command, args, "-o"), *seed_text = dl_option_of(command, args, "--seed");
  double test, valid;
  char *end = NULL;
  if (args->n_positional != 2 || !output)
    return dl_fail(DL_ERR_USAGE, "dldist data split needs one FILE, and -o OUT.h5");
  DL_TRY(fraction_of(command, args, "--test-fraction", &test));
  DL_TRY(fraction_of(command, args, "--valid-fraction", &valid));
  const unsigned long long seed = seed_text ? strtoull(seed_text, &end, 10) : 1;
  if (seed_text && (end == seed_text || *end || *seed_text == '-'))
    return dl_fail(DL_ERR_USAGE, "--seed takes a whole number, not '%.40s'", seed_text);
  if (test + valid == 0)
    return dl_fail(DL_ERR_USAGE, "dldist data split needs --test-fraction, --valid-fraction or both");
  char found[400];
  dl_data_leave_nothing();
  DL_TRY(dl_data_split(args->positional[1], test, valid, seed, output, dl_option_of(command, args, "--force") != NULL));
  DL_TRY(dl_data_found(output, found, sizeof found));
  fprintf(stderr, "%s\n", found);
  return DL_OK;
}
