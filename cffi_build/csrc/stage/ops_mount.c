// ops_mount.c: the mount steps, by descriptor wherever the kernel allows it.
#include "stage.h"

#include <linux/stat.h>

static long move_mount(long tree, long target) {
    return SYS(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static long set_attributes(long mount, unsigned flags, uint64_t set) {
    struct abi_mount_attr attr = {.attr_set = set};
    return SYS(mount_setattr, mount, "", AT_EMPTY_PATH | flags, &attr, sizeof attr);
}

long op_PROPAGATION(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(mount, 0, arg[0].text, 0, arg[1].n | (arg[2].n ? ABI_MS_REC : 0), 0);
}

long op_OPEN_TREE(struct stage *st, const struct value *arg) {
    (void)st;
    return sys_place(SYS(open_tree, arg[0].fd, arg[1].text, arg[2].n | OPEN_TREE_CLOEXEC), arg[3].fd);
}

// One option, "key=value" or "flag". The key is copied out, since fsconfig(2) takes it terminated.
static long configure(long context, const char *option) {
    char key[256]; // the kernel's own limit for a key
    size_t n = 0;
    while (option[n] && option[n] != '=') {
        if (n == sizeof key - 1)
            return -EINVAL;
        key[n] = option[n];
        n++;
    }
    key[n] = 0;
    if (!option[n])
        return SYS(fsconfig, context, ABI_FSCONFIG_SET_FLAG, key, 0, 0);
    return SYS(fsconfig, context, ABI_FSCONFIG_SET_STRING, key, option + n + 1, 0);
}

static long make_mount(struct stage *st, const char *type, const struct value *options, uint64_t attributes) {
    long context = SYS(fsopen, type, FSOPEN_CLOEXEC), r = 0;
    if (context < 0)
        return context;
    for (uint64_t i = 0; options && r == 0 && i < options->size; i++) {
        doing(st, NSJ_AT_ENTRY, i);
        r = configure(context, list_text(st, options, i));
    }
    if (r == 0) {
        doing(st, NSJ_AT_STEP, 0);
        r = SYS(fsconfig, context, ABI_FSCONFIG_CMD_CREATE, 0, 0, 0);
    }
    if (r == 0)
        r = SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
    SYS(close, context);
    return r;
}

long op_NEW_FS(struct stage *st, const struct value *arg) {
    return sys_place(make_mount(st, arg[0].text, &arg[1], arg[2].n), arg[3].fd);
}

long op_SET_ATTR(struct stage *st, const struct value *arg) {
    (void)st;
    struct abi_mount_attr attr = {.attr_set = arg[2].n, .attr_clr = arg[3].n, .propagation = arg[4].n};
    if (arg[6].fd != AT_FDCWD)
        attr.userns_fd = (uint64_t)arg[6].fd;
    const uint64_t flags = arg[5].n | (arg[1].text ? 0 : AT_EMPTY_PATH);
    return SYS(mount_setattr, arg[0].fd, arg[1].text ? arg[1].text : "", flags, &attr, sizeof attr);
}

// A tree is attached where its own kind is: a file on a file, a directory on a directory.
static long kind_to_make(int tree, uint64_t flags) {
    if (flags != NSJ_ATTACH_MAKE)
        return flags == NSJ_ATTACH_MKFILE ? PATH_FILE : PATH_DIRECTORY;
    struct statx found; // opening "." instead would need the right to search the directory
    long r = SYS(statx, tree, "", AT_EMPTY_PATH, STATX_TYPE, &found);
    if (r < 0)
        return r;
    return (found.stx_mode & ABI_S_IFMT) == ABI_S_IFDIR ? PATH_DIRECTORY : PATH_FILE;
}

long op_ATTACH(struct stage *st, const struct value *arg) {
    const int root = arg[0].fd, tree = arg[1].fd;
    if (root == AT_FDCWD)
        return SYS(move_mount, tree, "", AT_FDCWD, arg[2].text, MOVE_MOUNT_F_EMPTY_PATH);
    doing(st, NSJ_AT_TARGET, 0);
    long target;
    if (arg[3].n) {
        target = kind_to_make(tree, arg[3].n);
        if (target >= 0)
            target = path_make(st, root, arg[2].text, (enum path_kind)target, 0755);
    } else {
        target = path_open(root, arg[2].text, O_PATH);
    }
    if (target < 0)
        return target;
    doing(st, NSJ_AT_STEP, 0);
    long r = move_mount(tree, target);
    SYS(close, target);
    return r;
}

// pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, where "."
// still names it, so that no directory for it is needed.
long op_PIVOT(struct stage *st, const struct value *arg) {
    (void)st;
    long r = SYS(fchdir, arg[0].fd);
    if (r == 0)
        r = SYS(pivot_root, ".", ".");
    if (r == 0)
        r = SYS(umount2, ".", ABI_MNT_DETACH);
    return r < 0 ? r : SYS(chdir, "/");
}

static bool is_missing(long r) { return r == -ENOENT || r == -ENOTDIR; }

// The two covers of MASK on one small read-only tmpfs. They are of our own making: what the root calls
// /dev/null may be anything (CVE-2025-31133). Named as in a ready-made /dev, which saves all this.
static long make_covers(struct stage *st) {
    long covers = make_mount(st, "tmpfs", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (covers < 0)
        return covers;
    long r = SYS(mkdirat, covers, "mqueue", 0555);
    if (r == 0)
        r = SYS(mknodat, covers, "null", 0100444, 0);
    if (r == 0) // whatever the umask: what is covered is to look empty, not forbidden
        r = SYS(fchmodat, covers, "mqueue", 0555);
    if (r == 0)
        r = SYS(fchmodat, covers, "null", 0444);
    if (r == 0)
        r = set_attributes(covers, 0, MOUNT_ATTR_RDONLY);
    if (r == 0)
        return covers;
    SYS(close, covers);
    return r;
}

// Before Linux 6.15 only attached mounts can be cloned; on the root itself this one is in nobody's way.
static long clone_cover(long covers, const char *name, bool *attached) {
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    long tree = SYS(open_tree, covers, name, flags);
    if (tree != -EINVAL || *attached)
        return tree;
    long r = SYS(move_mount, covers, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    if (r < 0)
        return r;
    *attached = true;
    return SYS(open_tree, covers, name, flags);
}

static long remove_covers(long covers) {
    long r = SYS(fchdir, covers);
    if (r == 0)
        r = SYS(umount2, ".", ABI_MNT_DETACH);
    SYS(close, covers);
    return r < 0 ? r : SYS(chdir, "/");
}

static long cover(long covers, const char *path, bool *attached) {
    long target = path_open(AT_FDCWD, path, O_PATH);
    if (target < 0)
        return is_missing(target) ? 0 : target;
    long kind = kind_to_make((int)target, NSJ_ATTACH_MAKE), r = kind;
    if (kind >= 0)
        r = clone_cover(covers, kind == PATH_FILE ? "null" : "mqueue", attached);
    if (r >= 0) {
        long tree = r;
        r = move_mount(tree, target);
        SYS(close, tree);
    }
    SYS(close, target);
    return r;
}

long op_MASK(struct stage *st, const struct value *arg) {
    bool attached = false;
    long covers = arg[1].fd == AT_FDCWD ? make_covers(st) : arg[1].fd, r = 0;
    if (covers < 0)
        return covers;
    for (uint64_t i = 0; r == 0 && i < arg[0].size; i++) {
        doing(st, NSJ_AT_ENTRY, i);
        r = cover(covers, list_text(st, &arg[0], i), &attached);
    }
    if (r < 0)
        return r;
    doing(st, NSJ_AT_STEP, 0);
    // The kernel waits for all processors when a detached mount is closed: left open, that is done beside
    // the payload, by init or the exec.
    return attached ? remove_covers(covers) : 0;
}

static long make_readonly(const char *path) {
    long target = path_open(AT_FDCWD, path, O_PATH);
    if (target < 0)
        return is_missing(target) ? 0 : target;
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH;
    long tree = SYS(open_tree, target, "", flags), r = tree;
    if (tree >= 0) {
        r = set_attributes(tree, AT_RECURSIVE, MOUNT_ATTR_RDONLY);
        if (r == 0)
            r = move_mount(tree, target);
        SYS(close, tree);
    }
    SYS(close, target);
    return r;
}

long op_READONLY(struct stage *st, const struct value *arg) {
    long r = 0;
    for (uint64_t i = 0; r == 0 && i < arg[0].size; i++) {
        doing(st, NSJ_AT_ENTRY, i);
        r = make_readonly(list_text(st, &arg[0], i));
    }
    return r;
}

long op_MOUNT(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(mount, arg[0].text, arg[1].text, arg[2].text, arg[3].n, arg[4].text);
}

long op_UMOUNT(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(umount2, arg[0].text, arg[1].n);
}
