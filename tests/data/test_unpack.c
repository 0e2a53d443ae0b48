/* Chunks unpacked here against HDF5, which unpacks its own, and against bytes written down by hand. */
#include <math.h>

#include "core/mem.h"
#include "data/hdf5_chunks.h"
#include "make_h5.h"

/* ---- whole data sets against H5Dread ---- */

typedef struct form {
  hid_t type;
  int dims;
  hsize_t dim[3], chunk[3];
  bool shuffle, deflate, fletcher, plain_edges;
  hsize_t written; /* rows that are written, the rest is fill; 0: all */
} form;

static void make_form(const char *name, const form *f, const double *values) {
  hid_t file = make_file(name), made = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(made, f->dims, f->chunk);
  const double fill = 7;
  H5Pset_fill_value(made, H5T_NATIVE_DOUBLE, &fill);
  if (f->shuffle) H5Pset_shuffle(made);
  if (f->deflate) H5Pset_deflate(made, 3);
  if (f->fletcher) H5Pset_fletcher32(made);
  if (f->plain_edges) H5Pset_chunk_opts(made, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
  hid_t space = H5Screate_simple(f->dims, f->dim, NULL),
        set = H5Dcreate2(file, "x", f->type, space, H5P_DEFAULT, made, H5P_DEFAULT);
  hsize_t start[3] = {0}, count[3];
  memcpy(count, f->dim, sizeof count);
  if (f->written) count[0] = f->written;
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  hid_t memory = H5Screate_simple(f->dims, count, NULL);
  CU_ASSERT(H5Dwrite(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, values) >= 0);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(set);
  H5Pclose(made);
  H5Fclose(file);
}

/* Every run of rows, as doubles and as what it is kept as, against HDF5's own reading. */
static void compare(const char *name) {
  dl_h5_turn turn;
  dl_h5_file file;
  dl_h5_set set;
  bool found;
  dl_h5_enter(&turn);
  DL_ASSERT_OK(dl_h5_open(test_path(name), &file));
  DL_ASSERT_OK(dl_h5_set_open(&file, "x", &found, &set));
  CU_ASSERT(found && dl_h5_chunks_fit(&set));
  const size_t row = (size_t)set.row_values, kept = dl_element_bytes(set.number.element);
  char *mine = malloc((size_t)set.dim[0] * row * 8), *theirs = malloc((size_t)set.dim[0] * row * 8);
  dl_h5_buffers buffers = {.packed = NULL};
  for (int64_t first = 0; first < set.dim[0]; first += 3)
    for (int64_t rows = 1; first + rows <= set.dim[0]; rows += 4)
      for (int way = 0; way < 2; way++) {
        const hid_t type = way ? H5T_NATIVE_DOUBLE : dl_h5_memory_type(set.number.element);
        const size_t bytes = way ? 8 : kept;
        DL_ASSERT_OK(dl_h5_chunks_read(&set, first, rows, type, bytes, true, &buffers, mine));
        DL_ASSERT_OK(dl_h5_read_plainly(&set, first, rows, type, theirs));
        CU_ASSERT_EQUAL(memcmp(mine, theirs, (size_t)rows * row * bytes), 0);
      }
  dl_h5_buffers_clear(&buffers);
  free(mine);
  free(theirs);
  dl_h5_set_close(&set);
  dl_h5_close(&file);
  dl_h5_leave(&turn);
}

static void test_chunks_read_here_are_those_that_hdf5_reads(void) {
  double values[23 * 5 * 7];
  for (int i = 0; i < 23 * 5 * 7; i++) values[i] = i % 120;
  const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_I16BE,  H5T_STD_U16LE,  H5T_STD_I32LE,
                         H5T_STD_I64BE, H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F32BE};
  const form shapes[] = {{.dims = 1, .dim = {23}, .chunk = {4}},
                         {.dims = 2, .dim = {23, 7}, .chunk = {5, 7}},
                         {.dims = 2, .dim = {23, 7}, .chunk = {4, 3}},
                         {.dims = 3, .dim = {23, 5, 7}, .chunk = {6, 2, 7}},
                         {.dims = 3, .dim = {23, 5, 7}, .chunk = {30, 5, 3}},
                         {.dims = 2, .dim = {23, 7}, .chunk = {5, 4}, .written = 9}};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
      for (unsigned filters = 0; filters < 16; filters++) {
        form f = shapes[s];
        f.type = types[t];
        f.shuffle = filters & 1;
        f.deflate = filters & 2;
        f.fletcher = filters & 4;
        f.plain_edges = filters & 8;
        for (int i = 0; i < f.dims; i++)
          if (f.chunk[i] > f.dim[i]) f.chunk[i] = f.dim[i];
        make_form("form.h5", &f, values);
        compare("form.h5");
      }
}

/* ---- chunks by hand ---- */

/* Unpacks `bytes` of `packed` to a chunk of `size`: what is wrong, or NULL and the values in `out`. */
static const char *unpack(const dl_unpack *filters, uint32_t skipped, const void *packed, size_t bytes, size_t size,
                          void *out) {
  const size_t room = dl_unpack_room(size);
  char *a = malloc(room), *b = malloc(room); /* of this very size: AddressSanitizer watches their ends */
  void *values = NULL;
  memcpy(a, packed, bytes);
  const char *wrong = dl_unpack_chunk(filters, skipped, a, bytes, b, size, &values);
  if (!wrong) memcpy(out, values, size);
  free(a);
  free(b);
  return wrong;
}

static void test_lzf_is_undone_and_held_to_its_bounds(void) {
  const dl_unpack lzf = {.n = 1, .all_known = true, .kind = {DL_UNPACK_LZF}};
  CU_ASSERT_EQUAL(dl_unpack_kind_of(32000), DL_UNPACK_LZF);
  char out[600];
  /* "abc", 7 + 3 + 2 bytes from 3 back, 1 + 2 from 1 back, "!" */
  const unsigned char good[] = {2, 'a', 'b', 'c', 7 << 5, 3, 2, 1 << 5, 0, 0, '!'};
  CU_ASSERT_PTR_NULL(unpack(&lzf, 0, good, sizeof good, 19, out));
  CU_ASSERT_EQUAL(memcmp(out, "abcabcabcabcabcccc!", 19), 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(unpack(&lzf, 0, good, sizeof good, 20, out), "fewer bytes"));
  CU_ASSERT_PTR_NOT_NULL(strstr(unpack(&lzf, 0, good, sizeof good, 18, out), "more bytes"));
  const struct {
    unsigned char bytes[4];
    size_t n;
  } bad[] = {{{5, 'a'}, 2}, {{0, 'a', 1 << 5, 1}, 4}, {{0, 'a', 1 << 5}, 3}, {{0, 'a', 7 << 5}, 3}, {{7 << 5, 200}, 2}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CU_ASSERT_PTR_NOT_NULL(strstr(unpack(&lzf, 0, bad[i].bytes, bad[i].n, 19, out), "LZF data are damaged"));
  unsigned char bomb[4096] = {0, 'a'}; /* asks for 264 bytes again and again */
  for (size_t i = 2; i + 2 < sizeof bomb; i += 3) bomb[i] = 7 << 5, bomb[i + 1] = 255, bomb[i + 2] = 0;
  CU_ASSERT_PTR_NOT_NULL(unpack(&lzf, 0, bomb, sizeof bomb - 1, 600, out));
  CU_ASSERT_PTR_NULL(unpack(&lzf, 1, "as it is", 8, 8, out)); /* a chunk that the filter left alone */
  CU_ASSERT_EQUAL(memcmp(out, "as it is", 8), 0);
}

/* The definition, a word at a time. */
static uint32_t plain_fletcher(const uint8_t *x, size_t n) {
  uint64_t a = 0, b = 0;
  for (size_t i = 0; i < n; i += 2) {
    a += (uint64_t)x[i] << 8 | (i + 1 < n ? x[i + 1] : 0);
    while (a > 0xffff) a = (a & 0xffff) + (a >> 16);
    b += a;
    while (b > 0xffff) b = (b & 0xffff) + (b >> 16);
  }
  return (uint32_t)(b << 16 | a);
}

static void test_kernels_keep_the_definition_at_any_length(void) {
  uint8_t x[5000], planes[5000], back[5000];
  const dl_unpack_table *kernels[] = {&dl_unpack_kernels_base, DL_ISA_CHOOSE(dl_unpack_kernels)};
  for (int kind = 0; kind < 3; kind++)
    for (size_t k = 0; k < 2; k++) {
      for (size_t i = 0; i < sizeof x; i++) x[i] = kind == 0 ? 0 : kind == 1 ? 255 : (uint8_t)(i * 2654435761u >> 11);
      for (size_t n = 0; n < sizeof x; n = n < 800 ? n + 1 : n + 97)
        CU_ASSERT_EQUAL(kernels[k]->fletcher32(x, n), plain_fletcher(x, n));
      for (size_t width = 1; width <= 9; width++) {
        const size_t n = sizeof x / width;
        for (size_t i = 0; i < n * width; i++) planes[i % width * n + i / width] = x[i];
        kernels[k]->unshuffle(back, planes, n, width);
        CU_ASSERT_EQUAL(memcmp(back, x, n * width), 0);
      }
    }
}

static void test_damaged_bytes_end_in_a_word_within_the_buffers(void) {
  static const dl_unpack pipes[] = {
      {.n = 3, .kind = {DL_UNPACK_SHUFFLE, DL_UNPACK_DEFLATE, DL_UNPACK_FLETCHER32}, .width = {4}},
      {.n = 2, .kind = {DL_UNPACK_FLETCHER32, DL_UNPACK_LZF}},
      {.n = 2, .kind = {DL_UNPACK_SHUFFLE, DL_UNPACK_DEFLATE}, .width = {1000000}},
      {.n = 1, .kind = {DL_UNPACK_SHUFFLE}, .width = {0}}};
  unsigned state = 5;
  unsigned char packed[700];
  char out[512];
  int refused = 0;
  for (int k = 0; k < 20000; k++) {
    const size_t n = (state >> 16) % sizeof packed;
    for (size_t i = 0; i < n; i++) state = state * 1664525u + 1013904223u, packed[i] = (unsigned char)(state >> 24);
    if (k % 2 && n > 2) packed[0] = 0x78, packed[1] = 0x9c;
    refused += unpack(&pipes[k % 4], 0, packed, n, 512, out) != NULL;
    state++;
  }
  CU_ASSERT(refused > 19000);
}

static const dl_test tests[] = {
    DL_TEST(test_chunks_read_here_are_those_that_hdf5_reads),
    DL_TEST(test_lzf_is_undone_and_held_to_its_bounds),
    DL_TEST(test_kernels_keep_the_definition_at_any_length),
    DL_TEST(test_damaged_bytes_end_in_a_word_within_the_buffers),
};
DL_TEST_MAIN("unpack", tests)
