// verify.c: refuse every blob that is not exactly what contract.h describes.
//
// Linear in the size of the blob: the last NUL of the pool is looked up once, and all string lists
// of a blob together may not have more entries than the pool has room for.
#include "verify.h"

#define NSJ_OP_PATTERN(name, number, pattern) [number] = pattern,
static const char *const patterns[NSJ_OP_END] = {NSJ_OPCODES(NSJ_OP_PATTERN)};
#undef NSJ_OP_PATTERN

struct blob {
    const unsigned char *base;
    const struct nsj_header *header;
    const unsigned char *pool;
    uint64_t pool_size;
    uint64_t strings_end; // a string that starts below this offset is terminated inside the pool
    uint64_t entries;     // list entries that may still be used
};

static bool bit(const uint64_t *set, uint64_t n) { return set[n / 64] >> (n % 64) & 1; }

static void put_bit(uint64_t *set, uint64_t n, bool value) {
    set[n / 64] = (set[n / 64] & ~(1ull << (n % 64))) | (uint64_t)value << (n % 64);
}

static uint64_t word(const struct blob *b, uint64_t offset) { return *(const uint64_t *)(b->pool + offset); }

static bool word_fits(const struct blob *b, uint64_t offset) {
    return offset % 8 == 0 && offset < b->pool_size && b->pool_size - offset >= 8;
}

static uint32_t check_data(const struct blob *b, uint64_t offset) {
    if (!word_fits(b, offset) || word(b, offset) > b->pool_size - offset - 8)
        return NSJ_BAD_OFFSET;
    return 0;
}

static uint32_t check_strings(struct blob *b, uint64_t offset) {
    if (!word_fits(b, offset))
        return NSJ_BAD_OFFSET;
    uint64_t count = word(b, offset), room = (b->pool_size - offset - 8) / 8;
    if (count >= room || count > b->entries)
        return NSJ_BAD_OFFSET;
    b->entries -= count;
    for (uint64_t i = 1; i <= count; i++)
        if (word(b, offset + 8 * i) >= b->strings_end)
            return NSJ_BAD_STRING;
    return word(b, offset + 8 * (count + 1)) == 0 ? 0 : NSJ_BAD_STRING;
}

static uint32_t check_slot(const struct nsj_flow *flow, const struct blob *b, uint64_t slot) {
    if (slot < NSJ_SLOT_FIRST || slot >= b->header->nslots || !bit(flow->filled, slot))
        return NSJ_BAD_SLOT;
    return 0;
}

static uint32_t check_out(const struct nsj_flow *flow, const struct blob *b, uint64_t slot) {
    if (slot < NSJ_SLOT_FIRST || slot >= b->header->nslots || bit(flow->filled, slot) || bit(flow->taken, slot))
        return NSJ_BAD_SLOT;
    return 0;
}

static bool kind_matches(char letter, unsigned kind) {
    switch (letter) {
    case 'i':
        return kind == NSJ_INT;
    case 's':
        return kind == NSJ_STR;
    case 'S':
        return kind == NSJ_STR || kind == NSJ_NONE;
    case 'd':
        return kind == NSJ_DATA;
    case 'D':
        return kind == NSJ_DATA || kind == NSJ_NONE;
    case 'v':
        return kind == NSJ_STRINGS;
    case 'f':
        return kind == NSJ_SLOT;
    case 'F':
        return kind == NSJ_SLOT || kind == NSJ_NONE;
    case 'o':
        return kind == NSJ_OUT;
    case 'O':
        return kind == NSJ_OUT || kind == NSJ_NONE;
    default: // past the end of the pattern
        return kind == NSJ_NONE;
    }
}

// SYSCALL: a number, then any arguments without a hole, OUT only as the last. A list of strings
// is refused: the kernel would read its offsets as pointers.
static bool syscall_matches(const struct nsj_step *step) {
    unsigned kind = nsj_kind(step, 0), previous;
    if (kind != NSJ_INT)
        return false;
    for (unsigned i = 1; i < NSJ_ARGS; i++) {
        previous = kind;
        kind = nsj_kind(step, i);
        if (kind == NSJ_STRINGS || kind > NSJ_OUT)
            return false;
        if (kind != NSJ_NONE && (previous == NSJ_NONE || previous == NSJ_OUT))
            return false;
    }
    return true;
}

static bool kinds_match(const struct nsj_step *step) {
    if (nsj_kind(step, NSJ_ARGS) != 0)
        return false;
    const char *pattern = patterns[step->op];
    if (pattern[0] == '*')
        return syscall_matches(step);
    for (unsigned i = 0; i < NSJ_ARGS; i++) {
        if (!kind_matches(*pattern, nsj_kind(step, i)))
            return false;
        if (*pattern)
            pattern++;
    }
    return true;
}

static uint32_t check_argument(struct blob *b, const struct nsj_flow *flow, const struct nsj_step *step, unsigned i) {
    uint64_t value = step->arg[i];
    switch (nsj_kind(step, i)) {
    case NSJ_NONE:
        return value == 0 ? 0 : NSJ_BAD_VALUE;
    case NSJ_STR:
        return value < b->strings_end ? 0 : NSJ_BAD_STRING;
    case NSJ_DATA:
        return check_data(b, value);
    case NSJ_STRINGS:
        return check_strings(b, value);
    case NSJ_SLOT:
        return check_slot(flow, b, value);
    case NSJ_OUT:
        return check_out(flow, b, value);
    default: // INT: the number of arguments and their kinds are known to match
        return 0;
    }
}

static uint32_t check_gate(const struct blob *b, const struct nsj_flow *flow, const struct nsj_step *step) {
    uint64_t number = step->arg[0], first = step->arg[1], count = step->arg[2];
    if (number < NSJ_GATE_CREATED || number > NSJ_GATE_PARKED || count > NSJ_MAX_PASS)
        return NSJ_BAD_VALUE;
    if (first > NSJ_MAX_SLOTS)
        return NSJ_BAD_SLOT;
    for (uint64_t i = 0; i < count; i++)
        if (check_out(flow, b, first + i))
            return NSJ_BAD_SLOT;
    return 0;
}

// Rising numbers give 0, 1 and 2 the first three places: a payload without one of them would have
// its first open file become its standard error.
static uint32_t check_descriptors(const struct blob *b, const struct nsj_flow *flow, uint64_t offset) {
    uint64_t size = word(b, offset);
    const int32_t *pair = (const int32_t *)(b->pool + offset + 8);
    if (size % 8 != 0 || size / 8 < 3 || size / 8 > NSJ_MAX_SLOTS)
        return NSJ_BAD_VALUE;
    int32_t previous = -1;
    for (uint64_t i = 0; i < size / 8; i++) {
        int32_t slot = pair[2 * i], number = pair[2 * i + 1];
        if (number <= previous || number >= NSJ_MAX_NUMBER || (i < 3 && number != (int32_t)i))
            return NSJ_BAD_VALUE;
        if (slot < 0 || check_slot(flow, b, (uint64_t)slot))
            return NSJ_BAD_SLOT;
        previous = number;
    }
    return 0;
}

// An array of `unit` bytes an element, at least `least` and at most `most` of them.
static bool array_fits(const struct blob *b, uint64_t offset, uint64_t unit, uint64_t least, uint64_t most) {
    uint64_t size = word(b, offset);
    return size % unit == 0 && size / unit >= least && size / unit <= most;
}

static bool values_fit(const struct blob *b, const struct nsj_step *step) {
    const uint64_t *a = step->arg;
    const uint64_t new_listener = 8, max_groups = 65536, max_filter = 4096; // the kernel's
    switch (step->op) {
    case NSJ_OP_INIT:
        return a[0] == 0 || (uint32_t)(a[0] & ~(uint64_t)NSJ_INIT_REAPER) == NSJ_INIT_OUTSIDE;
    case NSJ_OP_EXEC:
        return word(b, a[0]) > 0 && word(b, a[1]) > 0;
    case NSJ_OP_CHDIR:
        return word(b, a[0]) > 0;
    case NSJ_OP_MKDIR:
        return a[2] <= 07777;
    case NSJ_OP_FILE:
        return a[3] <= 07777;
    case NSJ_OP_PROPAGATION:
        return a[2] <= 1;
    case NSJ_OP_ATTACH:
        return a[3] <= NSJ_ATTACH_MAKE && (a[3] == 0 || nsj_kind(step, 0) == NSJ_SLOT);
    case NSJ_OP_IDENTITY:
        return a[2] <= NSJ_IDENTITY_KEEP && a[0] <= UINT32_MAX && a[1] <= UINT32_MAX;
    case NSJ_OP_LOOPBACK:
    case NSJ_OP_DUMPABLE:
    case NSJ_OP_SUBREAPER:
        return a[0] <= 1;
    case NSJ_OP_UMASK:
        return a[0] <= 0777;
    case NSJ_OP_GROUPS:
        return nsj_kind(step, 0) == NSJ_NONE || array_fits(b, a[0], sizeof(uint32_t), 0, max_groups);
    case NSJ_OP_IDS:
        return a[0] <= UINT32_MAX && a[1] <= UINT32_MAX;
    case NSJ_OP_SECCOMP:
        return array_fits(b, a[0], 8, 1, max_filter) && !(a[1] & new_listener) == (nsj_kind(step, 2) == NSJ_NONE);
    case NSJ_OP_AFFINITY:
        return array_fits(b, a[0], 8, 1, 1024);
    default:
        return true;
    }
}

static bool order_fits(const struct nsj_flow *flow, const struct nsj_step *step, bool last) {
    switch (step->op) {
    case NSJ_OP_INIT:
        return !last && !flow->init && !flow->entered;
    case NSJ_OP_FORK:
        return !last && !flow->fork && !flow->init && !flow->entered;
    case NSJ_OP_EXEC:
        return last && flow->descriptors && !flow->entered;
    case NSJ_OP_PIVOT:
        return !flow->pivot;
    case NSJ_OP_DESCRIPTORS:
        return !flow->descriptors;
    case NSJ_OP_DUMPABLE: // the payload's side shares its memory, and so this attribute, with init
        return step->arg[0] == 0 || !flow->init;
    default:
        return true;
    }
}

// May the step fail and the plan go on? Not where the steps after it count on what it did.
static bool may_try(uint16_t op) {
    switch (op) {
    case NSJ_OP_GATE:
    case NSJ_OP_INIT:
    case NSJ_OP_FORK:
    case NSJ_OP_EXEC:
    case NSJ_OP_PIVOT:
    case NSJ_OP_IDENTITY:
    case NSJ_OP_DESCRIPTORS:
    case NSJ_OP_IDS:
    case NSJ_OP_CAPS:
        return false;
    default:
        return true;
    }
}

static uint32_t check_step(struct blob *b, const struct nsj_flow *flow, const struct nsj_step *step, bool last) {
    if (step->op >= NSJ_OP_END || !patterns[step->op])
        return NSJ_BAD_OPCODE;
    if ((step->flags & ~NSJ_TRY) || (step->flags && !may_try(step->op)))
        return NSJ_BAD_FLAGS;
    if (!kinds_match(step))
        return NSJ_BAD_KIND;
    for (unsigned i = 0; i < NSJ_ARGS; i++) {
        uint32_t bad = check_argument(b, flow, step, i);
        if (bad)
            return bad;
    }
    if (!values_fit(b, step))
        return NSJ_BAD_VALUE;
    if (!order_fits(flow, step, last))
        return NSJ_BAD_ORDER;
    if (step->op == NSJ_OP_GATE)
        return check_gate(b, flow, step);
    if (step->op == NSJ_OP_DESCRIPTORS)
        return check_descriptors(b, flow, step->arg[0]);
    return 0;
}

static void take_numbers(struct nsj_flow *flow, const struct blob *b, uint64_t offset) {
    const int32_t *pair = (const int32_t *)(b->pool + offset + 8);
    for (uint64_t i = 0; i < word(b, offset) / 8; i++) {
        int32_t slot = pair[2 * i + 1] - NSJ_SLOT_BASE;
        if (slot < 0 || slot >= NSJ_MAX_SLOTS)
            continue;
        put_bit(flow->taken, (uint64_t)slot, true);
        put_bit(flow->filled, (uint64_t)slot, false);
    }
}

static void advance(struct nsj_flow *flow, const struct blob *b, const struct nsj_step *step) {
    for (unsigned i = 0; i < NSJ_ARGS; i++)
        if (nsj_kind(step, i) == NSJ_OUT && step->op != NSJ_OP_SECCOMP) // a listener is reported, not kept
            put_bit(flow->filled, step->arg[i], true);
    switch (step->op) {
    case NSJ_OP_GATE:
        for (uint64_t i = 0; i < step->arg[2]; i++)
            put_bit(flow->filled, step->arg[1] + i, true);
        break;
    case NSJ_OP_CLOSE:
        put_bit(flow->filled, step->arg[0], false);
        break;
    case NSJ_OP_FORK:
        flow->fork = true;
        break;
    case NSJ_OP_INIT:
        flow->init = true;
        break;
    case NSJ_OP_PIVOT:
        flow->pivot = true;
        break;
    case NSJ_OP_DESCRIPTORS:
        flow->descriptors = true;
        take_numbers(flow, b, step->arg[0]);
        break;
    default:
        break;
    }
}

static uint32_t check_header(const struct nsj_header *h, uint64_t size, const struct nsj_flow *flow) {
    if (h->magic != NSJ_MAGIC)
        return NSJ_BAD_MAGIC;
    if (h->version != NSJ_VERSION)
        return NSJ_BAD_VERSION;
    if (h->length != size)
        return NSJ_BAD_SIZE;
    if (h->flags & ~(NSJ_TRACE | NSJ_OWNED | NSJ_ENTERED) || (flow->begun && h->flags))
        return NSJ_BAD_FLAGS;
    if (h->reserved[0] || h->reserved[1])
        return NSJ_BAD_VALUE;
    if (h->nsteps == 0 || h->nsteps > NSJ_MAX_STEPS || h->nslots > NSJ_MAX_SLOTS || h->nbirth > h->nslots)
        return NSJ_BAD_COUNT;
    unsigned least = flow->begun ? 0 : (h->flags & NSJ_OWNED) ? NSJ_SLOT_OWNER + 1 : NSJ_SLOT_PLAN + 1;
    if (h->nbirth < least || (flow->begun && h->nbirth != 0))
        return NSJ_BAD_COUNT;
    if (h->pool % 8 || h->pool > size || h->pool < sizeof *h + h->nsteps * sizeof(struct nsj_step))
        return NSJ_BAD_OFFSET;
    return 0;
}

static struct blob open_blob(const void *base) {
    const struct nsj_header *h = base;
    struct blob b = {.base = base, .header = h, .pool = (const unsigned char *)base + h->pool};
    b.pool_size = h->length - h->pool;
    b.entries = b.pool_size / 8;
    b.strings_end = b.pool_size;
    while (b.strings_end > 0 && b.pool[b.strings_end - 1])
        b.strings_end--;
    return b;
}

// The end of a blob: EXEC, or a gate that a suffix completes, or anything in an entered process.
static bool end_fits(const struct nsj_flow *flow, const struct nsj_step *last) {
    if (last->op == NSJ_OP_EXEC || flow->entered)
        return true;
    return last->op == NSJ_OP_GATE && (last->arg[0] == NSJ_GATE_READY || last->arg[0] == NSJ_GATE_PARKED);
}

static void begin(struct nsj_flow *flow, const struct nsj_header *header) {
    if (flow->begun)
        return;
    flow->begun = true;
    flow->entered = header->flags & NSJ_ENTERED;
    for (unsigned slot = NSJ_SLOT_FIRST; slot < header->nbirth; slot++)
        put_bit(flow->filled, slot, true);
}

bool nsj_verify(const void *base, uint64_t size, struct nsj_flow *flow, struct nsj_verdict *verdict) {
    const struct nsj_header *header = base;
    verdict->step = 0;
    verdict->bad = NSJ_BAD_SIZE;
    if ((uintptr_t)base % 8 || size < sizeof *header || size > NSJ_MAX_BLOB)
        return false;
    verdict->bad = check_header(header, size, flow);
    if (verdict->bad)
        return false;
    begin(flow, header);
    struct blob b = open_blob(base);
    const struct nsj_step *steps = nsj_steps(header);
    for (uint32_t i = 0; i < header->nsteps; i++) {
        verdict->step = i;
        verdict->bad = check_step(&b, flow, &steps[i], i + 1 == header->nsteps);
        if (verdict->bad)
            return false;
        advance(flow, &b, &steps[i]);
    }
    if (!end_fits(flow, &steps[header->nsteps - 1]))
        verdict->bad = NSJ_BAD_ORDER;
    return !verdict->bad;
}

bool nsj_flow_to_gate(const void *base, uint32_t gate, uint32_t slot, uint32_t count, struct nsj_flow *flow) {
    struct blob b = open_blob(base);
    const struct nsj_step *steps = nsj_steps(b.header);
    begin(flow, b.header);
    for (uint32_t i = 0; i < gate; i++)
        advance(flow, &b, &steps[i]);
    if (count > NSJ_MAX_PASS || slot > NSJ_MAX_SLOTS || slot + count > NSJ_MAX_SLOTS)
        return false;
    for (uint32_t i = slot; i < slot + count; i++) {
        if (i < NSJ_SLOT_FIRST || bit(flow->filled, i) || bit(flow->taken, i))
            return false;
        put_bit(flow->filled, i, true);
    }
    return true;
}
