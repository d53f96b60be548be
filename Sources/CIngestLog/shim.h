#ifndef CINGESTLOG_SHIM_H
#define CINGESTLOG_SHIM_H
/* CRC-32C (Castagnoli) with the processor's own instruction, which Swift cannot name: 15 times a table's speed. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* Not <fcntl.h>: it defines `struct stat`, which files that import this and Glibc would then have from either. */
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
/* The instruction takes three cycles, and one can begin in each: so three stretches of 1 KiB go side by side. `shift` has four
   tables of 256, by the bytes of a check: what it becomes when 1 KiB of zeros follow. Takes whole groups of three; how many bytes
   that were goes to `done`. */
__attribute__((target("sse4.2"))) static inline uint32_t cingestlog_crc32c_wide(
    uint32_t crc, const void *data, size_t count, const uint32_t *shift, size_t *done) {
    const unsigned char *p = (const unsigned char *)data;
    for (; count >= 3 * 1024; count -= 3 * 1024, p += 3 * 1024) {
        uint64_t one = crc, two = 0, three = 0;
        for (size_t at = 0; at < 1024; at += 8) {
            uint64_t words[3];
            memcpy(&words[0], p + at, 8);
            memcpy(&words[1], p + at + 1024, 8);
            memcpy(&words[2], p + at + 2048, 8);
            one = __builtin_ia32_crc32di(one, words[0]);
            two = __builtin_ia32_crc32di(two, words[1]);
            three = __builtin_ia32_crc32di(three, words[2]);
        }
        two ^= shift[one & 255] ^ shift[256 + (one >> 8 & 255)] ^ shift[512 + (one >> 16 & 255)] ^ shift[768 + (one >> 24 & 255)];
        three ^= shift[two & 255] ^ shift[256 + (two >> 8 & 255)] ^ shift[512 + (two >> 16 & 255)] ^ shift[768 + (two >> 24 & 255)];
        crc = (uint32_t)three;
    }
    *done = (size_t)(p - (const unsigned char *)data);
    return crc;
}
#else
static inline int cingestlog_crc32c_is_fast(void) { return 0; }
static inline uint32_t cingestlog_crc32c_fast(uint32_t crc, const void *data, size_t count) {
    (void)data, (void)count;
    return crc;
}
static inline uint32_t cingestlog_crc32c_wide(
    uint32_t crc, const void *data, size_t count, const uint32_t *shift, size_t *done) {
    (void)data, (void)count, (void)shift;
    *done = 0;
    return crc;
}
#endif

/* fallocate(2) with FALLOC_FL_KEEP_SIZE, which glibc shows only to programs that ask for GNU names. */
static inline int cingestlog_reserve(int file, long bytes) {
    return (int)syscall(SYS_fallocate, file, 1, 0L, bytes);
}
/* Linux' own calls, which Swift's Glibc does not show without _GNU_SOURCE. */
static inline int cingestlog_begin_writing(int file, int64_t offset, int64_t bytes) {
    return (int)syscall(SYS_sync_file_range, file, offset, bytes, 2 /* SYNC_FILE_RANGE_WRITE */);
}
static inline int cingestlog_write_all(int file) {
    return (int)syscall(SYS_sync_file_range, file, (int64_t)0, (int64_t)0, 7 /* WAIT_BEFORE, WRITE, WAIT_AFTER */);
}

#endif
