/* A slow disk, for tests alone, by `LD_PRELOAD`: writing to a file whose path contains $SLOW_PATH takes $SLOW_MS milliseconds longer,
 * each time, while the file $SLOW_WHILE exists; syncing it too. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void wait_for(int fd) {
    const char *part = getenv("SLOW_PATH"), *when = getenv("SLOW_WHILE"), *ms = getenv("SLOW_MS");
    char link[64], path[4096];
    if (part == NULL || when == NULL || ms == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return;
    path[size] = 0;
    if (strstr(path, part) == NULL || access(when, F_OK) != 0)
        return;
    long n = atol(ms);
    struct timespec time = {n / 1000, (n % 1000) * 1000000};
    nanosleep(&time, NULL);
}

#define REAL(name) static __typeof__(&name) real; if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    wait_for(fd);
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    wait_for(fd);
    return real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    wait_for(fd);
    return real(fd, data, size, at);
}

int fsync(int fd) {
    REAL(fsync);
    wait_for(fd);
    return real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    wait_for(fd);
    return real(fd);
}
