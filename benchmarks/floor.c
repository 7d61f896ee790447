// floor: the least time this kernel needs to start and finish one isolated process.
//
//   cc -O2 -o floor floor.c
//   floor [-g GAP_MS] [-i] [-o] RUNS NAMESPACES ROOTFS COMMAND [ARG ...]
//
// NAMESPACES is any of  m p i u n c U  (mount pid ipc uts net cgroup user), or - for none.
// With m it also makes a private root: bind ROOTFS, /proc (with p), a tmpfs on /tmp, pivot_root,
// read-only. -g waits so long before each start, outside the time measured; -i mounts the root
// through an id map (root and U only); -o reads the command's output from a pipe to its end.
// No checks, no cgroup, no seccomp, no capabilities dropped: a sandbox does more than this, so a
// ratio to it is a ratio to what cannot be avoided.
// Prints one JSON array: milliseconds, clone to reaped. Two starts before the first are not counted.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
// glibc before 2.36 has these in a header that cannot be included with the kernel's
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
int prctl(int, ...);
#define PR_SET_NO_NEW_PRIVS 38
#define MNT_DETACH 2

#define STACK 65536
#define UNCOUNTED 2

struct start {
    const char *root;
    char **argv;
    unsigned long flags;
    unsigned uid, gid; // the caller's
    int mapping;       // a user namespace for an idmapped root, or -1
    int capture;
    int map_ready; // read end of a pipe: the child waits for its id maps
    int tree;      // the idmapped root, detached, or -1
    int out;       // write end of the pipe for the output, or -1
    const char *failed;
    int error; // both written by the child, which shares memory until exec
};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if ((call) < 0) {                                                                                              \
            s->failed = #call;                                                                                         \
            s->error = errno;                                                                                          \
            _exit(125);                                                                                                \
        }                                                                                                              \
    } while (0)

static void new_root(struct start *s) {
    TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    if (s->tree >= 0)
        TRY(syscall(SYS_move_mount, s->tree, "", AT_FDCWD, s->root, MOVE_MOUNT_F_EMPTY_PATH));
    else
        TRY(mount(s->root, s->root, NULL, MS_BIND | MS_REC, NULL));
    TRY(chdir(s->root));
    if (s->flags & CLONE_NEWPID)
        TRY(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    TRY(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m"));
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    TRY(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
}

static int child(void *arg) {
    struct start *s = arg;
    char c;
    if (s->flags & CLONE_NEWUSER) {
        TRY(read(s->map_ready, &c, 1) == 1 ? 0 : -1);
        TRY(setresgid(0, 0, 0));
        TRY(setresuid(0, 0, 0));
    }
    if (s->flags & CLONE_NEWNS)
        new_root(s);
    if (s->flags & CLONE_NEWUTS)
        TRY(sethostname("box", 3));
    if (s->out >= 0)
        TRY(dup2(s->out, 1));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    char *env[] = {"PATH=/usr/bin:/bin", NULL};
    TRY(execve(s->argv[0], s->argv, env));
    return 0;
}

static void write_file(pid_t pid, const char *file, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

// root maps a range; anybody else may map only himself, and must give up setgroups(2) for it
static void write_maps(const struct start *s, pid_t pid) {
    char uids[64] = "0 100000 65536\n", gids[64] = "0 100000 65536\n";
    if (s->uid) {
        snprintf(uids, sizeof uids, "0 %u 1\n", s->uid);
        snprintf(gids, sizeof gids, "0 %u 1\n", s->gid);
        write_file(pid, "setgroups", "deny");
    }
    write_file(pid, "uid_map", uids);
    write_file(pid, "gid_map", gids);
}

// a user namespace with the range's map, kept open for as long as there are starts
static int mapping_namespace(const struct start *s) {
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0)
        die("clone");
    if (!pid) {
        pause();
        _exit(0);
    }
    write_maps(s, pid);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die(path);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return fd;
}

static int idmapped_tree(const struct start *s) {
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, s->root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)s->mapping};
    if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr))
        die("idmapped root");
    return tree;
}

static double once(struct start *s, char *stack) {
    int gate[2] = {-1, -1}, out[2] = {-1, -1}, status;
    char buffer[4096];
    double began = now_ms();
    int user = !!(s->flags & CLONE_NEWUSER);
    if ((user && pipe2(gate, O_CLOEXEC)) || (s->capture && pipe2(out, O_CLOEXEC)))
        die("pipe");
    s->map_ready = gate[0];
    s->out = out[1];
    s->tree = s->mapping >= 0 ? idmapped_tree(s) : -1;
    // a suspended parent cannot write the maps, so only the map-less start may use VFORK
    pid_t pid = clone(child, stack + STACK, (int)(CLONE_VM | (user ? 0 : CLONE_VFORK) | SIGCHLD | s->flags), s);
    if (pid < 0)
        die("clone");
    if (user) {
        write_maps(s, pid);
        if (write(gate[1], "x", 1) != 1)
            die("gate");
    }
    if (s->capture) {
        close(out[1]);
        while (read(out[0], buffer, sizeof buffer) > 0)
            ;
        close(out[0]);
    }
    waitpid(pid, &status, 0);
    if (user) {
        close(gate[0]);
        close(gate[1]);
    }
    if (s->tree >= 0)
        close(s->tree);
    double ended = now_ms();
    if (s->failed || status) {
        fprintf(stderr, "floor: %s: %s, wait status %x\n", s->failed, strerror(s->error), (unsigned)status);
        exit(1);
    }
    return ended - began;
}

static unsigned long clone_flags(const char *letters) {
    unsigned long flags = 0;
    for (; *letters; letters++)
        flags |= *letters == 'm'   ? CLONE_NEWNS
                 : *letters == 'p' ? CLONE_NEWPID
                 : *letters == 'i' ? CLONE_NEWIPC
                 : *letters == 'u' ? CLONE_NEWUTS
                 : *letters == 'n' ? CLONE_NEWNET
                 : *letters == 'c' ? CLONE_NEWCGROUP
                 : *letters == 'U' ? CLONE_NEWUSER
                                   : 0;
    return flags;
}

int main(int argc, char **argv) {
    struct start s = {.uid = geteuid(), .gid = getegid(), .mapping = -1};
    long gap_ms = 0;
    int idmap = 0, option;
    while ((option = getopt(argc, argv, "+g:io")) != -1) {
        if (option == 'g')
            gap_ms = atol(optarg);
        else if (option == 'i')
            idmap = 1;
        else if (option == 'o')
            s.capture = 1;
        else
            return 2;
    }
    if (argc - optind < 4) {
        fprintf(stderr, "usage: floor [-g GAP_MS] [-i] [-o] RUNS NAMESPACES ROOTFS COMMAND [ARG ...]\n");
        return 2;
    }
    int runs = atoi(argv[optind]);
    s.flags = clone_flags(argv[optind + 1]);
    s.root = argv[optind + 2];
    s.argv = argv + optind + 3;
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        die("stack");
    if (idmap)
        s.mapping = mapping_namespace(&s);
    struct timespec gap = {gap_ms / 1000, gap_ms % 1000 * 1000000};
    putchar('[');
    for (int i = -UNCOUNTED; i < runs; i++) {
        if (gap_ms && i >= 0)
            nanosleep(&gap, NULL);
        double took = once(&s, stack);
        if (i >= 0)
            printf("%s%.4f", i ? ", " : "", took);
    }
    puts("]");
    return 0;
}
