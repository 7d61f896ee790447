// verify.h: the distrustful check of a blob, before anything in it is acted on.
//
// Free of system calls, globals and libc, so that the same code runs in the stage, in the Python
// extension and under a fuzzer.
#ifndef NSJ_VERIFY_H
#define NSJ_VERIFY_H

#include "../contract.h"

#include <stdbool.h>

#define NSJ_MAX_NUMBER (1 << 20) // payload descriptors stay below it; the kernel's default fs.nr_open

// What the steps so far have done, as far as later steps depend on it. Zero before the first blob.
struct nsj_flow {
    uint64_t filled[NSJ_MAX_SLOTS / 64];
    uint64_t taken[NSJ_MAX_SLOTS / 64]; // slots whose number DESCRIPTORS gave to the payload
    bool begun, entered, fork, init, pivot, descriptors;
};

struct nsj_verdict {
    uint32_t bad;  // enum nsj_bad, or 0
    uint32_t step; // the step refused; 0 for the header
};

// Checks a blob of `size` bytes at an 8-aligned address that nobody can change meanwhile. `flow` is
// carried on: pass a zeroed one for a plan, and for a suffix what nsj_flow_to_gate() made of it.
bool nsj_verify(const void *blob, uint64_t size, struct nsj_flow *flow, struct nsj_verdict *verdict);

// Replays the steps of a verified blob before `gate`, then fills the slots that a release brought.
// False: the release names slots that a plan cannot have, or that are filled already.
bool nsj_flow_to_gate(const void *blob, uint32_t gate, uint32_t slot, uint32_t count, struct nsj_flow *flow);

static inline const struct nsj_step *nsj_steps(const struct nsj_header *header) {
    return (const struct nsj_step *)(header + 1);
}

static inline unsigned nsj_kind(const struct nsj_step *step, unsigned index) {
    return (step->kinds >> (4 * index)) & 15u;
}

#endif
