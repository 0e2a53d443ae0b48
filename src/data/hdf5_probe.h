/* hdf5_probe.h - files that HDF5 does not survive (floor: data, private). */
#ifndef DL_DATA_HDF5_PROBE_H
#define DL_DATA_HDF5_PROBE_H

#include "data/hdf5_file.h"

/* dl_h5_open for a file that nobody has opened yet: a child process goes through it first. A file at which HDF5 crashes
 * or does not come to an end is DL_ERR_DATA; all other faults are left to be told by who meets them. Costs a fork and a
 * look at each object of the file (the first 4,096). Within the process's turn at HDF5. */
dl_status dl_h5_open_first(const char *path, dl_h5_file *out);

#endif
