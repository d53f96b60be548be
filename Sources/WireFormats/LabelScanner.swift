/// Which GPU a series is about, in places of the message: what `GPULabels` says, without a single string.
public struct ScannedLabels: Sendable {
    public var metric = LabelText.none
    public var node = LabelText.none
    public var uuid = LabelText.none
    public var rack = LabelText.none
    public var array = LabelText.none
    public var hall = LabelText.none
    public var model = LabelText.none
    public var job = LabelText.none
    /// Position of the GPU in its node, or -1.
    public var ordinal: Int16 = -1
    public var isPart = false
    /// Hash of who scraped it; see `GPULabels.source`.
    public var source = SeriesIdentity(high: 0, low: 0)

    fileprivate init() {}
}

/// Reads the labels of series that are seen for the first time; meant to be reused.
///
/// The rules are those of `LabelCollector` and `GPULabels`, which are the plain version of this (and a test compares
/// them).
public struct LabelScanner: Sendable {
    private let limits: LabelLimits
    private let hasher: IdentityHasher
    private let roles = LabelNames()

    private var found = ScannedLabels()
    private var names: [LabelText] = []
    private var isSorted = true
    private var isBad = false
    private var isKubernetes = false
    private var upperHostname = LabelText.none
    private var hostname = LabelText.none
    private var instance = LabelText.none
    private var pod = LabelText.none

    public init(limits: LabelLimits, hasher: IdentityHasher) {
        self.limits = limits
        self.hasher = hasher
        names.reserveCapacity(limits.count)
    }

    /// Reads the labels of a run of a remote write 1.0 message.
    ///
    /// Throws what is wrong with the message.
    /// - Returns: `nil` when the message is sound, but its labels name no series.
    public mutating func remoteWrite(
        _ body: RawSpan, _ range: Range<Int>
    ) throws(WireError) -> ScannedLabels? {
        begin()
        var offset = range.lowerBound
        while offset < range.upperBound {
            let start = offset
            let tag = try Proto.varint(body, &offset, range.upperBound)
            guard tag == Proto.tag(1, .bytes) else {
                try Proto.skip(tag, body, &offset, range.upperBound, at: start)
                continue
            }
            let length = try Proto.length(body, &offset, range.upperBound)
            let (name, value) = try RemoteWriteDecoder.label(body, offset..<offset + length)
            add(body, LabelText(name), LabelText(value))
            offset += length
        }
        return finish(body)
    }

    /// Reads the labels of a run of a remote write 2.0 message, whose strings were read with it.
    public mutating func remoteWrite2(
        _ body: RawSpan, _ range: Range<Int>, symbolsOf request: borrowing WriteRequest
    ) throws(WireError) -> ScannedLabels? {
        begin()
        var name: LabelText?
        try RemoteWrite2Decoder.references(body, range) { reference throws(WireError) in
            let symbol = try RemoteWrite2Decoder.symbol(reference, request, at: range.lowerBound)
            if let known = name {
                add(body, known, LabelText(start: symbol.start, count: symbol.count))
                name = nil
            } else {
                name = LabelText(start: symbol.start, count: symbol.count)
            }
        }
        return finish(body)
    }

    /// Reads labels that are strings already: of formats that are rarer, or have escapes. They are appended to
    /// `scratch`, to which the places in the result belong.
    public mutating func labels(_ read: ReadLabels, scratch: inout [UInt8]) -> ScannedLabels? {
        guard case .labels(let labels) = read else { return nil }
        var texts: [(LabelText, LabelText)] = []
        for label in labels {
            texts.append((Self.append(label.name, &scratch), Self.append(label.value, &scratch)))
        }
        begin()
        for (name, value) in texts { add(scratch.span.bytes, name, value) }
        return finish(scratch.span.bytes)
    }

    private static func append(_ text: String, _ scratch: inout [UInt8]) -> LabelText {
        let start = scratch.count
        scratch.append(contentsOf: text.utf8)
        return LabelText(start..<scratch.count)
    }

    mutating func begin() {
        found = ScannedLabels()
        names.removeAll(keepingCapacity: true)
        isSorted = true
        isBad = false
        isKubernetes = false
        upperHostname = .none
        hostname = .none
        instance = .none
        pod = .none
    }

    @inline(__always)
    mutating func add(_ bytes: RawSpan, _ name: LabelText, _ value: LabelText) {
        guard !isBad else { return }
        guard name.length <= limits.nameBytes, value.length <= limits.valueBytes, names.count < limits.count,
            !name.isEmpty, bytes.isText(name), bytes.isText(value), !isKnown(bytes, name)
        else {
            isBad = true
            return
        }
        names.append(name)
        guard let role = roles.role(bytes, name) else { return }
        guard !value.isEmpty || role == .kubernetes else { return }
        take(bytes, role, name, value)
    }

    private mutating func isKnown(_ bytes: RawSpan, _ name: LabelText) -> Bool {
        if let last = names.last, bytes.compare(last, name) >= 0 { isSorted = false }
        return !isSorted && names.contains { bytes.compare($0, name) == 0 }
    }

    private mutating func take(
        _ bytes: RawSpan, _ role: LabelRole, _ name: LabelText, _ value: LabelText
    ) {
        switch role {
        case .metric: found.metric = value
        case .upperHostname: upperHostname = value
        case .hostname: hostname = value
        case .instance: instance = value
        case .ordinal: found.ordinal = Self.ordinal(bytes, value)
        case .uuid: found.uuid = value
        case .rack: found.rack = value
        case .array: found.array = value
        case .pod: pod = value
        case .hall: found.hall = value
        case .model: found.model = value
        case .job: found.job = value
        case .part: found.isPart = true
        case .kubernetes: isKubernetes = true
        case .source:
            let label = hasher.pair(hash(bytes, name), hash(bytes, value))
            found.source = hasher.joined(found.source, label)
        }
    }

    /// The hash of a text of this message, by which texts of all messages are known.
    public func hash(_ bytes: RawSpan, _ text: LabelText) -> SeriesIdentity {
        hasher.text(bytes, text.range)
    }

    /// The same of a text that is in no message.
    public func hash(of text: String) -> SeriesIdentity {
        let bytes = Array(text.utf8)
        return hasher.text(bytes.span.bytes, bytes.indices)
    }

    mutating func finish(_ bytes: RawSpan) -> ScannedLabels? {
        guard !isBad, !names.isEmpty else { return nil }
        let host = Self.host(bytes, instance)
        for name in [upperHostname, hostname, host] where !name.isEmpty {
            if found.node.isEmpty || Self.isLocalhost(bytes, found.node) {
                found.node = Self.isLocalhost(bytes, name) && !found.node.isEmpty ? found.node : name
            }
        }
        if found.array.isEmpty, !isKubernetes { found.array = pod }
        return found
    }

    private static func isLocalhost(_ bytes: RawSpan, _ name: LabelText) -> Bool {
        guard name.count == 9, bytes.byte(Int(name.start) + 8) == UInt8(ascii: "t") else { return false }
        return bytes.firstWord(name) == 0x736F_686C_6163_6F6C
    }

    private static func ordinal(_ bytes: RawSpan, _ text: LabelText) -> Int16 {
        var number = 0
        for offset in text.range {
            let digit = Int(bytes.byte(offset)) - 0x30
            guard digit >= 0, digit <= 9 else { return -1 }
            number = number * 10 + digit
            guard number <= 255 else { return -1 }
        }
        return Int16(number)
    }

    /// `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    private static func host(_ bytes: RawSpan, _ instance: LabelText) -> LabelText {
        guard !instance.isEmpty else { return .none }
        if bytes.byte(Int(instance.start)) == UInt8(ascii: "["),
            let end = instance.range.first(where: { bytes.byte($0) == UInt8(ascii: "]") })
        {
            return LabelText(instance.range.lowerBound + 1..<end)
        }
        var colon: Int?
        for offset in instance.range where bytes.byte(offset) == UInt8(ascii: ":") {
            if colon != nil { return instance }
            colon = offset
        }
        return colon.map { LabelText(instance.range.lowerBound..<$0) } ?? instance
    }
}
