import Sketches

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
    /// In the order of their keys.
    public var groups: [PartialGroup]

    /// Share of the slices that are in it, 0...1.
    public var coverage: Double {
        slicesExpected == 0 ? 1 : Double(slicesPresent) / Double(slicesExpected)
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
        writer.append(UInt8((lacksSketches ? 1 : 0) | (lacksGroups ? 2 : 0)))
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
        guard version == 1, flags & ~3 == 0 else { throw .unknownVersion }
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
        let count = Int(try reader.number(UInt32.self))
        guard (0..<FleetMap.windowNumberMax).contains(window), slicesPresent <= slicesExpected else {
            throw .outOfRange
        }
        lacksSketches = flags & 1 != 0
        lacksGroups = flags & 2 != 0
        groups = try GroupCoding.groups(&reader, count: count, limits)
    }
}
