/* status.h - how functions of dldist end. */
#ifndef DLDIST_STATUS_H
#define DLDIST_STATUS_H

typedef enum dl_status {
  DL_OK = 0,
  DL_ERR_USAGE,    /* wrong usage or configuration                      exit 2 */
  DL_ERR_DATA,     /* bad data set or checkpoint                        exit 3 */
  DL_ERR_TRAIN,    /* training failed: not finite, a rank lost          exit 4 */
  DL_ERR_STOPPED,  /* stopped early by a signal, checkpoint written     exit 75 */
  DL_ERR_SYSTEM,   /* disk, memory, network, anything else              exit 1 */
  DL_ERR_NOMEM,    /* an allocation failed                              exit 1 */
  DL_ERR_INTERNAL, /* a bug in dldist                                   exit 1 */
} dl_status;

#endif
