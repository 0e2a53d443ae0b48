/* test_hash.c - SHA-256 against the vectors of FIPS 180-4. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "dltest.h"

static const char *const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char *const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char *const two_blocks = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
static const char *const million_a = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

/* `bytes` of `data` in pieces of `piece`. */
static dl_digest digest_of(const char *data, size_t bytes, size_t piece) {
  dl_sha256 *hash = NULL;
  dl_digest digest = {""};
  DL_ASSERT_OK(dl_sha256_new(&hash));
  for (size_t at = 0; at < bytes; at += piece)
    DL_ASSERT_OK(dl_sha256_update(hash, data + at, bytes - at < piece ? bytes - at : piece));
  DL_ASSERT_OK(dl_sha256_finish(hash, &digest));
  dl_sha256_destroy(&hash);
  CU_ASSERT_PTR_NULL(hash);
  return digest;
}

static void test_the_vectors_of_the_standard(void) {
  CU_ASSERT_STRING_EQUAL(digest_of("", 0, 1).hex, empty);
  CU_ASSERT_STRING_EQUAL(digest_of("abc", 3, 3).hex, abc);
  const char *text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  CU_ASSERT_STRING_EQUAL(digest_of(text, strlen(text), 100).hex, two_blocks);
}

static void test_a_million_letters_in_pieces_of_any_size(void) {
  char *letters = malloc(1000000);
  memset(letters, 'a', 1000000);
  static const size_t pieces[] = {1000000, 1, 63, 64, 65, 4097};
  for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
    CU_ASSERT_STRING_EQUAL(digest_of(letters, 1000000, pieces[i]).hex, million_a);
  free(letters);
}

static void test_a_file_has_the_digest_of_its_bytes(void) {
  char path[] = "/tmp/dldist-hash-XXXXXX";
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0);
  dl_digest digest;
  DL_ASSERT_OK(dl_sha256_file(path, &digest));
  CU_ASSERT_STRING_EQUAL(digest.hex, empty);
  enum { BYTES = (2 << 20) + 77 }; /* more than one piece of the reader's */
  char *data = malloc(BYTES);
  for (size_t i = 0; i < BYTES; i++) data[i] = (char)(i * 2654435761u >> 13);
  CU_ASSERT_EQUAL(write(fd, data, BYTES), BYTES);
  close(fd);
  DL_ASSERT_OK(dl_sha256_file(path, &digest));
  CU_ASSERT_STRING_EQUAL(digest.hex, digest_of(data, BYTES, 1000).hex);
  data[BYTES - 1] ^= 1;
  CU_ASSERT_STRING_NOT_EQUAL(digest.hex, digest_of(data, BYTES, BYTES).hex);
  free(data);
  unlink(path);
}

static void test_files_that_cannot_be_read_are_errors_that_name_them(void) {
  dl_digest digest;
  CU_ASSERT_EQUAL(dl_sha256_file("/tmp/dldist-no-such-file", &digest), DL_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, "/tmp/dldist-no-such-file");
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "cannot be opened: No such file or directory");
  CU_ASSERT_EQUAL(dl_sha256_file("/tmp", &digest), DL_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, "/tmp");
}

static const dl_test tests[] = {
    DL_TEST(test_the_vectors_of_the_standard),
    DL_TEST(test_a_million_letters_in_pieces_of_any_size),
    DL_TEST(test_a_file_has_the_digest_of_its_bytes),
    DL_TEST(test_files_that_cannot_be_read_are_errors_that_name_them),
};
DL_TEST_MAIN("core/hash", tests)
