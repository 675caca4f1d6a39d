/* Put before libc (LD_PRELOAD) of one server, by disk.py. Two things:

   Its fsync and fdatasync take longer, or fail, as a file says that whoever runs the test has mapped: two ints,
   milliseconds and an errno.

   What is written is undone by a power cut, unless it was synced. Before each pwrite and ftruncate the bytes that stood
   there go to a file of their own, named by the inode, in the directory that ZABPY_UNDO names; a sync that succeeds
   removes that file. disk.py puts the old bytes back after a kill. A record: offset, bytes written, bytes saved and size
   of the file before, each 8 bytes, and what was saved. Names (create, rename, unlink) are on disk at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile int *how;
static const char *undo;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ZABPY_SLOW_DISK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        void *at = mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED)
            how = at;
        close(fd);
    }
    undo = getenv("ZABPY_UNDO");
}

static void name_of(const struct stat *file, char *name, size_t size) {
    snprintf(name, size, "%s/%llu", undo, (unsigned long long)file->st_ino);
}

static void forget(const struct stat *file) {
    char name[4096];
    name_of(file, name, sizeof name);
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    real(name);
}

static void save(int fd, off_t offset, off_t size) {
    struct stat file;
    char name[4096];
    if (!undo || fstat(fd, &file) || !S_ISREG(file.st_mode))
        return;
    off_t saved = file.st_size - offset < size ? file.st_size - offset : size;
    if (saved < 0)
        saved = 0;
    char *record = malloc(32 + saved);
    long long head[4] = {offset, size, saved, file.st_size};
    memcpy(record, head, 32);
    if (pread(fd, record + 32, saved, offset) != saved)
        abort();
    name_of(&file, name, sizeof name);
    int to = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (to < 0 || write(to, record, 32 + saved) != 32 + saved)
        abort();
    close(to);
    free(record);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    save(fd, offset, size);
    return real(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

int ftruncate64(int fd, off64_t length) {
    int (*real)(int, off64_t) = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
    struct stat file;
    if (!fstat(fd, &file))
        save(fd, length, file.st_size > length ? file.st_size - length : 0);
    return real(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    struct stat file;
    int known = undo && !lstat(path, &file);
    int result = real(path);
    if (!result && known)
        forget(&file);
    return result;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    struct stat file;
    int known = undo && !lstat(to, &file);
    int result = real(from, to);
    if (!result && known)
        forget(&file);
    return result;
}

static int synced(int fd, const char *call) {
    if (how && how[0] > 0) {
        struct timespec time = {how[0] / 1000, how[0] % 1000 * 1000000L};
        nanosleep(&time, 0);
    }
    if (how && how[1]) {
        errno = how[1];
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    int result = real(fd);
    struct stat file;
    if (!result && undo && !fstat(fd, &file))
        forget(&file);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }
