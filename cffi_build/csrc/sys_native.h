// sys_native.h: system calls by number, for Python.
//
// glibc got most of these wrappers long after 2.28, the oldest that one wheel has to serve. Every
// function returns a value >= 0 or -errno, touches no global state and may run in any thread.
#ifndef NSJ_SYS_NATIVE_H
#define NSJ_SYS_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#include "contract.h"
#include "spawn.h"

// Any system call; pointers travel as integers.
long nsj_syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f);

// namespaces
int nsj_setns(int fd, int types);
int nsj_unshare(int flags);
int nsj_ioctl(int fd, unsigned long request, void *argument);
int nsj_sethostname(const char *name, size_t length);
int nsj_setdomainname(const char *name, size_t length);

// mounts
int nsj_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int nsj_umount2(const char *target, int flags);
int nsj_pivot_root(const char *new_root, const char *put_old);
int nsj_open_tree(int directory, const char *path, unsigned int flags);
int nsj_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned int flags);
int nsj_fsopen(const char *type, unsigned int flags);
int nsj_fsconfig(int fs, unsigned int command, const char *key, const void *value, int aux);
int nsj_fsmount(int fs, unsigned int flags, unsigned int attributes);
int nsj_fspick(int directory, const char *path, unsigned int flags);
int nsj_mount_setattr(int directory, const char *path, unsigned int flags, uint64_t set, uint64_t clear,
                      uint64_t propagation, int user_namespace);

// files
int nsj_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int nsj_close_range(unsigned int first, unsigned int last, unsigned int flags);
int nsj_memfd_create(const char *name, unsigned int flags);
// A close-on-exec memfd that holds `data` and that nobody can change any more: created, filled and sealed in one call.
int nsj_sealed_memfd(const char *name, unsigned int flags, const void *data, size_t length);

// processes
struct nsj_wait {
    int32_t pid;
    int32_t code; // CLD_EXITED, CLD_KILLED, CLD_DUMPED, ...
    int32_t status;
    int64_t user_us;
    int64_t system_us;
    int64_t peak_kib;
};

// struct pidfd_info as of Linux 6.13, which is the least size that PIDFD_GET_INFO takes.
struct nsj_pidfd_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t pid, tgid, ppid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};

int nsj_pidfd_open(int pid, unsigned int flags);
int nsj_pidfd_send_signal(int pidfd, int signal, unsigned int flags);
int nsj_pidfd_getfd(int pidfd, int fd, unsigned int flags);
int nsj_waitid(int pidfd, int options, struct nsj_wait *out);
int nsj_pidfd_info(int pidfd, struct nsj_pidfd_info *info);
int nsj_prctl(int option, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);
int nsj_prlimit(int pid, int resource, const uint64_t *replacement, uint64_t *previous);

// capabilities: three masks, in the order of struct __user_cap_data_struct
struct nsj_caps {
    uint64_t effective, permitted, inheritable;
};

int nsj_capget(int pid, struct nsj_caps *caps);
int nsj_capset(const struct nsj_caps *caps);

// filters
// `program` is an array of struct sock_filter, `size` its length in bytes.
int nsj_seccomp_filter(unsigned int flags, const void *program, size_t size);
int nsj_landlock_abi(void);
int nsj_landlock_ruleset(uint64_t files, uint64_t network, uint64_t scope);
int nsj_landlock_allow_path(int ruleset, uint64_t access, int beneath);
int nsj_landlock_allow_port(int ruleset, uint64_t access, uint64_t port);
int nsj_landlock_restrict_self(int ruleset);

// sockets
#define NSJ_MAX_FDS 253 // SCM_MAX_FD

int nsj_socketpair(int type, int fds[2]);
int nsj_send(int fd, const void *data, size_t length, const int32_t *fds, size_t nfds, int flags);
// Received descriptors are close-on-exec. A message that did not fit is -EMSGSIZE and leaves no descriptor open.
int nsj_recv(int fd, void *data, size_t length, int32_t *fds, size_t max_fds, size_t *nfds, int flags);
// A socket made in the network namespace `net`, by this thread, which is back in its own on return.
int nsj_socket_in(int net, int domain, int type, int protocol);

// The opcode table of contract.h, by index; NULL after the last.
struct nsj_opcode {
    const char *name;
    uint16_t number;
    const char *kinds;
};
const struct nsj_opcode *nsj_opcode_at(unsigned int index);

#endif
