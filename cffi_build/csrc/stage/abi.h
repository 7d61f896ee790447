// abi.h: the kernel interface that the stage uses and that older uapi headers lack.
//
// Written against headers of Linux 4.18, the oldest that a manylinux build brings. <linux/mount.h>
// is never included, so that its newer versions cannot clash with what is defined here.
#ifndef NSJ_ABI_H
#define NSJ_ABI_H

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>

// Numbers from 424 on are the same on every architecture.
#ifndef __NR_open_tree
#define __NR_open_tree 428
#define __NR_move_mount 429
#define __NR_fsopen 430
#define __NR_fsconfig 431
#define __NR_fsmount 432
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef RESOLVE_NO_MAGICLINKS
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_IN_ROOT 0x10
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif
#ifndef FSOPEN_CLOEXEC
#define FSOPEN_CLOEXEC 0x00000001
#define FSMOUNT_CLOEXEC 0x00000001
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#define MOUNT_ATTR_NOSUID 0x00000002
#define MOUNT_ATTR_NODEV 0x00000004
#define MOUNT_ATTR_NOEXEC 0x00000008
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#ifndef F_GET_SEALS
#define F_GET_SEALS (1024 + 10)
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#define F_SEAL_WRITE 0x0008
#endif

// enum fsconfig_command of <linux/mount.h>
enum { ABI_FSCONFIG_SET_FLAG = 0, ABI_FSCONFIG_SET_STRING = 1, ABI_FSCONFIG_CMD_CREATE = 6 };

// <sys/mount.h>, <sys/mman.h>, <sys/socket.h>, <sys/wait.h>: of libc, not of the uapi headers.
enum { ABI_MNT_DETACH = 2 };
enum { ABI_PROT_READ = 1, ABI_PROT_WRITE = 2 };
enum { ABI_MAP_SHARED = 1, ABI_MAP_PRIVATE = 2, ABI_MAP_ANONYMOUS = 0x20 };
enum { ABI_MSG_CTRUNC = 0x08, ABI_MSG_TRUNC = 0x20, ABI_MSG_DONTWAIT = 0x40, ABI_MSG_NOSIGNAL = 0x4000 };
enum { ABI_MSG_CMSG_CLOEXEC = 0x40000000 };
enum { ABI_SOL_SOCKET = 1, ABI_SCM_RIGHTS = 1 };
enum { ABI_AF_INET = 2, ABI_SOCK_DGRAM = 2, ABI_SOCK_CLOEXEC = O_CLOEXEC };
enum { ABI_IFF_UP = 1, ABI_SIOCGIFFLAGS = 0x8913, ABI_SIOCSIFFLAGS = 0x8914 };
enum { ABI_WNOHANG = 1, ABI_WUNTRACED = 2, ABI_WALL = 0x40000000 };
enum { ABI_MS_REC = 16384 };
enum { ABI_S_IFMT = 0170000, ABI_S_IFDIR = 0040000 }; // <linux/stat.h> leaves them to a libc that there is
enum { ABI_CLOCK_MONOTONIC = 1 };

struct abi_open_how {
    uint64_t flags, mode, resolve;
};

struct abi_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

struct abi_timespec { // <linux/time.h> clashes with some libcs
    long seconds, nanoseconds;
};

struct abi_iovec {
    void *base;
    size_t length;
};

struct abi_msghdr {
    void *name;
    int namelen;
    struct abi_iovec *iov;
    size_t iovlen;
    void *control;
    size_t controllen;
    unsigned flags;
};

struct abi_cmsghdr {
    size_t length;
    int level, type;
};

struct abi_sigaction { // all zero: the default action, on both layouts
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

struct abi_ifreq {
    char name[16];
    int16_t flags;
    char rest[22];
};

struct abi_winsize {
    uint16_t rows, columns, xpixel, ypixel;
};

#endif
