/* Put before libc (LD_PRELOAD) of one server: its fsync and fdatasync take longer, or fail, as a file says that is
   mapped by who runs the test: two ints, milliseconds and an errno. Nothing else is touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile int *how;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ZABPY_SLOW_DISK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        void *at = mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED)
            how = at;
        close(fd);
    }
}

static int wait_and_ask(void) {
    if (how && how[0] > 0) {
        struct timespec time = {how[0] / 1000, how[0] % 1000 * 1000000L};
        nanosleep(&time, 0);
    }
    return how ? how[1] : 0;
}

int fsync(int fd) {
    int error = wait_and_ask();
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (error) { errno = error; return -1; }
    return real(fd);
}

int fdatasync(int fd) {
    int error = wait_and_ask();
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (error) { errno = error; return -1; }
    return real(fd);
}
