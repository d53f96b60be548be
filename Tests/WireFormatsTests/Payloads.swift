import TestSupport
import WireFormats

/// Remote write messages that look like what a Prometheus sends for a node with eight GPUs.
enum Payloads {
    static func node(
        _ name: String = "r07-n21", fields: Int = 6, timeMs: Int64 = 1_732_000_000_000,
        random: inout SeededRandom
    ) -> [UInt8] {
        var encoder = RemoteWriteEncoder()
        for field in 0..<fields {
            for gpu in 0..<8 {
                let labels = [
                    Label("__name__", "DCGM_FI_DEV_FIELD_\(field)"), Label("gpu", "\(gpu)"),
                    Label("UUID", "GPU-\(random.next() % 4)-\(gpu)"), Label("hostname", name),
                    Label("modelName", "NVIDIA H100 80GB HBM3"), Label("instance", "\(name):9400"),
                ]
                let value = Double(random.next() % 1_000) / 10
                encoder.add(labels: labels, samples: [TimedValue(timeMs: timeMs, value: value)])
            }
        }
        return encoder.message
    }
}

extension RandomNumberGenerator {
    mutating func below(_ bound: Int) -> Int { Int(truncatingIfNeeded: next() % UInt64(bound)) }
    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }
}
