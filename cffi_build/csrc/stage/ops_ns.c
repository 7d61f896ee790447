// ops_ns.c: namespaces, and what is set once inside them.
#include "stage.h"

long op_UNSHARE(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(unshare, arg[0].n);
}

long op_SETNS(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(setns, arg[0].fd, arg[1].n);
}

long op_IDENTITY(struct stage *st, const struct value *arg) {
    long r = 0;
    if (!(arg[2].n & NSJ_IDENTITY_KEEP)) {
        if (arg[2].n & NSJ_IDENTITY_DROP_GROUPS)
            r = SYS(setgroups, 0, 0);
        if (r == 0)
            r = SYS(setresgid, arg[1].n, arg[1].n, arg[1].n);
        if (r == 0)
            r = SYS(setresuid, arg[0].n, arg[0].n, arg[0].n);
    }
    return r < 0 ? r : raise_effective(st);
}

long op_HOSTNAME(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(sethostname, arg[0].text, text_length(arg[0].text));
}

long op_DOMAINNAME(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(setdomainname, arg[0].text, text_length(arg[0].text));
}

// netdevice(7). A C step, so that the common network modes never load a netlink library.
long op_LOOPBACK(struct stage *st, const struct value *arg) {
    (void)st;
    long fd = SYS(socket, ABI_AF_INET, ABI_SOCK_DGRAM | ABI_SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    struct abi_ifreq request = {.name = "lo"};
    long r = SYS(ioctl, fd, ABI_SIOCGIFFLAGS, &request);
    if (r == 0) {
        request.flags = (int16_t)((request.flags & ~ABI_IFF_UP) | (arg[0].n ? ABI_IFF_UP : 0));
        r = SYS(ioctl, fd, ABI_SIOCSIFFLAGS, &request);
    }
    SYS(close, fd);
    return r;
}
