// stage.h: what the stage's files share: one struct, decoded arguments, the handlers.
#ifndef NSJ_STAGE_H
#define NSJ_STAGE_H

#include "../contract.h"
#include "sys.h"
#include "verify.h"

// One argument of a step, decoded. Descriptors are descriptors here, no longer slots.
struct value {
    union {
        uint64_t n;              // INT
        const char *text;        // STR; NULL where absent
        const void *data;        // DATA; NULL where absent
        const uint64_t *offsets; // STRINGS: see list_text()
        int fd;                  // SLOT, or AT_FDCWD where absent; OUT: the number to fill, or -1
    };
    uint64_t size; // DATA: bytes; STRINGS: entries
};

// What became of the payload's side of a fork, in memory that both sides see (init.c).
struct outcome {
    bool failed;   // it has reported a failure itself, or was told to leave
    bool launched; // it went into execve
    uint32_t step; // where it is
};

struct stage {
    int report; // the report socket
    int owner;  // a pidfd, or -1
    bool trace; // of the first blob
    bool tied;  // this process dies with the one that forked it, by PDEATHSIG
    bool apart; // init has a uid of its own, and the payload's side takes `uid` again
    uint32_t uid;
    const unsigned char *blob;
    uint64_t size;
    struct nsj_flow flow;   // the verifier's state before this blob
    uint32_t base;          // the number of this blob's first step: a suffix counts on
    uint32_t current, next; // steps of this blob
    uint32_t step;          // the number of the running step
    enum nsj_at at;         // detail of the running step's failure
    uint64_t at_value;
    struct outcome *outcome; // NULL without INIT
    void *vector;            // EXEC's pointers, unmapped by an init that shares this memory
    uint64_t vector_size;
    int numbers[NSJ_MAX_SLOTS]; // the payload's descriptors, rising
    uint32_t nnumbers;
};

// Carries out the steps from st->next on. Returns 0 at the end of an entered plan, or the negative
// errno of the failure that it has reported; otherwise EXEC ends it.
int nsj_run(struct stage *st);

// Maps and verifies the blob in a sealed memfd, as the next one of `st`. 0 or a negative errno; a
// refusal has been reported and is -EBADMSG.
int nsj_load(struct stage *st, int fd, struct nsj_flow *flow, uint32_t base);

// report.c; both names of failure: of a step, and of a refused blob
void nsj_report(const struct stage *st, enum nsj_report_kind kind, int error, uint64_t value0, uint64_t value1);
void nsj_report_step(const struct stage *st, enum nsj_report_kind kind, int error);
void nsj_report_fd(const struct stage *st, int fd);
void nsj_report_bad(const struct stage *st, uint32_t step, uint32_t bad);
long nsj_send(int socket, struct nsj_report *report, int fd, unsigned flags);

// The status to exit with after a child's wait status, as a shell has it.
static inline int exit_status(int status) { return (status & 0x7f) ? 128 + (status & 0x7f) : status >> 8 & 0xff; }

// gate.c: a process that is no longer wanted leaves without a word.
__attribute__((noreturn)) void nsj_leave(struct stage *st);

// path.c: everything resolves inside `root`, and nothing is followed out of it.
long path_open(int root, const char *path, uint64_t flags);
long path_parent(struct stage *st, int root, const char *path, const char **leaf);
enum path_kind { PATH_DIRECTORY, PATH_FILE };
long path_make(struct stage *st, int root, const char *path, enum path_kind kind, unsigned mode);

// exec.c: calls close_range() on all descriptors from `first` on but `keep`, which rises.
long close_all_but(unsigned first, const int *keep, unsigned count, unsigned flags);

// ops_process.c
long raise_effective(const struct stage *st);
long keep_caps(uint64_t mask); // permitted and effective cut down to it, nothing inheritable

static inline const char *list_text(const struct stage *st, const struct value *list, uint64_t index) {
    const struct nsj_header *header = (const struct nsj_header *)st->blob;
    return (const char *)st->blob + header->pool + list->offsets[index];
}

// A handler returns 0 or a negative errno, and leaves its OUT descriptors where they belong.
#define NSJ_HANDLER(name, number, kinds) long op_##name(struct stage *st, const struct value *arg);
NSJ_OPCODES(NSJ_HANDLER)
#undef NSJ_HANDLER

// Says what the current step was doing when it fails from here on.
static inline void doing(struct stage *st, enum nsj_at at, uint64_t value) {
    st->at = at;
    st->at_value = value;
}

#endif
