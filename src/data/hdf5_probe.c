/* hdf5_probe.c - HDF5 1.10 trusts much of what a file says of itself: flipped bits in a header or a tree make it read
 * beyond its buffers. That ends a process, of which it may be the last word in a job of many hours, and says nothing
 * about the file. So a child process makes the same calls first; how it ends says whether the file can be opened here.
 * The child writes nothing, and is stopped after so much processor time that no sound file takes.
 *
 * It is a fork and no new program, because there is none: dldist is a library too. The child calls HDF5 alone (no MPI)
 * and leaves by _exit.
 */
#include "data/hdf5_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define MOST_SECONDS 1
#else
#define MOST_SECONDS 20
#endif
enum { MOST_OBJECTS = 4096 };

/* ---- the child ---- */

/* Texts of variable length are not read: HDF5 is not asked for them (data/hdf5_text.c). */
static void look_at_set(hid_t set) {
  hid_t type = H5Dget_type(set), space = H5Dget_space(set), made = H5Dget_create_plist(set);
  hsize_t chunks = 0, dim[H5S_MAX_RANK];
  unsigned char fill[8];
  char type_name[16];
  if (type >= 0) dl_h5_type_name(type, type_name, sizeof type_name);
  if (space >= 0) H5Sget_simple_extent_dims(space, dim, NULL);
  if (made >= 0) {
    if (H5Pget_layout(made) == H5D_CHUNKED && space >= 0) H5Dget_num_chunks(set, space, &chunks);
    if (type >= 0 && H5Tget_class(type) <= H5T_FLOAT && H5Tget_size(type) <= sizeof fill)
      H5Pget_fill_value(made, type, fill);
    H5Pget_external_count(made);
  }
  H5Dget_storage_size(set);
  if (made >= 0) H5Pclose(made);
  if (space >= 0) H5Sclose(space);
  if (type >= 0) H5Tclose(type);
}

static herr_t look_at_link(hid_t group, const char *name, const H5L_info_t *link, void *context) {
  int *n = context;
  if (++*n > MOST_OBJECTS) return 1;
  hid_t object = link->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : -1;
  if (object >= 0 && H5Iget_type(object) == H5I_DATASET) look_at_set(object);
  if (object >= 0) H5Oclose(object);
  return 0;
}

/* No warnings in here: who listens to them is shared with the parent. */
static void look_through(const char *path) {
  dl_h5_file file;
  int objects = 0;
  if (dl_h5_open(path, &file) != DL_OK) return;
  H5Lvisit(file.id, H5_INDEX_NAME, H5_ITER_INC, look_at_link, &objects);
  dl_h5_close(&file);
}

/* What a crash would do, and what the parent's handlers would do with it, is nobody's business. */
static void be_quiet(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU, SIGTERM, SIGINT, SIGUSR1};
  const struct rlimit no_core = {0, 0}, seconds = {MOST_SECONDS, MOST_SECONDS + 5};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], SIG_DFL);
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_CPU, &seconds);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere < 0) return;
  dup2(nowhere, STDOUT_FILENO);
  dup2(nowhere, STDERR_FILENO);
}

/* ---- the parent ---- */

static dl_status judge(const char *path, int how) {
  if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return DL_OK;
  const int sign = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
  if (sign == SIGTERM || sign == SIGINT || sign == SIGUSR1 || sign == SIGKILL) return DL_OK; /* not the file's doing */
  dl_fail_at(DL_ERR_DATA, path, 0, 0, "damaged HDF5 file: HDF5 %s while it reads the file's structure",
             sign == SIGXCPU ? "does not come to an end" : "crashes");
  return dl_hint("copy or write the file again");
}

/* Where no child can be had the file is opened without. */
static dl_status probe(const char *path) {
  int how = 0;
  const pid_t child = fork();
  if (child < 0) return DL_OK;
  if (child == 0) {
    be_quiet();
    look_through(path);
    _exit(0);
  }
  while (waitpid(child, &how, 0) < 0)
    if (errno != EINTR) return DL_OK;
  return judge(path, how);
}

dl_status dl_h5_open_first(const char *path, dl_h5_file *out) {
  *out = (dl_h5_file){.id = -1, .path = path};
  DL_TRY(probe(path));
  return dl_h5_open(path, out);
}
