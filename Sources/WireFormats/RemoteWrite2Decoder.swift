/// Remote write 2.0: `io.prometheus.write.v2.Request` in Protocol Buffers
/// (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/).
///
///     Request    { 4: string symbols …, 5: TimeSeries … }
///     TimeSeries { 1: uint32 labels_refs …, 2: Sample …, 3: Histogram …, 4: Exemplar …, 5: Metadata, 6: created }
///     Sample     { 1: double value, 2: int64 timestamp in ms, 3: int64 start timestamp }
///
/// A label is two references into the strings: name, value. The identity of a series is made of the hashes of its
/// strings, so that it does not depend on their numbers, which change from message to message.
public enum RemoteWrite2Decoder {
    public static let contentType = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

    /// Reads a decompressed message into `request`, which is emptied first. The labels of a run are the whole series.
    ///
    /// - Parameters:
    ///   - salt: goes into the identities; see `IdentityHasher`.
    ///   - samplesMax: more samples than that are an error, and so are more strings than that.
    public static func decode(
        _ body: RawSpan, hasher: IdentityHasher, salt: UInt64, samplesMax: Int,
        into request: inout WriteRequest
    ) throws(WireError) {
        request.removeAll()
        guard body.byteCount <= Int(Int32.max) else { throw WireError(.tooLarge, at: 0) }
        let walk = Walk(hasher: hasher, salt: salt, samplesMax: samplesMax)
        // All senders put the strings in front, where they are read on the way.
        do throws(WireError) {
            if try walk.fields(body, &request, .symbols, .series) { return }
        } catch {
            // It may refer to a string that comes later.
            guard error.reason == .badReference else { throw error }
        }
        request.removeAll()
        _ = try walk.fields(body, &request, .symbols, nil)
        _ = try walk.fields(body, &request, nil, .series)
    }

    private enum Part { case symbols, series }

    private struct Walk {
        var hasher: IdentityHasher
        var salt: UInt64
        var samplesMax: Int

        /// Reads parts of a message. False: strings came after the series.
        func fields(
            _ body: RawSpan, _ request: inout WriteRequest, _ first: Part?, _ second: Part?
        ) throws(WireError) -> Bool {
            var offset = 0
            let end = body.byteCount
            var hasSeries = false
            while offset < end {
                let start = offset
                let tag = try Proto.varint(body, &offset, end)
                if tag >> 3 == 4 || tag >> 3 == 5, tag & 7 != Proto.WireType.bytes.rawValue {
                    throw WireError(.badWireType, at: start)
                }
                guard tag >> 3 == 4 && first == .symbols || tag >> 3 == 5 && second == .series else {
                    try Proto.skip(tag, body, &offset, end, at: start)
                    continue
                }
                let length = try Proto.length(body, &offset, end)
                if tag >> 3 == 4 {
                    if hasSeries { return false }
                    try symbol(body, offset..<offset + length, &request)
                } else {
                    hasSeries = true
                    try series(body, offset..<offset + length, &request)
                }
                offset += length
            }
            return true
        }

        private func symbol(
            _ body: RawSpan, _ range: Range<Int>, _ request: inout WriteRequest
        ) throws(WireError) {
            guard request.symbols.count < samplesMax else {
                throw WireError(.tooManySymbols, at: range.lowerBound)
            }
            request.symbols.append(
                .init(
                    start: UInt32(truncatingIfNeeded: range.lowerBound),
                    count: UInt32(truncatingIfNeeded: range.count), identity: hasher.text(body, range)))
        }

        private func series(
            _ body: RawSpan, _ range: Range<Int>, _ request: inout WriteRequest
        ) throws(WireError) {
            var labels = Labels()
            let firstSample = request.samples.count
            var offset = range.lowerBound
            let end = range.upperBound
            while offset < end {
                let start = offset
                let tag = try Proto.varint(body, &offset, end)
                switch tag {
                case Proto.tag(1, .bytes):
                    let length = try Proto.length(body, &offset, end)
                    try add(body, &offset, offset + length, request.symbols, &labels)
                case Proto.tag(1, .varint):
                    let reference = try Proto.varint(body, &offset, end)
                    try labels.add(reference, request.symbols.span, hasher, at: start)
                case Proto.tag(2, .bytes):
                    guard request.samples.count < samplesMax else {
                        throw WireError(.tooManySamples, at: start)
                    }
                    let length = try Proto.length(body, &offset, end)
                    request.samples.append(
                        try RemoteWriteDecoder.sample(body, offset..<offset + length))
                    offset += length
                default: try other(tag, body, &offset, end, at: start, &request)
                }
            }
            guard labels.name == nil else { throw WireError(.oddReferences, at: range.lowerBound) }
            guard request.samples.count > firstSample else { return }
            let identity = hasher.series(labels.sum, labelCount: labels.count, salt: salt)
            request.runs.append(
                SeriesRun(identity: identity, labels: range, samples: firstSample..<request.samples.count))
        }

        private func other(
            _ tag: UInt64, _ body: RawSpan, _ offset: inout Int, _ end: Int, at start: Int,
            _ request: inout WriteRequest
        ) throws(WireError) {
            let isMessage = tag & 7 == Proto.WireType.bytes.rawValue
            switch tag >> 3 {
            case 1, 2: throw WireError(.badWireType, at: start)
            case 3, 4, 5:
                guard isMessage else { throw WireError(.badWireType, at: start) }
                if tag >> 3 == 3 { request.histograms += 1 }
                if tag >> 3 == 4 { request.exemplars += 1 }
                if tag >> 3 == 5 { request.metadata += 1 }
            default: break
            }
            try Proto.skip(tag, body, &offset, end, at: start)
        }

        /// The hot loop: packed references, by twos.
        @inline(__always)
        private func add(
            _ body: RawSpan, _ offset: inout Int, _ end: Int, _ symbols: [WriteRequest.Symbol],
            _ labels: inout Labels
        ) throws(WireError) {
            let symbols = symbols.span
            if labels.name != nil, offset < end {
                // The value of a name that stands in a field before.
                let start = offset
                try labels.add(try Proto.varint(body, &offset, end), symbols, hasher, at: start)
            }
            var sum = labels.sum
            var count = 0
            while offset < end {
                let name = try identity(body, &offset, end, symbols)
                guard offset < end else {
                    labels.name = name
                    break
                }
                let label = hasher.pair(name, try identity(body, &offset, end, symbols))
                sum.high = sum.high &+ label.high
                sum.low = sum.low &+ label.low
                count &+= 1
            }
            labels.sum = sum
            labels.count &+= count
        }

        /// What the next reference names.
        @inline(__always)
        private func identity(
            _ body: RawSpan, _ offset: inout Int, _ end: Int, _ symbols: Span<WriteRequest.Symbol>
        ) throws(WireError) -> SeriesIdentity {
            let start = offset
            let reference = try Proto.varint(body, &offset, end)
            guard reference < UInt64(symbols.count) else { throw WireError(.badReference, at: start) }
            return symbols[Int(truncatingIfNeeded: reference)].identity
        }
    }

    /// The labels of a series as they are met.
    private struct Labels {
        var sum = SeriesIdentity(high: 0, low: 0)
        var count = 0
        /// A name whose value has not come yet.
        var name: SeriesIdentity?

        @inline(__always)
        mutating func add(
            _ reference: UInt64, _ symbols: Span<WriteRequest.Symbol>, _ hasher: IdentityHasher,
            at offset: Int
        ) throws(WireError) {
            guard reference < UInt64(symbols.count) else { throw WireError(.badReference, at: offset) }
            let identity = symbols[Int(truncatingIfNeeded: reference)].identity
            guard let name else {
                self.name = identity
                return
            }
            let label = hasher.pair(name, identity)
            sum.high = sum.high &+ label.high
            sum.low = sum.low &+ label.low
            count &+= 1
            self.name = nil
        }
    }

    /// Reads the labels of a run of this message.
    public static func readLabels(
        _ body: RawSpan, _ range: Range<Int>, of request: WriteRequest, limits: LabelLimits
    ) throws(WireError) -> ReadLabels {
        var labels = LabelCollector(limits: limits)
        var name: Range<Int>?
        try references(body, range) { reference throws(WireError) in
            let symbol = try symbol(reference, request, at: range.lowerBound)
            if let known = name {
                labels.add(body, name: known, value: symbol.range)
                name = nil
            } else {
                name = symbol.range
            }
        }
        return labels.finish()
    }

    static func symbol(
        _ reference: UInt64, _ request: borrowing WriteRequest, at offset: Int
    ) throws(WireError) -> WriteRequest.Symbol {
        guard reference < UInt64(request.symbols.count) else { throw WireError(.badReference, at: offset) }
        return request.symbols[Int(reference)]
    }

    /// Calls `body` with each reference of a series.
    static func references(
        _ bytes: RawSpan, _ range: Range<Int>, _ body: (UInt64) throws(WireError) -> Void
    ) throws(WireError) {
        var offset = range.lowerBound
        let end = range.upperBound
        while offset < end {
            let start = offset
            let tag = try Proto.varint(bytes, &offset, end)
            if tag == Proto.tag(1, .bytes) {
                let length = try Proto.length(bytes, &offset, end)
                let last = offset + length
                while offset < last { try body(try Proto.varint(bytes, &offset, last)) }
            } else if tag == Proto.tag(1, .varint) {
                try body(try Proto.varint(bytes, &offset, end))
            } else {
                try Proto.skip(tag, bytes, &offset, end, at: start)
            }
        }
    }
}
