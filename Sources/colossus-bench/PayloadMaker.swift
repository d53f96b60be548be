import Telemetry
import WireFormats

/// In which order the series of a fleet come.
enum SeriesOrder: String, CaseIterable {
    /// Node by node as exporters list them: by field, then by GPU.
    case scrape
    /// As a Prometheus with ten queue shards sends: every tenth of scrape order.
    case shards
    /// All over the fleet.
    case shuffled
}

/// A request body whose times and values can be set anew: each sample is a literal of the snappy block.
struct Payload {
    var bytes: [UInt8]
    /// Where the 8 bytes of each value are; the time's 6 follow after one.
    var samples: [UInt32]
    /// Where the 8 digits of a node's label are that changes when its series are spelled anew.
    var generations: [(node: UInt32, place: UInt32)]

    /// - Parameter churnEvery: in each pass one of so many nodes gets another generation; 0 is never.
    mutating func set(timeMs: Int64, pass: Int, churnEvery: Int) {
        if churnEvery > 0 {
            for (node, place) in generations {
                // The last pass in which it was this node's turn: all bodies of a pass say the same.
                var rest = max(0, pass - (pass + Int(node)) % churnEvery)
                for digit in stride(from: 7, through: 0, by: -1) {
                    bytes[Int(place) + digit] = UInt8(0x30 + rest % 10)
                    rest /= 10
                }
            }
        }
        for (number, place) in samples.enumerated() {
            // A level for each series, noise on it, and a drift upwards.
            let noise = Double((number &* 31 &+ pass &* 29) % 64) / 64
            var value = (100 + Double(number &* 37 % 64) + noise + Double(pass) / 64).bitPattern
            var place = Int(place)
            for _ in 0..<8 {
                bytes[place] = UInt8(truncatingIfNeeded: value)
                value >>= 8
                place += 1
            }
            var time = UInt64(timeMs)
            for byte in 0..<6 {
                place += 1
                bytes[place] = UInt8(time & 0x7F) | (byte < 5 ? 0x80 : 0)
                time >>= 7
            }
        }
    }
}

/// Makes bodies of remote write 1.0 and 2.0 for a fleet, quickly: a label that was there before in its message becomes
/// a copy, and copies of neighbours become one, which is about what a snappy encoder finds.
struct PayloadMaker {
    static let fields = 20
    let isVersion2: Bool
    /// Without XIDs: a value that changes there is an event.
    let names = FieldCatalog.defaults.filter { $0 != .xidErrors }.prefix(Self.fields).map(\.field.name)

    private var block: [UInt8] = []
    /// Bytes that the block stands for.
    private var length = 0
    private var known: [String: Int] = [:]
    private var pending: (from: Int, count: Int)?
    private var samples: [UInt32] = []
    private var generations: [(node: UInt32, place: UInt32)] = []
    /// Its value is another one for each generation of a node, as the name of a container that was started anew.
    private static let churning = "container_id"

    init(isVersion2: Bool) { self.isVersion2 = isVersion2 }

    static func order(_ order: SeriesOrder, count: Int) -> [Int] {
        switch order {
        case .scrape: return Array(0..<count)
        case .shards: return (0..<10).flatMap { Array(stride(from: $0, to: count, by: 10)) }
        case .shuffled:
            return shuffled(Array(0..<count))
        }
    }

    static func shuffled(_ numbers: [Int]) -> [Int] {
        var all = numbers
        var state: UInt64 = 9
        for index in stride(from: all.count - 1, to: 0, by: -1) {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            all.swapAt(index, Int((state >> 33) % UInt64(index + 1)))
        }
        return all
    }

    /// One body for these series, numbered in scrape order.
    mutating func body(_ series: ArraySlice<Int>) -> Payload {
        block = []
        length = 0
        known = [:]
        samples = []
        generations = []
        if isVersion2 { version2(series) } else { version1(series) }
        flush()
        let header = Self.varint(length)
        let shift = UInt32(header.count)
        return Payload(
            bytes: header + block, samples: samples.map { $0 + shift },
            generations: generations.map { ($0.node, $0.place + shift) })
    }

    private func labels(_ series: Int) -> [(name: String, value: String)] {
        let node = series / (8 * Self.fields)
        let gpu = series % 8
        return [
            ("DCGM_FI_DRIVER_VERSION", "560.35.05"), ("Hostname", "node-\(node)"),
            ("UUID", "GPU-\(String(UInt64(node * 8 + gpu) &* 0x9E37_79B9_7F4A_7C15, radix: 16))-\(gpu)"),
            ("__name__", names[series / 8 % Self.fields]), (Self.churning, "\(node)"),
            ("device", "nvidia\(gpu)"), ("gpu", "\(gpu)"),
            ("instance", "node-\(node):9400"), ("job", "dcgm"), ("modelName", "NVIDIA H100 80GB HBM3"),
            ("pci_bus_id", "00000000:\(10 + gpu):00.0"), ("pod", "a\(node / 64)"), ("rack", "r\(node / 8)"),
        ]
    }

    private static let sample = [UInt8]([0x12, 0x10, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0])

    private mutating func version1(_ series: ArraySlice<Int>) {
        for one in series {
            let labels = labels(one)
            let size = labels.reduce(Self.sample.count) { $0 + 6 + $1.name.utf8.count + Self.length($1) }
            literal([0x0A] + Self.varint(size))
            for label in labels { add(label) }
            addSample()
        }
    }

    /// Bytes of a label's value in the message.
    private static func length(_ label: (name: String, value: String)) -> Int {
        label.name == churning ? 8 : label.value.utf8.count
    }

    /// Eight digits, of which the place is kept.
    private mutating func addGeneration(_ node: String) {
        flush()
        block.append(7 << 2)
        generations.append((UInt32(node) ?? 0, UInt32(block.count)))
        block += Array("00000000".utf8)
        length += 8
    }

    private mutating func add(_ label: (name: String, value: String)) {
        let size = 6 + label.name.utf8.count + Self.length(label)
        let key = label.name + "=" + label.value
        if let from = known[key], length - from < 1 << 16 {
            copy(from: from, count: size)
        } else {
            known[key] = length
            var bytes: [UInt8] = [0x0A, UInt8(size - 2), 0x0A, UInt8(label.name.utf8.count)]
            bytes += Array(label.name.utf8)
            bytes += [0x12, UInt8(Self.length(label))]
            if label.name == Self.churning {
                literal(bytes)
                addGeneration(label.value)
            } else {
                literal(bytes + Array(label.value.utf8))
            }
        }
    }

    private mutating func version2(_ series: ArraySlice<Int>) {
        var numbers: [String: Int] = ["": 0]
        var strings: [UInt8] = [0x22, 0]
        var references: [[UInt8]] = []
        for one in series {
            var reference: [UInt8] = []
            for label in labels(one) {
                for (text, isGeneration) in [(label.name, false), (label.value, label.name == Self.churning)]
                {
                    let key = isGeneration ? "\(Self.churning)=\(text)" : text
                    if let known = numbers[key] {
                        reference += Self.varint(known)
                        continue
                    }
                    reference += Self.varint(numbers.count)
                    numbers[key] = numbers.count
                    if isGeneration {
                        literal(strings + [0x22, 8])
                        strings = []
                        addGeneration(text)
                    } else {
                        strings += [0x22, UInt8(text.utf8.count)] + Array(text.utf8)
                    }
                }
            }
            references.append(reference)
        }
        literal(strings)
        for one in references {
            literal([0x2A] + Self.varint(2 + one.count + Self.sample.count) + [0x0A, UInt8(one.count)] + one)
            addSample()
        }
    }

    private mutating func addSample() {
        // By itself, so that its place is known.
        flush()
        block.append(UInt8(Self.sample.count - 1) << 2)
        samples.append(UInt32(block.count + 3))
        block += Self.sample
        length += Self.sample.count
    }

    private mutating func literal(_ bytes: [UInt8]) {
        flush()
        for start in stride(from: 0, to: bytes.count, by: 60) {
            let piece = bytes[start..<min(start + 60, bytes.count)]
            block.append(UInt8(piece.count - 1) << 2)
            block += piece
        }
        length += bytes.count
    }

    private mutating func copy(from: Int, count: Int) {
        if let before = pending, before.from + before.count == from {
            pending = (before.from, before.count + count)
        } else {
            flush()
            pending = (from, count)
        }
        length += count
    }

    private mutating func flush() {
        guard let copy = pending else { return }
        pending = nil
        var left = copy.count
        let back = length - copy.count - copy.from
        while left > 0 {
            let count = min(left, 64)
            block += [UInt8(count - 1) << 2 | 2, UInt8(back & 0xFF), UInt8(back >> 8)]
            left -= count
        }
    }

    private static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }
}
