/* cmd_list.c - dldist list: what there is to choose from, out of the tables that the program itself uses. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "comm/sync.h"
#include "core/options.h"
#include "data/augment.h"
#include "data/import.h"
#include "metrics/metrics.h"
#include "nn/layer.h"
#include "nn/loss.h"
#include "nn/optimizer.h"
#include "train/schedule.h"

static const char *const type_names[] = {
    [DL_OPTION_BOOL] = "true|false",
    [DL_OPTION_INT] = "integer",
    [DL_OPTION_AUTO_INT] = "integer|auto",
    [DL_OPTION_REAL] = "number",
    [DL_OPTION_STRING] = "text",
    [DL_OPTION_CHOICE] = NULL,
    [DL_OPTION_PAIR] = "integer or [integer, integer]",
    [DL_OPTION_NODE] = "value",
};

static void print_options(const dl_option *options, int n) {
  for (int i = 0; i < n; i++) {
    const dl_option *o = &options[i];
    if (!strcmp(o->key, "name")) continue;
    printf("      %-16s %s%s%s: %s\n", o->key, o->choices ? o->choices : type_names[o->type],
           o->fallback && *o->fallback ? ", default "
           : o->fallback               ? ""
                                       : ", required",
           o->fallback ? o->fallback : "", o->help);
  }
}

static void print_entry(const char *name, const char *help) { printf("  %-20s %s\n", name, help); }

static void list_layers(void) {
  int n;
  const dl_layer_kind *const *kinds = dl_layer_kinds(&n);
  for (int i = 0; i < n; i++) {
    print_entry(kinds[i]->name, kinds[i]->help);
    print_options(kinds[i]->options, kinds[i]->n_options);
  }
  int common;
  const dl_option *options = dl_layer_common_options(&common);
  printf("  every layer takes\n");
  print_options(options, common);
}

static void list_losses(void) {
  int n;
  const dl_loss *losses = dl_losses(&n);
  for (int i = 0; i < n; i++) {
    print_entry(losses[i].name, losses[i].help);
    print_options(losses[i].options, losses[i].n_options);
  }
}

static void list_optimizers(void) {
  int n;
  const dl_optimizer_kind *const *kinds = dl_optimizer_kinds(&n);
  for (int i = 0; i < n; i++) {
    print_entry(kinds[i]->name, kinds[i]->help);
    print_options(kinds[i]->options, kinds[i]->n_options);
  }
}

static void list_schedules(void) {
  int n;
  const dl_schedule_kind *kinds = dl_schedule_kinds(&n);
  for (int i = 0; i < n; i++) {
    print_entry(kinds[i].name, kinds[i].help);
    print_options(kinds[i].options, kinds[i].n_options);
  }
  int common;
  const dl_option *options = dl_schedule_common_options(&common);
  printf("  every schedule takes\n");
  print_options(options, common);
}

static void list_augmentations(void) {
  int n;
  const dl_augmentation_kind *const *kinds = dl_augmentation_kinds(&n);
  for (int i = 0; i < n; i++) {
    print_entry(kinds[i]->name, kinds[i]->help);
    print_options(kinds[i]->options, kinds[i]->n_options);
  }
}

static void list_metrics(void) {
  int n;
  const dl_metrics_kind *const *kinds = dl_metrics_kinds(&n);
  for (int i = 0; i < n; i++) {
    print_entry(kinds[i]->task, kinds[i]->help);
    printf("      %s\n", kinds[i]->metrics);
  }
}

static void list_formats(void) {
  int n;
  const dl_format *formats = dl_formats(&n);
  for (int i = 0; i < n; i++) {
    print_entry(formats[i].name, formats[i].help);
    printf("      dldist data import %s %s -o FILE.h5\n", formats[i].name, formats[i].usage);
    print_options(formats[i].options, formats[i].n_options);
  }
}

static void list_sync(void) {
  int n;
  const dl_sync_kind *kinds = dl_sync_kinds(&n);
  for (int i = 0; i < n; i++) print_entry(kinds[i].name, kinds[i].help);
}

static const struct {
  const char *name;
  void (*list)(void);
} lists[] = {
    {"layers", list_layers},
    {"losses", list_losses},
    {"optimizers", list_optimizers},
    {"schedules", list_schedules},
    {"augmentations", list_augmentations},
    {"metrics", list_metrics},
    {"formats", list_formats},
    {"sync", list_sync},
};
#define N_LISTS ((int)(sizeof lists / sizeof lists[0]))

static dl_status run(const dl_command *command, const dl_args *args) {
  (void)command;
  const char *names[N_LISTS], *wanted = args->n_positional ? args->positional[0] : NULL;
  bool found = !wanted;
  for (int i = 0; i < N_LISTS; i++) {
    names[i] = lists[i].name;
    if (wanted && strcmp(wanted, names[i])) continue;
    found = true;
    if (!wanted) printf("%s%s\n", i ? "\n" : "", names[i]);
    lists[i].list();
  }
  if (found) return DL_OK;
  dl_fail(DL_ERR_USAGE, "dldist list: unknown list '%.60s'", wanted);
  return dl_hint_nearest(wanted, names, N_LISTS,
                         "one of layers, losses, optimizers, schedules, augmentations, metrics, formats, sync");
}

const dl_command dl_command_list = {
    .name = "list",
    .usage = "[layers|losses|optimizers|schedules|augmentations|metrics|formats|sync]",
    .help = "lists what a configuration may name, with its options",
    .more = "",
    .max_positional = 1,
    .whole_line_only = true,
    .run = run,
};
