/* cmd_ps.c - dldist ps keygen | serve. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/supervise.h"
#include "comm/launch.h"
#include "comm/ps_keys.h"
#include "core/mem.h"
#include "core/options.h"

static const dl_arg args_table[] = {
    {"--bind", NULL, "ADDRESS",
     "serve: where to listen: tcp://HOST:PORT (tcp://*:PORT for all networks) or ipc:///PATH"},
    {"--key", NULL, "FILE.key", "serve: the server's key; needed for all but loopback and ipc"},
    {"--allow", NULL, "FILE", "serve: the workers' public keys, .pub files one after another"},
    {"--set", NULL, "KEY=VALUE", "serve: sets a key of the configuration (may be repeated)"},
    {"--run", NULL, "DIR", "serve: the run's folder; default runs/NAME-DATE"},
    {"--resume", NULL, "auto|never|CHECKPOINT",
     "serve: what to go on from; auto (default): the newest whole checkpoint"},
    {"-j", "--threads", "SERVERS", "serve: servers in this process, each with a slice of the weights; default 1"},
    {"--supervise", NULL, NULL,
     "serve: a small process stays beside the server and begins it again when it crashes or is killed; needs --run"},
    {"--quiet", "-q", NULL, "serve: no progress, epochs or warnings; the results alone"},
    {"--dry-run", "-n", NULL, "serve: checks configuration and data, prints the network, serves nothing"},
};

static dl_status keygen(const dl_command *command, const dl_args *args) {
  (void)command;
  dl_ps_keys keys;
  if (args->n_positional != 2) return dl_fail(DL_ERR_USAGE, "dldist ps keygen needs one NAME");
  if (!dl_launch_is_first()) return DL_OK;
  DL_TRY(dl_ps_keys_new(&keys));
  dl_status status = dl_ps_keys_write(args->positional[1], &keys);
  if (status == DL_OK)
    printf("%s.key   this one's secret, readable by you alone\n%s.pub   its public key, for the others\n",
           args->positional[1], args->positional[1]);
  explicit_bzero(&keys, sizeof keys);
  return status;
}

/* The options that stand for keys of the configuration, put behind what --set says. */
static dl_status add_settings(const dl_command *command, const dl_args *args, dl_args *out, char *texts[4]) {
  static const char *const options[] = {"--bind", "--key", "--allow"};
  static const char *const keys[] = {"sync.bind", "sync.key", "sync.allow"};
  texts[0] = dl_strdup("sync.mode=ps");
  for (int i = 0; i < 3; i++) {
    const char *value = dl_option_of(command, args, options[i]);
    if (value && strpbrk(value, "'\n"))
      return dl_fail(DL_ERR_USAGE, "dldist ps serve: %s cannot have a quote in it", options[i]);
    texts[i + 1] = value ? dl_asprintf("%s='%s'", keys[i], value) : NULL;
    if (value && !texts[i + 1]) return DL_ERR_NOMEM;
  }
  for (int i = 0; i < 4; i++) {
    if (!texts[i]) continue;
    if (out->n_set == DL_ARGS_MAX) return dl_fail(DL_ERR_USAGE, "dldist ps: more than %d --set", DL_ARGS_MAX - 4);
    out->set[out->n_set++] = texts[i];
  }
  return DL_OK;
}

/* In the process that stays beside: does not return. */
static dl_status supervise(const dl_command *command, const dl_args *args) {
  const char *resume = dl_option_of(command, args, "--resume");
  if (!dl_option_of(command, args, "--supervise") || dl_option_of(command, args, "--dry-run")) return DL_OK;
  if (dl_launch_under_launcher()) {
    dl_fail(DL_ERR_USAGE, "--supervise is for a server that no launcher has started");
    return dl_hint("serve with -j SERVERS, or put the launcher into a loop");
  }
  if (!dl_option_of(command, args, "--run")) {
    dl_fail(DL_ERR_USAGE, "--supervise needs --run DIR");
    return dl_hint("a server that is begun again goes on from what lies in its folder");
  }
  if (resume && strcmp(resume, "auto")) {
    dl_fail(DL_ERR_USAGE, "--supervise goes on from the newest checkpoint: not with --resume %.60s", resume);
    return dl_hint("begin with --resume %.60s, stop it by SIGTERM, and go on with --supervise", resume);
  }
  bool child;
  int exit_code;
  DL_TRY(dl_supervise("the server", &child, &exit_code));
  if (!child) exit(exit_code);
  return DL_OK;
}

static dl_status serve(const dl_command *command, const dl_args *args) {
  dl_args settings = *args;
  char *texts[4] = {NULL};
  if (!dl_option_of(command, args, "--bind")) {
    dl_fail(DL_ERR_USAGE, "dldist ps serve needs --bind ADDRESS");
    return dl_hint("for example --bind tcp://127.0.0.1:5555");
  }
  if (args->n_positional > 2)
    return dl_fail(DL_ERR_USAGE, "dldist ps serve: '%s' is one argument too many", args->positional[2]);
  settings.n_positional = args->n_positional - 1;
  if (settings.n_positional) settings.positional[0] = args->positional[1];
  dl_status status = supervise(command, args);
  if (status == DL_OK) status = add_settings(command, args, &settings, texts);
  if (status == DL_OK) status = dl_train_launch(command, &settings, 1);
  for (int i = 0; i < 4; i++) free(texts[i]);
  return status;
}

static const struct {
  const char *name;
  dl_status (*run)(const dl_command *, const dl_args *);
} actions[] = {{"keygen", keygen}, {"serve", serve}};
#define N_ACTIONS ((int)(sizeof actions / sizeof actions[0]))

static dl_status run(const dl_command *command, const dl_args *args) {
  const char *names[N_ACTIONS];
  for (int i = 0; i < N_ACTIONS; i++) {
    names[i] = actions[i].name;
    if (!strcmp(args->positional[0], names[i])) return actions[i].run(command, args);
  }
  dl_fail(DL_ERR_USAGE, "dldist ps: unknown action '%.60s'", args->positional[0]);
  return dl_hint_nearest(args->positional[0], names, N_ACTIONS, "see dldist help ps");
}

const dl_command dl_command_ps = {
    .name = "ps",
    .usage =
        "keygen NAME | serve [CONFIG.yaml] --bind ADDRESS [--key FILE.key --allow FILE] [--set KEY=VALUE]... "
        "[--run DIR] [--resume auto|never|CHECKPOINT] [-j SERVERS] [--supervise] [--quiet] [--dry-run]",
    .help = "parameter servers, for workers that come and go",
    .more =
        "serve holds a run: weights, optimizer, evaluation, checkpoints and metrics.jsonl. Workers are `dldist train "
        "CONFIG.yaml --set sync.mode=ps --set sync.connect=ADDRESS`, any number, started and stopped at will; with "
        "sync.consistency: bsp (the default) the weights have the bits of `dldist train CONFIG.yaml`, whoever came and "
        "went. A server that was killed goes on from its newest checkpoint (in ssp and asp also from its log, which "
        "has every push since that was acknowledged) when the same command is given again; its workers wait for it. "
        "--supervise does so by itself: crashes and kills are followed by a new server within seconds, exit codes are "
        "handed on.\n\n"
        "Loopback and ipc are open to this machine; anything else wants keys: keygen makes NAME.key (readable by its "
        "owner alone) and NAME.pub. The server gets its --key and --allow, the workers' .pub files one after another; "
        "workers get sync.key and sync.server_key.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .min_positional = 1,
    .max_positional = 3,
    .run = run,
};
