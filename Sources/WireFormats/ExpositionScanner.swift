/// Reads one line of exposition text, piece by piece, and allocates nothing.
enum ExpositionScanner {
    struct Sample {
        /// Name and labels as written: what the series is recognised by.
        var series: Range<Int>
        var value: Double
        var timeMs: Int64?
    }

    /// The first byte of a range that is neither space nor tab.
    static func firstInk(_ text: RawSpan, _ range: Range<Int>) -> Int? {
        var offset = range.lowerBound
        while offset < range.upperBound {
            if !isBlank(text.byte(offset)) { return offset }
            offset &+= 1
        }
        return nil
    }

    /// The next piece without blanks; empty at the end.
    static func word(_ text: RawSpan, _ offset: inout Int, _ end: Int) -> Range<Int> {
        while offset < end, isBlank(text.byte(offset)) { offset &+= 1 }
        let start = offset
        while offset < end, !isBlank(text.byte(offset)) { offset &+= 1 }
        return start..<offset
    }

    static func equals(_ text: RawSpan, _ range: Range<Int>, _ word: StaticString) -> Bool {
        guard range.count == word.utf8CodeUnitCount else { return false }
        return text.extracting(range).withUnsafeBytes { bytes in
            word.withUTF8Buffer { $0.elementsEqual(bytes) }
        }
    }

    /// A line that is not blank and no comment.
    static func sample(_ text: RawSpan, _ line: Range<Int>) throws(ExpositionFault) -> Sample {
        let end = try series(text, line) { _, _, _ in }
        var offset = end
        let number = word(text, &offset, line.upperBound)
        guard !number.isEmpty else { throw .noValue }
        guard let value = ExpositionNumber.value(text, number) else { throw .badValue }
        let time = word(text, &offset, line.upperBound)
        guard firstInk(text, offset..<line.upperBound) == nil else { throw .trailing }
        guard !time.isEmpty else { return Sample(series: line.lowerBound..<end, value: value) }
        guard let timeMs = ExpositionNumber.whole(text, time) else { throw .badTime }
        return Sample(series: line.lowerBound..<end, value: value, timeMs: timeMs)
    }

    /// Walks over `name{label="value",…}` and returns the offset behind it. The visitor gets the metric's name (with
    /// `nil` for the label name) and then each label, its value still with escapes.
    static func series(
        _ text: RawSpan, _ line: Range<Int>,
        _ visit: (_ name: Range<Int>?, _ value: Range<Int>, _ hasEscapes: Bool) -> Void
    ) throws(ExpositionFault) -> Int {
        var offset = line.lowerBound
        let end = line.upperBound
        while offset < end, isNameByte(text.byte(offset), isFirst: offset == line.lowerBound) { offset &+= 1 }
        let name = line.lowerBound..<offset
        if !name.isEmpty { visit(nil, name, false) }
        let nameEnd = offset
        skipBlanks(text, &offset, end)
        guard offset < end, text.byte(offset) == UInt8(ascii: "{") else {
            guard !name.isEmpty, offset > nameEnd || offset == end else { throw .badName }
            return nameEnd
        }
        offset &+= 1
        var isNamed = !name.isEmpty
        while true {
            skipBlanks(text, &offset, end)
            guard offset < end else { throw .openBrace }
            if text.byte(offset) == UInt8(ascii: "}") { break }
            try label(text, &offset, end, &isNamed, visit)
            skipBlanks(text, &offset, end)
            guard offset < end else { throw .openBrace }
            if text.byte(offset) == UInt8(ascii: "}") { break }
            guard text.byte(offset) == UInt8(ascii: ",") else { throw .noComma }
            offset &+= 1
        }
        guard isNamed else { throw .badName }
        return offset &+ 1
    }

    /// `name="value"`, or `"quoted.name"="value"`, or (once, in place of the name in front) `"metric.name"`.
    private static func label(
        _ text: RawSpan, _ offset: inout Int, _ end: Int, _ isNamed: inout Bool,
        _ visit: (_ name: Range<Int>?, _ value: Range<Int>, _ hasEscapes: Bool) -> Void
    ) throws(ExpositionFault) {
        let name: Range<Int>
        if text.byte(offset) == UInt8(ascii: "\"") {
            let quotedName = try quoted(text, &offset, end)
            guard !quotedName.hasEscapes else { throw .badLabelName }
            name = quotedName.range
            skipBlanks(text, &offset, end)
            let isAlone = offset < end && text.byte(offset) != UInt8(ascii: "=")
            if isAlone, !isNamed, !name.isEmpty {
                isNamed = true
                visit(nil, name, false)
                return
            }
        } else {
            let start = offset
            while offset < end, isLabelByte(text.byte(offset), isFirst: offset == start) { offset &+= 1 }
            name = start..<offset
            skipBlanks(text, &offset, end)
        }
        guard !name.isEmpty else { throw .badLabelName }
        guard offset < end, text.byte(offset) == UInt8(ascii: "=") else { throw .noEquals }
        offset &+= 1
        skipBlanks(text, &offset, end)
        guard offset < end, text.byte(offset) == UInt8(ascii: "\"") else { throw .noQuote }
        let value = try quoted(text, &offset, end)
        visit(name, value.range, value.hasEscapes)
    }

    /// The inside of a quoted text that starts at `offset`.
    private static func quoted(
        _ text: RawSpan, _ offset: inout Int, _ end: Int
    ) throws(ExpositionFault) -> (range: Range<Int>, hasEscapes: Bool) {
        offset &+= 1
        let start = offset
        var hasEscapes = false
        while offset < end {
            switch text.byte(offset) {
            case UInt8(ascii: "\""):
                let range = start..<offset
                offset &+= 1
                return (range, hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                guard offset &+ 1 < end else { throw .openQuote }
                switch text.byte(offset &+ 1) {
                case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "n"): offset &+= 2
                default: throw .badEscape
                }
            default: offset &+= 1
            }
        }
        throw .openQuote
    }

    private static func skipBlanks(_ text: RawSpan, _ offset: inout Int, _ end: Int) {
        while offset < end, isBlank(text.byte(offset)) { offset &+= 1 }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func isNameByte(_ byte: UInt8, isFirst: Bool) -> Bool {
        byte == UInt8(ascii: ":") || isLabelByte(byte, isFirst: isFirst)
    }

    private static func isLabelByte(_ byte: UInt8, isFirst: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): !isFirst
        default: false
        }
    }
}
