#ifndef CMALLOC_SHIM_H
#define CMALLOC_SHIM_H
#include <malloc.h>
/* What Swift's overlay of the C library does not offer. All return 0 where it is not taken. */
/* How many arenas there may be. */
static inline int cmalloc_limit_arenas(int count) { return mallopt(M_ARENA_MAX, count); }
/* What is as large has pages of its own, which the system gets back when it is freed. */
static inline int cmalloc_map_from(int bytes) { return mallopt(M_MMAP_THRESHOLD, bytes); }
/* So much that is free at the end of an arena is kept. */
static inline int cmalloc_keep_free(int bytes) { return mallopt(M_TRIM_THRESHOLD, bytes); }
#endif
