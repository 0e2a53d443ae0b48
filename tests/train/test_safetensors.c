/* The safetensors format: written as its description says, read back bit for bit, and no damage does more than fail. */
#include "train/safetensors.h"

#include <sys/mman.h>

#include "core/json.h"
#include "dltest.h"
#include "scratch.h"

enum { TENSORS = 5, MUTANTS = 20000, FILE_MOST = 1 << 16 };

/* Five tensors, one of no dimension, one of no element; values that a careless writer would lose. */
typedef struct sample {
  dl_tensor_view view[TENSORS];
  float values[64];
} sample;

static void make_sample(sample *s) {
  static const struct {
    const char *name;
    int dims;
    int64_t shape[DL_MAX_DIMS];
    size_t count;
  } all[TENSORS] = {
      {"layers.0.weight", 2, {3, 5}, 15},
      {"layers.0.bias", 1, {3}, 3},
      {"scalar", 0, {0}, 1},
      {"nothing \"quoted\" \xc3\xa9", 3, {2, 0, 4}, 0},
      {"five", 5, {1, 2, 1, 3, 2}, 12},
  };
  static const uint32_t odd[] = {0x7fc00001, 0xff800000, 0x00000001, 0x80000000, 0x7f7fffff};
  uint32_t state = 7;
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 64; i++) s->values[i] = random_value(&state);
  memcpy(s->values + 4, odd, sizeof odd);
  float *at = s->values;
  for (int t = 0; t < TENSORS; t++) {
    s->view[t] = (dl_tensor_view){.dims = all[t].dims, .count = all[t].count, .values = at};
    snprintf(s->view[t].name, sizeof s->view[t].name, "%s", all[t].name);
    memcpy(s->view[t].shape, all[t].shape, sizeof all[t].shape);
    at += all[t].count;
  }
}

/* The same tensors with other memory behind them. */
static void like(const sample *s, sample *out) {
  *out = *s;
  memset(out->values, 0x55, sizeof out->values);
  for (int t = 0; t < TENSORS; t++) out->view[t].values = out->values + (s->view[t].values - s->values);
}

static unsigned char *write_sample(const scratch *dir, const sample *s, size_t *n) {
  const char *path = scratch_path(dir, "a.safetensors");
  uint64_t bytes = 0;
  dl_digest file, tensors;
  DL_ASSERT_OK(dl_safetensors_write(path, s->view, TENSORS, &bytes, &file, &tensors));
  unsigned char *all = bytes_of(path, n);
  CU_ASSERT_PTR_NOT_NULL_FATAL(all);
  CU_ASSERT_EQUAL(bytes, *n);
  return all;
}

static uint64_t length_of(const unsigned char *file) {
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | file[i];
  return length;
}

/* ---- what is written ---- */

static void test_a_file_is_a_length_a_padded_json_header_and_tensors_without_holes(void) {
  scratch dir;
  sample s;
  size_t n, expected = 0;
  scratch_begin(&dir);
  make_sample(&s);
  unsigned char *file = write_sample(&dir, &s, &n);
  uint64_t length = length_of(file);
  CU_ASSERT_FATAL(length + 8 < n);
  CU_ASSERT_EQUAL((length + 8) % 64, 0);
  CU_ASSERT_EQUAL(file[8], '{'); /* readers ask for it */
  dl_json *header = NULL;
  DL_ASSERT_OK(dl_json_parse((const char *)file + 8, length, "header", &header));
  CU_ASSERT_EQUAL(dl_json_size(header), TENSORS + 1);
  CU_ASSERT(dl_json_is_object(dl_json_get(header, "__metadata__")));
  void *at = NULL;
  const char *name;
  const dl_json *entry;
  for (int t = 0; t < TENSORS; t++) {
    CU_ASSERT_FATAL(dl_json_next(header, &at, &name, &entry));
    if (!strcmp(name, "__metadata__")) CU_ASSERT_FATAL(dl_json_next(header, &at, &name, &entry));
    CU_ASSERT_STRING_EQUAL(name, s.view[t].name); /* in order */
    CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_get(entry, "dtype")), "F32");
    CU_ASSERT_EQUAL(dl_json_size(entry), 3);
    CU_ASSERT_EQUAL(dl_json_size(dl_json_get(entry, "shape")), (size_t)s.view[t].dims);
    for (int d = 0; d < s.view[t].dims; d++)
      CU_ASSERT_EQUAL(dl_json_int(dl_json_at(dl_json_get(entry, "shape"), (size_t)d), -1), s.view[t].shape[d]);
    const dl_json *offsets = dl_json_get(entry, "data_offsets");
    CU_ASSERT_EQUAL(dl_json_int(dl_json_at(offsets, 0), -1), (int64_t)expected);
    expected += 4 * s.view[t].count;
    CU_ASSERT_EQUAL(dl_json_int(dl_json_at(offsets, 1), -1), (int64_t)expected);
  }
  CU_ASSERT_EQUAL_FATAL(n, 8 + length + expected);
  CU_ASSERT_EQUAL(memcmp(file + 8 + length, s.values, expected), 0); /* little-endian machines alone are built for */
  dl_json_destroy(&header);
  free(file);
  scratch_end(&dir);
}

static void test_values_read_back_bit_for_bit_in_any_order_of_asking(void) {
  scratch dir;
  sample s, back;
  size_t n;
  scratch_begin(&dir);
  make_sample(&s);
  free(write_sample(&dir, &s, &n));
  like(&s, &back);
  dl_tensor_view asked[TENSORS];
  for (int t = 0; t < TENSORS; t++) asked[t] = back.view[(t * 3 + 2) % TENSORS];
  DL_ASSERT_OK(dl_safetensors_read(scratch_path(&dir, "a.safetensors"), asked, TENSORS));
  for (int t = 0; t < TENSORS; t++)
    CU_ASSERT_EQUAL(memcmp(back.view[t].values, s.view[t].values, 4 * s.view[t].count), 0);
  size_t used = 31; /* of the values; what follows stays as it was */
  for (size_t i = used; i < 64; i++) CU_ASSERT_EQUAL(((const unsigned char *)back.values)[4 * i], 0x55);
  scratch_end(&dir);
}

static void test_digests_are_sha256_of_the_file_and_of_names_and_values(void) {
  scratch dir;
  sample s;
  scratch_begin(&dir);
  make_sample(&s);
  const char *path = scratch_path(&dir, "a.safetensors");
  uint64_t bytes;
  dl_digest file, tensors, whole, parts, memory, listed;
  DL_ASSERT_OK(dl_safetensors_write(path, s.view, TENSORS, &bytes, &file, &tensors));
  size_t n;
  unsigned char *all = bytes_of(path, &n);
  CU_ASSERT_PTR_NOT_NULL_FATAL(all);
  unsigned char stream[2048];
  size_t used = 0;
  for (int t = 0; t < TENSORS; t++) { /* name, a 0 byte, values, by hand */
    memcpy(stream + used, s.view[t].name, strlen(s.view[t].name));
    used += strlen(s.view[t].name);
    stream[used++] = 0;
    memcpy(stream + used, s.view[t].values, 4 * s.view[t].count);
    used += 4 * s.view[t].count;
  }
  dl_sha256 *hash = NULL;
  DL_ASSERT_OK(dl_sha256_new(&hash));
  dl_sha256_update(hash, stream, used);
  dl_sha256_finish(hash, &parts);
  dl_sha256_destroy(&hash);
  DL_ASSERT_OK(dl_sha256_new(&hash));
  dl_sha256_update(hash, all, n);
  dl_sha256_finish(hash, &whole);
  dl_sha256_destroy(&hash);
  CU_ASSERT_STRING_EQUAL(file.hex, whole.hex);
  CU_ASSERT_STRING_EQUAL(tensors.hex, parts.hex);
  DL_ASSERT_OK(dl_tensors_digest(s.view, TENSORS, &memory));
  CU_ASSERT_STRING_EQUAL(memory.hex, parts.hex);
  dl_safetensors_entry *entries = NULL;
  int n_entries = 0;
  DL_ASSERT_OK(dl_safetensors_list(path, &entries, &n_entries, &listed));
  CU_ASSERT_STRING_EQUAL(listed.hex, parts.hex);
  CU_ASSERT_EQUAL(n_entries, TENSORS);
  free(entries);
  free(all);
  scratch_end(&dir);
}

static void test_a_tensor_larger_than_any_buffer_keeps_its_digest(void) {
  scratch dir;
  scratch_begin(&dir);
  const char *path = scratch_path(&dir, "big.safetensors");
  size_t count = 100003;
  float *values = calloc(2 * count, sizeof *values);
  uint32_t state = 3;
  CU_ASSERT_PTR_NOT_NULL_FATAL(values);
  for (size_t i = 0; i < count; i++) values[i] = random_value(&state);
  dl_tensor_view view = {.name = "w", .dims = 1, .shape = {100003}, .count = count, .values = values};
  uint64_t bytes;
  dl_digest file, tensors, listed;
  DL_ASSERT_OK(dl_safetensors_write(path, &view, 1, &bytes, &file, &tensors));
  dl_safetensors_entry *entries = NULL;
  int n;
  DL_ASSERT_OK(dl_safetensors_list(path, &entries, &n, &listed));
  CU_ASSERT_STRING_EQUAL(listed.hex, tensors.hex);
  free(entries);
  view.values = values + count;
  DL_ASSERT_OK(dl_safetensors_read(path, &view, 1));
  CU_ASSERT_EQUAL(memcmp(values, values + count, count * sizeof *values), 0);
  free(values);
  scratch_end(&dir);
}

static void test_no_tensors_are_a_file_too(void) {
  scratch dir;
  scratch_begin(&dir);
  const char *path = scratch_path(&dir, "none.safetensors");
  uint64_t bytes;
  dl_digest file;
  DL_ASSERT_OK(dl_safetensors_write(path, NULL, 0, &bytes, &file, NULL));
  DL_ASSERT_OK(dl_safetensors_read(path, NULL, 0));
  scratch_end(&dir);
}

/* Two of one name, or a name that JSON cannot hold, would make a file with a hole. */
static void test_names_that_the_format_cannot_hold_are_refused_when_written(void) {
  static const char *const names[][2] = {{"w", "w"}, {"a", "\xff\xfe"}, {"a", "__metadata__"}};
  scratch dir;
  scratch_begin(&dir);
  float values[2] = {1, 2};
  for (int i = 0; i < 3; i++) {
    dl_tensor_view views[2];
    for (int t = 0; t < 2; t++) {
      views[t] = (dl_tensor_view){.dims = 1, .shape = {1}, .count = 1, .values = &values[t]};
      snprintf(views[t].name, sizeof views[t].name, "%s", names[i][t]);
    }
    uint64_t bytes;
    dl_digest file;
    CU_ASSERT_NOT_EQUAL(dl_safetensors_write(scratch_path(&dir, "x.safetensors"), views, 2, &bytes, &file, NULL),
                        DL_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, names[i][1]));
  }
  scratch_end(&dir);
}

/* ---- what is damaged ---- */

/* A file in memory that the reader opens by path. */
typedef struct memory_file {
  int fd;
  char path[40];
} memory_file;

static void memory_file_open(memory_file *m) {
  m->fd = memfd_create("safetensors", 0);
  CU_ASSERT_FATAL(m->fd >= 0);
  snprintf(m->path, sizeof m->path, "/proc/self/fd/%d", m->fd);
}

static void memory_file_put(const memory_file *m, const void *bytes, size_t n) {
  CU_ASSERT_EQUAL(ftruncate(m->fd, 0), 0);
  CU_ASSERT_EQUAL(pwrite(m->fd, bytes, n, 0), (ssize_t)n);
}

/* Reads by both functions; DL_OK is only right where the entries tile the data and the values are the file's. */
static dl_status judge(const memory_file *m, const unsigned char *file, size_t n, const sample *s) {
  sample back;
  dl_safetensors_entry *entries = NULL;
  int n_entries = 0;
  dl_digest digest;
  dl_status listed = dl_safetensors_list(m->path, &entries, &n_entries, &digest);
  uint64_t length = n >= 8 ? length_of(file) : 0, end = 0;
  CU_ASSERT(listed == DL_OK || listed == DL_ERR_DATA);
  for (int i = 0; listed == DL_OK && i < n_entries; end = entries[i++].end) CU_ASSERT_EQUAL(entries[i].begin, end);
  if (listed == DL_OK) CU_ASSERT_EQUAL(8 + length + end, n);
  like(s, &back);
  dl_status status = dl_safetensors_read(m->path, back.view, TENSORS);
  CU_ASSERT(status == DL_OK || status == DL_ERR_DATA);
  if (status == DL_ERR_DATA) CU_ASSERT_STRING_EQUAL(dl_error_last()->file, m->path);
  if (status == DL_OK) CU_ASSERT_EQUAL(listed, DL_OK);
  for (int t = 0; status == DL_OK && t < TENSORS; t++) {
    int found = 0;
    while (found < n_entries && strcmp(entries[found].name, s->view[t].name)) found++;
    CU_ASSERT_FATAL(found < n_entries);
    const unsigned char *values = file + 8 + length + entries[found].begin;
    CU_ASSERT_EQUAL(memcmp(back.view[t].values, values, 4 * s->view[t].count), 0);
  }
  if (listed == DL_OK) free(entries);
  return status;
}

static void test_a_truncation_at_any_length_is_an_error(void) {
  scratch dir;
  memory_file m;
  sample s;
  size_t n;
  scratch_begin(&dir);
  make_sample(&s);
  unsigned char *file = write_sample(&dir, &s, &n);
  memory_file_open(&m);
  for (size_t keep = 0; keep < n; keep++) {
    memory_file_put(&m, file, keep);
    CU_ASSERT_EQUAL(judge(&m, file, keep, &s), DL_ERR_DATA);
  }
  unsigned char longer[FILE_MOST] = {0};
  memcpy(longer, file, n);
  memory_file_put(&m, longer, n + 1);
  CU_ASSERT_EQUAL(judge(&m, longer, n + 1, &s), DL_ERR_DATA);
  memory_file_put(&m, file, n);
  CU_ASSERT_EQUAL(judge(&m, file, n, &s), DL_OK);
  close(m.fd);
  free(file);
  scratch_end(&dir);
}

static void test_a_header_longer_than_the_file_or_the_bound_is_an_error(void) {
  static const uint64_t lengths[] = {0,
                                     1,
                                     7,
                                     1u << 16,
                                     (16u << 20) + 1,
                                     UINT32_MAX,
                                     1ull << 40,
                                     INT64_MAX - 7,
                                     INT64_MAX,
                                     1ull << 63,
                                     UINT64_MAX - 8,
                                     UINT64_MAX - 7,
                                     UINT64_MAX};
  scratch dir;
  memory_file m;
  sample s;
  size_t n;
  scratch_begin(&dir);
  make_sample(&s);
  unsigned char *file = write_sample(&dir, &s, &n);
  memory_file_open(&m);
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    for (int b = 0; b < 8; b++) file[b] = (unsigned char)(lengths[i] >> 8 * b);
    memory_file_put(&m, file, n);
    CU_ASSERT_EQUAL(judge(&m, file, n, &s), DL_ERR_DATA);
  }
  /* A header that is all there and still too long: a sparse file of 20 MiB. */
  uint64_t length = 20u << 20;
  for (int b = 0; b < 8; b++) file[b] = (unsigned char)(length >> 8 * b);
  memory_file_put(&m, file, n);
  CU_ASSERT_EQUAL(ftruncate(m.fd, (off_t)(length + 8)), 0);
  dl_safetensors_entry *entries = NULL;
  int n_entries;
  CU_ASSERT_EQUAL(dl_safetensors_list(m.path, &entries, &n_entries, NULL), DL_ERR_DATA);
  close(m.fd);
  free(file);
  scratch_end(&dir);
}

/* A file of this header and `data` bytes of zeros. */
static size_t build(unsigned char *file, const char *header, size_t data) {
  size_t length = strlen(header);
  for (int b = 0; b < 8; b++) file[b] = (unsigned char)(length >> 8 * b);
  memcpy(file + 8, header, length);
  memset(file + 8 + length, 0, data);
  return 8 + length + data;
}

#define W(dtype, shape, offsets) "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                          \
  "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" first \
  "},"                                                              \
  "\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" second "}}"

/* What each header says of tensor w (2) over 8 bytes of data, where not said otherwise. */
static const struct {
  const char *header;
  size_t data;
  bool sound; /* a list of it succeeds */
  bool fits;  /* reading w (2), F32, succeeds */
} headers[] = {
    {W("F32", "[2]", "[0,8]"), 8, true, true},
    {" \n\t" W("F32", "[2]", "[0,8]") "  ", 8, true, true},
    {W("F64", "[1]", "[0,8]"), 8, true, false},
    {W("BF16", "[2]", "[0,4]"), 4, true, false},
    {W("F32", "[1,2]", "[0,8]"), 8, true, false},
    {W("F32", "[3]", "[0,12]"), 12, true, false},
    {W("I32", "[2]", "[0,8]"), 8, true, false},
    {"{\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, true, false},
    {"{}", 0, true, false},
    {"{\"__metadata__\":{\"w\":\"x\"}}", 0, true, false},
    {TWO("[0,8]", "[8,16]"), 16, true, false}, /* one tensor too many */
    {TWO("[8,16]", "[0,8]"), 16, true, false},
    {TWO("[0,8]", "[0,8]"), 8, false, false}, /* overlap */
    {TWO("[0,8]", "[4,12]"), 12, false, false},
    {TWO("[0,8]", "[12,20]"), 20, false, false}, /* hole */
    {TWO("[4,12]", "[12,20]"), 20, false, false},
    {W("F32", "[2]", "[0,8]"), 9, false, false},
    {W("F32", "[2]", "[0,8]"), 7, false, false},
    {W("F32", "[2]", "[8,0]"), 8, false, false},
    {W("F32", "[2]", "[-8,0]"), 8, false, false},
    {W("F32", "[2]", "[0,8,16]"), 8, false, false},
    {W("F32", "[2]", "[0]"), 8, false, false},
    {W("F32", "[2]", "8"), 8, false, false},
    {W("F32", "[2]", "[0,8.0]"), 8, false, false},
    {W("F32", "[2]", "[\"0\",\"8\"]"), 8, false, false},
    {W("F32", "[2]", "[null,8]"), 8, false, false},
    {W("F32", "[2]", "[0,18446744073709551624]"), 8, false, false},
    {W("F32", "[2]", "[9223372036854775800,9223372036854775807]"), 8, false, false},
    {W("F32", "[-2]", "[0,8]"), 8, false, false},
    {W("F32", "[-1,-2]", "[0,8]"), 8, false, false},
    {W("F32", "[4611686018427387906]", "[0,8]"), 8, false, false}, /* 4 * (2^62 + 2) is 8 modulo 2^64 */
    {W("F32", "[4294967296,4294967296,4]", "[0,0]"), 0, false, false},
    {W("F32", "[4294967296,4294967296,0]", "[0,0]"), 0, false, false},
    {W("F32", "[2.0]", "[0,8]"), 8, false, false},
    {W("F32", "[[2]]", "[0,8]"), 8, false, false},
    {W("F32", "2", "[0,8]"), 8, false, false},
    {W("F32", "null", "[0,8]"), 8, false, false},
    {W("F32", "[1,1,1,1,1,2]", "[0,8]"), 8, false, false},
    {W("f32", "[2]", "[0,8]"), 8, false, false},
    {W("", "[2]", "[0,8]"), 8, false, false},
    {W("F32F32F32F32F32F32F32F32", "[2]", "[0,8]"), 8, false, false},
    {"{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, false, false},
    {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, false, false},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, false, false},
    {"{\"w\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, false, false},
    {"{\"w\":[]}", 8, false, false},
    {"{\"w\":null}", 8, false, false},
    {"{\"w\":\"F32\"}", 8, false, false},
    {"[]", 0, false, false},
    {"null", 0, false, false},
    {"\"w\"", 0, false, false},
    {"", 0, false, false},
    {"   ", 0, false, false},
    {"{", 0, false, false},
    {"{}}", 0, false, false},
    {"{} {}", 0, false, false},
    {"{\"w\\u0000\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, false, false},
    {"{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, false, false},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
     8, false, false},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"shape\":[2]}}", 8, false, false},
};

static void test_each_unsound_header_is_refused_and_each_sound_one_taken(void) {
  unsigned char file[FILE_MOST];
  memory_file m;
  memory_file_open(&m);
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    size_t n = build(file, headers[i].header, headers[i].data);
    memory_file_put(&m, file, n);
    float values[2] = {5, 5};
    dl_tensor_view w = {.name = "w", .dims = 1, .shape = {2}, .count = 2, .values = values};
    dl_safetensors_entry *entries = NULL;
    int n_entries = 0;
    dl_status listed = dl_safetensors_list(m.path, &entries, &n_entries, NULL),
              status = dl_safetensors_read(m.path, &w, 1);
    bool right =
        listed == (headers[i].sound ? DL_OK : DL_ERR_DATA) && status == (headers[i].fits ? DL_OK : DL_ERR_DATA);
    if (!right) fprintf(stderr, "header %zu: %s: %d %d\n", i, headers[i].header, (int)listed, (int)status);
    CU_ASSERT(right);
    CU_ASSERT_EQUAL(values[1], headers[i].fits ? 0 : 5);
    if (listed == DL_OK) free(entries);
  }
  close(m.fd);
}

/* "{"a":" or "[" again and again. */
static void test_deep_json_is_an_error(void) {
  static const char *const pieces[] = {"[", "{\"a\":"};
  unsigned char *file = calloc(1, 1 << 20);
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  memory_file m;
  memory_file_open(&m);
  for (int p = 0; p < 2; p++) {
    size_t each = strlen(pieces[p]), length = 100000 * each;
    for (int b = 0; b < 8; b++) file[b] = (unsigned char)(length >> 8 * b);
    for (size_t i = 0; i < 100000; i++) memcpy(file + 8 + i * each, pieces[p], each);
    memory_file_put(&m, file, 8 + length);
    dl_safetensors_entry *entries = NULL;
    int n;
    CU_ASSERT_EQUAL(dl_safetensors_list(m.path, &entries, &n, NULL), DL_ERR_DATA);
  }
  close(m.fd);
  free(file);
}

static void test_names_are_taken_to_127_bytes_and_refused_beyond(void) {
  unsigned char file[1024];
  char header[512], name[200];
  memory_file m;
  memory_file_open(&m);
  for (int length = 126; length <= 140; length++) {
    memset(name, 'n', sizeof name);
    name[length] = 0;
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
    memory_file_put(&m, file, build(file, header, 4));
    dl_safetensors_entry *entries = NULL;
    int n;
    dl_status status = dl_safetensors_list(m.path, &entries, &n, NULL);
    CU_ASSERT_EQUAL(status, length <= 127 ? DL_OK : DL_ERR_DATA);
    if (status == DL_OK) {
      CU_ASSERT_STRING_EQUAL(entries[0].name, name);
      free(entries);
    }
  }
  close(m.fd);
}

static void test_what_is_no_file_is_an_error_and_never_a_wait(void) {
  scratch dir;
  scratch_begin(&dir);
  char pipe[SCRATCH_PATH], nowhere[SCRATCH_PATH];
  snprintf(pipe, sizeof pipe, "%s/pipe", dir.folder);
  snprintf(nowhere, sizeof nowhere, "%s/nowhere", dir.folder);
  CU_ASSERT_EQUAL(mkfifo(pipe, 0600), 0);
  const char *const paths[] = {dir.folder, nowhere, pipe, "/dev/zero", "/dev/null"};
  for (int i = 0; i < 5; i++) {
    dl_safetensors_entry *entries = NULL;
    int n;
    CU_ASSERT_EQUAL(dl_safetensors_list(paths[i], &entries, &n, NULL), DL_ERR_DATA);
    CU_ASSERT_STRING_EQUAL(dl_error_last()->file, paths[i]);
  }
  scratch_end(&dir);
}

/* ---- mutants ---- */

/* One to four changes: a byte, a bit, a number's digit, a cut-out or doubled run, mostly in the header. */
static size_t mutate(unsigned char *file, size_t n, uint32_t *state) {
  static const char words[] = "0123456789-{}[],:\"\\eE.tfn u";
  size_t header = 8 + (size_t)length_of(file);
  if (header > n) header = n;
  for (uint32_t changes = 1 + random_below(state, 4); changes; changes--) {
    size_t area = random_below(state, 8) ? header : n, at = random_below(state, (uint32_t)area);
    size_t run = 1 + random_below(state, 12);
    if (at + run > n) run = n - at;
    switch (random_below(state, 6)) {
      case 0:
        file[at] = (unsigned char)random_below(state, 256);
        break;
      case 1:
        file[at] ^= (unsigned char)(1u << random_below(state, 8));
        break;
      case 2:
      case 3: /* a digit for a digit, so that the JSON stays whole */
        while (at < area && (file[at] < '0' || file[at] > '9')) at++;
        if (at < area) file[at] = (unsigned char)('0' + random_below(state, 10));
        break;
      case 4:
        file[at] = (unsigned char)words[random_below(state, sizeof words - 1)];
        break;
      default: /* a run is cut out, or doubled where there is room; the header's length follows half the time */
        if (random_below(state, 2) || n + run > FILE_MOST) {
          memmove(file + at, file + at + run, n - at - run);
          n -= run;
          if (at < header && random_below(state, 2)) file[0] = (unsigned char)(file[0] - run);
        } else {
          memmove(file + at + run, file + at, n - at);
          n += run;
          if (at < header && random_below(state, 2)) file[0] = (unsigned char)(file[0] + run);
        }
    }
    if (n < 16) return n;
    header = 8 + (size_t)length_of(file);
    if (header > n || header < 8) header = n;
  }
  return n;
}

static void test_twenty_thousand_mutants_are_read_rightly_or_refused(void) {
  scratch dir;
  memory_file m;
  sample s;
  size_t n;
  scratch_begin(&dir);
  make_sample(&s);
  unsigned char *file = write_sample(&dir, &s, &n);
  unsigned char *mutant = calloc(1, FILE_MOST);
  CU_ASSERT_PTR_NOT_NULL_FATAL(mutant);
  memory_file_open(&m);
  uint32_t state = 20240607;
  int refused = 0, taken = 0;
  for (int i = 0; i < MUTANTS; i++) {
    memcpy(mutant, file, n);
    size_t size = mutate(mutant, n, &state);
    memory_file_put(&m, mutant, size);
    if (judge(&m, mutant, size, &s) == DL_OK)
      taken++;
    else
      refused++;
  }
  CU_ASSERT(refused > MUTANTS / 2); /* the mutants do reach the checks */
  CU_ASSERT(taken > MUTANTS / 100); /* and some are harmless: values, spaces, metadata */
  close(m.fd);
  free(mutant);
  free(file);
  scratch_end(&dir);
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_a_file_is_a_length_a_padded_json_header_and_tensors_without_holes),
      DL_TEST(test_values_read_back_bit_for_bit_in_any_order_of_asking),
      DL_TEST(test_digests_are_sha256_of_the_file_and_of_names_and_values),
      DL_TEST(test_a_tensor_larger_than_any_buffer_keeps_its_digest),
      DL_TEST(test_no_tensors_are_a_file_too),
      DL_TEST(test_names_that_the_format_cannot_hold_are_refused_when_written),
      DL_TEST(test_a_truncation_at_any_length_is_an_error),
      DL_TEST(test_a_header_longer_than_the_file_or_the_bound_is_an_error),
      DL_TEST(test_each_unsound_header_is_refused_and_each_sound_one_taken),
      DL_TEST(test_deep_json_is_an_error),
      DL_TEST(test_names_are_taken_to_127_bytes_and_refused_beyond),
      DL_TEST(test_what_is_no_file_is_an_error_and_never_a_wait),
      DL_TEST(test_twenty_thousand_mutants_are_read_rightly_or_refused),
  };
  return dl_test_main("safetensors", tests, sizeof tests / sizeof tests[0]);
}
