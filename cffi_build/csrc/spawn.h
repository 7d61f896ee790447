// spawn.h: start the stage in new namespaces; the parent's half of the launch.
#ifndef NSJ_SPAWN_H
#define NSJ_SPAWN_H

#include <stdint.h>

struct nsj_file_write { // written by the parent to /proc/<child>/<name> before it releases GATE_CREATED
    const char *name;   // "setgroups", "uid_map", "gid_map"
    const char *text;
    uint32_t length;
};

struct nsj_spawn {
    // in
    uint64_t flags;       // CLONE_NEW* united from all parts
    uint64_t keep;        // capabilities to have in a new user namespace, each at the cost of a microsecond; 0: all
    int32_t stage;        // descriptor of the stage (a sealed memfd, or the packaged file on a read-only clone)
    int32_t cgroup;       // descriptor of a cgroup v2 directory to be born in, or -1
    const int32_t *slots; // slots[i] becomes descriptor NSJ_SLOT_BASE + i of the stage; -1: nothing is open there
    int32_t nslots;
    int32_t report; // the parent's end of the report socket, for the release; -1: no release is sent
    const struct nsj_file_write *writes;
    int32_t nwrites;
    uint32_t release_gate; // after the writes: send RELEASE for this gate (0: the caller does it)
    // out
    int32_t pid;
    int32_t pidfd;
    int32_t step;         // on failure: which of NSJ_SPAWN_*
    int32_t write_failed; // on NSJ_SPAWN_MAP: index into writes
};

enum nsj_spawn_step {
    NSJ_SPAWN_STACK = 1,
    NSJ_SPAWN_CLONE = 2,
    NSJ_SPAWN_SLOTS = 3, // a descriptor could not be moved to its slot (RLIMIT_NOFILE)
    NSJ_SPAWN_EXEC = 4,  // execveat of the stage
    NSJ_SPAWN_MAP = 5,
};

// Returns 0 or -errno. On failure no child is left and pid, pidfd are -1.
//
// The stage starts with every signal blocked, handlers reset (what the caller ignores stays ignored), an empty
// environment and all permitted capabilities, in a new user namespace those of `keep`, also inheritable and ambient.
// The caller's descriptors are still open.
int nsj_spawn(struct nsj_spawn *s);

// Makes a user namespace with the given maps and nothing in it, for id-mapped mounts: mount_setattr(2).
// Returns a descriptor or -errno; `failed` is the index of the write that was refused, or -1.
int nsj_mapping_namespace(const struct nsj_file_write *writes, int nwrites, int *failed);

#endif
