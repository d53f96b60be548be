#ifndef CPREFETCH_SHIM_H
#define CPREFETCH_SHIM_H
/* Has the memory bring a cache line that is written soon, which Swift cannot say. A hint: nothing is read, and any address will do. */
static inline void cprefetch_write(const void *address) { __builtin_prefetch(address, 1, 3); }
#endif
