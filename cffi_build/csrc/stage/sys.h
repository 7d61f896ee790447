// sys.h: raw system calls. A result in [-4095, -1] is a negative errno; there is no errno variable.
//
// The stage shares its address space with a suspended parent (init), and under CLONE_VM a libc
// wrapper would overwrite what that parent returns to; it also has no libc.
#ifndef NSJ_SYS_H
#define NSJ_SYS_H

#include "../syscall6.h"
#include "abi.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "the stage knows x86-64 and aarch64"
#endif

// SYS(close, fd): arguments that are left out are zero; a call without any is written SYS(setsid, 0).
#define SYS(name, ...) SYS_SIX(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_SIX(number, a, b, c, d, e, f, ...)                                                                         \
    nsj_syscall6(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

__attribute__((noreturn)) static inline void sys_exit(int status) {
    for (;;)
        SYS(exit_group, status);
}

// Starts a process in `entry(argument)` on a stack of its own; it must not return. Inlined because
// with CLONE_VM|CLONE_VFORK the child runs in this very memory while the caller is suspended, and
// must not touch the caller's frame (clone(2)). Returns the child's pid or a negative errno.
static inline long sys_clone(unsigned long flags, void *stack_top, int *pidfd, void (*entry)(void *), void *argument) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register void (*child)(void *) __asm__("r12") = entry;
    register void *value __asm__("r13") = argument;
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r13, %%rdi\n\t"
                     "callq *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)__NR_clone), "D"(flags), "S"(stack_top), "d"(pidfd), "r"(r10), "r"(r8), "r"(child),
                       "r"(value)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = __NR_clone;
    register long x0 __asm__("x0") = (long)flags;
    register void *x1 __asm__("x1") = stack_top;
    register int *x2 __asm__("x2") = pidfd;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register void (*child)(void *) __asm__("x9") = entry;
    register void *value __asm__("x10") = argument;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(child), "r"(value)
                     : "memory");
    return x0;
#endif
}

static inline size_t text_length(const char *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

// Moves a descriptor to exactly `number`, close-on-exec. Takes `from` in any case.
static inline long sys_place(long from, int number) {
    if (from < 0 || from == number)
        return from;
    long r = SYS(dup3, from, number, O_CLOEXEC);
    SYS(close, from);
    return r;
}

#endif
