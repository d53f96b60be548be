import Telemetry
import WireFormats

/// Lines of the InfluxDB line protocol, times in milliseconds. Statistics of the same entity and field that follow each
/// other share a line.
struct InfluxLines: SeriesWriter {
    private var bytes: [UInt8] = []
    private var open: (head: [UInt8], timeMs: Int64)?

    /// `,hall=h1,rack=r1`: sorted, without empty values.
    func place(_ labels: [Label]) -> [UInt8] {
        var tags: [UInt8] = []
        for label in labels where !label.value.isEmpty {
            tags.append(UInt8(ascii: ","))
            Self.escape(label.name, ",= ", to: &tags)
            tags.append(UInt8(ascii: "="))
            Self.escape(label.value, ",= ", to: &tags)
        }
        return tags
    }

    mutating func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Double) {
        // Line protocol has no NaN and no infinities.
        guard value.isFinite else { return }
        var head: [UInt8] = []
        Self.escape("\(cell.level.rawValue):\(cell.field)", ", ", to: &head)
        head += place
        if let open, open.head == head, open.timeMs == time.endMs {
            bytes.append(UInt8(ascii: ","))
        } else {
            end()
            open = (head, time.endMs)
            bytes += head
            bytes.append(UInt8(ascii: " "))
        }
        Self.escape(cell.statistic, ",= ", to: &bytes)
        bytes.append(UInt8(ascii: "="))
        bytes.append(contentsOf: Self.number(value).utf8)
    }

    /// There is no such thing here.
    func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Distribution) {}

    mutating func finish() -> [UInt8] {
        end()
        return bytes
    }

    private mutating func end() {
        guard let open else { return }
        bytes.append(UInt8(ascii: " "))
        bytes.append(contentsOf: open.timeMs.description.utf8)
        bytes.append(UInt8(ascii: "\n"))
        self.open = nil
    }

    /// A float in every case: a field keeps the type that it had first.
    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : value.description
    }

    /// A line break in a name would begin a line of its own, and a backslash at its end would escape what follows.
    private static func escape(_ text: String, _ special: String, to bytes: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case 0..<0x20, 0x7F: bytes.append(UInt8(ascii: "_"))
            case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "/"))
            default:
                if special.utf8.contains(byte) { bytes.append(UInt8(ascii: "\\")) }
                bytes.append(byte)
            }
        }
    }
}
