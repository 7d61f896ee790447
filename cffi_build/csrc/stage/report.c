// report.c: one struct a message on the report socket. A report that cannot be sent is dropped:
// the exit status 125 says enough to an owner that is still there.
#include "stage.h"

struct rights {
    struct abi_cmsghdr head;
    int fd;
};

long nsj_send(int socket, struct nsj_report *report, int fd, unsigned flags) {
    struct abi_timespec now = {0};
    SYS(clock_gettime, ABI_CLOCK_MONOTONIC, &now);
    report->ns = (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
    struct abi_iovec part = {report, sizeof *report};
    struct abi_msghdr message = {.iov = &part, .iovlen = 1};
    struct rights rights = {{sizeof(struct abi_cmsghdr) + sizeof(int), ABI_SOL_SOCKET, ABI_SCM_RIGHTS}, fd};
    if (fd >= 0) {
        message.control = &rights;
        message.controllen = sizeof rights;
    }
    return SYS(sendmsg, socket, &message, ABI_MSG_NOSIGNAL | flags);
}

void nsj_report(const struct stage *st, enum nsj_report_kind kind, int error, uint64_t value0, uint64_t value1) {
    struct nsj_report report = {
        .kind = (uint16_t)kind, .step = (uint16_t)st->step, .error = error, .value = {value0, value1}};
    nsj_send(st->report, &report, -1, 0);
}

void nsj_report_step(const struct stage *st, enum nsj_report_kind kind, int error) {
    nsj_report(st, kind, error, st->at, st->at_value);
}

void nsj_report_fd(const struct stage *st, int fd) {
    struct nsj_report report = {.kind = NSJ_REPORT_FD, .step = (uint16_t)st->step};
    nsj_send(st->report, &report, fd, 0);
}

void nsj_report_bad(const struct stage *st, uint32_t step, uint32_t bad) {
    struct nsj_report report = {.kind = NSJ_REPORT_BAD_PLAN, .step = (uint16_t)step, .error = EBADMSG, .value = {bad}};
    nsj_send(st->report, &report, -1, 0);
}
