// main.c: the stage begins: close what was inherited, load the plan, carry it out.
#include "stage.h"

// The kernel leaves argc, argv and the environment on the stack; the stage looks at none of them.
#if defined(__x86_64__)
__asm__(".globl _start\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    andq $-16, %rsp\n"
        "    call stage_main\n"
        "    ud2\n");
#else
__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    bl stage_main\n"
        "    brk #0\n");
#endif

__attribute__((noreturn)) void stage_main(void);

static long start(struct stage *st) {
    st->report = NSJ_SLOT_BASE + NSJ_SLOT_REPORT;
    st->owner = -1;
    doing(st, NSJ_AT_START, 0);
    const uint64_t all = ~0ull; // until EXEC: init takes its signals from a descriptor
    long r = SYS(rt_sigprocmask, 0 /* SIG_BLOCK */, &all, 0, sizeof all);
    if (r == 0)
        r = SYS(close_range, 0, NSJ_SLOT_BASE - 1, 0);
    if (r < 0)
        return r;
    struct nsj_flow flow = {.begun = false};
    r = nsj_load(st, NSJ_SLOT_BASE + NSJ_SLOT_PLAN, &flow, 0);
    if (r < 0)
        return r;
    const struct nsj_header *header = (const struct nsj_header *)st->blob;
    if (header->flags & NSJ_ENTERED) {
        nsj_report_bad(st, 0, NSJ_BAD_FLAGS);
        return -EBADMSG;
    }
    st->trace = header->flags & NSJ_TRACE;
    if (header->flags & NSJ_OWNED)
        st->owner = NSJ_SLOT_BASE + NSJ_SLOT_OWNER;
    SYS(close, NSJ_SLOT_BASE + NSJ_SLOT_PLAN);
    return SYS(close_range, NSJ_SLOT_BASE + header->nbirth, ~0u, 0);
}

void stage_main(void) {
    struct stage st = {0};
    long r = start(&st);
    if (r == 0)
        nsj_run(&st); // returns only when it has reported a failure
    else if (r != -EBADMSG)
        nsj_report_step(&st, NSJ_REPORT_FAILED, (int)-r);
    sys_exit(125);
}
