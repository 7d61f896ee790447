// launch: start the stage in new namespaces, for tests. Shares no code with the project's own spawn.
//
//   launch FLAGS STAGE FD...        FLAGS: CLONE_NEW*; the n-th FD becomes descriptor 64+n of the stage;
//                                   STAGE: a program, or INTERPRETER:PROGRAM
//
// Exits as the stage did. A user namespace maps the caller's whole range onto itself. A new mount
// namespace is made private, whatever the plan does: a mistake in a test must not reach the host.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 64
#define ASIDE 700

static void check(int failed, const char *what) {
    if (failed) {
        perror(what);
        _exit(99);
    }
}

static void write_file(const char *format, int pid, const char *text) {
    char path[64];
    snprintf(path, sizeof path, format, pid);
    int fd = open(path, O_WRONLY);
    check(fd < 0 || write(fd, text, strlen(text)) < 0, path);
    close(fd);
}

// Across exec in a user namespace whose ids are not root's, only ambient capabilities survive.
static void raise_ambient(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    check(syscall(SYS_capget, &header, data) < 0, "capget");
    for (int i = 0; i < 2; i++)
        data[i].inheritable = data[i].permitted;
    check(syscall(SYS_capset, &header, data) < 0, "capset");
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

static void child(char **argv, int nfds, int stage, char *program, unsigned long flags, int ready) {
    char byte;
    check(read(ready, &byte, 1) != 1, "wait for maps");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (flags & CLONE_NEWNS)
        check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    if (flags & CLONE_NEWUSER)
        raise_ambient();
    for (int i = 0; i < nfds; i++)
        check(fcntl(atoi(argv[i]), F_DUPFD, ASIDE) != ASIDE + i, "lift");
    for (int i = 0; i < nfds; i++)
        check(dup2(ASIDE + i, SLOTS + i) < 0, "slot");
    char *const args[] = {"stage", program, NULL}, *const env[] = {NULL};
    syscall(SYS_execveat, stage, "", args, env, AT_EMPTY_PATH);
    check(1, "execveat");
}

int main(int argc, char **argv) {
    unsigned long flags = strtoul(argv[1], NULL, 0);
    char *program = strchr(argv[2], ':');
    if (program)
        *program++ = 0;
    int stage = open(argv[2], O_RDONLY | O_CLOEXEC), ready[2];
    check(stage < 0 || pipe2(ready, O_CLOEXEC), "open");
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    check(pid < 0, "clone");
    if (pid == 0)
        child(argv + 3, argc - 3, stage, program, flags, ready[0]);
    if (flags & CLONE_NEWUSER) {
        write_file("/proc/%d/uid_map", pid, "0 0 65536");
        write_file("/proc/%d/gid_map", pid, "0 0 65536");
    }
    check(write(ready[1], "", 1) != 1, "release");
    syscall(SYS_close_range, 3, ~0u, 0); // or this process would keep the report socket open
    freopen("/dev/null", "w", stdout);
    int status;
    while (waitpid(pid, &status, 0) != pid)
        ;
    if (WIFSIGNALED(status)) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}
