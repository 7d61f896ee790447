// init.c: the process that stays: it starts the payload, reaps, passes signals on and reports the end.
//
// It trusts its owner and nothing else. Whatever the payload could do to a process of its own uid is
// closed off: it is not dumpable before the payload exists (no ptrace, no /proc/1/mem, no pidfd_getfd:
// ptrace(2), "Ptrace access mode checking"), the kernel shields pid 1 from signals without a handler,
// work is done in bounded portions so that no flood of orphans or signals hides the owner's word, and
// what it holds is the report socket and the owner's pidfd.
#include "guard.h"
#include "stage.h"

#include <linux/poll.h>
#include <linux/resource.h>
#include <linux/signal.h>
#include <linux/signalfd.h>

#define STACK_SIZE (64 << 10) // the deepest step is a gate that verifies a suffix, about 10 KiB
#define PORTION 64            // children reaped, or signals passed on, before the owner is looked at again

struct init {
    int report, owner; // this side's numbers: the payload's side may move its own
    int payload;       // pidfd, until it has been reported
    int pid;
    int signals;
    int children; // the reaper's list of its own children, or -1
    int kept;     // a slot held open as long as this process lives, or -1
    bool outside;
    uint32_t step;
};

#define SIGNAL_BIT(n) (1ull << ((n)-1))
#define FORWARDED                                                                                                      \
    (SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(SIGINT) | SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2) |       \
     SIGNAL_BIT(SIGALRM) | SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGWINCH))

// ---- the end ----

static unsigned list_children(const struct init *in, int *pids, unsigned most) {
    char text[2048];
    long size = SYS(pread64, in->children, text, sizeof text, 0);
    unsigned count = 0;
    int pid = 0;
    for (long i = 0; i < size && count < most; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            pid = 10 * pid + (text[i] - '0');
        } else { // each number is followed by a space: one cut short at the end is left for the next round
            pids[count++] = pid;
            pid = 0;
        }
    }
    return count;
}

// Returns how many children, but the one to be left out, could be signalled.
static unsigned signal_children(const struct init *in, int signal, int but) {
    int pids[PORTION];
    unsigned count = list_children(in, pids, PORTION), reached = 0;
    for (unsigned i = 0; i < count; i++)
        reached += pids[i] != but && SYS(kill, pids[i], signal) == 0;
    return reached;
}

// A child that dies leaves its own children to this process, the subreaper, so that killing only
// direct children reaches all. Children that may not be killed end the attempt.
static void kill_descendants(const struct init *in) {
    if (in->children < 0)
        return;
    while (signal_children(in, SIGKILL, 0) > 0)
        if (SYS(wait4, -1, 0, ABI_WALL, 0) < 0)
            return;
}

// Ends the sandbox: for pid 1 the kernel kills all the others as it leaves (pid_namespaces(7)).
__attribute__((noreturn)) static void end_all(const struct init *in, int status) {
    if (in->outside) {
        // Reaped here: the pid namespace that it is in could not end before a subreaper of the host did it.
        SYS(kill, in->pid, SIGKILL);
        SYS(wait4, in->pid, 0, ABI_WALL, 0);
        kill_descendants(in);
    }
    sys_exit(status);
}

static uint64_t microseconds(long seconds, long rest) { return (uint64_t)seconds * 1000000u + (uint64_t)rest; }

__attribute__((noreturn)) static void finish(const struct init *in, int status, const struct rusage *usage) {
    kill_descendants(in);
    struct nsj_report report = {
        .kind = NSJ_REPORT_EXITED,
        .step = (uint16_t)in->step,
        .value = {(uint64_t)status, microseconds(usage->ru_utime.tv_sec, usage->ru_utime.tv_usec),
                  microseconds(usage->ru_stime.tv_sec, usage->ru_stime.tv_usec), (uint64_t)usage->ru_maxrss},
    };
    // The queue may be full of reports that nobody has read: wait for room, but not past the owner.
    while (in->report >= 0 && nsj_send(in->report, &report, -1, ABI_MSG_DONTWAIT) == -EAGAIN) {
        struct pollfd watch[2] = {{.fd = in->report, .events = POLLOUT}, {.fd = in->owner, .events = POLLIN}};
        SYS(ppoll, watch, 2, 0, 0, 0);
        if (watch[1].revents)
            break;
    }
    sys_exit(exit_status(status));
}

// ---- the loop ----

static void report_stopped(const struct init *in, int signal) {
    struct nsj_report report = {.kind = NSJ_REPORT_STOPPED, .step = (uint16_t)in->step, .value = {(uint64_t)signal}};
    nsj_send(in->report, &report, -1, ABI_MSG_DONTWAIT); // a payload that stops in a loop must not block this
}

// Returns whether there may be more to reap.
static bool reap(const struct init *in) {
    for (unsigned i = 0; i < PORTION; i++) {
        struct rusage usage;
        int status = 0;
        long pid = SYS(wait4, -1, &status, ABI_WNOHANG | ABI_WUNTRACED | ABI_WALL, &usage);
        if (pid <= 0)
            return false;
        if (pid != in->pid)
            continue;
        if ((status & 0xff) == 0x7f)
            report_stopped(in, status >> 8 & 0xff);
        else
            finish(in, status, &usage);
    }
    return true;
}

static bool take_signals(const struct init *in) {
    struct signalfd_siginfo info[8];
    long size = SYS(read, in->signals, info, sizeof info);
    bool ended = false;
    for (long i = 0; i * (long)sizeof info[0] < size; i++) {
        if (info[i].ssi_signo == SIGCHLD)
            ended = true;
        else
            SYS(kill, in->pid, info[i].ssi_signo);
    }
    return ended;
}

// The group of a terminal's keys. A payload that never left this process's own group, which on the
// host is the caller's, gets the signal alone.
static void signal_group(const struct init *in, int signal) {
    long group = SYS(getpgid, in->pid);
    if (group <= 1 || group == SYS(getpgid, 0))
        SYS(kill, in->pid, signal);
    else
        SYS(kill, -group, signal);
}

static void signal_all(const struct init *in, int signal) {
    if (!in->outside) {
        SYS(kill, -1, signal); // kill(2): all but pid 1 and the caller, which are both this process
        return;
    }
    SYS(kill, in->pid, signal);
    if (in->children >= 0)
        signal_children(in, signal, in->pid);
}

static void take_control(struct init *in) {
    struct nsj_control control;
    long size = SYS(read, in->report, &control, sizeof control); // read drops any descriptors that come along
    if (size == 0 || size == -ECONNRESET) {
        SYS(close, in->report); // the owner lives but listens no more: detached
        in->report = -1;
        return;
    }
    if (size != sizeof control)
        return;
    switch (control.kind) {
    case NSJ_CONTROL_SIGNAL:
        SYS(kill, in->pid, control.value);
        break;
    case NSJ_CONTROL_SIGNAL_GROUP:
        signal_group(in, (int)control.value);
        break;
    case NSJ_CONTROL_SIGNAL_ALL:
        signal_all(in, (int)control.value);
        break;
    default:
        break;
    }
}

__attribute__((noreturn)) static void watch(struct init *in) {
    const struct abi_timespec at_once = {0};
    bool more = false;
    for (;;) {
        struct pollfd ready[3] = {{.fd = in->owner, .events = POLLIN},
                                  {.fd = in->report, .events = POLLIN},
                                  {.fd = in->signals, .events = POLLIN}};
        long count = SYS(ppoll, ready, 3, more ? &at_once : NULL, 0, 0);
        if (count > 0 && ready[0].revents)
            end_all(in, 128 + SIGKILL);
        if (count > 0 && ready[1].revents)
            take_control(in);
        if (count > 0 && ready[2].revents)
            more |= take_signals(in);
        if (more)
            more = reap(in);
    }
}

// ---- the start ----

static long open_signals(void) {
    const uint64_t mask = FORWARDED | SIGNAL_BIT(SIGCHLD);
    return SYS(signalfd4, -1, &mask, sizeof mask, O_CLOEXEC | O_NONBLOCK);
}

// Gives up everything that the loop does not need. Not before the payload is started: all of this
// would be inherited.
static long guard(struct init *in, struct stage *st) {
    long r = open_signals();
    if (r < 0)
        return r;
    in->signals = (int)r;
    int keep[] = {in->report, in->owner, in->payload, in->signals, in->children, in->kept};
    return guard_enter(keep, sizeof keep / sizeof keep[0], st);
}

__attribute__((noreturn)) static void fail(const struct init *in, uint32_t step, long error, enum nsj_at at,
                                           uint64_t value) {
    struct nsj_report report = {
        .kind = NSJ_REPORT_FAILED, .step = (uint16_t)step, .error = (int)-error, .value = {at, value}};
    nsj_send(in->report, &report, -1, 0);
    end_all(in, 125);
}

// The payload's side has gone into exec, or is dead: clone(2), CLONE_VFORK.
__attribute__((noreturn)) static void become_init(struct init *in, struct stage *st, void *stack) {
    const struct outcome outcome = *st->outcome;
    SYS(munmap, stack, STACK_SIZE);
    if (outcome.failed)
        end_all(in, 125);
    if (!outcome.launched) {
        int status = 0;
        SYS(wait4, in->pid, &status, ABI_WALL, 0);
        fail(in, outcome.step, -ECHILD, NSJ_AT_KILLED, (uint64_t)status);
    }
    long r = guard(in, st);
    if (r < 0)
        fail(in, in->step, r, NSJ_AT_GUARD, 0);
    struct nsj_report started = {.kind = NSJ_REPORT_STARTED, .step = (uint16_t)in->step, .value = {(uint64_t)in->pid}};
    nsj_send(in->report, &started, in->payload, 0);
    SYS(close, in->payload);
    watch(in);
}

static long become(const struct stage *st, uint32_t uid) {
    long r = SYS(prctl, PR_SET_KEEPCAPS, 1);
    if (r == 0)
        r = SYS(setresuid, uid, uid, uid);
    return r < 0 ? r : raise_effective(st);
}

static void payload_side(void *argument) {
    struct stage *st = argument;
    long r = st->apart ? become(st, st->uid) : 0;
    if (r < 0) {
        nsj_report_step(st, NSJ_REPORT_FAILED, (int)-r);
        nsj_leave(st);
    }
    if (st->tied)
        SYS(prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (st->trace)
        nsj_report(st, NSJ_REPORT_TRACE, 0, 0, 0);
    nsj_run(st); // returns only when it has reported a failure
    nsj_leave(st);
}

// The file that lists this process's children. A procfs of its own is tried first: what lies at /proc
// may show another pid namespace, or nothing.
static long open_children(void) {
    long context = SYS(fsopen, "proc", FSOPEN_CLOEXEC), proc = -1;
    if (context >= 0 && SYS(fsconfig, context, ABI_FSCONFIG_CMD_CREATE, 0, 0, 0) == 0)
        proc = SYS(fsmount, context, FSMOUNT_CLOEXEC, 0);
    if (context >= 0)
        SYS(close, context);
    if (proc < 0)
        return SYS(openat, AT_FDCWD, "/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    long children = SYS(openat, proc, "thread-self/children", O_RDONLY | O_CLOEXEC);
    SYS(close, proc);
    return children;
}

static long become_reaper(struct init *in) {
    long r = SYS(prctl, PR_SET_CHILD_SUBREAPER, 1);
    if (r == 0)
        r = open_children();
    if (r < 0)
        return r;
    in->children = (int)r;
    return 0;
}

static long prepare(struct init *in, struct stage *st, uint64_t flags) {
    const struct abi_sigaction fallback = {0}; // an ignored SIGCHLD would have the kernel reap
    long r = SYS(rt_sigaction, SIGCHLD, &fallback, 0, sizeof fallback.mask);
    if (r == 0)
        r = SYS(prctl, PR_SET_DUMPABLE, 0); // before there is a child in the namespace: CVE-2016-9962
    // The keys and the window size of a terminal of the owner's are for its own process group, which this
    // process has been in; what is meant for the payload comes from the owner.
    if (r == 0)
        r = SYS(setpgid, 0, 0);
    if (r == 0 && flags & NSJ_INIT_REAPER)
        r = become_reaper(in);
    const uint32_t uid = (uint32_t)(flags >> NSJ_INIT_UID_SHIFT);
    if (r < 0 || uid == 0)
        return r;
    // Before the fork: a payload that may signal this process could do so before it has reported the start.
    st->uid = (uint32_t)SYS(geteuid, 0);
    st->apart = true;
    return become(st, uid);
}

// pid 1 lends its memory to the payload's side until that execs; a process outside never does, since
// its memory must not be reachable from within a namespace that others already live in.
long op_INIT(struct stage *st, const struct value *arg) {
    const bool outside = arg[0].n & NSJ_INIT_OUTSIDE;
    struct init in = {.report = st->report, .owner = st->owner, .children = -1, .outside = outside, .step = st->step};
    in.kept = arg[1].fd == AT_FDCWD ? -1 : arg[1].fd;
    long r = prepare(&in, st, arg[0].n);
    if (r < 0)
        return r;
    const int share = ABI_MAP_ANONYMOUS | (outside ? ABI_MAP_SHARED : ABI_MAP_PRIVATE);
    char *stack = (char *)SYS(mmap, 0, STACK_SIZE, ABI_PROT_READ | ABI_PROT_WRITE, share, -1, 0);
    if ((long)stack < 0 && (long)stack >= -4095)
        return (long)stack;
    st->tied |= outside;                   // pid 1 takes everything with it as it is
    st->outcome = (struct outcome *)stack; // the low end, which the stack never grows down to
    const unsigned long flags = CLONE_VFORK | CLONE_PIDFD | SIGCHLD | (outside ? 0 : CLONE_VM);
    r = sys_clone(flags, stack + STACK_SIZE, &in.payload, payload_side, st);
    if (r < 0)
        return r;
    in.pid = (int)r;
    become_init(&in, st, stack);
}
