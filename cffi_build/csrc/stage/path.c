// path.c: targets inside a root, found and made by descriptor.
//
// A path is never resolved twice, and never by the process's own root: between a check and a use by
// name a racing symlink would lead out of the root (CVE-2021-30465). openat2(2) with
// RESOLVE_IN_ROOT holds every component inside, and the mount then goes to the descriptor found.
#include "stage.h"

#define PATH_SIZE 4096 // PATH_MAX
#define RETRIES 1024   // openat2(2): EAGAIN while something is renamed or mounted anywhere

static long resolve(int root, const char *path, uint64_t flags, uint64_t how) {
    struct abi_open_how open_how = {.flags = flags | O_CLOEXEC, .resolve = how};
    long fd = -EAGAIN;
    for (unsigned i = 0; i < RETRIES && fd == -EAGAIN; i++)
        fd = SYS(openat2, root, path, &open_how, sizeof open_how);
    return fd;
}

long path_open(int root, const char *path, uint64_t flags) {
    return resolve(root, path, flags, (root == AT_FDCWD ? 0 : RESOLVE_IN_ROOT) | RESOLVE_NO_MAGICLINKS);
}

// A directory made on the way: 0755 whatever the inherited umask.
static long make_directory(int parent, const char *name, unsigned mode) {
    long r = SYS(mkdirat, parent, name, 0700);
    if (r < 0)
        return r;
    long fd = SYS(openat, parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fd;
    r = SYS(fchmod, fd, mode);
    SYS(close, fd);
    return r;
}

// Opens root/path, making what is missing. `path` is cut and mended while it is walked.
static long make_parents(int root, char *path) {
    long parent = path_open(root, ".", O_PATH | O_DIRECTORY);
    char *name = path;
    while (parent >= 0) {
        while (*name == '/')
            name++;
        if (!*name)
            return parent;
        char *end = name;
        while (*end && *end != '/')
            end++;
        char mended = *end;
        *end = 0;
        long fd = path_open(root, path, O_PATH | O_DIRECTORY);
        if (fd == -ENOENT) {
            long made = make_directory((int)parent, name, 0755);
            fd = made < 0 && made != -EEXIST ? made : path_open(root, path, O_PATH | O_DIRECTORY);
        }
        *end = mended;
        SYS(close, parent);
        parent = fd;
        name = end;
    }
    return parent;
}

long path_parent(struct stage *st, int root, const char *path, const char **leaf) {
    char buffer[PATH_SIZE];
    size_t length = text_length(path), cut;
    doing(st, NSJ_AT_TARGET, 0);
    if (length >= sizeof buffer)
        return -ENAMETOOLONG;
    for (cut = length; cut > 0 && path[cut - 1] != '/'; cut--)
        ;
    *leaf = path + cut;
    if (!**leaf)
        return -EISDIR; // "dir/": there is nothing to make
    for (size_t i = 0; i < cut; i++)
        buffer[i] = path[i];
    buffer[cut] = 0;
    doing(st, NSJ_AT_PARENT, 0);
    long parent = path_open(root, cut ? buffer : ".", O_PATH | O_DIRECTORY);
    if (parent == -ENOENT)
        parent = make_parents(root, buffer);
    doing(st, NSJ_AT_TARGET, 0);
    return parent;
}

static long make_file(int parent, const char *name) {
    long fd = SYS(openat, parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0)
        SYS(close, fd);
    return fd < 0 ? fd : 0;
}

// Returns an O_PATH descriptor of the target. A target that exists is taken as it is.
long path_make(struct stage *st, int root, const char *path, enum path_kind kind, unsigned mode) {
    doing(st, NSJ_AT_TARGET, 0);
    const uint64_t flags = O_PATH | (kind == PATH_DIRECTORY ? O_DIRECTORY : 0);
    long fd = path_open(root, path, flags);
    if (fd != -ENOENT)
        return fd;
    const char *leaf;
    long parent = path_parent(st, root, path, &leaf);
    if (parent < 0)
        return parent;
    long made = kind == PATH_FILE ? make_file((int)parent, leaf) : make_directory((int)parent, leaf, mode);
    SYS(close, parent);
    if (made < 0 && made != -EEXIST)
        return made;
    return path_open(root, path, flags);
}
