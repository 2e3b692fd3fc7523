/* A watched disk, for tests alone, by `LD_PRELOAD`: each write to a file whose path contains $WATCHED_PATH, and each time that one is synced, is
 * a line of the file $WATCHED_LOG: `w PATH`, `s PATH`. Written once it was done. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void note(int fd, char what) {
    const char *part = getenv("WATCHED_PATH"), *log = getenv("WATCHED_LOG");
    char link[64], path[4096], line[4200];
    if (part == NULL || log == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return;
    path[size] = 0;
    if (strstr(path, part) == NULL)
        return;
    int to = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0)
        return;
    int length = snprintf(line, sizeof line, "%c %s\n", what, path);
    struct iovec whole = {line, (size_t)length};
    /* By another way than those below, so that it is not noted itself. */
    if (pwritev(to, &whole, 1, 0) != length)
        abort();
    close(to);
}

#define REAL(name) static __typeof__(&name) real; if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    ssize_t done = real(fd, data, size);
    if (done > 0)
        note(fd, 'w');
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    ssize_t done = real(fd, parts, count);
    if (done > 0)
        note(fd, 'w');
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    ssize_t done = real(fd, data, size, at);
    if (done > 0)
        note(fd, 'w');
    return done;
}

int fsync(int fd) {
    REAL(fsync);
    int failed = real(fd);
    if (failed == 0)
        note(fd, 's');
    return failed;
}

int fdatasync(int fd) {
    REAL(fdatasync);
    int failed = real(fd);
    if (failed == 0)
        note(fd, 's');
    return failed;
}
