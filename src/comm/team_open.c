/* team_open.c - teams that last: a crew of one thread, the caller's. */
#include <stdlib.h>

#include "comm/crew.h"
#include "comm/launch.h"
#include "core/mem.h"

/* What dl_team_close needs; the crew's only member is the team. */
typedef struct opened {
  dl_crew *crew;
  dl_wire *wire;
  bool ours; /* MPI is finalised with the team */
  struct opened *next;
} opened;

static _Thread_local opened *all;

static dl_status join(dl_team_where where, const void *communicator, opened *o) {
  switch (where) {
    case DL_TEAM_ALONE:
      return DL_OK;
    case DL_TEAM_LAUNCHED:
      if (!dl_launch_under_launcher()) return DL_OK;
      DL_TRY(dl_wire_begin(&o->ours));
      return dl_wire_new(NULL, 1, &o->wire);
    case DL_TEAM_OVER:
      return dl_wire_new(communicator, 1, &o->wire);
    case DL_TEAM_FORTRAN:
      return dl_wire_new_fortran(*(const int *)communicator, 1, &o->wire);
  }
  return dl_fail(DL_ERR_INTERNAL, "no such kind of team");
}

static void leave(opened *o) {
  dl_crew_destroy(&o->crew);
  dl_wire_destroy(&o->wire);
  if (o->ours) dl_wire_end(true);
  free(o);
}

dl_status dl_team_open(dl_team_where where, const void *communicator, dl_team **out) {
  opened *o = dl_calloc(1, sizeof *o);
  if (!o) return DL_ERR_NOMEM;
  dl_status status = join(where, communicator, o);
  if (status == DL_OK) status = dl_crew_new(1, dl_launch_cores(), o->wire, &o->crew);
  if (status != DL_OK) {
    leave(o);
    return status;
  }
  o->next = all;
  all = o;
  *out = &o->crew->members[0].team;
  return DL_OK;
}

void dl_team_close(dl_team **team) {
  for (opened **link = &all; *team && *link; link = &(*link)->next) {
    opened *o = *link;
    if (&o->crew->members[0].team != *team) continue;
    *link = o->next;
    *team = NULL;
    leave(o);
    return;
  }
}
