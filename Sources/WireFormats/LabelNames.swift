/// What a label means for the question which GPU a series is about; see `GPULabels`.
enum LabelRole: UInt8 {
    case metric, upperHostname, hostname, instance, ordinal, uuid, rack, array, pod, hall, model, job, source,
        part
    case kubernetes
}

/// Finds the role of a label by the bytes of its name: one multiplication and one comparison.
struct LabelNames: Sendable {
    private struct Known: Sendable {
        var name: [UInt8]
        var role: LabelRole
    }

    private static let roles: [(String, LabelRole)] = [
        (Label.metricName, .metric), ("Hostname", .upperHostname), ("hostname", .hostname),
        ("instance", .instance), ("gpu", .ordinal), ("UUID", .uuid), ("uuid", .uuid), ("rack", .rack),
        ("array", .array), ("pod", .pod), ("hall", .hall), ("modelName", .model), ("hpc_job", .job),
        ("job", .source), ("prometheus", .source), ("prometheus_replica", .source), ("replica", .source),
        ("__replica__", .source), ("GPU_I_ID", .part), ("nvlink", .part), ("nvswitch", .part), ("cpu", .part),
        ("cpucore", .part), ("namespace", .kubernetes), ("container", .kubernetes), ("pod_uid", .kubernetes),
    ]

    private static let bits: UInt64 = 8

    private let known: [Known]
    /// Index into `known` by the hash of a name, or -1.
    private var places: [Int8]
    private let factor: UInt64

    init() {
        known = Self.roles.map { Known(name: Array($0.0.utf8), role: $0.1) }
        // The first odd factor that gives each name a place of its own.
        var factor: UInt64 = 0x9E37_79B9_7F4A_7C15
        while true {
            var places = [Int8](repeating: -1, count: 1 << Self.bits)
            var isGood = true
            for (index, one) in known.enumerated() {
                let place = Self.place(Self.word(one.name), one.name.count, factor)
                if places[place] >= 0 { isGood = false }
                places[place] = Int8(index)
            }
            if isGood {
                self.places = places
                self.factor = factor
                return
            }
            factor = factor &* 0xBF58_476D_1CE4_E5B9 | 1
        }
    }

    /// The role of the label with that name, or `nil` for one that means nothing here.
    @inline(__always)
    func role(_ bytes: RawSpan, _ name: LabelText) -> LabelRole? {
        let index = places[Self.place(bytes.firstWord(name), name.length, factor)]
        guard index >= 0 else { return nil }
        return matches(bytes, name, Int(index))
    }

    private func matches(_ bytes: RawSpan, _ name: LabelText, _ index: Int) -> LabelRole? {
        guard known[index].name.count == name.length else { return nil }
        for (offset, byte) in known[index].name.enumerated() {
            guard bytes.byte(Int(name.start) + offset) == byte else { return nil }
        }
        return known[index].role
    }

    @inline(__always)
    private static func place(_ word: UInt64, _ count: Int, _ factor: UInt64) -> Int {
        let mixed = (word ^ UInt64(truncatingIfNeeded: count)) &* factor
        return Int(truncatingIfNeeded: mixed >> (64 - bits))
    }

    /// The first 8 bytes, or all of them, as a number.
    private static func word(_ name: [UInt8]) -> UInt64 {
        name.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// A text in a message.
public struct LabelText: Sendable, Hashable {
    public var start: UInt32
    public var count: UInt32

    public static let none = LabelText(start: 0, count: 0)

    init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }

    init(_ range: Range<Int>) {
        start = UInt32(truncatingIfNeeded: range.lowerBound)
        count = UInt32(truncatingIfNeeded: range.count)
    }

    public var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
    public var isEmpty: Bool { count == 0 }
    var length: Int { Int(count) }
}

extension RawSpan {
    /// The first 8 bytes of a text, or all of them, as a number.
    @inline(__always)
    func firstWord(_ text: LabelText) -> UInt64 {
        let start = Int(text.start)
        if byteCount &- start >= 8 {
            let word = littleEndian(start, as: UInt64.self)
            return text.count >= 8 ? word : word & ((1 &<< (UInt64(text.count) &* 8)) &- 1)
        }
        var word: UInt64 = 0
        for offset in stride(from: min(text.length, 8) - 1, through: 0, by: -1) {
            word = word << 8 | UInt64(byte(start + offset))
        }
        return word
    }

    /// Whether the bytes are UTF-8.
    @inline(__always)
    func isText(_ text: LabelText) -> Bool {
        let range = text.range
        var offset = range.lowerBound
        var seen: UInt64 = 0
        while range.upperBound &- offset >= 8 {
            seen |= littleEndian(offset, as: UInt64.self)
            offset &+= 8
        }
        while offset < range.upperBound {
            seen |= UInt64(byte(offset))
            offset &+= 1
        }
        return seen & 0x8080_8080_8080_8080 == 0 || self.text(range) != nil
    }

    /// Negative, zero or positive: how the bytes of two texts compare.
    func compare(_ left: LabelText, _ right: LabelText) -> Int {
        let count = min(left.length, right.length)
        for offset in 0..<count {
            let difference = Int(byte(Int(left.start) + offset)) - Int(byte(Int(right.start) + offset))
            if difference != 0 { return difference }
        }
        return left.length - right.length
    }

    /// A text that was found to be one.
    public func string(_ text: LabelText) -> String { text.isEmpty ? "" : self.text(text.range) ?? "" }
}
