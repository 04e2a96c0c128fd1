/* A wall clock that a test sets: what asks the C library for the time of day is told the true one, and so much more.
 *
 * Loaded into an agent by LD_PRELOAD. WALL_CLOCK_FILE names a file of eight bytes, the nanoseconds to add, which stays
 * mapped: a change holds at once, in all threads and in children that are forked. All other clocks are left alone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t NANO = 1000000000;
static const volatile int64_t *ahead;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("WALL_CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED)
            ahead = page;
        close(fd);
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || !ahead)
        return (int)failed;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI) {
        int64_t nanoseconds = now->tv_nsec + *ahead % NANO;
        now->tv_sec += *ahead / NANO;
        if (nanoseconds < 0) {
            nanoseconds += NANO;
            now->tv_sec--;
        } else if (nanoseconds >= NANO) {
            nanoseconds -= NANO;
            now->tv_sec++;
        }
        now->tv_nsec = nanoseconds;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return (time_t)-1;
    if (told)
        *told = exact.tv_sec;
    return exact.tv_sec;
}
