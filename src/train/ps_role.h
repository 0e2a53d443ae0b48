/* ps_role.h - what a process is among parameter servers and workers, by its configuration (floor: train). */
#ifndef DL_TRAIN_PS_ROLE_H
#define DL_TRAIN_PS_ROLE_H

#include "comm/ps.h"
#include "core/hash.h"
#include "train/model.h"

/* sync.mode: ps with sync.bind is DL_PS_SERVE, with sync.connect DL_PS_WORKER, else DL_PS_TEAM. Not collective. */
dl_ps_role dl_ps_role_of(const dl_config *config);
/* DL_ERR_USAGE for keys that do not go together. Not collective. */
dl_status dl_ps_check(const dl_config *config);
/* The same where the socket that is listened on would be in the way of a run's folder. Not collective. */
dl_status dl_ps_check_folder(const dl_config *config, const char *folder);

/* SHA-256 over all that is computed: the keys that are not neutral (sync.* apart), the samples, their shape. Servers
 * and workers must have the same. For a model whose data and network are there. Not collective. */
dl_status dl_ps_digest(const dl_model *model, dl_digest *out);
/* What dl_sync_new gets; `digest` backs out->digest. Not collective. */
dl_status dl_ps_choose(const dl_model *model, dl_digest *digest, dl_ps_options *out);

#endif
