/* The stored corpus of every fuzzing target, each input as it is and damaged in some ways, without libFuzzer.
 * Usage: test_fuzz_corpus FOLDER [FILE TARGET] */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_targets.h"

enum { MOST = 1 << 20, ROUNDS = 12 };
static uint8_t bytes[MOST], damaged[MOST];

static size_t read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  const size_t n = file ? fread(bytes, 1, MOST, file) : 0;
  if (file) fclose(file);
  return n;
}

static void run_damaged(const fuzz_target *target, size_t n) {
  unsigned state = (unsigned)n;
  for (int round = 0; round < ROUNDS && n; round++) {
    memcpy(damaged, bytes, n);
    for (int i = 0; i < 2; i++) {
      state = state * 1664525u + 1013904223u;
      damaged[(state >> 8) % n] = (uint8_t)(state >> 3);
    }
    target->run(damaged, round % 3 ? n : n - (state >> 16) % n);
  }
}

static int run_folder(const char *corpus, const fuzz_target *target) {
  char path[1024];
  int n_files = 0;
  snprintf(path, sizeof path, "%s/%s", corpus, target->name);
  DIR *folder = opendir(path);
  for (struct dirent *e; folder && (e = readdir(folder));) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s/%s", corpus, target->name, e->d_name);
    printf("%s\n", path);
    fflush(stdout);
    const size_t n = read_file(path);
    target->run(bytes, n);
    run_damaged(target, n);
    n_files++;
  }
  if (folder) closedir(folder);
  if (n_files < 2) fprintf(stderr, "%s: only %d inputs\n", target->name, n_files);
  return n_files >= 2;
}

int main(int argc, char **argv) {
  int good = argc == 2 || argc == 4;
  for (int i = 0; i < fuzz_target_count && good; i++) {
    if (argc == 2)
      good = run_folder(argv[1], &fuzz_targets[i]);
    else if (!strcmp(fuzz_targets[i].name, argv[3]))
      fuzz_targets[i].run(bytes, read_file(argv[2]));
  }
  return !good;
}
