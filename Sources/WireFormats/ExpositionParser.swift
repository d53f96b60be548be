/// What is known of a metric from its `# HELP` and `# TYPE` lines.
public struct MetricFamily: Sendable, Hashable {
    public var name: String
    public var type = "untyped"
    public var help = ""
}

/// What a page of exposition text says.
public struct ExpositionPage: Sendable {
    /// One run of one sample for each good line. The labels of a run are read with `ExpositionParser.readLabels`.
    public internal(set) var request = WriteRequest()
    /// The line of each run, from 1.
    public internal(set) var lines: [Int32] = []
    /// In the order in which they were first named.
    public internal(set) var families: [MetricFamily] = []
    /// How many lines were bad.
    public internal(set) var badLines = 0
    /// What was wrong with the first of them.
    public internal(set) var errors: [LineError] = []

    public init() {}
}

/// Prometheus text format 0.0.4. A bad line costs only itself.
public enum ExpositionParser {
    /// Errors that are kept word for word.
    public static let errorsMax = 10
    static let familiesMax = 10_000

    /// Reads a page into `page`, which is emptied first.
    ///
    /// - Parameters:
    ///   - arrivalMs: the time of samples that come without one, Unix milliseconds.
    ///   - salt: goes into the identities; see `IdentityHasher`.
    ///   - samplesMax: more samples than that are an error.
    public static func parse(
        _ text: RawSpan, arrivalMs: Int64, hasher: IdentityHasher, salt: UInt64, samplesMax: Int,
        into page: inout ExpositionPage
    ) throws(WireError) {
        page.request.removeAll()
        page.lines.removeAll(keepingCapacity: true)
        page.families.removeAll(keepingCapacity: true)
        page.errors.removeAll(keepingCapacity: true)
        page.badLines = 0
        guard text.byteCount <= Int(Int32.max) else { throw WireError(.tooLarge, at: 0) }
        var familyIndex: [String: Int] = [:]
        var start = 0
        var number = 0
        while start < text.byteCount {
            number += 1
            let (line, next) = nextLine(text, start)
            start = next
            guard page.request.samples.count < samplesMax || line.isEmpty else {
                throw WireError(.tooManySamples, at: line.lowerBound)
            }
            do throws(ExpositionFault) {
                guard let first = ExpositionScanner.firstInk(text, line) else { continue }
                if text.byte(first) == UInt8(ascii: "#") {
                    try comment(text, first + 1..<line.upperBound, &page, &familyIndex)
                } else {
                    let sample = try ExpositionScanner.sample(text, first..<line.upperBound)
                    let identity = hasher.identity(text, sample.series, salt: salt)
                    page.append(sample, identity, arrivalMs: arrivalMs, line: number)
                }
            } catch {
                page.fail(LineError(line: number, what: error.rawValue))
            }
        }
    }

    /// Reads name and labels of a run of this page; the name becomes the label `__name__`, in front.
    public static func readLabels(_ text: RawSpan, _ range: Range<Int>, limits: LabelLimits) -> ReadLabels {
        var labels = LabelCollector(limits: limits)
        do throws(ExpositionFault) {
            _ = try ExpositionScanner.series(text, range) { name, value, hasEscapes in
                guard let name = name.map({ text.text($0) }) ?? Label.metricName else {
                    labels.refuse(.notUTF8)
                    return
                }
                if hasEscapes, value.count <= limits.valueBytes * 2 {
                    let bytes = unescaped(text, value)
                    labels.add(bytes.span.bytes, name: name, value: 0..<bytes.count)
                } else {
                    labels.add(text, name: name, value: value)
                }
            }
        } catch {
            return .refused(.none)
        }
        return labels.finish()
    }

    private static func nextLine(_ text: RawSpan, _ start: Int) -> (line: Range<Int>, next: Int) {
        var end = start
        while end < text.byteCount, text.byte(end) != UInt8(ascii: "\n") { end &+= 1 }
        let next = end + 1
        // Not in the standard, but harmless: files that went through Windows.
        if end > start, text.byte(end - 1) == UInt8(ascii: "\r") { end -= 1 }
        return (start..<end, next)
    }

    private static func comment(
        _ text: RawSpan, _ rest: Range<Int>, _ page: inout ExpositionPage, _ index: inout [String: Int]
    ) throws(ExpositionFault) {
        let scan = ExpositionScanner.self
        var offset = rest.lowerBound
        let word = scan.word(text, &offset, rest.upperBound)
        let isType = scan.equals(text, word, "TYPE")
        guard isType || scan.equals(text, word, "HELP") else { return }
        let fault: ExpositionFault = isType ? .badType : .badHelp
        let nameRange = scan.word(text, &offset, rest.upperBound)
        guard !nameRange.isEmpty, let name = text.text(nameRange) else { throw fault }
        if isType {
            let typeRange = scan.word(text, &offset, rest.upperBound)
            guard let type = text.text(typeRange), types.contains(type),
                scan.firstInk(text, offset..<rest.upperBound) == nil
            else { throw fault }
            page.family(name, &index) { $0.type = type }
        } else {
            offset = scan.firstInk(text, offset..<rest.upperBound) ?? rest.upperBound
            let help = unescaped(text, offset..<rest.upperBound)
            page.family(name, &index) { $0.help = String(decoding: help, as: UTF8.self) }
        }
    }

    private static let types: Set<String> = ["counter", "gauge", "histogram", "summary", "untyped"]

    /// `\\`, `\"` and `\n` become what they stand for.
    private static func unescaped(_ text: RawSpan, _ range: Range<Int>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let byte = text.byte(offset)
            offset += 1
            guard byte == UInt8(ascii: "\\"), offset < range.upperBound else {
                bytes.append(byte)
                continue
            }
            let escaped = text.byte(offset)
            offset += 1
            switch escaped {
            case UInt8(ascii: "n"): bytes.append(UInt8(ascii: "\n"))
            case UInt8(ascii: "\\"), UInt8(ascii: "\""): bytes.append(escaped)
            default: bytes += [byte, escaped]
            }
        }
        return bytes
    }
}

extension ExpositionPage {
    fileprivate mutating func append(
        _ sample: ExpositionScanner.Sample, _ identity: SeriesIdentity, arrivalMs: Int64, line: Int
    ) {
        let position = request.samples.count
        request.runs.append(
            SeriesRun(identity: identity, labels: sample.series, samples: position..<position + 1))
        request.samples.append(TimedValue(timeMs: sample.timeMs ?? arrivalMs, value: sample.value))
        lines.append(Int32(line))
    }

    fileprivate mutating func fail(_ error: LineError) {
        badLines += 1
        if errors.count < ExpositionParser.errorsMax { errors.append(error) }
    }

    fileprivate mutating func family(
        _ name: String, _ index: inout [String: Int], _ change: (inout MetricFamily) -> Void
    ) {
        if let known = index[name] {
            change(&families[known])
        } else if families.count < ExpositionParser.familiesMax {
            index[name] = families.count
            families.append(MetricFamily(name: name))
            change(&families[families.count - 1])
        }
    }
}
