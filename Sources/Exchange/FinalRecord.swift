import Sketches

/// What is known of a worker that ingests: a roll-up that goes on must miss it where the one before did.
public struct OriginState: Sendable, Equatable {
    public var origin: UInt64
    /// The first and the last window that it has marked.
    public var first: Int64
    public var progress: Int64
    /// Nodes that it knows.
    public var weight: UInt32

    public init(origin: UInt64, first: Int64, progress: Int64, weight: UInt32) {
        self.origin = origin
        self.first = first
        self.progress = progress
        self.weight = weight
    }
}

/// What a final of ingested telemetry says besides. Its slices present and expected are workers.
public struct IngestedFinal: Sendable, Equatable {
    /// Windows up to this one are closed. The final's own may be before it: then it takes the place of an earlier one.
    public var closed: Int64
    /// 0 for the first final of a window.
    public var revision: UInt32
    /// How much of the senders was heard, by nodes, 0...1.
    public var coverage: Double
    /// Partials up to this sequence are in finals, this one included.
    public var consumed: UInt64
    /// `resumeSequence` is that of a message: when that is gone, closed windows cannot be made again.
    public var isExact: Bool
    public var origins: [OriginState]

    public init(
        closed: Int64, revision: UInt32, coverage: Double, consumed: UInt64, isExact: Bool,
        origins: [OriginState]
    ) {
        self.closed = closed
        self.revision = revision
        self.coverage = coverage
        self.consumed = consumed
        self.isExact = isExact
        self.origins = origins
    }

    fileprivate func append(to writer: inout ByteWriter) {
        writer.append(closed)
        writer.append(revision)
        writer.append(coverage)
        writer.append(consumed)
        writer.append(UInt8(isExact ? 1 : 0))
        writer.append(UInt16(clamping: origins.count))
        for origin in origins.prefix(Int(UInt16.max)) {
            writer.append(origin.origin)
            writer.append(origin.first)
            writer.append(origin.progress)
            writer.append(origin.weight)
        }
    }

    fileprivate init(_ reader: inout ByteReader) throws(EnvelopeError) {
        closed = Int64(bitPattern: try reader.number())
        revision = try reader.number()
        coverage = try reader.double()
        consumed = try reader.number()
        isExact = try reader.number(UInt8.self) != 0
        let count = Int(try reader.number(UInt16.self))
        guard (0..<FleetMap.windowNumberMax).contains(closed), (0...1).contains(coverage),
            count <= reader.left / 28
        else { throw .outOfRange }
        origins = []
        for _ in 0..<count {
            let origin: UInt64 = try reader.number()
            let first = Int64(bitPattern: try reader.number())
            let progress = Int64(bitPattern: try reader.number())
            let windows = 0..<FleetMap.windowNumberMax
            guard windows.contains(first), windows.contains(progress) else { throw .outOfRange }
            origins.append(
                OriginState(origin: origin, first: first, progress: progress, weight: try reader.number()))
        }
    }
}

/// A closed window of one partition: its result, its coverage, and where the next roll-up goes on, in one message.
///
/// Finals of a partition are a chain on one subject: each is written only if the one that its writer knows is still the
/// last. So the last final is the checkpoint too, and no second write can disagree with it.
public struct FinalRecord: Sendable, Equatable {
    public var fleet: UInt64
    public var partition: UInt32
    /// Number of the window, see `FleetMap`.
    public var window: Int64
    /// Incarnation that wrote it: a writer whose acknowledgement was lost finds its own.
    public var writer: UInt64
    /// Partials from this sequence on may belong to windows after this one.
    public var resumeSequence: UInt64
    public var slicesPresent: UInt32
    public var slicesExpected: UInt32
    /// Partials that came after their window was closed, since the final before this one.
    public var late: UInt64
    /// Which of the last 64 windows had all their slices: bit n for the window n before this one. So whoever goes on can
    /// tell a copy from a partial that is late.
    public var whole: UInt64
    /// Sketches were left out, because with them the record would have been too long.
    public var lacksSketches: Bool
    /// Groups were left out, because even without sketches it would have been too long.
    public var lacksGroups: Bool
    /// Of ingested telemetry only.
    public var ingest: IngestedFinal?
    /// In the order of their keys.
    public var groups: [PartialGroup]

    /// Windows up to this one are closed.
    public var closedThrough: Int64 { ingest?.closed ?? window }

    /// Share of the slices that are in it, 0...1.
    public var coverage: Double {
        if let ingest { return lacksGroups ? 0 : ingest.coverage }
        return slicesExpected == 0 ? 1 : Double(slicesPresent) / Double(slicesExpected)
    }

    public init(
        fleet: UInt64, partition: Int, window: Int64, writer: UInt64, resumeSequence: UInt64,
        slicesPresent: Int, slicesExpected: Int, late: UInt64, whole: UInt64 = 0, groups: [PartialGroup]
    ) {
        self.fleet = fleet
        self.partition = UInt32(partition)
        self.window = window
        self.writer = writer
        self.resumeSequence = resumeSequence
        self.slicesPresent = UInt32(slicesPresent)
        self.slicesExpected = UInt32(slicesExpected)
        self.late = late
        self.whole = whole
        lacksSketches = false
        lacksGroups = false
        self.groups = groups
    }

    private static let magic: [UInt8] = Array("CLSF".utf8)

    /// Without its sketches when it would be too long with them, and without groups when even that is too much.
    public func encoded(_ limits: ExchangeLimits = ExchangeLimits()) -> [UInt8] {
        let whole = bytes()
        guard whole.count > limits.finalBytesMax else { return whole }
        var smaller = self
        smaller.lacksSketches = true
        for group in smaller.groups.indices {
            for field in smaller.groups[group].fields.indices {
                smaller.groups[group].fields[field].sketch = .init()
            }
        }
        let lean = smaller.bytes()
        guard lean.count > limits.finalBytesMax else { return lean }
        smaller.groups = []
        smaller.lacksGroups = true
        return smaller.bytes()
    }

    private func bytes() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(Self.magic)
        writer.append(UInt8(1))
        writer.append(UInt8((lacksSketches ? 1 : 0) | (lacksGroups ? 2 : 0) | (ingest == nil ? 0 : 4)))
        writer.append(UInt32(0))
        writer.append(fleet)
        writer.append(partition)
        writer.append(window)
        writer.append(self.writer)
        writer.append(resumeSequence)
        writer.append(slicesPresent)
        writer.append(slicesExpected)
        writer.append(late)
        writer.append(whole)
        ingest?.append(to: &writer)
        writer.append(UInt32(groups.count))
        for group in groups { GroupCoding.append(group, to: &writer) }
        writer.set(CRC32C.checksum(writer.bytes[10...]), at: 6)
        return writer.bytes
    }

    public init(decoding bytes: [UInt8], _ limits: ExchangeLimits = ExchangeLimits()) throws(EnvelopeError) {
        var reader = ByteReader(bytes[...])
        guard try reader.take(4).elementsEqual(Self.magic) else { throw .notOurs }
        let version: UInt8 = try reader.number()
        let flags: UInt8 = try reader.number()
        guard version == 1, flags & ~7 == 0 else { throw .unknownVersion }
        let checksum: UInt32 = try reader.number()
        guard CRC32C.checksum(bytes[10...]) == checksum else { throw .checksum }
        fleet = try reader.number()
        partition = try reader.number()
        window = Int64(bitPattern: try reader.number())
        writer = try reader.number()
        resumeSequence = try reader.number()
        slicesPresent = try reader.number()
        slicesExpected = try reader.number()
        late = try reader.number()
        whole = try reader.number()
        ingest = flags & 4 != 0 ? try IngestedFinal(&reader) : nil
        let count = Int(try reader.number(UInt32.self))
        guard (0..<FleetMap.windowNumberMax).contains(window), slicesPresent <= slicesExpected else {
            throw .outOfRange
        }
        lacksSketches = flags & 1 != 0
        lacksGroups = flags & 2 != 0
        groups = try GroupCoding.groups(&reader, count: count, limits)
    }
}
