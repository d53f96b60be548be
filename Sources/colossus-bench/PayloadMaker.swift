import Telemetry

/// In which order the series of a fleet come.
enum SeriesOrder: String, CaseIterable {
    /// Node by node as exporters list them: by field, then by GPU.
    case scrape
    /// As a Prometheus with ten queue shards sends: every tenth of scrape order.
    case shards
    /// All over the fleet.
    case shuffled
}

/// Makes bodies of remote write 1.0 and 2.0 for a fleet.
struct PayloadMaker {
    static let fields = 20
    static let seriesPerNode = 8 * fields
    /// Without XIDs: a value that changes there is an event.
    private static let names = FieldCatalog.defaults.filter { $0 != .xidErrors }.prefix(fields).map(
        \.field.name)
    /// Those whose values are not small whole numbers: shares, watts, and counts of bytes and millijoules.
    private static let widths = names.map { name in
        let isLong = ["PROF", "POWER", "ENERGY", "BANDWIDTH", "FB_"].contains { name.contains($0) }
        return isLong ? Payload.longWidth : Payload.shortWidth
    }
    /// Its value is another one for each generation of a node, as the name of a container that was started anew.
    private static let churning = "container_id"

    private var text = MarkedText()
    private var valueWidths: [Int] = []

    static func order(_ order: SeriesOrder, count: Int) -> [Int] {
        switch order {
        case .scrape: return Array(0..<count)
        case .shards: return (0..<10).flatMap { Array(stride(from: $0, to: count, by: 10)) }
        case .shuffled: return shuffled(Array(0..<count))
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
    static func body(_ series: ArraySlice<Int>, isVersion2: Bool) -> Payload {
        var maker = PayloadMaker()
        if isVersion2 { maker.version2(series) } else { maker.version1(series) }
        return Payload(maker.text, widths: maker.valueWidths)
    }

    private static func labels(_ series: Int) -> [(name: String, value: String)] {
        let node = series / seriesPerNode
        let gpu = series % 8
        return [
            ("DCGM_FI_DRIVER_VERSION", "560.35.05"), ("Hostname", "node-\(node)"),
            ("UUID", "GPU-\(String(UInt64(node * 8 + gpu) &* 0x9E37_79B9_7F4A_7C15, radix: 16))-\(gpu)"),
            ("__name__", names[series / 8 % fields]), (churning, "\(node)"),
            ("device", "nvidia\(gpu)"), ("gpu", "\(gpu)"),
            ("instance", "node-\(node):9400"), ("job", "dcgm"), ("modelName", "NVIDIA H100 80GB HBM3"),
            ("pci_bus_id", "00000000:\(10 + gpu):00.0"), ("pod", "a\(node / 64)"), ("rack", "r\(node / 8)"),
        ]
    }

    /// Bytes of a sample with its head, as `addSample` writes it.
    private static let sampleBytes = 18

    private mutating func version1(_ series: ArraySlice<Int>) {
        for one in series {
            let labels = Self.labels(one)
            let size = labels.reduce(Self.sampleBytes) { $0 + 6 + $1.name.utf8.count + Self.length($1) }
            text.append([0x0A] + Self.varint(size))
            for label in labels {
                let (name, value) = (label.name.utf8.count, Self.length(label))
                text.append([0x0A, UInt8(4 + name + value), 0x0A, UInt8(name)])
                text.append(label.name)
                text.append([0x12, UInt8(value)])
                if label.name == Self.churning {
                    text.appendGeneration(node: one / Self.seriesPerNode)
                } else {
                    text.append(label.value)
                }
            }
            addSample(of: one)
        }
    }

    /// Bytes of a label's value in the message.
    private static func length(_ label: (name: String, value: String)) -> Int {
        label.name == churning ? 8 : label.value.utf8.count
    }

    private mutating func version2(_ series: ArraySlice<Int>) {
        var numbers: [String: Int] = ["": 0]
        text.append([0x22, 0])
        var references: [[UInt8]] = []
        for one in series {
            var reference: [UInt8] = []
            for label in Self.labels(one) {
                for (word, isGeneration) in [(label.name, false), (label.value, label.name == Self.churning)]
                {
                    let key = isGeneration ? "\(Self.churning)=\(word)" : word
                    let number = numbers[key] ?? numbers.count
                    reference += Self.varint(number)
                    guard number == numbers.count else { continue }
                    numbers[key] = number
                    text.append([0x22, isGeneration ? 8 : UInt8(word.utf8.count)])
                    if isGeneration {
                        text.appendGeneration(node: one / Self.seriesPerNode)
                    } else {
                        text.append(word)
                    }
                }
            }
            references.append(reference)
        }
        for (one, reference) in zip(series, references) {
            let size = 2 + reference.count + Self.sampleBytes
            text.append([0x2A] + Self.varint(size) + [0x0A, UInt8(reference.count)] + reference)
            addSample(of: one)
        }
    }

    private mutating func addSample(of series: Int) {
        let width = Self.widths[series / 8 % Self.fields]
        text.append([0x12, 0x10, 0x09])
        text.appendValue(valueWidths.count, varying: width)
        text.append([0x10])
        text.appendTime()
        valueWidths.append(width)
    }

    private static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }
}
