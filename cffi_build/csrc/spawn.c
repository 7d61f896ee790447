// spawn.c: start the stage. See spawn.h, clone(2), execveat(2), user_namespaces(7).
//
// The child shares this process's memory (CLONE_VM) and runs on a stack of its own until it has
// executed the stage: nothing is copied, so a start costs the same whatever the caller's size.
// That is safe because nobody else can see it: all signals are blocked, its handlers are reset,
// and nsj_spawn does not return before the kernel says that the child has left this memory.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "contract.h"
#include "raw_syscall.h"
#include "spawn.h"
#include "sys_numbers.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#define CLEAR_SIGHAND 0x100000000ULL
#define INTO_CGROUP 0x200000000ULL
#define P_PIDFD_TYPE 3

// The child needs 3 KiB: lift_slots has a table of NSJ_MAX_SLOTS descriptors. Pages have up to 64 KiB on aarch64.
#define STACK_SIZE (64u << 10)
#define GUARD_SIZE (64u << 10)

struct child {
    const struct nsj_spawn *spawn; // NULL: only hold a user namespace open
    char *stack;
    uint32_t shares_memory; // the kernel clears it, and wakes its waiters, when the child has left this memory
    int32_t error;
    int32_t step;
    int32_t pid;
    int32_t pidfd;
};

// =====================================================================================
// Functions that run in the child, in the memory of the parent: raw system calls only, no
// errno, no allocation, no lock, no libc (its syscall() would overwrite a return address
// that the parent still needs, its wrappers write the errno of the parent's thread):
//
//     nsj_syscall6 (syscall6.h), fail, is_target, lift_slots, is_plain_root, raise_ambient, child_main
// =====================================================================================

static int fail(struct child *child, int step, long error) {
    child->step = step;
    child->error = (int32_t)-error;
    return 127;
}

static int is_target(int fd, int nslots) { return fd >= NSJ_SLOT_BASE && fd < NSJ_SLOT_BASE + nslots; }

// Two passes, or the copy into one slot could overwrite the source of another. Returns 0 or -errno.
static long lift_slots(const struct nsj_spawn *s, int *stage) {
    int32_t source[NSJ_MAX_SLOTS];
    long beyond = NSJ_SLOT_BASE + s->nslots;
    for (int i = 0; i <= s->nslots; i++) {
        int fd = i < s->nslots ? s->slots[i] : s->stage;
        long lifted = is_target(fd, s->nslots) ? RAW3(fcntl, fd, F_DUPFD_CLOEXEC, beyond) : fd;
        if (lifted < 0 && fd >= 0)
            return lifted;
        if (i < s->nslots)
            source[i] = (int32_t)lifted;
        else
            *stage = (int)lifted;
    }
    for (int i = 0; i < s->nslots; i++) {
        if (source[i] < 0) { // an empty slot holds nothing of the caller's either
            RAW1(close, NSJ_SLOT_BASE + i);
            continue;
        }
        long rc = RAW3(dup3, source[i], NSJ_SLOT_BASE + i, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

// Root of its own user namespace gets all of its capabilities back when it executes the stage.
static int is_plain_root(void) {
    return RAW1(geteuid, 0) == 0 && (RAW1(prctl, PR_GET_SECUREBITS) & SECBIT_NOROOT) == 0;
}

// Executing a file as an id that is not mapped (yet) drops every capability but the ambient ones, and the
// map is written while this runs. Best effort: a caller whose securebits forbid it has no map to wait for.
static void raise_ambient(uint64_t keep) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (RAW2(capget, &header, data) < 0)
        return;
    uint64_t raised = (data[0].permitted | (uint64_t)data[1].permitted << 32) & (keep ? keep : ~0ULL);
    if (raised == 0)
        return;
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (RAW2(capset, &header, data) < 0)
        return;
    for (unsigned int cap = 0; cap < 64 && raised >> cap; cap++)
        if (raised >> cap & 1)
            RAW5(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

static int child_main(void *argument) {
    static const char *const argv[] = {"nsjail", NULL};
    static const char *const environment[] = {NULL};
    struct child *child = argument;
    if (!child->spawn) {
        for (;;) // until the parent kills it
            RAW6(futex, &child->shares_memory, FUTEX_WAIT, 1, 0, 0, 0);
    }
    int stage = -1;
    long rc = lift_slots(child->spawn, &stage);
    if (rc < 0)
        return fail(child, NSJ_SPAWN_SLOTS, rc);
    if ((child->spawn->flags & CLONE_NEWUSER) != 0 || !is_plain_root()) // one system call a capability
        raise_ambient(child->spawn->keep);
    rc = RAW5(execveat, stage, "", argv, environment, AT_EMPTY_PATH);
    return fail(child, NSJ_SPAWN_EXEC, rc);
}

// ============================== the parent from here on ==============================

#if defined(__x86_64__) || defined(__aarch64__)

struct clone3_args { // struct clone_args, CLONE_ARGS_SIZE_VER2
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static long clone_child(struct child *child, uint64_t flags, int cgroup) {
    // No exit signal: a child that fails before its exec, where the kernel sets SIGCHLD, is nobody's business,
    // and is not reaped by the kernel either when the caller ignores SIGCHLD.
    struct clone3_args args = {
        .flags = flags | CLONE_VM | CLONE_PIDFD | CLEAR_SIGHAND | CLONE_CHILD_CLEARTID,
        .pidfd = (uintptr_t)&child->pidfd,
        .child_tid = (uintptr_t)&child->shares_memory,
        .stack = (uintptr_t)child->stack,
        .stack_size = STACK_SIZE,
    };
    if (cgroup >= 0) {
        args.flags |= INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    return raw_clone3(&args, sizeof args, child_main, child);
}

#else

static long clone_child(struct child *child, uint64_t flags, int cgroup) {
    if (cgroup >= 0 || flags >> 32)
        return -ENOSYS;
    // Handlers cannot be cleared here; blocked signals keep them from running until the exec resets them.
    int rc = clone(child_main, child->stack + STACK_SIZE, (int)flags | CLONE_VM | CLONE_PIDFD | CLONE_CHILD_CLEARTID,
                   child, &child->pidfd, NULL, &child->shares_memory);
    return rc < 0 ? -errno : rc;
}

#endif

static void wait_until_separate(struct child *child) {
    uint32_t shared;
    while ((shared = __atomic_load_n(&child->shares_memory, __ATOMIC_ACQUIRE)) != 0)
        RAW6(futex, &child->shares_memory, FUTEX_WAIT, shared, 0, 0, 0);
}

static void reap(struct child *child) {
    while (RAW5(waitid, P_PIDFD_TYPE, child->pidfd, NULL, WEXITED | __WALL, NULL) == -EINTR)
        ;
    RAW1(close, child->pidfd);
    child->pid = child->pidfd = -1;
}

// Runs child_main in a new process. Returns 0, or -errno with child->step saying at what.
static long start(struct child *child, uint64_t flags, int cgroup) {
    child->shares_memory = 1;
    child->step = NSJ_SPAWN_STACK;
    child->pid = child->pidfd = -1;
    char *area =
        mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (area == MAP_FAILED)
        return -errno;
    child->stack = area + GUARD_SIZE;
    long rc = mprotect(area, GUARD_SIZE, PROT_NONE) < 0 ? -errno : 0;
    if (rc == 0) {
        child->step = NSJ_SPAWN_CLONE;
        rc = clone_child(child, flags, cgroup);
    }
    if (rc < 0) {
        munmap(area, GUARD_SIZE + STACK_SIZE);
        return rc;
    }
    child->pid = (int32_t)rc;
    return 0;
}

static void free_stack(struct child *child) { munmap(child->stack - GUARD_SIZE, GUARD_SIZE + STACK_SIZE); }

// Opens /proc/<pid>, and makes sure that it is the child's: its pid cannot have been given to another
// process while a signal can still be addressed to it. Returns a descriptor or -errno.
static long open_proc(const struct child *child) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", child->pid);
    long proc = RAW4(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (proc < 0)
        return proc;
    long rc = RAW4(pidfd_send_signal, child->pidfd, 0, NULL, 0);
    if (rc < 0) {
        RAW1(close, proc);
        return rc;
    }
    return proc;
}

// The files in /proc of a process that is not dumpable belong to root, and a child takes after its parent until its
// exec is over, which is a little after it has left the parent's memory and is announced by nothing.
static void wait_until_owned(struct child *child, long proc, const char *name) {
    const struct timespec pause = {.tv_nsec = 100000};
    if (!child->spawn)
        return; // it never executes anything
    wait_until_separate(child);
    long fd = -EACCES;
    for (int i = 0; i < 1000 && (fd = RAW4(openat, proc, name, O_WRONLY | O_CLOEXEC, 0)) == -EACCES; i++)
        RAW2(nanosleep, &pause, NULL);
    if (fd >= 0)
        RAW1(close, fd);
}

static long write_file(long proc, const struct nsj_file_write *write) {
    long fd = RAW4(openat, proc, write->name, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long rc = RAW3(write, fd, write->text, write->length); // maps are taken whole or not at all
    RAW1(close, fd);
    return rc < 0 ? rc : 0;
}

// Returns 0 or -errno; `failed` becomes the index of the file that could not be written.
static long write_maps(struct child *child, const struct nsj_file_write *writes, int nwrites, int *failed) {
    long proc = open_proc(child);
    if (proc < 0)
        return proc;
    long rc = 0;
    if (nwrites > 0 && RAW1(prctl, PR_GET_DUMPABLE) != 1)
        wait_until_owned(child, proc, writes[0].name);
    for (int i = 0; i < nwrites && rc == 0; i++) {
        *failed = i;
        rc = write_file(proc, &writes[i]);
    }
    RAW1(close, proc);
    return rc;
}

static long release(const struct nsj_spawn *s) {
    struct nsj_control message = {.kind = NSJ_CONTROL_RELEASE, .value = s->release_gate};
    long rc = RAW6(sendto, s->report, &message, sizeof message, MSG_NOSIGNAL, NULL, 0);
    return rc < 0 ? rc : 0;
}

// With maps to write the parent is not suspended: it writes while the child executes the stage, which
// saves a round trip. The stage waits at its gate.
static long run_child(struct nsj_spawn *s, struct child *child) {
    long rc = start(child, s->flags | (s->nwrites == 0 ? CLONE_VFORK : 0), s->cgroup);
    if (rc < 0)
        return rc;
    int failed = -1;
    long mapped = s->nwrites > 0 ? write_maps(child, s->writes, s->nwrites, &failed) : 0;
    if (mapped == 0 && s->release_gate != 0 && s->report >= 0)
        mapped = release(s);
    if (mapped < 0)
        RAW4(pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
    wait_until_separate(child);
    free_stack(child);
    if (child->error == 0 && mapped < 0) {
        child->step = NSJ_SPAWN_MAP;
        child->error = (int32_t)-mapped;
        s->write_failed = failed;
    }
    if (child->error != 0)
        reap(child);
    return -child->error;
}

// All of them: libc's own functions leave out two that it uses itself.
static void set_signals(uint64_t mask, uint64_t *previous) {
    RAW4(rt_sigprocmask, SIG_SETMASK, &mask, previous, sizeof mask);
}

int nsj_spawn(struct nsj_spawn *s) {
    struct child child = {.spawn = s};
    uint64_t previous;
    s->pid = s->pidfd = -1;
    s->write_failed = -1;
    s->step = 0;
    if (s->nslots < 0 || s->nslots > NSJ_MAX_SLOTS)
        return -EINVAL;
    set_signals(~0ULL, &previous);
    long rc = run_child(s, &child);
    set_signals(previous, NULL);
    if (rc < 0) {
        s->step = child.step;
        return (int)rc;
    }
    s->pid = child.pid;
    s->pidfd = child.pidfd;
    return 0;
}

// Returns a descriptor of the child's user namespace, with its maps written, or -errno.
static long open_mapped(struct child *child, const struct nsj_file_write *writes, int nwrites, int *failed) {
    char path[40];
    long rc = write_maps(child, writes, nwrites, failed);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "/proc/%d/ns/user", child->pid);
    return RAW4(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

int nsj_mapping_namespace(const struct nsj_file_write *writes, int nwrites, int *failed) {
    struct child child = {0};
    uint64_t previous;
    *failed = -1;
    set_signals(~0ULL, &previous);
    long fd = start(&child, CLONE_NEWUSER, -1);
    if (fd >= 0) {
        fd = open_mapped(&child, writes, nwrites, failed);
        RAW4(pidfd_send_signal, child.pidfd, SIGKILL, NULL, 0);
        wait_until_separate(&child);
        free_stack(&child);
        reap(&child);
    }
    set_signals(previous, NULL);
    return (int)fd;
}
