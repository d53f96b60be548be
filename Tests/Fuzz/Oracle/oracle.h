#ifndef PROTOBUF_ORACLE_H
#define PROTOBUF_ORACLE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Reads a message with libprotobuf. 0 when it is corrupt; else 1, and `out` is what was read, until the next call: of
// each series with samples the number of its texts (name, value, ...), each with its length, then the number of its
// samples, each with time and value's bits; all numbers are 64 bits, little endian. Before them the numbers of
// histograms and exemplars of all series.
int oracle_remote_write(const uint8_t *bytes, size_t count, const uint8_t **out, size_t *out_count);
int oracle_remote_write2(const uint8_t *bytes, size_t count, const uint8_t **out, size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
