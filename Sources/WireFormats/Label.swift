/// One label of a series. The metric's name is the label `__name__`.
public struct Label: Sendable, Hashable {
    public var name: String
    public var value: String

    public static let metricName = "__name__"

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What a sender may put into the labels of one series.
public struct LabelLimits: Sendable, Hashable {
    public var count = 64
    public var nameBytes = 256
    public var valueBytes = 2_048

    public init() {}
}

/// Why labels are no name of a series, though they could be read.
public enum LabelProblem: String, Error, Sendable, Hashable {
    case none = "the series has no labels"
    case tooMany = "the series has too many labels"
    case tooLong = "a label is too long"
    case notUTF8 = "a label is not UTF-8"
    case emptyName = "a label has no name"
    case repeated = "two labels have one name"
}

/// The labels of a series as they were sent, or what is wrong with them.
public enum ReadLabels: Sendable, Hashable {
    case labels([Label])
    case refused(LabelProblem)
}

/// Collects labels under their limits, from whatever format they come.
struct LabelCollector {
    private let limits: LabelLimits
    private var labels: [Label] = []
    private var problem: LabelProblem?
    private var isSorted = true

    init(limits: LabelLimits) {
        self.limits = limits
        labels.reserveCapacity(20)
    }

    mutating func add(_ bytes: RawSpan, name: Range<Int>, value: Range<Int>) {
        guard name.count <= limits.nameBytes else { return refuse(.tooLong) }
        guard let name = bytes.text(name) else { return refuse(.notUTF8) }
        add(bytes, name: name, value: value)
    }

    mutating func add(_ bytes: RawSpan, name: String, value: Range<Int>) {
        guard problem == nil else { return }
        guard value.count <= limits.valueBytes, name.utf8.count <= limits.nameBytes else {
            return refuse(.tooLong)
        }
        guard labels.count < limits.count else { return refuse(.tooMany) }
        guard !name.isEmpty else { return refuse(.emptyName) }
        guard !isKnown(name) else { return refuse(.repeated) }
        guard let value = bytes.text(value) else { return refuse(.notUTF8) }
        labels.append(Label(name, value))
    }

    /// Senders sort labels: a name that comes after the one before is a new one as long as all did so.
    private mutating func isKnown(_ name: String) -> Bool {
        if let last = labels.last, last.name >= name { isSorted = false }
        return !isSorted && labels.contains { $0.name == name }
    }

    /// The first problem counts.
    mutating func refuse(_ reason: LabelProblem) {
        if problem == nil { problem = reason }
    }

    consuming func finish() -> ReadLabels {
        if let problem { return .refused(problem) }
        return labels.isEmpty ? .refused(.none) : .labels(labels)
    }
}
