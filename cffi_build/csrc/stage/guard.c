// guard.c: what init and FORK's parent give up once the other side is on its way: descriptors, privileges,
// and by a seccomp filter made by hand all system calls but those of their loops.
#include "guard.h"
#include "stage.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

static const uint16_t allowed[] = {
    __NR_ppoll,           __NR_wait4,   __NR_read,           __NR_kill,       __NR_sendmsg,
    __NR_getpgid,         __NR_pread64, __NR_clock_gettime,  __NR_exit_group, __NR_close,
    __NR_restart_syscall, __NR_getpid,  __NR_rt_sigprocmask,
};

#define COUNT (sizeof allowed / sizeof allowed[0])
#define LOAD(field) ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define EQUAL(value, yes, no) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no))
#define RETURN(action) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action))

static long set_filter(void) {
    struct sock_filter filter[COUNT + 5];
    struct sock_filter *at = filter;
    *at++ = LOAD(arch);
    *at++ = EQUAL(OWN_ARCH, 0, COUNT + 1); // to the kill, which stands after all comparisons
    *at++ = LOAD(nr);
    for (unsigned i = 0; i < COUNT; i++)
        *at++ = EQUAL(allowed[i], (uint8_t)(COUNT - i), 0);
    *at++ = RETURN(SECCOMP_RET_KILL_PROCESS);
    *at++ = RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {COUNT + 5, filter};
    return SYS(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static unsigned sort(int *fds, unsigned count) {
    for (unsigned i = 1; i < count; i++)
        for (unsigned j = i; j > 0 && fds[j] < fds[j - 1]; j--) {
            int swap = fds[j];
            fds[j] = fds[j - 1];
            fds[j - 1] = swap;
        }
    unsigned absent = 0;
    while (absent < count && fds[absent] < 0)
        absent++;
    return absent;
}

long guard_enter(int *keep, unsigned count, const struct stage *st) {
    const unsigned absent = sort(keep, count);
    long r = close_all_but(0, keep + absent, count - absent, 0);
    if (r == 0) // it holds the environment
        r = SYS(munmap, st->blob, st->size);
    if (r == 0 && st->vector)
        r = SYS(munmap, st->vector, st->vector_size);
    if (r == 0)
        r = SYS(prctl, PR_SET_DUMPABLE, 0);
    if (r == 0)
        r = keep_caps(1ull << CAP_KILL);
    if (r == 0)
        r = SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return r < 0 ? r : set_filter();
}
