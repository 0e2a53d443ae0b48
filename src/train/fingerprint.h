/* fingerprint.h - what bits depend on beside the configuration (floor: train). */
#ifndef DL_TRAIN_FINGERPRINT_H
#define DL_TRAIN_FINGERPRINT_H

#include "core/json.h"
#include "core/team.h"

/* Libraries, versions, instruction set, processor and the variables of the environment that libraries obey, of this
 * process. Not collective; freed by the caller with dl_json_destroy. */
dl_json *dl_fingerprint(int64_t shards, int backend);

/* Warns (code "fingerprint") where the members of the team do not all have the same. Collective. */
dl_status dl_fingerprint_compare_team(dl_team *team, const dl_json *mine);

/* Warns where `mine` differs from a checkpoint's. Not collective. */
void dl_fingerprint_compare_kept(const dl_json *mine, const dl_json *kept);

#endif
