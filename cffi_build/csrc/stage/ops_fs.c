// ops_fs.c: steps that open, write and make files.
#include "stage.h"

long op_OPEN(struct stage *st, const struct value *arg) {
    (void)st;
    struct abi_open_how how = {.flags = arg[2].n | O_CLOEXEC, .resolve = arg[3].n};
    if (arg[2].n & O_CREAT) // openat2 refuses a mode without it
        how.mode = 0600;
    return sys_place(SYS(openat2, arg[0].fd, arg[1].text, &how, sizeof how), arg[4].fd);
}

// The kernel's control files take a value in one write or not at all.
static long write_once(long fd, const struct value *bytes) {
    long n = SYS(write, fd, bytes->data, bytes->size);
    if (n < 0)
        return n;
    return (uint64_t)n == bytes->size ? 0 : -EIO;
}

long op_WRITE(struct stage *st, const struct value *arg) {
    (void)st;
    return write_once(arg[0].fd, &arg[1]);
}

long op_WRITE_FILE(struct stage *st, const struct value *arg) {
    doing(st, NSJ_AT_TARGET, 0);
    long fd = SYS(openat, AT_FDCWD, arg[0].text, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    doing(st, NSJ_AT_STEP, 0);
    long r = write_once(fd, &arg[1]);
    SYS(close, fd);
    return r;
}

long op_MKDIR(struct stage *st, const struct value *arg) {
    long fd = path_make(st, arg[0].fd, arg[1].text, PATH_DIRECTORY, (unsigned)arg[2].n);
    if (fd >= 0)
        SYS(close, fd);
    return fd < 0 ? fd : 0;
}

long op_SYMLINK(struct stage *st, const struct value *arg) {
    const char *leaf;
    long parent = path_parent(st, arg[0].fd, arg[1].text, &leaf);
    if (parent < 0)
        return parent;
    doing(st, NSJ_AT_STEP, 0);
    long r = SYS(symlinkat, arg[2].text, parent, leaf);
    SYS(close, parent);
    return r;
}

static long write_all(long fd, const char *bytes, uint64_t size) {
    while (size) {
        long n = SYS(write, fd, bytes, size);
        if (n <= 0)
            return n < 0 ? n : -EIO;
        bytes += n;
        size -= (uint64_t)n;
    }
    return 0;
}

long op_FILE(struct stage *st, const struct value *arg) {
    const char *leaf;
    long parent = path_parent(st, arg[0].fd, arg[1].text, &leaf);
    if (parent < 0)
        return parent;
    long fd = SYS(openat, parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    SYS(close, parent);
    if (fd < 0)
        return fd;
    doing(st, NSJ_AT_STEP, 0);
    long r = write_all(fd, arg[2].data, arg[2].size);
    if (r == 0)
        r = SYS(fchmod, fd, arg[3].n); // not the mode of open(2), which the umask would cut
    SYS(close, fd);
    return r;
}

long op_CHOWN(struct stage *st, const struct value *arg) {
    doing(st, NSJ_AT_TARGET, 0);
    long fd = path_open(arg[0].fd, arg[1].text, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    doing(st, NSJ_AT_STEP, 0);
    long r = SYS(fchownat, fd, "", arg[2].n, arg[3].n, AT_EMPTY_PATH);
    SYS(close, fd);
    return r;
}
