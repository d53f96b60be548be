import ProtobufOracle

/// What is in a message, in the form in which all readers can be compared.
struct Reading: Equatable {
    struct Series: Equatable {
        /// Name, value, name, value …
        var texts: [[UInt8]] = []
        /// Times and the bits of values.
        var samples: [[UInt64]] = []
    }

    var histograms = 0
    var exemplars = 0
    /// Those with samples.
    var series: [Series] = []

    /// As libprotobuf reads it; `nil` if that says it is corrupt.
    static func libprotobuf(_ message: [UInt8], version: Int) -> Reading? {
        var start: UnsafePointer<UInt8>?
        var count = 0
        let isGood = message.withUnsafeBufferPointer { bytes in
            version == 1
                ? oracle_remote_write(bytes.baseAddress, bytes.count, &start, &count)
                : oracle_remote_write2(bytes.baseAddress, bytes.count, &start, &count)
        }
        guard isGood == 1 else { return nil }
        var rest = Array(UnsafeBufferPointer(start: start, count: count))[...]
        func number() -> UInt64 {
            defer { rest = rest.dropFirst(8) }
            return rest.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        var reading = Reading()
        reading.histograms = Int(number())
        reading.exemplars = Int(number())
        while !rest.isEmpty {
            var one = Series()
            for _ in 0..<number() {
                let length = Int(number())
                one.texts.append(Array(rest.prefix(length)))
                rest = rest.dropFirst(length)
            }
            for _ in 0..<number() { one.samples.append([number(), number()]) }
            reading.series.append(one)
        }
        return reading
    }
}

/// Holds what we read against libprotobuf.
///
/// The two differ on purpose, and `Fields` says where: we refuse what the specification does not have (groups, known
/// fields of another type, integers of more than 64 bits), and libprotobuf refuses tags and lengths of more than five
/// bytes, which we take.
///
/// - Parameter ours: without texts where labels name no series; `nil` if we say that the message is corrupt.
func compareWithLibprotobuf(_ message: [UInt8], _ ours: Reading?, version: Int) {
    let theirs = Reading.libprotobuf(message, version: version)
    let fields = Fields.Judge(message, version: version)
    switch (ours, theirs) {
    case (nil, nil): break
    case (.some, nil): expect(fields.hasLongTag, "libprotobuf says that it is corrupt, and we do not")
    case (nil, .some):
        expect(fields.hasLongTag || fields.isStrict, "we say that it is corrupt, and libprotobuf does not")
    case (.some(let ours), .some(var theirs)):
        if fields.hasLongTag { return }
        for (index, one) in ours.series.enumerated() where one.texts.isEmpty && index < theirs.series.count {
            theirs.series[index].texts = []
        }
        expect(ours == theirs, "we read \(ours), and libprotobuf \(theirs)")
    }
}
