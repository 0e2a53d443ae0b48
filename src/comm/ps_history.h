/* ps_history.h - what workers and servers did, for a checker (floor: comm, private).
 *
 * With DLDIST_PS_HISTORY=FOLDER in its environment every server and every worker writes a text file there, a line an
 * event, each by one write, so that a process's death loses none that was written. For tests: tests/comm/ps_judge.c
 * reads the files and says whether any update that was acknowledged is lost or counted twice, and how stale weights
 * were.
 *
 *   server-K   begin STEP            a life begins at this step: all before it is in the weights
 *              open STEP LEAVES      a step's tree (the first server alone)
 *              apply STEP LEVEL INDEX WORKER SEQUENCE VERSION UPDATES      a push, made with weights that had VERSION
 *                                    updates of this life, is applied behind UPDATES of them
 *              replay ...            the same for a push that comes from the log
 *              twice ...             the same for a push that is passed by: its unit was applied before
 *              close STEP            the step is over, and complete
 *   worker-W   push SERVER STEP LEVEL INDEX SEQUENCE VERSION
 *              ack ...               the same: the server has said that it has it
 */
#ifndef DL_COMM_PS_HISTORY_H
#define DL_COMM_PS_HISTORY_H

#define DL_PS_HISTORY_VARIABLE "DLDIST_PS_HISTORY"

typedef struct dl_ps_history {
  int file; /* 0: none */
} dl_ps_history;

/* Opens FOLDER/name for appending where the variable is set; where that fails no history is kept. */
void dl_ps_history_open(dl_ps_history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dl_ps_history_close(dl_ps_history *history);
void dl_ps_history_note(const dl_ps_history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
