/* fuzz_run.c - what a run reads back or is sent: its configuration with the network that it asks for, tensors and
 * checkpoints, the lines of metrics.jsonl and what stands beside them, frames of parameter servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/ps_crc.h"
#include "comm/ps_frame.h"
#include "core/file.h"
#include "core/hash.h"
#include "fuzz_targets.h"
#include "nn/net.h"
#include "report/run_page.h"
#include "train/checkpoint.h"
#include "train/model.h"

void fuzz_config(const uint8_t *bytes, size_t n) {
  dl_config *config = NULL;
  dl_net *net = NULL;
  if (!n || dl_config_parse((const char *)bytes + 1, n - 1, "/c.yaml", NULL, 0, &config) != DL_OK) return;
  dl_net_spec spec = {.config = config, .x_dims = 1, .x_shape = {12}, .max_batch = 4, .most_bytes = 1 << 24};
  if (bytes[0] & 1) {
    spec.x_dims = 3;
    memcpy(spec.x_shape, (const int64_t[]){3, 8, 8}, 3 * sizeof *spec.x_shape);
  }
  if (bytes[0] & 2) spec.outputs = 4;
  if (bytes[0] & 4) memcpy(spec.map, (const int64_t[]){8, 8}, sizeof spec.map);
  if (dl_net_new(&spec, &net) == DL_OK) dl_net_destroy(&net);
  dl_config_destroy(&config);
}

static void list_tensors(const char *path) {
  dl_safetensors_entry *entries = NULL;
  dl_digest digest;
  int count = 0;
  if (dl_safetensors_list(path, &entries, &count, &digest) == DL_OK && count < 0) abort();
  free(entries);
}

void fuzz_safetensors(const uint8_t *bytes, size_t n) {
  fuzz_file file = fuzz_file_make(bytes, n);
  float values[6];
  const dl_tensor_view want[] = {{"layers.0.weight", 2, {2, 2}, 4, values}, {"layers.0.bias", 1, {2}, 2, values + 4}};
  list_tensors(file.path);
  dl_safetensors_read(file.path, want, 2);
  close(file.descriptor);
}

/* ---- checkpoints: the first byte says which file the others are ---- */

enum { N_FILES = 3 };
static const char *const file_names[N_FILES] = {"state.json", "model.safetensors", "optimizer.safetensors"};

static void write_manifest(const char *folder) {
  char text[2048], path[256];
  int used = snprintf(text, sizeof text, "{\"version\": 1, \"files\": {");
  for (int i = 0; i < N_FILES; i++) {
    struct stat about;
    dl_digest digest;
    snprintf(path, sizeof path, "%s/%s", folder, file_names[i]);
    if (stat(path, &about) != 0 || dl_sha256_file(path, &digest) != DL_OK) abort();
    used += snprintf(text + used, sizeof text - (size_t)used, "%s\"%s\": {\"bytes\": %lld, \"sha256\": \"%s\"}",
                     i ? ", " : "", file_names[i], (long long)about.st_size, digest.hex);
  }
  used += snprintf(text + used, sizeof text - (size_t)used, "}}");
  snprintf(path, sizeof path, "%s/MANIFEST.json", folder);
  fuzz_write(path, text, (size_t)used);
}

/* What a reader of checkpoints does before it builds a network. */
static void read_checkpoint(const char *folder) {
  dl_json *state = NULL;
  dl_data_shape shape;
  char path[256];
  if (dl_checkpoint_verify(folder) != DL_OK || dl_checkpoint_state(folder, &state) != DL_OK) return;
  dl_state_shape(state, &shape);
  const char *text = dl_json_string(dl_json_get(state, "config"));
  dl_config *config = NULL;
  if (text && dl_config_parse(text, strlen(text), "state.json", NULL, 0, &config) == DL_OK) dl_config_destroy(&config);
  dl_json_destroy(&state);
  for (int i = 1; i < N_FILES; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, file_names[i]);
    list_tensors(path);
  }
}

void fuzz_checkpoint(const uint8_t *bytes, size_t n) {
  static const char state[] = "{\"x_shape\": [2], \"outputs\": 2, \"config\": \"model: [{dense: 2}]\"}";
  static const char tensors[] = "\2\0\0\0\0\0\0\0{}";
  char folder[128], path[256];
  if (!n) return;
  snprintf(folder, sizeof folder, "%s", fuzz_scratch("checkpoint"));
  mkdir(folder, 0700);
  for (int i = 0; i < N_FILES; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, file_names[i]);
    if (bytes[0] % 4 == i + 1)
      fuzz_write(path, bytes + 1, n - 1);
    else
      fuzz_write(path, i ? tensors : state, i ? sizeof tensors - 1 : sizeof state - 1);
  }
  write_manifest(folder);
  snprintf(path, sizeof path, "%s/MANIFEST.json", folder);
  if (bytes[0] % 4 == 0) fuzz_write(path, bytes + 1, n - 1);
  read_checkpoint(folder);
  if (dl_dir_remove(folder) != DL_OK) abort();
}

/* ---- a run's folder ---- */

void fuzz_run_log(const uint8_t *bytes, size_t n) {
  static const char *const names[] = {"metrics.jsonl", "config.yaml", "evaluation.json"};
  static const char plain[] = "{\"event\": \"start\", \"time\": 0, \"step\": 0}\n";
  char folder[128], path[256];
  if (!n) return;
  snprintf(folder, sizeof folder, "%s", fuzz_scratch("run"));
  mkdir(folder, 0700);
  snprintf(path, sizeof path, "%s/%s", folder, names[0]);
  fuzz_write(path, plain, sizeof plain - 1);
  snprintf(path, sizeof path, "%s/%s", folder, names[bytes[0] % 3]);
  fuzz_write(path, bytes + 1, n - 1);
  const char *const folders[] = {folder, folder};
  dl_report_write(folders, bytes[0] & 64 ? 2 : 1);
  if (dl_dir_remove(folder) != DL_OK) abort();
}

/* ---- frames: an odd first byte stands before the fields of one, which is sealed, so that what the checksums guard is
 * reached; else header and payload are what they are ---- */

static void read_frame(const uint8_t *header, size_t bytes, const uint8_t *payload, size_t payload_bytes) {
  dl_ps_frame frame;
  uint8_t again[DL_PS_HEADER_BYTES];
  uint8_t *exact = malloc(bytes + 1) /* a read beyond it is seen */;
  if (!exact) abort();
  memcpy(exact + 1, header, bytes);
  if (dl_ps_frame_read(exact + 1, bytes, payload, payload_bytes, &frame) == DL_PS_FINE) {
    if (frame.payload_bytes != payload_bytes || frame.kind < 1 || frame.kind >= DL_PS_KINDS) abort();
    dl_ps_frame_write(&frame, again);
    if (dl_ps_frame_read(again, sizeof again, payload, payload_bytes, &frame) != DL_PS_FINE) abort();
  }
  free(exact);
}

void fuzz_ps_frame(const uint8_t *bytes, size_t n) {
  dl_ps_frame frame = {.kind = 0};
  uint8_t header[DL_PS_HEADER_BYTES];
  if (!n) return;
  const size_t most = bytes[0] & 1 ? sizeof frame : sizeof header, head = n - 1 < most ? n - 1 : most;
  const uint8_t *payload = bytes + 1 + head;
  const size_t payload_bytes = n - 1 - head;
  if (bytes[0] & 1) {
    memcpy(&frame, bytes + 1, head);
    frame.payload_bytes = payload_bytes;
    frame.payload_crc = dl_ps_crc(payload, payload_bytes);
    dl_ps_frame_write(&frame, header);
    read_frame(header, sizeof header, payload, payload_bytes);
  } else
    read_frame(bytes + 1, head, payload, payload_bytes);
}
