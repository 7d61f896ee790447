// mem.c: what a compiler calls even in a freestanding program, to copy and clear structs.
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);

// Keeps a compiler from finding the pattern in the loop and replacing it by a call of this function.
#define PLAIN_LOOP() __asm__ volatile("")

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    unsigned char *t = to;
    const unsigned char *f = from;
    while (n--) {
        *t++ = *f++;
        PLAIN_LOOP();
    }
    return to;
}

void *memset(void *to, int byte, size_t n) {
    unsigned char *t = to;
    while (n--) {
        *t++ = (unsigned char)byte;
        PLAIN_LOOP();
    }
    return to;
}
