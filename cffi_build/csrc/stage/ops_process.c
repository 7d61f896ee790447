// ops_process.c: the attributes of the payload: limits, session, scheduling, identity, privileges.
#include "stage.h"

#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/signal.h>

// ---- limits and scheduling ----

long op_RLIMIT(struct stage *st, const struct value *arg) {
    (void)st;
    struct rlimit64 limit = {.rlim_cur = arg[1].n, .rlim_max = arg[2].n};
    return SYS(prlimit64, 0, arg[0].n, &limit, 0);
}

long op_PRIORITY(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(setpriority, PRIO_PROCESS, 0, arg[0].n);
}

long op_SCHEDULER(struct stage *st, const struct value *arg) {
    (void)st;
    int priority = (int)arg[1].n; // struct sched_param
    return SYS(sched_setscheduler, 0, arg[0].n, &priority);
}

long op_AFFINITY(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(sched_setaffinity, 0, arg[0].size, arg[0].data);
}

long op_IOPRIO(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, arg[0].n);
}

// ---- session ----

long op_SETSID(struct stage *st, const struct value *arg) {
    (void)st, (void)arg;
    long r = SYS(setsid, 0);
    return r < 0 ? r : 0;
}

long op_TERMINAL(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(ioctl, arg[0].fd, TIOCSCTTY, 0);
}

// A working directory outside the root would lead out of it: reached by a magic link such as
// /proc/self/fd/7, or open since before the root changed (CVE-2024-21626). getcwd(2) tells.
long op_CHDIR(struct stage *st, const struct value *arg) {
    long r = -ENOENT;
    for (uint64_t i = 0; i < arg[0].size && (r == -ENOENT || r == -ENOTDIR || r == -EACCES); i++) {
        doing(st, NSJ_AT_ENTRY, i);
        r = SYS(chdir, list_text(st, &arg[0], i));
    }
    if (r < 0)
        return r;
    doing(st, NSJ_AT_STEP, 0);
    char where[4096];
    r = SYS(getcwd, where, sizeof where);
    if (r < 0)
        return r;
    return where[0] == '/' ? 0 : -EXDEV; // "(unreachable)/..."
}

long op_UMASK(struct stage *st, const struct value *arg) {
    (void)st;
    long r = SYS(umask, arg[0].n);
    return r < 0 ? r : 0;
}

long op_KEYRING(struct stage *st, const struct value *arg) {
    (void)st, (void)arg;
    long r = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    return r < 0 ? r : 0;
}

long op_SUBREAPER(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(prctl, PR_SET_CHILD_SUBREAPER, arg[0].n);
}

long op_DUMPABLE(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(prctl, PR_SET_DUMPABLE, arg[0].n);
}

// ---- identity and privileges ----

struct caps {
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[2];
};

static long get_caps(struct caps *caps) {
    caps->header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
    return SYS(capget, &caps->header, caps->data);
}

// After a change of ids, which also clears the signal that tells of a parent's death (prctl(2)).
long raise_effective(const struct stage *st) {
    struct caps caps;
    long r = get_caps(&caps);
    if (r == 0 && st->tied)
        r = SYS(prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < 2; i++)
        caps.data[i].effective = caps.data[i].permitted;
    return SYS(capset, &caps.header, caps.data);
}

static long set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct caps caps = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
    for (unsigned i = 0; i < 2; i++) {
        caps.data[i].effective = (uint32_t)(effective >> (32 * i));
        caps.data[i].permitted = (uint32_t)(permitted >> (32 * i));
        caps.data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    return SYS(capset, &caps.header, caps.data);
}

long keep_caps(uint64_t mask) {
    struct caps caps;
    long r = get_caps(&caps);
    mask &= (uint64_t)caps.data[1].permitted << 32 | caps.data[0].permitted;
    return r < 0 ? r : set_caps(mask, mask, 0);
}

long op_GROUPS(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(setgroups, arg[0].size / sizeof(uint32_t), arg[0].data);
}

// Leaving uid 0 clears the effective set, and without KEEPCAPS the permitted one too; the steps
// that follow (filters, CAPS) may still need them.
long op_IDS(struct stage *st, const struct value *arg) {
    long r = SYS(prctl, PR_SET_KEEPCAPS, 1);
    if (r == 0)
        r = SYS(setresgid, arg[1].n, arg[1].n, arg[1].n);
    if (r == 0)
        r = SYS(setresuid, arg[0].n, arg[0].n, arg[0].n);
    return r < 0 ? r : raise_effective(st);
}

long op_BOUND(struct stage *st, const struct value *arg) {
    (void)st;
    for (unsigned cap = 0; cap < 64; cap++) {
        if (arg[0].n >> cap & 1)
            continue;
        long r = SYS(prctl, PR_CAPBSET_DROP, cap);
        if (r == -EINVAL) // past the kernel's last capability
            return 0;
        if (r == -EPERM && SYS(prctl, PR_CAPBSET_READ, cap) == 0) // not held: nothing to drop
            continue;
        if (r < 0)
            return r;
    }
    return 0;
}

long op_CAPS(struct stage *st, const struct value *arg) {
    (void)st;
    long r = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (r == 0)
        r = set_caps(arg[0].n, arg[1].n, arg[2].n);
    for (unsigned cap = 0; cap < 64 && r == 0; cap++)
        if (arg[3].n >> cap & 1)
            r = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    return r;
}

long op_SECUREBITS(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(prctl, PR_SET_SECUREBITS, arg[0].n);
}

long op_NO_NEW_PRIVS(struct stage *st, const struct value *arg) {
    (void)st, (void)arg;
    return SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// The listener goes to the owner from the number that the kernel gave it: a slot may lie above a
// RLIMIT_NOFILE that is in force already.
long op_SECCOMP(struct stage *st, const struct value *arg) {
    struct {
        uint16_t length;
        const void *filter;
    } program = {(uint16_t)(arg[0].size / 8), arg[0].data}; // struct sock_fprog
    long r = SYS(seccomp, SECCOMP_SET_MODE_FILTER, arg[1].n, &program);
    if (r < 0 || arg[2].fd < 0)
        return r > 0 ? -ESRCH : r; // SECCOMP_FILTER_FLAG_TSYNC names the thread that stood in the way
    nsj_report_fd(st, (int)r);
    return SYS(close, r);
}
