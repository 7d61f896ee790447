"""The kernel, typed: no policy, no state, no logging.

Each module wraps one family of system calls and is useful by itself. Functions bear the kernel's names, flags are
plain integers from :mod:`~nsjail_py.linux.constants`, descriptors are plain integers that the caller closes (all are
close-on-exec), and every failure is an ``OSError`` whose text names the call.

========== ==========================================================================================
constants  every constant, read from C
namespaces unshare, setns, the kind and the owner of a namespace
process    spawn, pidfds, wait
mounts     mount and its newer family, the mount table
idmap      id ranges, and user namespaces for id-mapped mounts
caps       capability sets and their names
rlimits    resource limits and their names
files      openat2, close_range, sealed memory files
sockets    SEQPACKET pairs with descriptors, sockets inside another network namespace
procfs     what /proc says of a process
stage      the contract with the stage: opcodes, reports, control messages
host       what this kernel and this user can do
========== ==========================================================================================
"""
