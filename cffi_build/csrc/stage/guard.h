// guard.h: how a process that only watches gives up everything else.
#ifndef NSJ_GUARD_H
#define NSJ_GUARD_H

#include "stage.h"

// Closes all descriptors but `keep` (sorted here; negative ones are absent), unmaps the plan, and keeps
// of all privileges CAP_KILL and of all system calls those of a watcher. 0 or a negative errno.
long guard_enter(int *keep, unsigned count, const struct stage *st);

#endif
