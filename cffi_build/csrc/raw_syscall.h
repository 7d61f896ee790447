// raw_syscall.h: system calls that touch neither errno nor anything else of libc's.
#ifndef NSJ_RAW_SYSCALL_H
#define NSJ_RAW_SYSCALL_H

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "sys_numbers.h"
#include "syscall6.h"

#if defined(__x86_64__)

// The child gets a new stack, so nothing of this frame may be used in it: it calls and exits within the assembly.
static inline long raw_clone3(const void *args, size_t size, int (*function)(void *), void *argument) {
    long rc;
    register int (*r8)(void *) __asm__("r8") = function;
    register void *r9 __asm__("r9") = argument;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r9, %%rdi\n\t"
                     "call *%%r8\n\t"
                     "mov %%eax, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(rc)
                     : "a"((long)SYS_clone3), "D"(args), "S"(size), "r"(r8), "r"(r9), [exit] "i"(SYS_exit_group)
                     : "rcx", "r11", "cc", "memory");
    return rc;
}

#elif defined(__aarch64__)

// As above.
static inline long raw_clone3(const void *args, size_t size, int (*function)(void *), void *argument) {
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register size_t x1 __asm__("x1") = size;
    register int (*x9)(void *) __asm__("x9") = function;
    register void *x10 __asm__("x10") = argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "mov x8, %[exit]\n\t"
                     "svc #0\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x9), "r"(x10), [exit] "i"(SYS_exit_group)
                     : "cc", "memory");
    return x0;
}

#else

// Elsewhere the child runs on glibc's clone(), and shares errno with a parent that does not look at it.
static inline long nsj_syscall6(long number, long a, long b, long c, long d, long e, long f) {
    long rc = syscall(number, a, b, c, d, e, f);
    return rc == -1 ? -errno : rc;
}

#endif

#define RAW6(name, a, b, c, d, e, f)                                                                                   \
    nsj_syscall6(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW5(name, a, b, c, d, e) RAW6(name, a, b, c, d, e, 0)
#define RAW4(name, a, b, c, d) RAW5(name, a, b, c, d, 0)
#define RAW3(name, a, b, c) RAW4(name, a, b, c, 0)
#define RAW2(name, a, b) RAW3(name, a, b, 0)
#define RAW1(name, a) RAW2(name, a, 0)

#endif
