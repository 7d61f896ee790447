// sys_native.c: see sys_native.h.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "sys_native.h"
#include "sys_numbers.h"

static int result(long value) { return value < 0 ? -errno : (int)value; }

long nsj_syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f) {
    long value = syscall(number, a, b, c, d, e, f);
    return value == -1 ? -errno : value;
}

// ---- namespaces ----

int nsj_setns(int fd, int types) { return result(syscall(SYS_setns, fd, types)); }

int nsj_unshare(int flags) { return result(syscall(SYS_unshare, flags)); }

int nsj_ioctl(int fd, unsigned long request, void *argument) { return result(ioctl(fd, request, argument)); }

int nsj_sethostname(const char *name, size_t length) { return result(syscall(SYS_sethostname, name, length)); }

int nsj_setdomainname(const char *name, size_t length) { return result(syscall(SYS_setdomainname, name, length)); }

// ---- mounts ----

int nsj_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
    return result(syscall(SYS_mount, source, target, type, flags, data));
}

int nsj_umount2(const char *target, int flags) { return result(syscall(SYS_umount2, target, flags)); }

int nsj_pivot_root(const char *new_root, const char *put_old) {
    return result(syscall(SYS_pivot_root, new_root, put_old));
}

int nsj_open_tree(int directory, const char *path, unsigned int flags) {
    return result(syscall(SYS_open_tree, directory, path, flags));
}

int nsj_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned int flags) {
    return result(syscall(SYS_move_mount, from, from_path, to, to_path, flags));
}

int nsj_fsopen(const char *type, unsigned int flags) { return result(syscall(SYS_fsopen, type, flags)); }

int nsj_fsconfig(int fs, unsigned int command, const char *key, const void *value, int aux) {
    return result(syscall(SYS_fsconfig, fs, command, key, value, aux));
}

int nsj_fsmount(int fs, unsigned int flags, unsigned int attributes) {
    return result(syscall(SYS_fsmount, fs, flags, attributes));
}

int nsj_fspick(int directory, const char *path, unsigned int flags) {
    return result(syscall(SYS_fspick, directory, path, flags));
}

int nsj_mount_setattr(int directory, const char *path, unsigned int flags, uint64_t set, uint64_t clear,
                      uint64_t propagation, int user_namespace) {
    struct { // struct mount_attr, MOUNT_ATTR_SIZE_VER0
        uint64_t set, clear, propagation, user_namespace;
    } attributes = {set, clear, propagation, user_namespace < 0 ? 0 : (uint64_t)user_namespace};
    return result(syscall(SYS_mount_setattr, directory, path, flags, &attributes, sizeof attributes));
}

// ---- files ----

int nsj_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct { // struct open_how, OPEN_HOW_SIZE_VER0
        uint64_t flags, mode, resolve;
    } how = {flags, mode, resolve};
    return result(syscall(SYS_openat2, directory, path, &how, sizeof how));
}

int nsj_close_range(unsigned int first, unsigned int last, unsigned int flags) {
    return result(syscall(SYS_close_range, first, last, flags));
}

int nsj_memfd_create(const char *name, unsigned int flags) { return result(syscall(SYS_memfd_create, name, flags)); }

static int write_all(int fd, const char *data, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t part = write(fd, data + done, length - done);
        if (part < 0)
            return -errno;
        done += (size_t)part;
    }
    return 0;
}

int nsj_sealed_memfd(const char *name, unsigned int flags, const void *data, size_t length) {
    int fd = nsj_memfd_create(name, flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fd;
    int rc = write_all(fd, data, length);
    if (rc == 0)
        rc = result(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

// ---- processes ----

int nsj_pidfd_open(int pid, unsigned int flags) { return result(syscall(SYS_pidfd_open, pid, flags)); }

int nsj_pidfd_send_signal(int pidfd, int signal, unsigned int flags) {
    return result(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, flags));
}

int nsj_pidfd_getfd(int pidfd, int fd, unsigned int flags) {
    return result(syscall(SYS_pidfd_getfd, pidfd, fd, flags));
}

static int64_t microseconds(const struct timeval *time) { return (int64_t)time->tv_sec * 1000000 + time->tv_usec; }

int nsj_waitid(int pidfd, int options, struct nsj_wait *out) {
    siginfo_t info;
    struct rusage usage;
    memset(&info, 0, sizeof info); // WNOHANG with nothing to report leaves it as it is
    memset(&usage, 0, sizeof usage);
    int rc = result(syscall(SYS_waitid, P_PIDFD, pidfd, &info, options, &usage));
    if (rc < 0)
        return rc;
    *out = (struct nsj_wait){
        .pid = info.si_pid,
        .code = info.si_pid ? info.si_code : 0,
        .status = info.si_pid ? info.si_status : 0,
        .user_us = microseconds(&usage.ru_utime),
        .system_us = microseconds(&usage.ru_stime),
        .peak_kib = usage.ru_maxrss,
    };
    return 0;
}

int nsj_pidfd_info(int pidfd, struct nsj_pidfd_info *info) {
    return result(ioctl(pidfd, _IOWR(0xFF, 11, struct nsj_pidfd_info), info)); // PIDFD_GET_INFO
}

int nsj_prctl(int option, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
    return result(syscall(SYS_prctl, option, a, b, c, d));
}

int nsj_prlimit(int pid, int resource, const uint64_t *replacement, uint64_t *previous) {
    return result(syscall(SYS_prlimit64, pid, resource, replacement, previous));
}

// ---- capabilities ----

int nsj_capget(int pid, struct nsj_caps *caps) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
    struct __user_cap_data_struct data[2];
    int rc = result(syscall(SYS_capget, &header, data));
    if (rc < 0)
        return rc;
    caps->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    caps->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    caps->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

int nsj_capset(const struct nsj_caps *caps) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)caps->effective, (uint32_t)caps->permitted, (uint32_t)caps->inheritable},
        {caps->effective >> 32, caps->permitted >> 32, caps->inheritable >> 32},
    };
    return result(syscall(SYS_capset, &header, data));
}

// ---- filters ----

int nsj_seccomp_filter(unsigned int flags, const void *program, size_t size) {
    struct sock_filter *filter = (struct sock_filter *)(uintptr_t)program; // the kernel only reads it
    if (size % sizeof *filter != 0 || size / sizeof *filter > UINT16_MAX)
        return -EINVAL;
    struct sock_fprog whole = {.len = (unsigned short)(size / sizeof *filter), .filter = filter};
    return result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &whole));
}

int nsj_landlock_abi(void) {
    return result(syscall(SYS_landlock_create_ruleset, NULL, 0, 1)); // LANDLOCK_CREATE_RULESET_VERSION
}

int nsj_landlock_ruleset(uint64_t files, uint64_t network, uint64_t scope) {
    // struct landlock_ruleset_attr; an older kernel takes a longer one as long as what it does not know is zero
    const uint64_t attributes[] = {files, network, scope};
    return result(syscall(SYS_landlock_create_ruleset, attributes, sizeof attributes, 0));
}

int nsj_landlock_allow_path(int ruleset, uint64_t access, int beneath) {
    struct { // struct landlock_path_beneath_attr
        uint64_t access;
        int32_t parent;
    } __attribute__((packed)) rule = {access, beneath};
    return result(syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0)); // LANDLOCK_RULE_PATH_BENEATH
}

int nsj_landlock_allow_port(int ruleset, uint64_t access, uint64_t port) {
    const uint64_t rule[] = {access, port};                             // struct landlock_net_port_attr
    return result(syscall(SYS_landlock_add_rule, ruleset, 2, rule, 0)); // LANDLOCK_RULE_NET_PORT
}

int nsj_landlock_restrict_self(int ruleset) { return result(syscall(SYS_landlock_restrict_self, ruleset, 0)); }

// ---- sockets ----

int nsj_socketpair(int type, int fds[2]) { return result(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds)); }

union ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(NSJ_MAX_FDS * sizeof(int32_t))];
};

int nsj_send(int fd, const void *data, size_t length, const int32_t *fds, size_t nfds, int flags) {
    union ancillary control;
    struct iovec part = {(void *)(uintptr_t)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (nfds > NSJ_MAX_FDS)
        return -EINVAL;
    if (nfds > 0) {
        memset(&control.align, 0, sizeof control.align);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(nfds * sizeof *fds);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(nfds * sizeof *fds);
        memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof *fds);
    }
    return result(sendmsg(fd, &message, flags | MSG_NOSIGNAL));
}

// Collects the descriptors of a received message; those beyond `max_fds` are closed. Returns how many there were.
static size_t take_descriptors(struct msghdr *message, int32_t *fds, size_t max_fds) {
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int32_t);
        for (size_t i = 0; i < here; i++, count++) {
            int32_t fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < max_fds)
                fds[count] = fd;
            else
                close(fd);
        }
    }
    return count;
}

int nsj_recv(int fd, void *data, size_t length, int32_t *fds, size_t max_fds, size_t *nfds, int flags) {
    union ancillary control;
    struct iovec part = {data, length};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    *nfds = 0;
    int got = result(recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC));
    if (got < 0)
        return got;
    size_t count = take_descriptors(&message, fds, max_fds);
    if (count > max_fds || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t i = 0; i < count && i < max_fds; i++)
            close(fds[i]);
        return -EMSGSIZE;
    }
    *nfds = count;
    return got;
}

int nsj_socket_in(int net, int domain, int type, int protocol) {
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    // Entering the own namespace changes nothing, but fails now if coming back would fail later.
    int rc = nsj_setns(own, CLONE_NEWNET);
    if (rc == 0)
        rc = nsj_setns(net, CLONE_NEWNET);
    if (rc == 0) {
        int fd = result(socket(domain, type | SOCK_CLOEXEC, protocol));
        rc = nsj_setns(own, CLONE_NEWNET);
        if (rc < 0 && fd >= 0)
            close(fd);
        if (rc == 0)
            rc = fd;
    }
    close(own);
    return rc;
}

// ---- the contract ----

#define ENTRY(name, number, kinds) {#name, number, kinds},
static const struct nsj_opcode opcodes[] = {NSJ_OPCODES(ENTRY)};
#undef ENTRY

const struct nsj_opcode *nsj_opcode_at(unsigned int index) {
    return index < sizeof opcodes / sizeof opcodes[0] ? &opcodes[index] : NULL;
}
