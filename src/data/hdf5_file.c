/* hdf5_file.c - opening a file and its data sets.
 *
 * What a file claims is held against what it is before memory is spent: a data set's bytes must be plausible for the
 * file's size (deflate packs at most 1032 to 1), so a few bytes cannot ask for terabytes. HDF5's error stack is turned
 * into one sentence; its printing is switched off for the calling thread while it has its turn, then given back,
 * because the process may be somebody else's program that uses HDF5 too.
 */
#include "data/hdf5_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "data/data.h"
#include "data/hdf5_chunks.h"

#define MOST_PACKED 1100            /* bytes in memory for each byte of the file */
#define ALWAYS_ALLOWED (16LL << 20) /* bytes in memory that any file may ask for */

/* ---- the process's turn ---- */

static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;

void dl_h5_enter(dl_h5_turn *turn) {
  pthread_mutex_lock(&turn_lock);
#if !H5_VERSION_GE(1, 10, 7)
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
#endif
  H5Eget_auto2(H5E_DEFAULT, &turn->print, &turn->context);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void dl_h5_leave(dl_h5_turn *turn) {
  H5Eset_auto2(H5E_DEFAULT, turn->print, turn->context);
  pthread_mutex_unlock(&turn_lock);
}

void dl_data_own_process(void) { H5dont_atexit(); }

/* ---- errors ---- */

typedef struct reason {
  char text[200];
  bool truncated;
} reason;

static herr_t take_reason(unsigned n, const H5E_error2_t *error, void *context) {
  reason *out = context;
  const char *system = error->desc ? strstr(error->desc, "error message = '") : NULL;
  if (system) /* what the operating system said is worth more than the rest */
    snprintf(out->text, sizeof out->text, "%.*s", (int)strcspn(system + 17, "'"), system + 17);
  else if (n == 0)
    snprintf(out->text, sizeof out->text, "%s", error->desc ? error->desc : "");
  if (error->desc && strstr(error->desc, "truncated file")) out->truncated = true;
  return 0;
}

static reason last_reason(void) {
  reason out = {.text = ""};
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, &out);
  return out;
}

dl_status dl_h5_fail(dl_status status, const char *path, const char *what, ...) {
  reason why = last_reason();
  char text[400];
  va_list arguments;
  va_start(arguments, what);
  vsnprintf(text, sizeof text, what, arguments);
  va_end(arguments);
  return why.text[0] ? dl_fail_at(status, path, 0, 0, "%s (HDF5: %s)", text, why.text)
                     : dl_fail_at(status, path, 0, 0, "%s", text);
}

/* ---- files ---- */

/* Says what a file that is not HDF5 seems to be. */
static dl_status fail_not_hdf5(const char *path, int descriptor) {
  unsigned char head[512];
  ssize_t got = pread(descriptor, head, sizeof head, 0);
  if (got <= 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "not an HDF5 file: it is empty");
  bool text = true;
  for (ssize_t i = 0; i < got; i++)
    text = text && (head[i] >= 32 || head[i] == '\n' || head[i] == '\t' || head[i] == '\r');
  if (text) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "not an HDF5 file: it is a text file");
  bool packed = got > 2 && head[0] == 0x1f && head[1] == 0x8b;
  bool idx = got > 4 && !head[0] && !head[1] && head[2] >= 8 && head[2] <= 14 && head[3] >= 1 && head[3] <= 8;
  dl_fail_at(DL_ERR_DATA, path, 0, 0, "not an HDF5 file%s",
             packed ? ": it is packed with gzip"
             : idx  ? ": it is an IDX file"
                    : "");
  return packed || idx ? dl_hint("bring IDX files into HDF5 with `dldist data import idx IMAGES LABELS -o FILE.h5`")
                       : DL_ERR_DATA;
}

static dl_status open_hdf5(const char *path, int descriptor, dl_h5_file *out) {
  htri_t is = H5Fis_hdf5(path);
  if (is == 0) return fail_not_hdf5(path, descriptor);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access, 0, 1);
#endif
  out->id = is < 0 ? -1 : H5Fopen(path, H5F_ACC_RDONLY, access);
  dl_status status = DL_OK;
  if (out->id < 0 && last_reason().truncated) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "the HDF5 file is truncated: its %lld bytes are fewer than it was written with",
               (long long)out->bytes);
    status = dl_hint("copy or write the file again");
  } else if (out->id < 0) {
    status = dl_h5_fail(DL_ERR_DATA, path, "damaged HDF5 file: it cannot be opened");
  }
  H5Pclose(access);
  return status;
}

dl_status dl_h5_open(const char *path, dl_h5_file *out) {
  *out = (dl_h5_file){.id = -1, .path = path};
  struct stat about;
  if (stat(path, &about) != 0)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      errno == ENOENT ? "the data file does not exist" : "cannot open the data file: %s",
                      strerror(errno));
  if (S_ISDIR(about.st_mode)) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "is a directory where an HDF5 file is wanted");
    return dl_hint("name the file, or several as '%.180s/*.h5'", path);
  }
  if (!S_ISREG(about.st_mode)) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "is not a regular file");
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot open the data file: %s", strerror(errno));
  out->bytes = about.st_size;
  dl_status status = open_hdf5(path, descriptor, out);
  close(descriptor);
  return status;
}

void dl_h5_close(dl_h5_file *file) {
  if (file->id >= 0) H5Fclose(file->id);
  file->id = -1;
}

/* ---- names ---- */

static herr_t refuse_external(const char *file, const char *group, const char *target_file, const char *target,
                              unsigned *flags, hid_t access, void *context) {
  (void)file, (void)group, (void)target, (void)flags, (void)access;
  snprintf(context, 128, "%s", target_file);
  return -1;
}

/* Whether `name` is there, asking for each of its parts; < 0: an error. */
static int has_name(hid_t file, const char *name, hid_t access) {
  char part[1024];
  size_t length = strlen(name);
  if (length >= sizeof part) return 0;
  for (size_t i = 1; i <= length; i++) {
    if (name[i] != '/' && name[i] != 0) continue;
    memcpy(part, name, i);
    part[i] = 0;
    if (part[i - 1] == '/') continue;
    htri_t there = H5Lexists(file, part, access);
    if (there > 0) there = H5Oexists_by_name(file, part, access);
    if (there <= 0) return there;
  }
  return length > 0;
}

typedef struct name_list {
  char text[200];
  int n;
} name_list;

static herr_t list_name(hid_t group, const char *name, const H5L_info_t *info, void *context) {
  name_list *list = context;
  if (info->type != H5L_TYPE_HARD) return 0;
  hid_t object = H5Oopen(group, name, H5P_DEFAULT);
  bool set = object >= 0 && H5Iget_type(object) == H5I_DATASET;
  if (object >= 0) H5Oclose(object);
  if (!set) return 0;
  size_t used = strlen(list->text);
  if (list->n == 8 || used + strlen(name) + 8 > sizeof list->text) {
    memcpy(list->text + used, " ...", 5);
    return 1;
  }
  snprintf(list->text + used, sizeof list->text - used, "%s%s", list->n++ ? ", " : "", name);
  return 0;
}

dl_status dl_h5_fail_missing(const dl_h5_file *file, const char *name) {
  name_list list = {.n = 0};
  H5Lvisit(file->id, H5_INDEX_NAME, H5_ITER_INC, list_name, &list);
  dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "there is no data set '%s'", name);
  return list.n ? dl_hint("the file has: %s", list.text) : dl_hint("the file has no data sets");
}

/* ---- types ---- */

void dl_h5_type_name(hid_t type, char *text, size_t size) {
  static const char *const names[H5T_NCLASSES] = {
      [H5T_TIME] = "time",     [H5T_STRING] = "string",        [H5T_BITFIELD] = "bitfield",
      [H5T_OPAQUE] = "opaque", [H5T_COMPOUND] = "compound",    [H5T_REFERENCE] = "reference",
      [H5T_ENUM] = "enum",     [H5T_VLEN] = "variable-length", [H5T_ARRAY] = "array"};
  H5T_class_t kind = H5Tget_class(type);
  size_t bits = 8 * H5Tget_size(type);
  if (kind == H5T_INTEGER)
    snprintf(text, size, "%sint%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
  else if (kind == H5T_FLOAT)
    snprintf(text, size, "float%zu", bits);
  else
    snprintf(text, size, "%s", kind >= 0 && kind < H5T_NCLASSES && names[kind] ? names[kind] : "unknown");
}

hid_t dl_h5_memory_type(dl_element element) {
  return element == DL_ELEMENT_U8    ? H5T_NATIVE_UINT8
         : element == DL_ELEMENT_I8  ? H5T_NATIVE_INT8
         : element == DL_ELEMENT_U16 ? H5T_NATIVE_UINT16
         : element == DL_ELEMENT_I16 ? H5T_NATIVE_INT16
                                     : H5T_NATIVE_FLOAT;
}

static dl_element element_of(bool integer, bool is_signed, size_t bytes) {
  if (!integer || bytes > 2) return DL_ELEMENT_F32;
  if (bytes == 1) return is_signed ? DL_ELEMENT_I8 : DL_ELEMENT_U8;
  return is_signed ? DL_ELEMENT_I16 : DL_ELEMENT_U16;
}

/* Whether all bits of a number lie in its bytes: HDF5 1.10 converts others beyond its buffers. */
static bool bits_fit(hid_t type, size_t bytes) {
  const size_t all = 8 * bytes, bits = H5Tget_precision(type);
  const int offset = H5Tget_offset(type);
  if (bits < 1 || bits > all || offset < 0 || (size_t)offset > all - bits) return false;
  if (H5Tget_class(type) != H5T_FLOAT) return true;
  size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;
  if (H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) < 0) return false;
  return sign < all && exponent_bits >= 1 && exponent_bits <= all && exponent <= all - exponent_bits &&
         mantissa_bits >= 1 && mantissa_bits <= all && mantissa <= all - mantissa_bits;
}

/* Booleans of h5py are an enumeration over int8. */
static bool number_of(hid_t type, dl_h5_number *out, bool *as_kept) {
  H5T_class_t kind = H5Tget_class(type);
  dl_h5_type_name(type, out->name, sizeof out->name);
  hid_t base = kind == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type);
  if (base < 0) return false;
  out->integer = H5Tget_class(base) == H5T_INTEGER;
  size_t bytes = H5Tget_size(base), bits = H5Tget_precision(base);
  bool is_signed = out->integer && H5Tget_sign(base) == H5T_SGN_2;
  out->bytes = (int64_t)bytes;
  out->element = element_of(out->integer, is_signed, bytes);
  double most = 1;
  for (size_t i = is_signed; i < bits && i < 64; i++) most *= 2;
  out->unit_max = !out->integer || kind == H5T_ENUM || most < 2 ? 1 : most - 1;
  const bool good =
      bytes >= 1 && bytes <= 8 && (out->integer || H5Tget_class(base) == H5T_FLOAT) && bits_fit(base, bytes);
  *as_kept = H5Tequal(base, dl_h5_memory_type(out->element)) > 0;
  H5Tclose(base);
  return good;
}

/* ---- data sets ---- */

char *dl_h5_dims_text(int dims, const int64_t *dim, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "(");
  for (int i = 0; i < dims && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : dims == 1 ? "%lld," : "%lld", (long long)dim[i]);
  if (used < size) snprintf(text + used, size - used, ")");
  return text;
}

static dl_status check_filters(dl_h5_set *set, hid_t made) {
  int n = H5Pget_nfilters(made);
  set->filters = (dl_unpack){.all_known = n <= DL_UNPACK_MOST};
  for (int i = 0; i < n; i++) {
    unsigned flags, config, values[4] = {0};
    size_t n_values = 4;
    char name[64] = "";
    H5Z_filter_t filter = H5Pget_filter2(made, (unsigned)i, &flags, &n_values, values, sizeof name, name, &config);
    if (filter < 0) return dl_h5_fail(DL_ERR_DATA, set->file->path, "data set '%s': unreadable filter", set->name);
    const int kind = n <= DL_UNPACK_MOST ? dl_unpack_kind_of(filter) : -1;
    if (kind < 0) {
      set->filters.all_known = false;
    } else {
      set->filters.width[set->filters.n] = n_values ? values[0] : 0;
      set->filters.kind[set->filters.n++] = kind;
    }
    if (kind >= 0 || H5Zfilter_avail(filter) > 0) continue;
    dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
               "data set '%s' is stored with filter %d%s%s%s, which this HDF5 has not", set->name, (int)filter,
               name[0] ? " (" : "", name, name[0] ? ")" : "");
    return dl_hint(
        "install the filter's plugin and set HDF5_PLUGIN_PATH, or write the file with gzip or without a filter");
  }
  return DL_OK;
}

/* Whether `dims` dimensions of `element` bytes can come out of a file of this size. */
static bool plausible(const dl_h5_file *file, int dims, const hsize_t *dim, int64_t element) {
  __extension__ unsigned __int128 bytes = (unsigned)element;
  for (int i = 0; i < dims && bytes <= (uint64_t)DL_H5_MAX_BYTES; i++) bytes *= dim[i];
  return bytes <= (uint64_t)DL_H5_MAX_BYTES && (int64_t)bytes <= ALWAYS_ALLOWED + file->bytes * MOST_PACKED;
}

/* A chunk or a compact value of another size than the shape asks for is damage that HDF5 1.10 reads beyond. */
static bool storage_fits(dl_h5_set *set, hid_t made, H5D_layout_t layout) {
  hsize_t chunk[H5S_MAX_RANK] = {0}, dim[H5S_MAX_RANK] = {0}, most[H5S_MAX_RANK] = {0};
  if (layout == H5D_COMPACT)
    return (int64_t)H5Dget_storage_size(set->id) == set->dim[0] * set->row_values * set->number.bytes;
  if (layout != H5D_CHUNKED) return true;
  hid_t space = H5Dget_space(set->id);
  bool good = space >= 0 && H5Sget_simple_extent_dims(space, dim, most) == set->dims &&
              H5Pget_chunk(made, H5S_MAX_RANK, chunk) == set->dims &&
              plausible(set->file, set->dims, chunk, set->number.bytes);
  for (int i = 0; good && i < set->dims; i++) good = chunk[i] > 0 && (most[i] == H5S_UNLIMITED || chunk[i] <= most[i]);
  if (space >= 0) H5Sclose(space);
  set->chunk_rows = (int64_t)chunk[0];
  set->chunked = true;
  for (int i = 0; i < set->dims; i++) set->chunk[i] = (int64_t)chunk[i];
  return good;
}

static void look_at_edges_and_fill(dl_h5_set *set, hid_t made) {
  unsigned options = 0;
  hid_t type = H5Dget_type(set->id);
  H5D_fill_value_t defined = H5D_FILL_VALUE_UNDEFINED;
  set->plain_edges =
      set->chunked && H5Pget_chunk_opts(made, &options) >= 0 && (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0;
  if (type >= 0 && H5Pfill_value_defined(made, &defined) >= 0 && defined != H5D_FILL_VALUE_UNDEFINED &&
      H5Pget_fill_value(made, type, set->fill) < 0)
    memset(set->fill, 0, sizeof set->fill);
  if (type >= 0) H5Tclose(type);
}

static dl_status check_storage(dl_h5_set *set) {
  hid_t made = H5Dget_create_plist(set->id);
  if (made < 0) return dl_h5_fail(DL_ERR_DATA, set->file->path, "data set '%s' cannot be examined", set->name);
  dl_status status = DL_OK;
  H5D_layout_t layout = H5Pget_layout(made);
  set->chunk_rows = 1;
  if (layout == H5D_VIRTUAL || H5Pget_external_count(made) > 0) {
    dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
               "data set '%s' keeps its values in other files (%s), which is refused", set->name,
               layout == H5D_VIRTUAL ? "a virtual data set" : "external storage");
    status = dl_hint("name those files under data.file, or copy the values into this one");
  } else {
    status = check_filters(set, made);
    if (status == DL_OK && !storage_fits(set, made, layout))
      status = dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
                          "damaged HDF5 file: the storage of data set '%s' does not fit its shape", set->name);
    if (status == DL_OK) look_at_edges_and_fill(set, made);
  }
  H5Pclose(made);
  return status;
}

static dl_status check_dims(dl_h5_set *set) {
  const char *path = set->file->path;
  hid_t space = H5Dget_space(set->id);
  hsize_t dim[H5S_MAX_RANK] = {0};
  int dims = space >= 0 ? H5Sget_simple_extent_dims(space, dim, NULL) : -1;
  if (space >= 0) H5Sclose(space);
  if (dims < 0) return dl_h5_fail(DL_ERR_DATA, path, "data set '%s': unreadable shape", set->name);
  if (dims == 0)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "data set '%s' is a single value; samples are its first dimension",
                      set->name);
  if (dims > DL_H5_MAX_DIMS)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "data set '%s' has %d dimensions; at most %d can be used", set->name,
                      dims, DL_H5_MAX_DIMS);
  char text[160];
  bool empty = false;
  set->dims = dims;
  for (int i = 0; i < dims; i++) {
    set->dim[i] = (int64_t)dim[i];
    empty = empty || dim[i] == 0;
  }
  dl_h5_dims_text(dims, set->dim, text, sizeof text);
  if (empty) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "data set '%s' is empty: shape %s", set->name, text);
  if (!plausible(set->file, dims, dim, set->number.bytes))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      "data set '%s' claims the shape %s, far more than the file's %lld bytes can hold", set->name,
                      text, (long long)set->file->bytes);
  set->row_values = 1;
  for (int i = 1; i < dims; i++) set->row_values *= set->dim[i];
  return DL_OK;
}

static dl_status check_number(dl_h5_set *set) {
  hid_t type = H5Dget_type(set->id);
  if (type < 0) return dl_h5_fail(DL_ERR_DATA, set->file->path, "data set '%s': unreadable type", set->name);
  bool good = number_of(type, &set->number, &set->as_kept);
  H5Tclose(type);
  return good ? DL_OK
              : dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0, "data set '%s' is of type %s; numbers are wanted",
                           set->name, set->number.name);
}

/* Opens the object without its shape and type being checked. */
static dl_status open_object(const dl_h5_file *file, const char *name, bool *found, hid_t *out) {
  char outside[128] = "";
  *out = -1;
  hid_t access = H5Pcreate(H5P_LINK_ACCESS);
  if (access < 0 || H5Pset_elink_cb(access, refuse_external, outside) < 0) {
    if (access >= 0) H5Pclose(access);
    return dl_h5_fail(DL_ERR_INTERNAL, file->path, "HDF5 cannot be set up");
  }
  dl_status status = DL_OK;
  int there = has_name(file->id, name, access);
  *found = there > 0;
  if (there > 0) *out = H5Oopen(file->id, name, access);
  if (outside[0]) {
    dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' is a link into another file ('%s'), which is refused", name,
               outside);
    status = dl_hint("name that file under data.file");
  } else if (there < 0 || (there > 0 && *out < 0)) {
    status = dl_h5_fail(DL_ERR_DATA, file->path, "damaged HDF5 file: '%s' cannot be opened", name);
  } else if (there > 0 && H5Iget_type(*out) != H5I_DATASET) {
    status = dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' is not a data set but a %s", name,
                        H5Iget_type(*out) == H5I_GROUP ? "group" : "named type");
  }
  H5Pclose(access);
  return status;
}

dl_status dl_h5_set_open(const dl_h5_file *file, const char *name, bool *found, dl_h5_set *out) {
  *out = (dl_h5_set){.id = -1, .file = file, .name = name};
  dl_status status = open_object(file, name, found, &out->id);
  if (status == DL_OK && *found) status = check_number(out);
  if (status == DL_OK && *found) status = check_dims(out);
  if (status == DL_OK && *found) status = check_storage(out);
  if (status != DL_OK) dl_h5_set_close(out);
  return status;
}

void dl_h5_set_close(dl_h5_set *set) {
  if (set->id >= 0) H5Oclose(set->id);
  set->id = -1;
}

int64_t dl_h5_block_rows(const dl_h5_set *set) {
  int64_t want = (4LL << 20) / 8 / set->row_values, most = (256LL << 20) / 8 / set->row_values + 1;
  int64_t rows = want <= set->chunk_rows ? set->chunk_rows : want / set->chunk_rows * set->chunk_rows;
  if (rows > most) rows = most; /* a chunk of many one-hot rows: better read twice than held whole as doubles */
  return rows < set->dim[0] ? rows : set->dim[0];
}

dl_status dl_h5_read_plainly(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, void *out) {
  hsize_t start[DL_H5_MAX_DIMS] = {(hsize_t)first}, count[DL_H5_MAX_DIMS] = {(hsize_t)rows};
  for (int i = 1; i < set->dims; i++) count[i] = (hsize_t)set->dim[i];
  hid_t file_space = H5Dget_space(set->id);
  hid_t memory_space = H5Screate_simple(set->dims, count, NULL);
  dl_status status = DL_OK;
  if (file_space < 0 || memory_space < 0 ||
      H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
      H5Dread(set->id, memory_type, memory_space, file_space, H5P_DEFAULT, out) < 0)
    status = dl_h5_fail(DL_ERR_DATA, set->file->path, "data set '%s' cannot be read: the file is damaged", set->name);
  if (file_space >= 0) H5Sclose(file_space);
  if (memory_space >= 0) H5Sclose(memory_space);
  return status;
}

dl_status dl_h5_read(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, void *out) {
  if (dl_h5_chunks_fit(set)) {
    dl_h5_buffers buffers = {.packed = NULL};
    dl_status status = dl_h5_chunks_read(set, first, rows, memory_type, H5Tget_size(memory_type), true, &buffers, out);
    dl_h5_buffers_clear(&buffers);
    return status;
  }
  return dl_h5_read_plainly(set, first, rows, memory_type, out);
}
