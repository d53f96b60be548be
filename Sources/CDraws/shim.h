#ifndef CDRAWS_SHIM_H
#define CDRAWS_SHIM_H
/* Draws with counters that follow each other, and their logarithms, on the widest vectors that the processor has: Swift is
   compiled for the oldest one, and cannot ask which it runs on. The same bits on every processor: additions, multiplications and
   divisions alone, none of them fused. Philox4x32-10 is told of in Simulation/Philox.swift, the logarithm in PortableMath.swift. */
#include <stdint.h>

/* Lanes of a vector here; narrower processors take several instructions for it. */
#define CDRAWS_LANES 8
typedef uint64_t cdraws_integers __attribute__((vector_size(8 * CDRAWS_LANES)));
typedef double cdraws_doubles __attribute__((vector_size(8 * CDRAWS_LANES)));

#define CDRAWS_LOW 0xffffffffull

static inline __attribute__((always_inline)) void cdraws_body(
    uint32_t key0, uint32_t key1, uint32_t purpose, uint64_t first, int count, int is_long, uint64_t *words, double *logs) {
#pragma clang fp contract(off)
  const cdraws_integers zero = {0}, lanes = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int place = 0; place < count; place += CDRAWS_LANES) {
    const cdraws_integers counter = lanes + (first + (uint64_t)place);
    cdraws_integers c0 = zero, c1 = counter & CDRAWS_LOW, c2 = counter >> 32, c3 = zero + purpose;
    uint32_t k0 = key0, k1 = key1;
    for (int round = 0; round < 10; round++) {
      /* Upper halves are never looked at: a product is that of the lower ones. */
      const cdraws_integers a = (c0 & CDRAWS_LOW) * 0xD2511F53ull, b = (c2 & CDRAWS_LOW) * 0xCD9E8D57ull;
      c0 = (b >> 32) ^ c1 ^ (uint64_t)k0;
      c2 = (a >> 32) ^ c3 ^ (uint64_t)k1;
      c1 = b;
      c3 = a;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    c0 &= CDRAWS_LOW;
    c1 &= CDRAWS_LOW;
    c2 &= CDRAWS_LOW;
    c3 &= CDRAWS_LOW;
    /* A uniform number in (0, 1) out of 52 bits or of 32, by way of the last bits of 2^52. */
    const cdraws_integers raised = (is_long ? (c1 << 20 | c0 >> 12) : c0) | 0x4330000000000000ull;
    const cdraws_doubles unit = ((cdraws_doubles)raised - 0x1p52 + 0.5) * (is_long ? 0x1p-52 : 0x1p-32);
    /* Less the bits of the smallest significand, 0.707...: what is left of the exponent is the power of 2, above a bias. */
    const cdraws_integers bits = (cdraws_integers)unit;
    const cdraws_integers shifted = bits + (0x3ff0000000000000ull - 0x3fe6a09e667f3bceull);
    const cdraws_doubles exponent = (cdraws_doubles)((shifted >> 52) | 0x4330000000000000ull) - 0x1.00000000003ffp52;
    const cdraws_doubles significand =
        (cdraws_doubles)(bits - (shifted & 0xfff0000000000000ull) + 0x3ff0000000000000ull);
    const cdraws_doubles t = (significand - 1.0) / (significand + 1.0);
    const cdraws_doubles square = t * t, fourth = square * square, eighth = fourth * fourth;
    const cdraws_doubles p1 = (1.0 + square * (1.0 / 3)) + fourth * (1.0 / 5 + square * (1.0 / 7));
    const cdraws_doubles p2 = (1.0 / 9 + square * (1.0 / 11)) + fourth * (1.0 / 13 + square * (1.0 / 15));
    const cdraws_doubles p3 = (1.0 / 17 + square * (1.0 / 19)) + fourth * (1.0 / 21);
    const cdraws_doubles series = p1 + eighth * (p2 + eighth * p3);
    const cdraws_doubles low = exponent * 0x1.ef35793c7673p-45 + 2.0 * t * series;
    const cdraws_doubles log = exponent * 0x1.62e42fefa38p-1 + low;
    const cdraws_integers all[4] = {c0, c1, c2, c3};
    __builtin_memcpy(logs + place, &log, sizeof log);
    for (int word = 0; word < 4; word++) __builtin_memcpy(words + word * count + place, &all[word], sizeof all[word]);
  }
}

#if defined(__x86_64__)
static inline __attribute__((noinline, target("avx512f"))) void cdraws_512(
    uint32_t key0, uint32_t key1, uint32_t purpose, uint64_t first, int count, int is_long, uint64_t *words, double *logs) {
  cdraws_body(key0, key1, purpose, first, count, is_long, words, logs);
}
static inline __attribute__((noinline, target("avx2"))) void cdraws_256(
    uint32_t key0, uint32_t key1, uint32_t purpose, uint64_t first, int count, int is_long, uint64_t *words, double *logs) {
  cdraws_body(key0, key1, purpose, first, count, is_long, words, logs);
}
#endif

/* The whole part of a number that is known to be in range: Swift asks three times whether it is. */
static inline int64_t cdraws_whole(double number) { return (int64_t)number; }

/* The widest vectors that the processor has, bytes; 16 where nobody has looked. */
static inline int cdraws_width(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return 64;
  if (__builtin_cpu_supports("avx2")) return 32;
#endif
  return 16;
}

/* `count` draws of entity 0, a multiple of CDRAWS_LANES, on vectors of at most `width` bytes: the first words of all, the second
   words, the third and the fourth, each widened to 64 bits; and the logarithms of the uniform numbers that the first two words
   stand for, or that the first stands for alone. */
static inline void cdraws_draw(
    int width, uint32_t key0, uint32_t key1, uint32_t purpose, uint64_t first, int count, int is_long, uint64_t *words,
    double *logs) {
#if defined(__x86_64__)
  if (width >= 64) {
    cdraws_512(key0, key1, purpose, first, count, is_long, words, logs);
    return;
  }
  if (width >= 32) {
    cdraws_256(key0, key1, purpose, first, count, is_long, words, logs);
    return;
  }
#endif
  cdraws_body(key0, key1, purpose, first, count, is_long, words, logs);
}
#endif
