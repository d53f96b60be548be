#ifndef CINGESTLOG_SHIM_H
#define CINGESTLOG_SHIM_H
/* CRC-32C (Castagnoli) with the processor's own instruction, which Swift cannot name: 15 times a table's speed. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
static inline int cingestlog_crc32c_is_fast(void) {
    unsigned a = 1, b = 0, c = 0, d = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c >> 20) & 1; /* SSE 4.2 */
}
__attribute__((target("sse4.2"))) static inline uint32_t cingestlog_crc32c_fast(
    uint32_t crc, const void *data, size_t count) {
    const unsigned char *p = (const unsigned char *)data;
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count > 0; count--, p++) crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#else
static inline int cingestlog_crc32c_is_fast(void) { return 0; }
static inline uint32_t cingestlog_crc32c_fast(uint32_t crc, const void *data, size_t count) {
    (void)data, (void)count;
    return crc;
}
#endif

/* fallocate(2) with FALLOC_FL_KEEP_SIZE, which glibc shows only to programs that ask for GNU names. */
static inline int cingestlog_reserve(int file, long bytes) {
    return (int)syscall(SYS_fallocate, file, 1, 0L, bytes);
}
#endif
