/* Loaded before libc in a service under test: shifts its wall clock, and fails its fsync.
 *
 * Both are told by a file of four 64-bit numbers that the test writes while the service runs:
 * nanoseconds to add to the wall clock, whether fsync and fdatasync fail with EIO, and how many
 * of them have failed; last how many readings of the wall clock were shifted. The monotonic clock
 * is left alone, as a jump of the real one leaves it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static volatile int64_t *told;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("HOST_FAULTS_FILE");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *at = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        told = at == MAP_FAILED ? NULL : at;
        close(file);
    }
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_gettime) load();
    int result = real_gettime(clock, now);
    if (result == 0 && told && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t all = now->tv_sec * SECOND + now->tv_nsec + told[0];
        now->tv_sec = all / SECOND;
        now->tv_nsec = all % SECOND;
        if (told[0]) __sync_fetch_and_add((int64_t *)&told[3], 1);
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (at) *at = exact.tv_sec;
    return exact.tv_sec;
}

static int fails(void) {
    if (!told || !told[1]) return 0;
    __sync_fetch_and_add((int64_t *)&told[2], 1);
    errno = EIO;
    return 1;
}

int fsync(int file) { return fails() ? -1 : real_fsync(file); }
int fdatasync(int file) { return fails() ? -1 : real_fdatasync(file); }
