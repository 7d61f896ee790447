// exec.c: the payload's terminal, its descriptors, and the exec itself.
#include "stage.h"

#include <linux/signal.h>

#define ANY_HIGHER (~0u)

// ---- terminal ----

// TIOCGPTPEER opens the slave without its name, so that nothing mounted over /dev/pts is met on
// the way (ioctl_tty(2)); the master is the owner's alone.
long op_PTY(struct stage *st, const struct value *arg) {
    doing(st, NSJ_AT_TARGET, 0);
    long master = SYS(openat, AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (master < 0)
        return master;
    doing(st, NSJ_AT_STEP, 0);
    int unlock = 0;
    struct abi_winsize size = {.rows = (uint16_t)(arg[1].n >> 16), .columns = (uint16_t)arg[1].n};
    long r = SYS(ioctl, master, TIOCSPTLCK, &unlock);
    if (r == 0)
        r = SYS(ioctl, master, TIOCSWINSZ, &size);
    if (r == 0)
        r = sys_place(SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), arg[0].fd);
    if (r >= 0)
        nsj_report_fd(st, (int)master);
    SYS(close, master);
    return r < 0 ? r : 0;
}

// ---- descriptors ----

struct pair {
    int32_t slot, number;
};

long close_all_but(unsigned first, const int *keep, unsigned count, unsigned flags) {
    for (unsigned i = 0; i < count; i++) {
        const unsigned kept = (unsigned)keep[i];
        if (kept > first) {
            long r = SYS(close_range, first, kept - 1, flags);
            if (r < 0)
                return r;
        }
        if (kept >= first)
            first = kept + 1;
    }
    return SYS(close_range, first, ANY_HIGHER, flags);
}

static bool is_number(const struct stage *st, int fd) {
    for (unsigned i = 0; i < st->nnumbers; i++)
        if (st->numbers[i] == fd)
            return true;
    return false;
}

// Moves a descriptor that stands where the payload wants another: above all numbers, and no further, since
// a RLIMIT_NOFILE may end there. No slot is filled any more.
static long step_aside(const struct stage *st, int fd) {
    return SYS(fcntl, fd, F_DUPFD_CLOEXEC, st->numbers[st->nnumbers - 1] + 1);
}

static long move_own(const struct stage *st, int *fd) {
    if (*fd < 0 || !is_number(st, *fd))
        return 0;
    long moved = step_aside(st, *fd);
    if (moved < 0)
        return moved;
    *fd = (int)moved;
    return 0;
}

// dup3 refuses a move onto itself, which is where close-on-exec has to go.
static long give(int from, int number) {
    long r = from == number ? SYS(fcntl, from, F_SETFD, 0) : SYS(dup3, from, number, 0);
    return r < 0 ? r : 0;
}

long op_DESCRIPTORS(struct stage *st, const struct value *arg) {
    const struct pair *pairs = arg[0].data;
    int sources[NSJ_MAX_SLOTS];
    st->nnumbers = (uint32_t)(arg[0].size / sizeof *pairs);
    for (unsigned i = 0; i < st->nnumbers; i++)
        st->numbers[i] = pairs[i].number;
    long r = move_own(st, &st->report);
    if (r == 0)
        r = move_own(st, &st->owner);
    for (unsigned i = 0; i < st->nnumbers && r == 0; i++) {
        doing(st, NSJ_AT_ENTRY, i);
        sources[i] = NSJ_SLOT_BASE + pairs[i].slot;
        if (sources[i] != pairs[i].number)
            r = move_own(st, &sources[i]);
    }
    for (unsigned i = 0; i < st->nnumbers && r == 0; i++) {
        doing(st, NSJ_AT_ENTRY, i);
        r = give(sources[i], st->numbers[i]);
    }
    return r;
}

// ---- exec ----

// The kernel wants pointers where the blob has offsets. One mapping holds both lists.
static long make_vector(struct stage *st, const struct value *argv, const struct value *envp) {
    st->vector_size = (argv->size + envp->size + 2) * sizeof(char *);
    long address =
        SYS(mmap, 0, st->vector_size, ABI_PROT_READ | ABI_PROT_WRITE, ABI_MAP_PRIVATE | ABI_MAP_ANONYMOUS, -1, 0);
    if (address < 0 && address >= -4095)
        return address;
    const char **at = (const char **)address;
    st->vector = at;
    for (uint64_t i = 0; i < argv->size; i++)
        *at++ = list_text(st, argv, i);
    at++; // fresh memory: the terminating NULL
    for (uint64_t i = 0; i < envp->size; i++)
        *at++ = list_text(st, envp, i);
    return 0;
}

// What a Python parent, or the spawner, changed and exec would keep.
static long reset_signals(void) {
    const struct abi_sigaction fallback = {0};
    const uint64_t none = 0;
    long r = SYS(rt_sigaction, SIGPIPE, &fallback, 0, sizeof fallback.mask);
    if (r == 0)
        r = SYS(rt_sigaction, SIGXFSZ, &fallback, 0, sizeof fallback.mask);
    return r < 0 ? r : SYS(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

// execvp(3): a candidate that is not there is passed over; one that may not be executed is what is
// reported if nothing after it can be.
static long try_candidates(struct stage *st, const struct value *paths, const char *const *argv,
                           const char *const *env) {
    long denied = 0, r = -ENOENT;
    for (uint64_t i = 0; i < paths->size; i++) {
        r = SYS(execve, list_text(st, paths, i), argv, env);
        if (r == -EACCES) {
            denied = r;
            doing(st, NSJ_AT_ENTRY, i);
        } else if (r != -ENOENT && r != -ENOTDIR) {
            doing(st, NSJ_AT_ENTRY, i);
            return r;
        }
    }
    return denied ? denied : r;
}

long op_EXEC(struct stage *st, const struct value *arg) {
    long r = make_vector(st, &arg[1], &arg[2]);
    if (r < 0)
        return r;
    // Close-on-exec, not closed: the report socket's end of file is what says that exec succeeded.
    r = close_all_but(3, st->numbers, st->nnumbers, CLOSE_RANGE_CLOEXEC);
    if (r == 0)
        r = reset_signals();
    if (r < 0)
        return r;
    const char *const *argv = st->vector;
    if (st->outcome)
        st->outcome->launched = true;
    r = try_candidates(st, &arg[0], argv, argv + arg[1].size + 1);
    if (st->outcome)
        st->outcome->launched = false;
    return r;
}
