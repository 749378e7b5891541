// Preloaded into shipper (LD_PRELOAD) by the long fault tests: its wall clock differs from the machine's by what is in the file that
// SHIPPER_CLOCK_FILE names, an int64 of nanoseconds, which may change while it runs. Other clocks stay as they are.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none;
static volatile int64_t *offset = &none;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("SHIPPER_CLOCK_FILE");
  if (path == NULL) return;
  int fd = open(path, O_RDONLY);
  if (fd < 0) return;
  void *map = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
  if (map != MAP_FAILED) offset = map;
  close(fd);
}

#define REAL(name) ({ static typeof(&name) real; if (real == NULL) real = dlsym(RTLD_NEXT, #name); real; })

int clock_gettime(clockid_t id, struct timespec *out) {
  int result = REAL(clock_gettime)(id, out);
  if (result != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return result;
  int64_t ns = (int64_t) out->tv_sec * 1000000000 + out->tv_nsec + *offset;
  out->tv_sec = ns / 1000000000;
  out->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *out, void *zone) {
  (void) zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}
