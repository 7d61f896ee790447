// probe: a payload that looks at itself, waits for signals, or attacks its init.
//
//   probe attributes     print what /proc does not show
//   probe signals        block all signals, say "ready", then print each that arrives; TERM ends it
//   probe attack [PID]   try what a process of the same uid might do to another, one line each; without a
//                        pid to a victim of its own
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROGRAM 0x400000L // where a static program that is not position-independent begins

static void attributes(void) {
    int subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    printf("subreaper %d\n", subreaper);
    printf("keyring %ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3 /* KEY_SPEC_SESSION_KEYRING */, 0));
}

static void print_signals(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    puts("ready");
    for (int signal = 0; signal != SIGTERM;) {
        fflush(stdout);
        signal = sigwaitinfo(&all, NULL);
        printf("%s\n", sigabbrev_np(signal));
    }
}

static void result(const char *what, long r) { printf("%s %s\n", what, r < 0 ? strerrorname_np(errno) : "done"); }

static long open_file(int pid, const char *name, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, flags);
    char byte;
    return fd < 0 ? -1 : pread(fd, &byte, 1, strcmp(name, "mem") ? 0 : PROGRAM);
}

static long read_link(int pid) {
    char path[64], target[64];
    long length = -1;
    errno = ENOENT;
    for (int fd = 0; fd < 1024 && length < 0 && errno == ENOENT; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        length = readlink(path, target, sizeof target);
    }
    return length;
}

static long read_memory(int pid) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)PROGRAM, 1};
    return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

// Everything but the last two must be refused; those succeed and must do nothing.
static void attack(int pid) {
    long pidfd = syscall(SYS_pidfd_open, pid, 0);
    long stolen = -1;
    for (int fd = 0; fd < 1024 && stolen < 0; fd++)
        stolen = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    result("pidfd_getfd", stolen);
    result("mem", open_file(pid, "mem", O_RDWR));
    result("environ", open_file(pid, "environ", O_RDONLY));
    result("auxv", open_file(pid, "auxv", O_RDONLY));
    result("exe", open_file(pid, "exe", O_RDONLY));
    result("fd", read_link(pid));
    result("process_vm_readv", read_memory(pid));
    result("ptrace", ptrace(PTRACE_SEIZE, pid, 0, 0));
    result("STOP", kill(pid, SIGSTOP));
    result("KILL", kill(pid, SIGKILL));
}

// A child that has executed this program and waits.
static int start_victim(void) {
    int ready[2];
    char line[6];
    if (pipe(ready))
        exit(1);
    int pid = fork();
    if (pid == 0) {
        dup2(ready[1], 1);
        execl("/proc/self/exe", "probe", "signals", NULL);
        _exit(1);
    }
    if (read(ready[0], line, sizeof line) != sizeof line)
        exit(1);
    return pid;
}

int main(int argc, char **argv) {
    if (!strcmp(argv[1], "attributes"))
        attributes();
    else if (!strcmp(argv[1], "signals"))
        print_signals();
    else
        attack(argc > 2 ? atoi(argv[2]) : start_victim());
    return 0;
}
