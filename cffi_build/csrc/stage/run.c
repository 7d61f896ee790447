// run.c: load a blob, and the one loop that carries out its steps.
#include "stage.h"

typedef long handler(struct stage *st, const struct value *arg);

#define NSJ_ENTRY(name, number, kinds) [number] = op_##name,
static handler *const handlers[NSJ_OP_END] = {NSJ_OPCODES(NSJ_ENTRY)};
#undef NSJ_ENTRY

static struct value decode(const struct stage *st, const struct nsj_step *step, unsigned index) {
    const unsigned char *pool = st->blob + ((const struct nsj_header *)st->blob)->pool;
    uint64_t raw = step->arg[index];
    struct value v = {0};
    switch (nsj_kind(step, index)) {
    case NSJ_STR:
        v.text = (const char *)pool + raw;
        break;
    case NSJ_DATA:
        v.size = *(const uint64_t *)(pool + raw);
        v.data = pool + raw + 8;
        break;
    case NSJ_STRINGS:
        v.size = *(const uint64_t *)(pool + raw);
        v.offsets = (const uint64_t *)(pool + raw) + 1;
        break;
    case NSJ_SLOT:
    case NSJ_OUT:
        v.fd = NSJ_SLOT_BASE + (int)raw;
        break;
    default:
        v.n = raw;
        break;
    }
    return v;
}

// What an absent argument means depends on the letter at its place.
static struct value absent(char letter) {
    struct value v = {0};
    if (letter == 'F')
        v.fd = AT_FDCWD;
    else if (letter == 'O')
        v.fd = -1;
    return v;
}

#define NSJ_PATTERN(name, number, kinds) [number] = kinds,
static const char *const patterns[NSJ_OP_END] = {NSJ_OPCODES(NSJ_PATTERN)};
#undef NSJ_PATTERN

static void decode_all(const struct stage *st, const struct nsj_step *step, struct value *arg) {
    const char *pattern = patterns[step->op];
    for (unsigned i = 0; i < NSJ_ARGS; i++) {
        arg[i] = nsj_kind(step, i) == NSJ_NONE ? absent(*pattern) : decode(st, step, i);
        if (*pattern)
            pattern++;
    }
}

int nsj_run(struct stage *st) {
    while (st->next < ((const struct nsj_header *)st->blob)->nsteps) {
        const struct nsj_step *step = &nsj_steps((const struct nsj_header *)st->blob)[st->next];
        const bool optional = step->flags & NSJ_TRY; // read now: a suffix unmaps this blob
        struct value arg[NSJ_ARGS];
        decode_all(st, step, arg);
        st->current = st->next++;
        st->step = st->base + st->current;
        if (st->outcome)
            st->outcome->step = st->step;
        doing(st, NSJ_AT_STEP, 0);
        long result = handlers[step->op](st, arg);
        if (result < 0 && !optional) {
            nsj_report_step(st, NSJ_REPORT_FAILED, (int)-result);
            return (int)result;
        }
        if (result < 0)
            nsj_report_step(st, NSJ_REPORT_SKIPPED, (int)-result);
        else if (st->trace)
            nsj_report(st, NSJ_REPORT_TRACE, 0, 0, 0);
    }
    return 0;
}

static long map_sealed(int fd, const unsigned char **blob, uint64_t *size) {
    const long seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    long got = SYS(fcntl, fd, F_GET_SEALS);
    if (got < 0)
        return got;
    if ((got & seals) != seals)
        return -ETXTBSY;
    long length = SYS(lseek, fd, 0, 2 /* SEEK_END */);
    if (length <= 0)
        return length < 0 ? length : -ENODATA;
    long address = SYS(mmap, 0, length, ABI_PROT_READ, ABI_MAP_PRIVATE, fd, 0);
    if (address < 0 && address >= -4095)
        return address;
    *blob = (const unsigned char *)address;
    *size = (uint64_t)length;
    return 0;
}

int nsj_load(struct stage *st, int fd, struct nsj_flow *flow, uint32_t base) {
    const unsigned char *blob = NULL;
    uint64_t size = 0;
    long r = map_sealed(fd, &blob, &size);
    if (r < 0 && r != -ETXTBSY && r != -ENODATA)
        return (int)r;
    struct nsj_flow after = *flow;
    struct nsj_verdict verdict = {.bad = r == -ETXTBSY ? NSJ_BAD_SEAL : NSJ_BAD_SIZE};
    if (r < 0 || !nsj_verify(blob, size, &after, &verdict)) {
        nsj_report_bad(st, base + verdict.step, verdict.bad);
        return -EBADMSG;
    }
    if (st->blob)
        SYS(munmap, st->blob, st->size);
    st->blob = blob;
    st->size = size;
    st->flow = *flow;
    st->base = base;
    st->next = 0;
    return 0;
}

long op_SYSCALL(struct stage *st, const struct value *arg) {
    // Which argument is OUT is not in the decoded value: ask the step again.
    const struct nsj_step *step = &nsj_steps((const struct nsj_header *)st->blob)[st->current];
    uint64_t given[NSJ_ARGS] = {0};
    int out = -1;
    for (unsigned i = 0; i < NSJ_ARGS; i++) {
        unsigned kind = nsj_kind(step, i);
        if (kind == NSJ_OUT)
            out = arg[i].fd;
        else
            given[i] = kind == NSJ_SLOT ? (uint64_t)arg[i].fd : arg[i].n; // a pointer's bits are in n as well
    }
    long result = nsj_syscall6((long)given[0], (long)given[1], (long)given[2], (long)given[3], (long)given[4],
                               (long)given[5], (long)given[6]);
    if (result < 0 && result >= -4095)
        return result;
    return out < 0 ? 0 : sys_place(result, out);
}

long op_CLOSE(struct stage *st, const struct value *arg) {
    (void)st;
    return SYS(close, arg[0].fd);
}
