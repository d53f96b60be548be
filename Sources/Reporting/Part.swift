import Store
import Telemetry

/// A window laid out for one kind of endpoint: rows in a fixed order, of which some may be absent (nothing was
/// heard of them). The same summary and settings always give the same rows, but for those that end series: what these are is
/// forgotten with the process, and they come last.
protocol WindowGrid: Sendable {
    var rowCount: Int { get }

    /// What a row brings: numbers, and bytes before compression, never estimated too low. No numbers: absent.
    func weight(row: Int) -> RowWeight

    /// Where a part that starts at a row ends: as many rows as fit, and one that is present at least. The end is
    /// either a present row or the end of all rows, so that absent rows never make a part of their own.
    func cut(from first: Int, limits: BatchLimits) -> (end: Int, samples: Int)

    /// The body of a request that carries those rows.
    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8]

    /// The form that was meant for it.
    var form: WireForm { get }

    /// Numbers of those rows that a form cannot bring.
    func leftOut(_ rows: Range<Int>, form: WireForm) -> Int

    /// What is remembered when all of it is delivered: `nil` where series do not end.
    var memory: SeriesMemory? { get }
}

extension WindowGrid {
    var memory: SeriesMemory? { nil }

    func leftOut(_ rows: Range<Int>, form: WireForm) -> Int { 0 }

    func cut(from first: Int, limits: BatchLimits) -> (end: Int, samples: Int) {
        var fill = PartFill(limits: limits)
        var row = first
        while row < rowCount, fill.take(weight(row: row)) { row += 1 }
        return (row, fill.samples)
    }
}

/// How full a part is.
struct PartFill {
    let limits: BatchLimits
    private(set) var samples = 0
    private(set) var bytes = 0

    init(limits: BatchLimits) { self.limits = limits }

    func hasRoom(for weight: RowWeight) -> Bool {
        samples + weight.samples <= limits.samplesMax && bytes + weight.bytes <= limits.bytesMax
    }

    /// - Returns: `false` when it does not fit; whatever comes first fits, and so does what is absent.
    mutating func take(_ weight: RowWeight) -> Bool {
        guard weight.isPresent else { return true }
        guard samples == 0 || hasRoom(for: weight) else { return false }
        samples += weight.samples
        bytes += weight.bytes
        return true
    }
}

struct RowWeight: Sendable, Equatable {
    var samples: Int
    var bytes: Int

    static let absent = RowWeight(samples: 0, bytes: 0)
    var isPresent: Bool { samples > 0 }
}

/// Rows of a window that go out in one request.
struct Part: Sendable, Equatable {
    /// `STREAM/RESOLUTION/START/REVISION/PART`, the same on each attempt. With more windows in it, that is of the first, and
    /// `xCOUNT@SEQUENCE` is added, with the store's number of the last. A piece of a part that was cut because of a refusal
    /// adds `+FIRST-LAST` rows.
    var id: String
    var sequence: Int64
    /// From 0 within the window.
    var index: Int
    var rows: Range<Int>
    var samples: Int
    /// Event time of what it carries: the window's end, Unix milliseconds.
    var endMs: Int64
    /// It was cut off a refused part.
    var isPiece = false
    /// Of a CloudEvent.
    var type = "colossus.summary"
    /// How many are in it, wholly or in part.
    var windows = 1

    static func id(of summary: WindowSummary, part: Int) -> String { id(of: summary) + "/\(part)" }

    static func id(of summary: WindowSummary) -> String {
        "\(summary.stream.name)/\(summary.resolutionMs)/\(summary.startMs)/\(summary.revision)"
    }
}

/// A window on its way through an endpoint, cut as it goes.
struct WindowProgress: Sendable {
    let consignment: Consignment
    let grid: any WindowGrid
    let limits: BatchLimits
    /// Index of the part that `nextPart` gives.
    private(set) var partIndex = 0
    private var nextRow: Int

    init(window: StoredWindow, grid: any WindowGrid, limits: BatchLimits, skipping parts: Int) {
        self.init(.window(window), grid: grid, limits: limits, skipping: parts)
    }

    init(_ consignment: Consignment, grid: any WindowGrid, limits: BatchLimits, skipping parts: Int) {
        self.consignment = consignment
        self.grid = grid
        self.limits = limits
        nextRow = Self.firstPresent(in: grid, from: 0)
        for _ in 0..<parts { _ = nextPart() }
    }

    /// No part is left.
    var isFinished: Bool { nextRow >= grid.rowCount }

    /// Cuts off the next part: as many rows as fit, one at least.
    mutating func nextPart() -> Part? {
        guard !isFinished else { return nil }
        let first = nextRow
        let (end, samples) = grid.cut(from: first, limits: limits)
        nextRow = end
        let part = Part(
            id: consignment.id(part: partIndex), sequence: consignment.sequence, index: partIndex,
            rows: first..<end, samples: samples, endMs: consignment.endMs, type: consignment.type,
            windows: consignment.windowCount
        )
        partIndex += 1
        return part
    }

    /// Numbers of the parts that are left.
    var samplesLeft: Int {
        var rest = self
        var samples = 0
        while let part = rest.nextPart() { samples += part.samples }
        return samples
    }

    /// Where an endpoint stands when a part is done.
    func position(after part: Part) -> DeliveryPosition {
        isFinished
            ? DeliveryPosition(sequence: consignment.sequence, parts: 0)
            : DeliveryPosition(sequence: consignment.sequence - 1, parts: part.index + 1)
    }

    /// Two pieces with about half of the samples each, or `nil` when a single row is left.
    func halves(of part: Part) -> (Part, Part)? {
        var samples = 0
        var split: Int?
        var last = part.rows.lowerBound
        for row in part.rows {
            let weight = grid.weight(row: row)
            guard weight.isPresent else { continue }
            // Both sides get a row that is present.
            if samples > 0, split == nil, (samples + weight.samples) * 2 > part.samples { split = row }
            samples += weight.samples
            last = row
        }
        guard let middle = split ?? (samples > 0 && last > part.rows.lowerBound ? last : nil),
            present(part.rows.lowerBound..<middle) > 0, present(middle..<part.rows.upperBound) > 0
        else { return nil }
        return (
            piece(of: part, rows: part.rows.lowerBound..<middle),
            piece(of: part, rows: middle..<part.rows.upperBound)
        )
    }

    func body(of part: Part, form: WireForm) -> [UInt8] {
        grid.body(part.rows, id: part.id, part: part.index, form: form)
    }

    private func piece(of part: Part, rows: Range<Int>) -> Part {
        var piece = part
        piece.id =
            consignment.id(part: part.index) + "+\(rows.lowerBound)-\(rows.upperBound - 1)"
        piece.rows = rows
        piece.samples = present(rows)
        piece.isPiece = true
        return piece
    }

    private func present(_ rows: Range<Int>) -> Int {
        rows.reduce(0) { $0 + grid.weight(row: $1).samples }
    }

    private static func firstPresent(in grid: any WindowGrid, from row: Int) -> Int {
        var row = row
        while row < grid.rowCount, !grid.weight(row: row).isPresent { row += 1 }
        return row
    }
}
