/* Frames of parameter servers: what is written is read, and whatever else comes is refused without harm. The damaged
 * ones are made here from their seeds, and a corpus of shapes that strangers send is replayed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_crc.h"
#include "comm/ps_frame.h"
#include "dltest.h"

static uint64_t state = 20240601;
static uint64_t word(void) {
  uint64_t x = (state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static dl_ps_frame some_frame(const void *payload, size_t bytes) {
  dl_ps_frame f = {.kind = 1 + (int)(word() % (DL_PS_KINDS - 1)),
                   .job = word(),
                   .life = word(),
                   .sequence = word(),
                   .step = (int64_t)(word() >> 20),
                   .version = (int64_t)(word() >> 20) - 1,
                   .node = {(int32_t)(word() % 62), (int64_t)(word() >> 25)},
                   .samples = (int64_t)(word() >> 30),
                   .status = (int32_t)word(),
                   .form = (int32_t)(word() % DL_PS_FORMS),
                   .taken = word(),
                   .payload_bytes = bytes,
                   .payload_crc = dl_ps_crc(payload, bytes)};
  if (word() % 2) f.parts = 1 + (int32_t)(word() >> 34);
  if (f.parts) f.part = (int32_t)(word() % (uint64_t)f.parts);
  for (int k = 0; k < DL_LEAF_SUMS; k++) f.sums[k] = ldexp((double)word(), -40) - 1e6;
  return f;
}

static void test_what_is_written_is_read(void) {
  unsigned char header[DL_PS_HEADER_BYTES], payload[200];
  for (int i = 0; i < 2000; i++) {
    size_t bytes = word() % (sizeof payload + 1);
    for (size_t b = 0; b < sizeof payload; b++) payload[b] = (unsigned char)word();
    dl_ps_frame f = some_frame(payload, bytes), g;
    dl_ps_frame_write(&f, header);
    CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, bytes, &g), DL_PS_FINE);
    CU_ASSERT(f.kind == g.kind && f.job == g.job && f.life == g.life && f.sequence == g.sequence && f.step == g.step);
    CU_ASSERT(f.version == g.version && f.node.level == g.node.level && f.node.index == g.node.index);
    CU_ASSERT(f.samples == g.samples && f.status == g.status && f.payload_bytes == g.payload_bytes);
    CU_ASSERT(f.form == g.form && f.taken == g.taken && f.part == g.part && f.parts == g.parts);
    CU_ASSERT(memcmp(f.sums, g.sums, sizeof f.sums) == 0);
  }
}

/* The test of RFC 3720, B.4 is for one lane; over whole groups of 32 bytes the lanes are told apart by this sum, worked
 * out bit by bit. */
static uint32_t slow_crc(uint32_t crc, const unsigned char *p, size_t bytes) {
  for (; bytes; bytes--, p++)
    for (int bit = 0; bit < 8; bit++) {
      uint32_t in = (crc ^ *p >> bit) & 1;
      crc = crc >> 1 ^ (in ? 0x82f63b78u : 0);
    }
  return crc;
}
static void test_the_checksum_is_crc32c_of_four_lanes(void) {
  CU_ASSERT_EQUAL(~slow_crc(~0u, (const unsigned char *)"123456789", 9), 0xe3069283u); /* the catalogue's check value */
  unsigned char data[300];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)word();
  for (size_t bytes = 0; bytes <= sizeof data; bytes++) {
    uint32_t lane[4] = {~0u, ~0u, ~0u, ~0u};
    size_t at = 0;
    for (; bytes - at >= 32; at += 32)
      for (size_t k = 0; k < 4; k++) lane[k] = slow_crc(lane[k], data + at + 8 * k, 8);
    lane[0] = slow_crc(lane[0], data + at, bytes - at);
    unsigned char ends[16];
    for (int i = 0; i < 16; i++) ends[i] = (unsigned char)(lane[i / 4] >> 8 * (i % 4));
    uint32_t expected = ~slow_crc(~0u, ends, sizeof ends);
    CU_ASSERT_EQUAL(dl_ps_crc(data, bytes), expected);
    CU_ASSERT_EQUAL(dl_ps_crc_portable(data, bytes), expected);
  }
}

static void test_one_changed_bit_anywhere_is_seen(void) {
  unsigned char header[DL_PS_HEADER_BYTES], payload[64];
  for (size_t b = 0; b < sizeof payload; b++) payload[b] = (unsigned char)word();
  dl_ps_frame f = some_frame(payload, sizeof payload), g;
  dl_ps_frame_write(&f, header);
  for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
    header[bit / 8] ^= (unsigned char)(1 << bit % 8);
    CU_ASSERT_NOT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, sizeof payload, &g), DL_PS_FINE);
    header[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  for (size_t bit = 0; bit < 8 * sizeof payload; bit++) {
    payload[bit / 8] ^= (unsigned char)(1 << bit % 8);
    CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, sizeof payload, &g), DL_PS_BAD_CRC);
    payload[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
}

static void test_each_fault_has_its_reason(void) {
  unsigned char header[DL_PS_HEADER_BYTES], payload[8] = {0};
  dl_ps_frame f = some_frame(payload, sizeof payload), g;
  dl_ps_frame_write(&f, header);
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header - 1, payload, sizeof payload, &g), DL_PS_BAD_PARTS);
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, 0, payload, sizeof payload, &g), DL_PS_BAD_PARTS);
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, 7, &g), DL_PS_BAD_LENGTH);
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, NULL, 0, &g), DL_PS_BAD_LENGTH);
  header[0] ^= 1;
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, sizeof payload, &g), DL_PS_BAD_MAGIC);
  header[0] ^= 1;
  header[100] ^= 1;
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, payload, sizeof payload, &g), DL_PS_BAD_HEADER);
  const dl_ps_frame wrong[] = {{.kind = 0},
                               {.kind = DL_PS_KINDS},
                               {.kind = 1, .step = -2},
                               {.kind = 1, .version = -2},
                               {.kind = 1, .node = {-1, 0}},
                               {.kind = 1, .node = {62, 0}},
                               {.kind = 1, .node = {0, -1}},
                               {.kind = 1, .node = {0, (int64_t)1 << 41}},
                               {.kind = 1, .samples = -1},
                               {.kind = 1, .form = DL_PS_FORMS},
                               {.kind = 1, .part = 1},
                               {.kind = 1, .part = 3, .parts = 3},
                               {.kind = 1, .part = -1, .parts = 3},
                               {.kind = 1, .parts = -1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    dl_ps_frame_write(&wrong[i], header); /* its checksum is right: the values are not */
    dl_ps_fault fault = dl_ps_frame_read(header, sizeof header, NULL, 0, &g);
    CU_ASSERT_EQUAL(fault, i < 2 ? DL_PS_BAD_KIND : DL_PS_BAD_HEADER);
  }
}

/* Another version with a right checksum. */
static void test_another_version_is_named_as_such(void) {
  unsigned char header[DL_PS_HEADER_BYTES];
  dl_ps_frame f = {.kind = 1}, g;
  dl_ps_frame_write(&f, header);
  header[4]++;
  uint32_t crc = dl_ps_crc(header, sizeof header - 4);
  for (int b = 0; b < 4; b++) header[sizeof header - 4 + (size_t)b] = (unsigned char)(crc >> 8 * b);
  CU_ASSERT_EQUAL(dl_ps_frame_read(header, sizeof header, NULL, 0, &g), DL_PS_BAD_VERSION);
}

/* Exactly as many bytes as are said, so that a sanitizer sees any read beyond. */
static dl_ps_fault read_exactly(const unsigned char *header, size_t bytes, const unsigned char *payload, size_t more) {
  unsigned char *a = malloc(bytes ? bytes : 1), *b = malloc(more ? more : 1);
  dl_ps_frame f;
  if (!a || !b) abort();
  memcpy(a, header, bytes);
  memcpy(b, payload, more);
  dl_ps_fault fault = dl_ps_frame_read(a, bytes, b, more, &f);
  free(a);
  free(b);
  return fault;
}

static void test_a_hundred_thousand_damaged_frames_do_no_harm(void) {
  unsigned char header[2 * DL_PS_HEADER_BYTES] = {0}, payload[256] = {0};
  int fine = 0;
  for (int i = 0; i < 100000; i++) {
    size_t bytes = word() % sizeof payload;
    dl_ps_frame f = some_frame(payload, bytes);
    dl_ps_frame_write(&f, header);
    size_t length = DL_PS_HEADER_BYTES, what = word() % 5;
    for (uint64_t n = 1 + word() % 4; n && what == 0; n--) header[word() % DL_PS_HEADER_BYTES] = (unsigned char)word();
    if (what == 1) length = word() % sizeof header;
    if (what == 2) bytes = word() % sizeof payload;
    if (what == 3)
      for (size_t b = 0; b < sizeof header; b++) header[b] = (unsigned char)word();
    fine += read_exactly(header, length, payload, bytes) == DL_PS_FINE;
  }
  CU_ASSERT(fine > 19000 && fine < 22000); /* those that were left alone, and a few that were changed into themselves */
}

/* What port scanners and other programs say first. */
static void test_the_corpus_of_strangers_is_refused(void) {
  static const char *const corpus[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                       "SSH-2.0-OpenSSH_9.2p1",
                                       "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03",
                                       "DLPS",
                                       "LPSD\x01\x01",
                                       "",
                                       "{\"jsonrpc\":\"2.0\"}"};
  unsigned char block[DL_PS_HEADER_BYTES];
  for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) {
    size_t n = strlen(corpus[i]);
    CU_ASSERT_EQUAL(read_exactly((const unsigned char *)corpus[i], n, block, 0), DL_PS_BAD_PARTS);
    memset(block, 0, sizeof block); /* and the same filled up to a header's length */
    memcpy(block, corpus[i], n);
    CU_ASSERT_NOT_EQUAL(read_exactly(block, sizeof block, block, 0), DL_PS_FINE);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_what_is_written_is_read),
    DL_TEST(test_the_checksum_is_crc32c_of_four_lanes),
    DL_TEST(test_one_changed_bit_anywhere_is_seen),
    DL_TEST(test_each_fault_has_its_reason),
    DL_TEST(test_another_version_is_named_as_such),
    DL_TEST(test_a_hundred_thousand_damaged_frames_do_no_harm),
    DL_TEST(test_the_corpus_of_strangers_is_refused),
};
DL_TEST_MAIN("frames of parameter servers", tests)
