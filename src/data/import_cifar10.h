/* import_cifar10.h - the binary version of CIFAR-10 (floor: data, private). */
#ifndef DL_DATA_IMPORT_CIFAR10_H
#define DL_DATA_IMPORT_CIFAR10_H

#include "core/status.h"

/* inputs: DIR; `hdf5_file` is a hid_t. See dl_format. */
dl_status dl_import_cifar10(const char *const *inputs, int n_inputs, const void *options, int64_t hdf5_file);

#endif
