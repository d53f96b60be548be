/// Remote write 1.0: `prometheus.WriteRequest` in Protocol Buffers.
///
///     WriteRequest { 1: TimeSeries …, 3: MetricMetadata … }
///     TimeSeries   { 1: Label …, 2: Sample …, 3: Exemplar …, 4: Histogram … }
///     Label        { 1: name, 2: value }
///     Sample       { 1: double value, 2: int64 timestamp in ms }
///
/// The walk checks the structure of everything but the insides of labels: those are stepped over, and read once,
/// with `readLabels`, when their identity is not known yet.
public enum RemoteWriteDecoder {
    /// Reads a decompressed message into `request`, which is emptied first.
    ///
    /// - Parameters:
    ///   - salt: goes into the identities; see `IdentityHasher`.
    ///   - samplesMax: more samples than that are an error.
    public static func decode(
        _ body: RawSpan, hasher: IdentityHasher, salt: UInt64, samplesMax: Int,
        into request: inout WriteRequest
    ) throws(WireError) {
        request.removeAll()
        guard body.byteCount <= Int(Int32.max) else { throw WireError(.tooLarge, at: 0) }
        var offset = 0
        while offset < body.byteCount {
            try field(body, &offset, hasher, salt, samplesMax, &request)
        }
    }

    /// One field of the message, with all checks.
    static func field(
        _ body: RawSpan, _ offset: inout Int, _ hasher: IdentityHasher, _ salt: UInt64, _ samplesMax: Int,
        _ request: inout WriteRequest
    ) throws(WireError) {
        let start = offset
        let end = body.byteCount
        let tag = try Proto.varint(body, &offset, end)
        if tag == Proto.tag(1, .bytes) {
            let length = try Proto.length(body, &offset, end)
            let range = offset..<offset + length
            try series(body, range, hasher, salt, samplesMax, &request)
            offset = range.upperBound
        } else {
            if tag >> 3 == 1 { throw WireError(.badWireType, at: start) }
            if tag == Proto.tag(3, .bytes) { request.metadata += 1 }
            try Proto.skip(tag, body, &offset, end, at: start)
        }
    }

    static func series(
        _ body: RawSpan, _ range: Range<Int>, _ hasher: IdentityHasher, _ salt: UInt64, _ samplesMax: Int,
        _ request: inout WriteRequest
    ) throws(WireError) {
        var offset = range.lowerBound
        let end = range.upperBound
        while offset < end, body.byte(offset) == 0x0A {
            offset += 1
            offset += try Proto.length(body, &offset, end)
        }
        var labels = range.lowerBound..<offset
        var areScattered = false
        let firstSample = request.samples.count
        while offset < end {
            let start = offset
            let tag = try Proto.varint(body, &offset, end)
            switch tag {
            case Proto.tag(2, .bytes):
                guard request.samples.count < samplesMax else { throw WireError(.tooManySamples, at: start) }
                let length = try Proto.length(body, &offset, end)
                request.samples.append(try sample(body, offset..<offset + length))
                offset += length
            default:
                switch tag >> 3 {
                case 1, 2, 3, 4:
                    guard tag & 7 == Proto.WireType.bytes.rawValue else {
                        throw WireError(.badWireType, at: start)
                    }
                    if tag >> 3 == 1 { areScattered = true }
                    if tag >> 3 == 3 { request.exemplars += 1 }
                    if tag >> 3 == 4 { request.histograms += 1 }
                default: break
                }
                try Proto.skip(tag, body, &offset, end, at: start)
            }
        }
        guard request.samples.count > firstSample else { return }
        let identity: SeriesIdentity
        if areScattered {
            labels = range
            let gathered = try gather(body, range)
            identity = hasher.identity(gathered.span.bytes, 0..<gathered.count, salt: salt)
        } else {
            identity = hasher.identity(body, labels, salt: salt)
        }
        request.runs.append(
            SeriesRun(identity: identity, labels: labels, samples: firstSample..<request.samples.count))
    }

    /// The label fields of a series whose labels do not stand together, as if they did: nobody sends that, but the
    /// format allows it, and the identity must not depend on it.
    private static func gather(_ body: RawSpan, _ range: Range<Int>) throws(WireError) -> [UInt8] {
        var gathered: [UInt8] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            let start = offset
            let tag = try Proto.varint(body, &offset, range.upperBound)
            try Proto.skip(tag, body, &offset, range.upperBound, at: start)
            if tag == Proto.tag(1, .bytes) {
                body.extracting(start..<offset).withUnsafeBytes { gathered.append(contentsOf: $0) }
            }
        }
        return gathered
    }

    @inline(__always)
    static func sample(_ body: RawSpan, _ range: Range<Int>) throws(WireError) -> TimedValue {
        var offset = range.lowerBound
        let end = range.upperBound
        // As nearly all of them are: a value, and a time between 1971 and 2109.
        if range.count == 16, body.byte(offset) == 0x09,
            let timeMs = time(body.littleEndian(offset &+ 8, as: UInt64.self))
        {
            let bits = body.littleEndian(offset &+ 1, as: UInt64.self)
            return TimedValue(timeMs: timeMs, value: Double(bitPattern: bits))
        }
        var sample = TimedValue(timeMs: 0, value: 0)
        while offset < end {
            let start = offset
            let tag = try Proto.varint(body, &offset, end)
            switch tag {
            case Proto.tag(1, .fixed64):
                guard end &- offset >= 8 else { throw WireError(.truncated, at: offset) }
                sample.value = Double(bitPattern: body.littleEndian(offset, as: UInt64.self))
                offset &+= 8
            case Proto.tag(2, .varint):
                sample.timeMs = Int64(bitPattern: try Proto.varint(body, &offset, end))
            default:
                if tag >> 3 == 1 || tag >> 3 == 2 { throw WireError(.badWireType, at: start) }
                try Proto.skip(tag, body, &offset, end, at: start)
            }
        }
        return sample
    }

    /// Reads the labels of a run of this message.
    ///
    /// Throws what is wrong with the message; what is wrong with the labels of a sound message is in the result.
    public static func readLabels(
        _ body: RawSpan, _ range: Range<Int>, limits: LabelLimits
    ) throws(WireError) -> ReadLabels {
        var labels = LabelCollector(limits: limits)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let start = offset
            let tag = try Proto.varint(body, &offset, range.upperBound)
            guard tag == Proto.tag(1, .bytes) else {
                try Proto.skip(tag, body, &offset, range.upperBound, at: start)
                continue
            }
            let length = try Proto.length(body, &offset, range.upperBound)
            let (name, value) = try label(body, offset..<offset + length)
            labels.add(body, name: name, value: value)
            offset += length
        }
        return labels.finish()
    }

    static func label(
        _ body: RawSpan, _ range: Range<Int>
    ) throws(WireError) -> (name: Range<Int>, value: Range<Int>) {
        var offset = range.lowerBound
        let end = range.upperBound
        var name = offset..<offset
        var value = offset..<offset
        while offset < end {
            let start = offset
            let tag = try Proto.varint(body, &offset, end)
            switch tag {
            case Proto.tag(1, .bytes):
                let length = try Proto.length(body, &offset, end)
                name = offset..<offset + length
                offset += length
            case Proto.tag(2, .bytes):
                let length = try Proto.length(body, &offset, end)
                value = offset..<offset + length
                offset += length
            default:
                if tag >> 3 == 1 || tag >> 3 == 2 { throw WireError(.badWireType, at: start) }
                try Proto.skip(tag, body, &offset, end, at: start)
            }
        }
        return (name, value)
    }
}
