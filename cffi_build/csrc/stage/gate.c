// gate.c: report that the stage waits, and take what the release brings.
#include "stage.h"

#include <linux/poll.h>

// Received descriptors land on the lowest free numbers; past this one they are out of every slot.
#define ABOVE_SLOTS (NSJ_SLOT_BASE + NSJ_MAX_SLOTS)

struct release {
    struct nsj_control control;
    int fds[NSJ_MAX_PASS + 1];
    unsigned count;
};

void nsj_leave(struct stage *st) {
    if (st->outcome)
        st->outcome->failed = true;
    sys_exit(125);
}

// Whether the release has come already.
static bool is_released(const struct stage *st) {
    const struct abi_timespec at_once = {0};
    struct pollfd report = {.fd = st->report, .events = POLLIN};
    return SYS(ppoll, &report, 1, &at_once, 0, 0) == 1;
}

static void wait_for_message(struct stage *st) {
    struct pollfd watch[2] = {{.fd = st->report, .events = POLLIN}, {.fd = st->owner, .events = POLLIN}};
    long ready;
    do
        ready = SYS(ppoll, watch, 2, 0, 0, 0);
    while (ready == -EINTR);
    if (ready < 0 || watch[1].revents)
        nsj_leave(st);
}

static long receive(struct stage *st, struct release *release) {
    struct {
        struct abi_cmsghdr head;
        int fds[NSJ_MAX_PASS + 1];
    } rights = {.head = {.length = 0}};
    struct abi_iovec part = {&release->control, sizeof release->control};
    struct abi_msghdr message = {.iov = &part, .iovlen = 1, .control = &rights, .controllen = sizeof rights};
    long got = SYS(recvmsg, st->report, &message, ABI_MSG_CMSG_CLOEXEC);
    if (got == 0 || got == -ECONNRESET)
        nsj_leave(st);
    if (got < 0)
        return got;
    if (message.controllen >= sizeof rights.head && rights.head.type == ABI_SCM_RIGHTS)
        release->count = (unsigned)((rights.head.length - sizeof rights.head) / sizeof(int));
    for (unsigned i = 0; i < release->count; i++)
        release->fds[i] = rights.fds[i];
    if (got != sizeof release->control || (message.flags & (ABI_MSG_TRUNC | ABI_MSG_CTRUNC)))
        return -EPROTO;
    return 0;
}

static bool fits(const struct value *gate, const struct release *r) {
    const struct nsj_control *c = &r->control;
    if (c->kind != NSJ_CONTROL_RELEASE || c->value != gate[0].n || c->suffix > 1 || r->count != c->count + c->suffix)
        return false;
    if (c->suffix)
        return gate[0].n == NSJ_GATE_READY || gate[0].n == NSJ_GATE_PARKED;
    return c->count == gate[2].n && (c->count == 0 || c->slot == gate[1].n);
}

// A descriptor that was received on a number that is another one's slot gets out of its way first.
static long fill_slots(struct release *r) {
    for (unsigned i = 0; i < r->count; i++) {
        if (r->fds[i] < NSJ_SLOT_BASE || r->fds[i] >= ABOVE_SLOTS)
            continue;
        long moved = SYS(fcntl, r->fds[i], F_DUPFD_CLOEXEC, ABOVE_SLOTS);
        if (moved < 0)
            return moved;
        SYS(close, r->fds[i]);
        r->fds[i] = (int)moved;
    }
    for (unsigned i = 0; i < r->control.count; i++) {
        long placed = sys_place(r->fds[i], NSJ_SLOT_BASE + r->control.slot + (int)i);
        if (placed < 0)
            return placed;
    }
    return 0;
}

static long take_suffix(struct stage *st, struct release *r) {
    struct nsj_flow flow = st->flow;
    if (!nsj_flow_to_gate(st->blob, st->current, r->control.slot, r->control.count, &flow))
        return -EPROTO;
    int fd = r->fds[r->control.count];
    long loaded = nsj_load(st, fd, &flow, st->base + ((const struct nsj_header *)st->blob)->nsteps);
    SYS(close, fd);
    if (loaded == -EBADMSG) // reported, with its own step
        nsj_leave(st);
    return loaded;
}

long op_GATE(struct stage *st, const struct value *arg) {
    if (!is_released(st)) { // a report wakes the owner for nothing where it was faster
        nsj_report(st, NSJ_REPORT_GATE, 0, arg[0].n, 0);
        wait_for_message(st);
    }
    doing(st, NSJ_AT_RELEASE, 0);
    struct release release = {.count = 0};
    long r = receive(st, &release);
    if (r == 0 && !fits(arg, &release))
        r = -EPROTO;
    if (r == 0 && release.control.suffix) // its flow is checked before a slot is touched
        r = take_suffix(st, &release);
    if (r == 0)
        r = fill_slots(&release);
    return r;
}
