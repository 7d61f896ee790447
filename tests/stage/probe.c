// probe: print attributes of a process that /proc does not show.
#define _GNU_SOURCE
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    int subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    printf("subreaper %d\n", subreaper);
    printf("keyring %ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3 /* KEY_SPEC_SESSION_KEYRING */, 0));
    return 0;
}
