/* config.h - the configuration of a run (floor: core).
 *
 * dl_config_rows is the one place where a key of the configuration is known. What belongs to a table of another floor
 * (the model, the loss, the optimizer, the schedule, data set names, augmentation) is kept here as a node and parsed by
 * its owner.
 */
#ifndef DL_CORE_CONFIG_H
#define DL_CORE_CONFIG_H

#include "core/half.h"
#include "core/options.h"

typedef enum dl_task {
  DL_TASK_CLASSIFICATION,
  DL_TASK_BINARY,
  DL_TASK_MULTILABEL,
  DL_TASK_REGRESSION,
  DL_TASK_LANGUAGE_MODEL,
  DL_TASK_SEGMENTATION,
} dl_task;
#define DL_TASK_NAMES "classification|binary|multilabel|regression|language_model|segmentation"

typedef enum dl_layout { DL_LAYOUT_NCHW, DL_LAYOUT_NHWC } dl_layout;
#define DL_LAYOUT_NAMES "nchw|nhwc"
typedef enum dl_normalize {
  DL_NORMALIZE_AUTO, /* unit for integer x, else none; resolved when the data set is opened */
  DL_NORMALIZE_NONE,
  DL_NORMALIZE_UNIT,        /* x / 255 for u8, x / max of the type for 1 and 2 bytes; wider: / largest |x| */
  DL_NORMALIZE_PER_FEATURE, /* (x - mean) / std of each element over the training samples */
  DL_NORMALIZE_PER_CHANNEL, /* the same over samples, height and width */
} dl_normalize;
#define DL_NORMALIZE_NAMES "auto|none|unit|per_feature|per_channel"
typedef enum dl_shuffle { DL_SHUFFLE_AUTO, DL_SHUFFLE_FULL, DL_SHUFFLE_LANES, DL_SHUFFLE_NONE } dl_shuffle;
#define DL_SHUFFLE_NAMES "auto|full|lanes|none"
typedef enum dl_on_corrupt { DL_ON_CORRUPT_STOP, DL_ON_CORRUPT_SKIP } dl_on_corrupt;
#define DL_ON_CORRUPT_NAMES "stop|skip"
typedef enum dl_transport { DL_TRANSPORT_AUTO, DL_TRANSPORT_SHM, DL_TRANSPORT_MPI } dl_transport;
#define DL_TRANSPORT_NAMES "auto|shm|mpi"
typedef enum dl_sync_mode { DL_SYNC_ALLREDUCE, DL_SYNC_PS } dl_sync_mode;
#define DL_SYNC_MODE_NAMES "allreduce|ps"
#define DL_CONSISTENCY_NAMES "bsp|ssp|asp"
#define DL_PS_LOG_NAMES "none|write|sync"
typedef enum dl_backend { DL_BACKEND_AUTO, DL_BACKEND_ONEDNN, DL_BACKEND_OPENBLAS } dl_backend;
#define DL_BACKEND_NAMES "auto|onednn|openblas"

typedef struct dl_config {
  const char *name;
  int64_t seed;
  int task; /* dl_task */
  struct {
    dl_node *file;                 /* text, or a list of texts; each may be a glob */
    dl_node *train, *valid, *test; /* {x:, y:, weight:}; valid may be a fraction; NULL or a null node: absent */
    dl_node *augment;              /* a list of augmentations, NULL: none */
    int layout, normalize, shuffle, on_corrupt;
    int64_t shuffle_buffer_mb;
    int64_t sequence; /* language_model: tokens of a sample */
  } data;
  dl_node *model, *loss, *optimizer, *schedule;
  struct {
    int64_t epochs, batch;
    double clip_norm; /* 0: none */
    bool drop_last;
    const char *weights; /* to begin with; NULL: the seed's */
    const char *monitor; /* loss, or a metric of the task */
    int64_t patience;    /* 0: never ends before its epochs */
    double min_delta;
  } train;
  struct {
    int mode, transport; /* dl_sync_mode, dl_transport */
    int64_t shards;      /* DL_AUTO until resolved */
    double timeout;
    int64_t audit_every, recompute_every; /* 0: never */
    double bucket_mb;
    int compress; /* dl_compress */
    double topk;  /* of DL_COMPRESS_TOPK */
    bool overlap;
    /* parameter servers */
    int consistency; /* index in DL_CONSISTENCY_NAMES */
    int log;         /* index in DL_PS_LOG_NAMES */
    int64_t log_mb, staleness, servers;
    const char *connect, *bind, *key, *server_key, *allow; /* NULL: none */
  } sync;
  struct {
    int backend;
  } compute;
  struct {
    int64_t every_epochs, keep;
    double every_minutes;
    bool best;
  } checkpoint;
  struct {
    int64_t every_steps;
  } log;

  dl_document document; /* the effective tree, owned */
  char *folder;         /* where relative paths start, owned */
  char *source;         /* the configuration file's name, owned */
} dl_config;

extern const dl_option dl_config_rows[];
extern const int dl_config_row_count;

/* Parses `text` (read from `name`, whose folder relative paths start at), applies `assignments` ("key.path=VALUE"),
 * checks every key. Not collective: every member parses the same text. */
dl_status dl_config_parse(const char *text, size_t bytes, const char *name, const char *const *assignments,
                          int n_assignments, dl_config **out);
/* The same from a parsed document, whose nodes keep their places; takes `document` over, in any case. */
dl_status dl_config_from_document(dl_document *document, const char *name, const char *const *assignments,
                                  int n_assignments, dl_config **out);
void dl_config_destroy(dl_config **config);

/* The effective configuration as YAML (defaults and resolved values in); freed by the caller. */
dl_status dl_config_write(const dl_config *config, char **out);

/* Sets a resolved value in the tree, for dl_config_write ("sync.shards", "8"); the struct's member is the caller's. */
dl_status dl_config_resolve(dl_config *config, const char *path, const char *text);

/* Fails at the place of key `path`, or of the nearest parent that the file has. */
dl_status dl_config_fail(const dl_config *config, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
