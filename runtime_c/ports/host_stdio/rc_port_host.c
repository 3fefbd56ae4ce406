/* Port to a POSIX process: the wire is standard input and output. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "recurc/rc_port.h"

#define NANOSECONDS 1000000000u

void rc_port_init(void)
{
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    static uint8_t buffer[4096];
    static ssize_t have, at;
    if (at == have) {
        struct pollfd wire = {STDIN_FILENO, POLLIN, 0};
        int wait = timeout_ms > 0x7FFFFFFFu ? -1 : (int)timeout_ms;
        int ready = poll(&wire, 1, wait);
        if (ready == 0 || (ready < 0 && errno == EINTR)) {
            return 0;
        }
        at = 0;
        have = read(STDIN_FILENO, buffer, sizeof buffer);
        if (have <= 0) {
            have = 0;
            return -1;
        }
    }
    *byte = buffer[at++];
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    while (n > 0u) {
        ssize_t sent = write(STDOUT_FILENO, data, n);
        if (sent < 0) {
            if (errno == EINTR) {
                continue;
            }
            _exit(1); /* nobody listens any more */
        }
        data += sent;
        n -= (uint32_t)sent;
    }
}

/* The watchdog counts the process's own seconds: a suspended process or a busy computer is no hang. */
static uint32_t watchdog_ms;

static void watchdog_expired(int signal_number)
{
    rc_fault_t fault = {0, 0, 0, 0, 0, 0, RC_FAULT_WATCHDOG};
    (void)signal_number;
    rc_fault(&fault);
}

void rc_port_watchdog_feed(void)
{
    static const long MICROSECONDS = 1000;
    struct itimerval due = {{0, 0}, {(time_t)(watchdog_ms / 1000u), (long)(watchdog_ms % 1000u) * MICROSECONDS}};
    if (watchdog_ms != 0u) {
        (void)setitimer(ITIMER_PROF, &due, 0);
    }
}

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    struct sigaction action;
    (void)memset(&action, 0, sizeof action);
    action.sa_handler = watchdog_expired;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGPROF, &action, 0);
    watchdog_ms = timeout_ms;
    rc_port_watchdog_feed();
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_POWER;
}

uint64_t rc_port_ticks(void)
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

uint32_t rc_port_tick_hz(void)
{
    return NANOSECONDS;
}

uint32_t rc_port_can_exit(void)
{
    return 1;
}

void rc_port_exit(uint32_t code)
{
    exit((int)(code & 0xFFu));
}

void rc_port_reset(void)
{
    exit(0);
}

uint32_t rc_port_stack_size(void)
{
    return 0;
}

uint32_t rc_port_stack_used(void)
{
    return 0;
}
