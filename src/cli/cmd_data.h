/* cmd_data.h - the actions of dldist data that have a file of their own (floor: cli). */
#ifndef DL_CLI_CMD_DATA_H
#define DL_CLI_CMD_DATA_H

#include "cli/command.h"

dl_status dl_data_import(const dl_command *command, const dl_args *args);
dl_status dl_data_verify_command(const dl_command *command, const dl_args *args);
dl_status dl_data_split_command(const dl_command *command, const dl_args *args);

/* From here on SIGINT, SIGTERM and SIGHUP leave no half-written file behind. */
void dl_data_leave_nothing(void);

#endif
