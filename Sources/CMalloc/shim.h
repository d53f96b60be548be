#ifndef CMALLOC_SHIM_H
#define CMALLOC_SHIM_H
#include <malloc.h>
/* What Swift's overlay of the C library does not offer. Both return 0 where it is not taken. */
/* How many arenas there may be. */
static inline int cmalloc_limit_arenas(int count) { return mallopt(M_ARENA_MAX, count); }
/* What is as large has pages of its own, which the system gets back when it is freed. */
static inline int cmalloc_map_from(int bytes) { return mallopt(M_MMAP_THRESHOLD, bytes); }
#endif
