// The reference implementation of Protocol Buffers says what is in a message: nothing of our own reads it here.
#include "oracle.h"

#include <cstring>
#include <string>

#include "oracle.pb.h"

namespace {
std::string result;

void put(uint64_t number) {
    for (int byte = 0; byte < 8; byte++) result.push_back(static_cast<char>(number >> (8 * byte)));
}

void put(const std::string &text) {
    put(text.size());
    result += text;
}

template <typename Samples>
void put_samples(const Samples &samples) {
    put(samples.size());
    for (const auto &sample : samples) {
        double value = sample.value();
        uint64_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        put(static_cast<uint64_t>(sample.timestamp()));
        put(bits);
    }
}

template <typename Request>
void put_counts(const Request &request) {
    uint64_t histograms = 0, exemplars = 0;
    for (const auto &series : request.timeseries()) {
        histograms += series.histograms_size();
        exemplars += series.exemplars_size();
    }
    put(histograms);
    put(exemplars);
}

int done(const uint8_t **out, size_t *out_count) {
    *out = reinterpret_cast<const uint8_t *>(result.data());
    *out_count = result.size();
    return 1;
}
}  // namespace

int oracle_remote_write(const uint8_t *bytes, size_t count, const uint8_t **out, size_t *out_count) {
    oracle::WriteRequest request;
    if (!request.ParseFromArray(bytes, static_cast<int>(count))) return 0;
    result.clear();
    put_counts(request);
    for (const auto &series : request.timeseries()) {
        if (series.samples_size() == 0) continue;
        put(2 * series.labels_size());
        for (const auto &bytes : series.labels()) {
            oracle::Label label;
            if (!label.ParseFromString(bytes)) return 0;
            put(label.name());
            put(label.value());
        }
        put_samples(series.samples());
    }
    return done(out, out_count);
}

int oracle_remote_write2(const uint8_t *bytes, size_t count, const uint8_t **out, size_t *out_count) {
    oracle::Request2 request;
    if (!request.ParseFromArray(bytes, static_cast<int>(count))) return 0;
    result.clear();
    put_counts(request);
    for (const auto &series : request.timeseries()) {
        for (uint64_t reference : series.labels_refs()) {
            if (reference >= static_cast<uint64_t>(request.symbols_size())) return 0;
        }
        if (series.labels_refs_size() % 2 != 0) return 0;
        if (series.samples_size() == 0) continue;
        put(series.labels_refs_size());
        for (uint64_t reference : series.labels_refs()) put(request.symbols(static_cast<int>(reference)));
        put_samples(series.samples());
    }
    return done(out, out_count);
}
