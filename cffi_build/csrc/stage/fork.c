// fork.c: FORK, the way into a pid namespace that was unshared or joined: the child is pid 1 there, and
// the parent, outside, only lives as long as it.
#include "guard.h"
#include "stage.h"

#include <linux/poll.h>
#include <linux/signal.h>

#define STACK_SIZE (64 << 10)

// Exits as the child did: whoever started this process sees a death by signal as one.
__attribute__((noreturn)) static void exit_as(int status) {
    const uint64_t none = 0;
    if (status & 0x7f) {
        SYS(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
        SYS(kill, SYS(getpid, 0), status & 0x7f);
    }
    sys_exit(exit_status(status));
}

__attribute__((noreturn)) static void wait_for(int child, int pidfd, int owner) {
    for (;;) {
        struct pollfd ready[2] = {{.fd = owner, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
        long count = SYS(ppoll, ready, 2, 0, 0, 0);
        int status = 0;
        if (count > 0 && ready[0].revents)
            SYS(kill, child, SIGKILL);
        if (count > 0 && SYS(wait4, child, &status, ABI_WALL, 0) == child)
            exit_as(status);
    }
}

// What happens to the parent happens to the child: by signal where the child execs, and through the
// descriptor, which a gate or init watches in place of the owner, also where ids change (prctl(2) clears
// the signal then) and where the parent was gone before the signal was asked for.
static void child_side(void *argument) {
    struct stage *st = argument;
    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (st->trace)
        nsj_report(st, NSJ_REPORT_TRACE, 0, 0, 0);
    nsj_run(st); // returns only when it has reported a failure
    sys_exit(125);
}

long op_FORK(struct stage *st, const struct value *arg) {
    (void)arg;
    const int owner = st->owner;
    const struct abi_sigaction fallback = {0}; // an ignored SIGCHLD would have the kernel reap
    int pidfd = -1;
    long r = SYS(rt_sigaction, SIGCHLD, &fallback, 0, sizeof fallback.mask);
    if (r == 0)
        r = SYS(prctl, PR_SET_DUMPABLE, 0); // the child starts as a copy of this: CVE-2016-9962
    if (r < 0)
        return r;
    long self = SYS(pidfd_open, SYS(getpid, 0), 0);
    if (self < 0)
        return self;
    long stack = SYS(mmap, 0, STACK_SIZE, ABI_PROT_READ | ABI_PROT_WRITE, ABI_MAP_PRIVATE | ABI_MAP_ANONYMOUS, -1, 0);
    if (stack < 0 && stack >= -4095)
        return stack;
    st->owner = (int)self;
    st->tied = true;
    r = sys_clone(CLONE_PIDFD | SIGCHLD, (char *)stack + STACK_SIZE, &pidfd, child_side, st);
    if (r < 0)
        return r;
    int keep[] = {owner, pidfd};
    long guarded = guard_enter(keep, 2, st);
    if (guarded < 0) // the child has the report socket; its end of file and this status tell enough
        SYS(kill, r, SIGKILL);
    wait_for((int)r, pidfd, owner);
}
