/* data_reader.h - units of rows out of files that each process opens itself (floor: data, private). */
#ifndef DL_DATA_DATA_READER_H
#define DL_DATA_DATA_READER_H

#include "data/data_units.h"
#include "data/hdf5_chunks.h"

typedef struct dl_reader dl_reader;
dl_status dl_reader_new(const dl_data *data, dl_reader **out);
void dl_reader_destroy(dl_reader **reader);

/* Row unit->first of the part and those after it, as they are kept in memory (channels first, checked): *x is the
 * reader's own memory or the data set's. One thread at a time; takes HDF5's turn itself. DL_ERR_DATA for what is
 * damaged or has changed since the data set was opened. */
dl_status dl_reader_unit(dl_reader *reader, int part, const dl_unit *unit, const char **x);

void dl_reader_limit_tokens(dl_reader *reader, int64_t limit);
const dl_h5_buffers *dl_reader_buffers(const dl_reader *reader);

#endif
