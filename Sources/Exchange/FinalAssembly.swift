import Sketches
public import Telemetry

/// A window of all partitions, as a reporter's roller takes it.
public struct ReportedWindow: Sendable {
    /// Number of the window.
    public var window: Int64
    public var startMs: Int64
    public var endMs: Int64
    /// A share for each partition.
    public var partials: [WindowPartial]
    public var slicesPresent: Int
    public var slicesExpected: Int
    /// Reading the finals from this sequence on misses nothing of the windows after this one.
    public var resumeSequence: UInt64
    /// When the last of its finals was stored, by the broker's clock.
    public var storedMs: Int64

    /// 0...1.
    public var coverage: Double {
        slicesExpected == 0 ? 1 : Double(slicesPresent) / Double(slicesExpected)
    }
    public var samples: Int64 { partials.reduce(0) { $0 + $1.sampleCount } }
}

/// Puts the finals of all partitions together, window by window, in order and each once.
public struct FinalAssembly: Sendable {
    private struct Held: Sendable {
        var final: FinalRecord
        var sequence: UInt64
        var timestampMs: Int64
    }
    private struct Refused: Sendable {
        var sequence: UInt64
        var window: Int64
    }

    public let fleet: FleetMap
    /// The next window to report.
    public private(set) var next: Int64
    /// Finals that cannot be read, or are of another fleet.
    public private(set) var foreign: UInt64 = 0
    /// Windows of which a final is gone: a reporter that was away for longer than the brokers keep finals.
    public private(set) var skipped: UInt64 = 0
    /// Finals are to be read again from here: there was no room for what came from there on.
    public var rereadFrom: UInt64? { refused.values.map(\.sequence).min() }
    /// By partition, the first that there was no room for: all that follow are read again with it, in their order.
    private var refused: [Int: Refused] = [:]
    private let windowsMax: Int64
    private let limits: ExchangeLimits
    private let fingerprint: UInt64
    private let racks: [String: Int32]
    private let nodes: [String: Int32]
    private var waiting: [Int64: [Int: Held]] = [:]

    /// - Parameters:
    ///   - next: the first window that is not reported yet.
    ///   - windowsMax: windows that wait for a partition that is behind.
    public init(
        fleet: FleetMap, topology: TopologySnapshot, next: Int64, windowsMax: Int = 256,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.next = next
        self.windowsMax = Int64(windowsMax)
        self.limits = limits
        fingerprint = fleet.fingerprint
        racks = Self.index(topology.rackNames)
        nodes = Self.index(topology.nodeNames)
    }

    private static func index(_ names: [String]) -> [String: Int32] {
        Dictionary(names.enumerated().map { ($1, Int32($0)) }) { first, _ in first }
    }

    /// Windows that wait for a partition.
    public var waitingCount: Int { waiting.count }

    public mutating func add(_ message: StoredMessage) {
        guard let final = try? FinalRecord(decoding: message.bytes, limits), final.fleet == fingerprint,
            Int(final.partition) < fleet.partitions
        else {
            foreign += 1
            return
        }
        guard final.window >= next else { return }
        let partition = Int(final.partition)
        if let first = refused[partition], message.sequence >= first.sequence { return }
        guard final.window < next + windowsMax else {
            refused[partition] = Refused(sequence: message.sequence, window: final.window)
            return
        }
        waiting[final.window, default: [:]][partition] = Held(
            final: final, sequence: message.sequence, timestampMs: message.timestampMs)
    }

    /// Whoever reads again says so first. Only when it helps: else it would be read, and refused, again and again.
    public mutating func takeReread() -> UInt64? {
        // Not before there is room for some, unless the next window waits for it.
        guard let nearest = refused.values.map(\.window).min(), nearest < next + windowsMax,
            nearest <= next || waiting.count <= Int(windowsMax / 2)
        else { return nil }
        defer { refused = [:] }
        return rereadFrom
    }

    /// The next window, when all partitions have closed it and it has ended by `throughMs`.
    public mutating func take(stream: StreamIndex, throughMs: Int64 = .max) -> ReportedWindow? {
        skipLost()
        guard let finals = waiting[next], finals.count == fleet.partitions,
            fleet.windowEndMs(next) <= throughMs
        else { return nil }
        let window = next
        waiting[window] = nil
        next += 1
        let held = finals.sorted { $0.key < $1.key }.map(\.value)
        return ReportedWindow(
            window: window, startMs: fleet.windowStartMs(window), endMs: fleet.windowEndMs(window),
            partials: held.map { partial($0.final, stream) },
            slicesPresent: held.reduce(0) { $0 + Self.present($1.final) },
            slicesExpected: held.reduce(0) { $0 + Int($1.final.slicesExpected) },
            resumeSequence: held.map(\.sequence).min() ?? 1,
            storedMs: held.map(\.timestampMs).max() ?? 0)
    }

    /// What was too long to be told is not there.
    private static func present(_ final: FinalRecord) -> Int {
        final.lacksGroups ? 0 : Int(final.slicesPresent)
    }

    /// A partition's finals come in order: one that is missing while a later one is there, or was too early to be kept,
    /// comes no more.
    private mutating func skipLost() {
        var first = next
        for partition in 0..<fleet.partitions where waiting[next]?[partition] == nil {
            let kept = waiting.filter { $0.value[partition] != nil }.keys.min()
            guard let later = kept ?? refused[partition]?.window else { continue }
            first = max(first, later)
        }
        guard first > next else { return }
        skipped += UInt64(first - next)
        next = first
        waiting = waiting.filter { $0.key >= first }
    }

    private func partial(_ final: FinalRecord, _ stream: StreamIndex) -> WindowPartial {
        var partial = WindowPartial(
            stream: stream, shard: Int(final.partition), startMs: fleet.windowStartMs(final.window),
            resolutionMs: fleet.windowMs)
        var groups: [(GroupKey, PartialGroup)] = []
        var heard: [(Int32, PartialGroup)] = []
        for group in final.groups {
            if group.key.level == .rack, let rack = racks[group.key.name] {
                groups.append((GroupKey(rack: rack, job: group.key.job), group))
            } else if group.key.level == .node, let node = nodes[group.key.name] {
                heard.append((node, group))
            }
        }
        heard.sort { $0.0 < $1.0 }
        partial.groups = groups.map(\.0)
        partial.groupGPUs = GPUCounts(groups.map(\.1.gpus))
        partial.nodes = heard.map(\.0)
        partial.nodeGPUs = GPUCounts(heard.map(\.1.gpus))
        let ids = Set((groups.map(\.1) + heard.map(\.1)).flatMap { $0.fields.map(\.field) })
        partial.fields = ids.compactMap { FieldCatalog.find(id: $0) }.sorted()
        partial.groupColumns = Self.columns(partial.fields, groups.map(\.1), sketches: true)
        if heard.contains(where: { !$0.1.fields.isEmpty }) {
            partial.nodeColumns = Self.columns(partial.fields, heard.map(\.1), sketches: false)
        }
        partial.sampleCount = partial.groupColumns.reduce(0) { total, column in
            column.count.reduce(total) { $0 + Int64($1) }
        }
        return partial
    }

    static func columns(
        _ fields: [FieldIndex], _ groups: [PartialGroup], sketches: Bool
    ) -> [FieldColumn] {
        fields.map { field in
            let id = field.field.id
            var column = FieldColumn(field: field, entityCount: groups.count)
            if sketches { column.sketchOffsets = [0] }
            for (row, group) in groups.enumerated() {
                if let said = group.fields.first(where: { $0.field == id }) {
                    column.count[row] = UInt32(clamping: said.count)
                    column.sum[row] = said.sum
                    column.min[row] = said.min
                    column.max[row] = said.max
                    if sketches { said.sketch.encode(into: &column.sketchBytes) }
                }
                if sketches { column.sketchOffsets.append(UInt32(column.sketchBytes.count)) }
            }
            return column
        }
    }
}

extension GPUCounts {
    init(_ groups: [GroupGPUs]) {
        self.init(entityCount: groups.count)
        expected = groups.map(\.expected)
        reporting = groups.map(\.reporting)
        inJob = groups.map(\.inJob)
        faulted = groups.map(\.faulted)
    }
}
