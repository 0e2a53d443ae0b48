/* import_found.h - the closing line of an import (floor: data, private). */
#ifndef DL_DATA_IMPORT_FOUND_H
#define DL_DATA_IMPORT_FOUND_H

#include "data/hdf5_file.h"

/* Says in a line what the data set in the open HDF5 file `id` is: "train 60000, test 10000 samples of uint8 (28, 28);
 * 10 classes, labels 0 to 9". y is read where it is one column of integers. A text of `size` bytes; "" where the file
 * holds no split. Between dl_h5_enter and dl_h5_leave. */
void dl_import_found(hid_t id, char *text, size_t size);

#endif
