// contract.h: the one definition of what Python and the stage say to each other.
//
// Python encodes a plan into one flat blob (plan/encode.py); the stage maps it, checks all of it
// (stage/verify.c) and only then carries it out (stage/run.c). Opcode numbers, kinds and layouts
// exist here and nowhere else; Python reads them through the extension (native.cdef).
//
//   blob = header | steps[nsteps] | pool
//
// All integers are native-endian: a plan never leaves the machine it was made on. The blob is
// handed over in a memfd sealed against WRITE, SHRINK and GROW, whose size is header.length.
// Strings and data are named by their offset in the pool, which starts 8-aligned.
//
// A blob ends with its one EXEC. Two exceptions: a blob whose last step is GATE READY or PARKED
// has no EXEC and takes it from the suffix that the release must bring; a blob with NSJ_ENTERED
// has neither EXEC nor INIT nor FORK. A suffix is a blob of its own: flags and nbirth zero, its slots
// carry on from those filled at the gate, and it replaces whatever followed the gate.
//
// The calls of the stage after SECCOMP, which a filter must allow (those of SECCOMP, EXEC and a report):
//   close close_range clock_gettime execve exit_group mmap rt_sigaction rt_sigprocmask sendmsg
// and for a plan that parks after it, whose suffix has DESCRIPTORS, CHDIR and EXEC:
//   chdir dup3 fcntl getcwd lseek munmap ppoll recvmsg
#ifndef NSJ_CONTRACT_H
#define NSJ_CONTRACT_H

#include <stdint.h>

#define NSJ_MAGIC 0x504a534eu // "NSJP"
#define NSJ_VERSION 1

#define NSJ_MAX_STEPS 1024
#define NSJ_MAX_BLOB (16u << 20)

// Descriptors are named by slot. Slot n is descriptor NSJ_SLOT_BASE + n in the stage, and nothing
// else is open there. Slots below `nbirth` are filled when the stage starts, the others by a gate
// or by a step with an OUT argument; the verifier refuses a step that reads a slot nobody filled.
#define NSJ_SLOT_BASE 64
#define NSJ_MAX_SLOTS 512
#define NSJ_SLOT_REPORT 0 // the stage's end of the SOCK_SEQPACKET pair
#define NSJ_SLOT_PLAN 1   // the sealed memfd that holds the blob
#define NSJ_SLOT_OWNER 2  // a pidfd of the process that the sandbox must not outlive
#define NSJ_SLOT_FIRST 3  // the first slot that a plan may name freely

// The header's flags.
#define NSJ_TRACE 1u   // report every step as it is done
#define NSJ_OWNED 2u   // slot OWNER is filled: init (or the watcher) dies with that process
#define NSJ_ENTERED 4u // carried out in an already forked process (purpose "fork"), not in a stage

struct nsj_header {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    uint32_t length; // of the whole blob in bytes
    uint32_t nsteps;
    uint32_t pool; // offset of the string pool from the start of the blob
    uint16_t nslots;
    uint16_t nbirth;
    uint32_t reserved[2];
};

#define NSJ_ARGS 7
#define NSJ_MAX_PASS 250 // descriptors in one release (the kernel's SCM_MAX_FD is 253)

// How one argument is to be read; four bits each in nsj_step.kinds, argument 0 lowest.
enum nsj_kind {
    NSJ_NONE = 0,    // not used, must be zero
    NSJ_INT = 1,     // the value itself
    NSJ_STR = 2,     // pool offset of a NUL-terminated string
    NSJ_DATA = 3,    // pool offset (8-aligned) of uint64 length followed by that many bytes
    NSJ_STRINGS = 4, // pool offset (8-aligned) of uint64 count, then count+1 uint64: pool offsets
                     // of NUL-terminated strings, the last one zero
    NSJ_SLOT = 5,    // a filled slot; the handler sees its descriptor
    NSJ_OUT = 6,     // a slot that this step fills
};

// nsj_step.flags
#define NSJ_TRY 1u // a failure is reported as NSJ_REPORT_SKIPPED and the next step goes on

struct nsj_step {
    uint16_t op;
    uint16_t flags;
    uint32_t kinds;
    uint64_t arg[NSJ_ARGS];
};

// Every opcode: name, number, argument kinds (as letters: i INT, s STR, d DATA, v STRINGS, f SLOT,
// o OUT; a capital letter may also be NONE: S path may be absent, F slot may be absent = AT_FDCWD,
// O result not kept). `*` marks SYSCALL, whose arguments may be of any kind.
// Numbers are never reused; new ones are added at the end of their group.
// A table, one line an opcode:
// clang-format off
#define NSJ_OPCODES(X)                                                                             \
    /* control */                                                                                  \
    X(GATE, 1, "iii")         /* number, first slot, slot count (NSJ_MAX_PASS): report, then wait for a release */\
    X(SYSCALL, 2, "*")        /* number, then INT, STR, DATA, SLOT arguments; a last OUT keeps the result */ \
    X(CLOSE, 3, "f")          /* close a slot */                                                   \
    X(INIT, 4, "iF")          /* fork: the parent becomes init (NSJ_INIT_*), the child goes on; a slot that init keeps open as long as it lives (the lock on the id range) */ \
    X(EXEC, 5, "vvv")         /* candidate paths, argv, environment */                             \
    X(PTY, 6, "oi")           /* a pty from the sandbox's own devpts: slave slot, window rows<<16|cols; the master is reported */ \
    X(FORK, 7, "")            /* after UNSHARE(NEWPID): the child goes on as pid 1 with PDEATHSIG SIGKILL (an INIT may follow in it); the parent only waits for it, dies with the owner, and exits as it did; no CLONE_VM */ \
    /* descriptors and files */                                                                    \
    X(OPEN, 16, "Fsiio")      /* directory slot, path, O_*, RESOLVE_*, result */                   \
    X(WRITE, 17, "fd")        /* write bytes to a slot in one write */                             \
    X(WRITE_FILE, 18, "sd")   /* open an existing file O_WRONLY and write in one write */          \
    X(MKDIR, 19, "fsi")       /* root slot, path in root, mode; parents are made, existing is fine */ \
    X(SYMLINK, 20, "fss")     /* root slot, path in root, target text; parents are made */         \
    X(FILE, 21, "fsdi")       /* root slot, path in root, contents, mode; parents are made; new files only */ \
    X(CHOWN, 22, "fsii")      /* root slot, path in root, uid, gid */                              \
    /* mounts */                                                                                   \
    X(PROPAGATION, 32, "sii") /* path, MS_PRIVATE/MS_SLAVE/..., recursive */                       \
    X(OPEN_TREE, 33, "Fsio")  /* directory slot, path, OPEN_TREE_* | AT_*, result */               \
    X(NEW_FS, 34, "svio")     /* file system type, key=value or flag options, MOUNT_ATTR_*, result: a detached mount */ \
    X(SET_ATTR, 35, "FSiiiiF")/* slot, path, set, clear, propagation, AT_* flags, user namespace for MOUNT_ATTR_IDMAP */ \
    X(ATTACH, 36, "Ffsi")     /* root slot (absent: the path is taken as it is), tree slot, target, NSJ_ATTACH_*; resolved in the root */ \
    X(PIVOT, 37, "f")         /* slot of the attached new root: pivot_root(".", "."), detach the old */ \
    X(MASK, 38, "vF")         /* after PIVOT: cover each existing path by `null` or the empty directory `mqueue` of an attached tree; absent: of a read-only tmpfs made for it, where `null` is an empty file */ \
    X(MOUNT, 39, "SsSiS")     /* the classic mount(2): source, target, type, MS_*, data */         \
    X(UMOUNT, 40, "si")       /* target, MNT_* */                                                  \
    X(READONLY, 41, "v")      /* after PIVOT: bind each existing path onto itself, read-only */    \
    /* namespaces */                                                                               \
    X(UNSHARE, 48, "i")       /* CLONE_NEW* */                                                     \
    X(SETNS, 49, "fi")        /* namespace or pidfd slot, CLONE_NEW* */                            \
    X(IDENTITY, 50, "iii")    /* uid, gid, NSJ_IDENTITY_* : become the user namespace's own ids */ \
    X(HOSTNAME, 51, "s")                                                                           \
    X(DOMAINNAME, 52, "s")                                                                         \
    X(LOOPBACK, 53, "i")      /* 1: lo up */                                                       \
    /* the payload */                                                                              \
    X(RLIMIT, 64, "iii")      /* RLIMIT_*, soft, hard */                                           \
    X(SETSID, 65, "")                                                                              \
    X(TERMINAL, 66, "f")      /* TIOCSCTTY on a slot */                                            \
    X(DESCRIPTORS, 67, "d")   /* array of { int32 slot; int32 number }, by rising number, 0 1 2 among them: the payload's descriptors; all others are closed by EXEC */ \
    X(CHDIR, 68, "v")         /* the first of these directories that exists */                     \
    X(UMASK, 69, "i")                                                                              \
    X(GROUPS, 70, "D")        /* array of uint32 for setgroups(2); absent: none */                 \
    X(IDS, 71, "ii")          /* uid, gid: real, effective, saved; permitted capabilities are kept until CAPS */ \
    X(BOUND, 72, "i")         /* bounding set: drop all but this mask */                           \
    X(CAPS, 73, "iiii")       /* effective, permitted, inheritable, ambient masks */               \
    X(SECUREBITS, 74, "i")                                                                         \
    X(NO_NEW_PRIVS, 75, "")                                                                        \
    X(SECCOMP, 76, "diO")     /* sock_filter array, SECCOMP_FILTER_FLAG_*, listener slot (reported, then closed) */ \
    X(DUMPABLE, 77, "i")                                                                           \
    X(PRIORITY, 78, "i")      /* nice value */                                                     \
    X(SCHEDULER, 79, "ii")    /* SCHED_*, priority */                                              \
    X(AFFINITY, 80, "d")      /* cpu mask */                                                       \
    X(IOPRIO, 81, "i")                                                                             \
    X(SUBREAPER, 82, "i")                                                                          \
    X(KEYRING, 83, "")        /* a fresh session keyring */
// clang-format on

#define NSJ_OP_ENUM(name, number, kinds) NSJ_OP_##name = number,
enum nsj_op { NSJ_OPCODES(NSJ_OP_ENUM) NSJ_OP_END = 96 };
#undef NSJ_OP_ENUM

// GATE numbers
#define NSJ_GATE_CREATED 1u // id maps written, trees handed over
#define NSJ_GATE_MAPPED 2u  // the second map gate, after unshare(NEWUSER) in a joined sandbox
#define NSJ_GATE_READY 3u   // may bring a suffix (LIMIT .. EXEC)
#define NSJ_GATE_PARKED 4u  // after FILTER: may bring a suffix of DESCRIPTORS, CHDIR, EXEC alone

// INIT flags
// OUTSIDE: this process is not pid 1 (exec, joined, or no pid namespace): it only waits, never shares memory with
// its child (CVE-2016-9962), and takes it along when it is killed (PDEATHSIG).
#define NSJ_INIT_OUTSIDE 1u
#define NSJ_INIT_REAPER 2u // be subreaper and, at the end, kill what is left (no pid namespace)
// With OUTSIDE, the bits from here on: a mapped uid that no payload has, for init alone; 0: init keeps the one it has.
// Nothing else keeps a payload that sees init from stopping or killing it.
#define NSJ_INIT_UID_SHIFT 32

// IDENTITY flags
#define NSJ_IDENTITY_DROP_GROUPS 1u
#define NSJ_IDENTITY_KEEP 2u // keep the ids, only raise the inherited ambient set to effective

// ATTACH flags
#define NSJ_ATTACH_MKDIR 1u  // make a missing target as a directory, with its parents
#define NSJ_ATTACH_MKFILE 2u // make a missing target as an empty file, with its parents
#define NSJ_ATTACH_MAKE 3u   // make a missing target as whichever of the two the tree is

// ---- the report socket (SOCK_SEQPACKET; one struct a message) ----

enum nsj_report_kind {
    NSJ_REPORT_FAILED = 1,   // step, error: the set-up stops here; value[0] is a detail (NSJ_AT_*)
    NSJ_REPORT_SKIPPED = 2,  // step, error: a NSJ_TRY step failed
    NSJ_REPORT_TRACE = 3,    // step done
    NSJ_REPORT_GATE = 4,     // value[0] = gate number: waiting
    NSJ_REPORT_STARTED = 5,  // by init: value[0] = the payload's pid as seen by init; carries its pidfd
    NSJ_REPORT_EXITED = 6,   // by init: value[0] = wait status, [1] user us, [2] system us, [3] peak RSS KiB
    NSJ_REPORT_FD = 7,       // carries a descriptor made by a step (PTY master, seccomp listener)
    NSJ_REPORT_STOPPED = 8,  // by init: value[0] = the signal that stopped the payload
    NSJ_REPORT_BAD_PLAN = 9, // the verifier refused: step, value[0] = NSJ_BAD_*
};

// What a failed step was doing (nsj_report.value[0] of FAILED and SKIPPED; value[1] says more).
enum nsj_at {
    NSJ_AT_STEP = 0,    // the step's own call
    NSJ_AT_START = 1,   // before the first step: closing what was inherited, mapping the plan
    NSJ_AT_PARENT = 2,  // making or opening the directories above a target
    NSJ_AT_TARGET = 3,  // making or opening a target
    NSJ_AT_ENTRY = 4,   // value[1]: index into the step's list (paths, options, candidates, descriptors)
    NSJ_AT_RELEASE = 5, // a gate's release: malformed, or its suffix cannot be mapped
    NSJ_AT_KILLED = 6,  // the process died before exec; value[1]: its wait status
    NSJ_AT_GUARD = 7,   // init could not give up its privileges; everything has been killed
};

struct nsj_report {
    uint16_t kind;
    uint16_t step; // index into the plan; the suffix counts on from the plan's last
    int32_t error; // errno, positive
    uint64_t ns;   // CLOCK_MONOTONIC
    uint64_t value[5];
};

// Why the verifier refused (nsj_report.value[0]).
enum nsj_bad {
    NSJ_BAD_SIZE = 1,
    NSJ_BAD_MAGIC = 2,
    NSJ_BAD_VERSION = 3,
    NSJ_BAD_COUNT = 4,
    NSJ_BAD_OPCODE = 5,
    NSJ_BAD_FLAGS = 6,
    NSJ_BAD_KIND = 7,
    NSJ_BAD_OFFSET = 8,
    NSJ_BAD_STRING = 9,
    NSJ_BAD_SLOT = 10,
    NSJ_BAD_ORDER = 11, // EXEC is not the last step, two INITs, PIVOT twice, ...
    NSJ_BAD_VALUE = 12,
    NSJ_BAD_SEAL = 13, // the memfd could still be changed
};

// ---- control: the owner to the stage, or to init ----

enum nsj_control_kind {
    NSJ_CONTROL_RELEASE = 1,      // pass gate `value`; carries `count` descriptors for slots from `slot` on, and,
                                  // where `suffix` is 1, one more, the last: a sealed memfd with a blob of further
                                  // steps. Without a suffix slot and count are the gate's own; with one they
                                  // are free, and say what the suffix finds filled
    NSJ_CONTROL_SIGNAL = 2,       // init: send signal `value` to the payload
    NSJ_CONTROL_SIGNAL_GROUP = 3, // init: to the payload's process group (a terminal's keys)
    NSJ_CONTROL_SIGNAL_ALL = 4,   // init: to every process in the sandbox but init (an init that is not
                                  // pid 1: to the payload and, as reaper, to its own other children)
};

struct nsj_control {
    uint16_t kind;
    uint16_t slot;
    uint16_t count;
    uint16_t suffix;
    uint32_t value;
    uint32_t reserved;
};

#endif
