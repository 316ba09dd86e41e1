/* A slow disk: loaded before the C library (LD_PRELOAD), it makes every flush to disk last longer by as many
 * microseconds as SLOW_DISK_US says. Overload runs use it, because a fast disk and two cores cannot be offered ten
 * times what they can do by a generator on the same two cores. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_longer(void) {
    const char *text = getenv("SLOW_DISK_US");
    if (text != NULL) usleep((useconds_t)atoi(text));
}

int fsync(int file) {
    static int (*flush)(int);
    if (flush == NULL) *(void **)&flush = dlsym(RTLD_NEXT, "fsync");
    wait_longer();
    return flush(file);
}

int fdatasync(int file) {
    static int (*flush)(int);
    if (flush == NULL) *(void **)&flush = dlsym(RTLD_NEXT, "fdatasync");
    wait_longer();
    return flush(file);
}
