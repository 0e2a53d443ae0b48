/* cmd_help.c - dldist help, and the man page, out of the tables. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "core/config.h"

static const dl_arg args_table[] = {
    {"--man", NULL, NULL, "writes the man page in roff"},
};

static const char exit_codes[] =
    "0 done; 2 wrong usage or configuration; 3 bad data or checkpoint; 4 training failed; 75 stopped early by a signal "
    "with a "
    "checkpoint written (run again to go on); 1 anything else.";

/* ---- text ---- */

/* Breaks `text` into lines of 100 columns, behind `indent` spaces; blank lines stay. */
static void print_wrapped(const char *text, int indent) {
  int column = 0;
  while (*text) {
    if (*text == '\n') {
      printf("\n");
      column = 0;
      text++;
      continue;
    }
    size_t word = strcspn(text, " \n");
    if (column && column + 1 + (int)word > 100 - indent) {
      printf("\n");
      column = 0;
    }
    column += printf("%*s%.*s", column ? 1 : indent, column ? " " : "", (int)word, text) - (column ? 0 : indent);
    text += word;
    while (*text == ' ') text++;
  }
  printf("\n");
}

static void print_args(const dl_command *command) {
  for (int i = 0; i < command->n_args; i++) {
    const dl_arg *a = &command->args[i];
    char left[96];
    snprintf(left, sizeof left, "%s%s%s%s%s", a->name, a->other ? ", " : "", a->other ? a->other : "",
             a->value ? " " : "", a->value ? a->value : "");
    if (strlen(left) > 26)
      printf("  %s\n  %-26s %s\n", left, "", a->help);
    else
      printf("  %-26s %s\n", left, a->help);
  }
}

static void print_config_keys(void) {
  printf("\nconfiguration (YAML; --set takes the same keys):\n");
  for (int i = 0; i < dl_config_row_count; i++) {
    const dl_option *o = &dl_config_rows[i];
    char left[200];
    snprintf(left, sizeof left, "%s%s%s%s%s", o->key, o->choices ? ": " : "", o->choices ? o->choices : "",
             o->fallback && *o->fallback ? ", default " : "", o->fallback ? o->fallback : "");
    printf("  %s\n", left);
    print_wrapped(o->help, 6);
  }
}

static dl_status help_command(const dl_command *command) {
  printf("usage: dldist %s %s\n\n", command->name, command->usage);
  printf("%s%s\n", command->help, ".");
  if (*command->more) {
    printf("\n");
    print_wrapped(command->more, 0);
  }
  if (command->n_args) printf("\noptions:\n");
  print_args(command);
  if (!strcmp(command->name, "train")) print_config_keys();
  return DL_OK;
}

static dl_status help_all(void) {
  int n;
  const dl_command *const *all = dl_commands(&n);
  printf("dldist " DLDIST_VERSION ": distributed data-parallel training of neural networks on CPU clusters\n\n");
  printf("usage: dldist COMMAND [ARGUMENTS], alone or under mpirun or srun\n\n");
  for (int i = 0; i < n; i++) printf("  %-10s %s\n", all[i]->name, all[i]->help);
  printf(
      "\nbegin here:\n"
      "  dldist train                          a demo on all cores: handwritten digits in a second\n"
      "  mpirun -np 2 dldist train             the same on two ranks, with the same bits\n"
      "  dldist train CONFIG.yaml --run DIR    your own\n"
      "  dldist help train                     every option and every key of the configuration\n\nexit codes: ");
  print_wrapped(exit_codes, 0);
  return DL_OK;
}

/* ---- roff ---- */

static void roff(const char *text) {
  if (*text == '.' || *text == '\'') printf("\\&");
  for (; *text; text++) {
    if (*text == '\n' && text[1] == '\n') {
      printf("\n.PP\n");
      text++;
    } else if (*text == '-') {
      printf("\\-");
    } else if (*text == '\\') {
      printf("\\e");
    } else {
      putchar(*text);
    }
  }
}

static void roff_item(const char *tag, const char *text) {
  printf(".TP\n.B ");
  roff(tag);
  printf("\n");
  roff(text);
  printf("\n");
}

static void roff_command(const dl_command *command) {
  printf(".SS dldist %s\n.B dldist %s\n", command->name, command->name);
  roff(command->usage);
  printf("\n.PP\n");
  roff(command->help);
  printf(".\n.PP\n");
  if (*command->more) {
    roff(command->more);
    printf("\n");
  }
  for (int i = 0; i < command->n_args; i++) {
    char tag[96];
    const char *value = command->args[i].value;
    snprintf(tag, sizeof tag, "%s%s%s", command->args[i].name, value ? " " : "", value ? value : "");
    roff_item(tag, command->args[i].help);
  }
}

static dl_status man_page(void) {
  int n;
  const dl_command *const *all = dl_commands(&n);
  printf(".TH DLDIST 1 \"\" \"dldist " DLDIST_VERSION
         "\" \"User Commands\"\n.SH NAME\n"
         "dldist \\- distributed data\\-parallel training of neural networks on CPU clusters\n"
         ".SH SYNOPSIS\n.B dldist\n.I COMMAND\n[ARGUMENTS]\n.br\n.B mpirun \\-np 8 dldist train\n"
         "[CONFIG.yaml]\n.SH DESCRIPTION\n"
         "Each MPI rank trains a replica on a data set in HDF5; gradients are summed across ranks along one fixed "
         "tree, so that the "
         "same configuration gives the same weights, bit for bit, at any number of ranks.\n.SH COMMANDS\n");
  for (int i = 0; i < n; i++) roff_command(all[i]);
  printf(".SH CONFIGURATION\nA YAML file; \\fB\\-\\-set\\fR takes the same keys.\n");
  for (int i = 0; i < dl_config_row_count; i++) {
    const dl_option *o = &dl_config_rows[i];
    char tag[200];
    snprintf(tag, sizeof tag, "%s%s%s", o->key, o->fallback && *o->fallback ? ", default " : "",
             o->fallback ? o->fallback : "");
    roff_item(tag, o->help);
    if (!o->choices) continue;
    printf(".br\nOne of ");
    roff(o->choices);
    printf(".\n");
  }
  printf(".SH EXIT STATUS\n");
  roff(exit_codes);
  printf("\n.SH ENVIRONMENT\n");
  roff_item("DLDIST_ISA", "base, avx2 or avx512: lowers the instruction set of dldist's own kernels");
  roff_item("DLDIST_TERMINAL",
            "the width of the terminal that standard error reaches through a pipe, 0 for none: a progress line is "
            "drawn where it is not 0; default: found out");
  roff_item("DLDIST_SHARE", "the folder of the data that come with dldist");
  return DL_OK;
}

static dl_status run(const dl_command *command, const dl_args *args) {
  if (command && dl_option_of(command, args, "--man")) return man_page();
  if (!args->n_positional || !strcmp(args->positional[0], "help")) return help_all();
  const dl_command *topic = dl_command_find(args->positional[0]);
  if (!topic) {
    dl_fail(DL_ERR_USAGE, "there is no command '%.60s'", args->positional[0]);
    return dl_hint("dldist help names them");
  }
  return help_command(topic);
}

const dl_command dl_command_help = {
    .name = "help",
    .usage = "[COMMAND] [--man]",
    .help = "tells about a command",
    .more = "",
    .args = args_table,
    .n_args = 1,
    .max_positional = 1,
    .whole_line_only = true,
    .run = run,
};
