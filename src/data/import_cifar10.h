/* import_cifar10.h - the binary version of CIFAR-10 (floor: data, private). */
#ifndef DL_DATA_IMPORT_CIFAR10_H
#define DL_DATA_IMPORT_CIFAR10_H

#include "data/import.h"

/* inputs: DIR. See dl_format. */
dl_status dl_import_cifar10(const dl_import_job *job);

#endif
