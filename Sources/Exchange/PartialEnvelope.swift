/// A slice's share of one window, or a chunk of it, as it lies on the bus.
///
/// Little-endian: `"CLSP" | version u8 | flags u8 | header length u16 | fleet u64 | slice u32 | window start i64 (ms) |
/// window length u32 (ms) | origin u64 | epoch u64 | chunk u16 | chunks u16 | groups u32 | CRC-32C u32`, then the groups.
/// The sum is over everything with its own four bytes as zero. A header may grow: its length says where groups begin.
public struct PartialEnvelope: Sendable, Equatable {
    /// `FleetMap.fingerprint`.
    public var fleet: UInt64
    public var slice: UInt32
    /// Unix milliseconds.
    public var windowStartMs: Int64
    public var windowLengthMs: UInt32
    /// Who measured. 0: nobody, these are values that any worker computes alike (simulated slices).
    ///
    /// Shares of one origin replace one another; shares of several origins are merged.
    public var origin: UInt64
    /// Of the lease under which it was made: the fencing token.
    public var epoch: UInt64
    public var chunk: UInt16
    /// At least 1.
    public var chunks: UInt16
    /// The origin held the slice only from some time within the window: another has the beginning.
    public var lacksStart: Bool
    /// The origin gave the slice away before the window ended: another has the end.
    public var lacksEnd: Bool
    public var groups: [PartialGroup]

    public static let headerLength = 60
    private static let magic: [UInt8] = Array("CLSP".utf8)
    private static let checksumOffset = 56

    public init(
        fleet: UInt64, slice: Int, windowStartMs: Int64, windowLengthMs: Int64, origin: UInt64, epoch: UInt64,
        lacksStart: Bool = false, lacksEnd: Bool = false, groups: [PartialGroup]
    ) {
        self.fleet = fleet
        self.slice = UInt32(slice)
        self.windowStartMs = windowStartMs
        self.windowLengthMs = UInt32(windowLengthMs)
        self.origin = origin
        self.epoch = epoch
        chunk = 0
        chunks = 1
        self.lacksStart = lacksStart
        self.lacksEnd = lacksEnd
        self.groups = groups
    }

    /// The messages of this partial: at least one, each no longer than the limit unless a single group is.
    ///
    /// The same partial gives the same bytes, so that a retry repeats itself.
    public func chunked(_ limits: ExchangeLimits = ExchangeLimits()) -> [[UInt8]] {
        var parts: [[[UInt8]]] = [[]]
        var size = Self.headerLength
        for group in groups {
            let bytes = GroupCoding.encoded(group)
            if size + bytes.count > limits.chunkBytesMax, let last = parts.last, !last.isEmpty {
                parts.append([])
                size = Self.headerLength
            }
            parts[parts.count - 1].append(bytes)
            size += bytes.count
        }
        precondition(parts.count <= limits.chunksMax, "a partial of \(parts.count) chunks")
        return parts.enumerated().map { message(chunk: $0.offset, of: parts.count, $0.element) }
    }

    private func message(chunk: Int, of chunks: Int, _ groups: [[UInt8]]) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(Self.magic)
        writer.append(UInt8(1))
        writer.append(UInt8((lacksStart ? 1 : 0) | (lacksEnd ? 2 : 0)))
        writer.append(UInt16(Self.headerLength))
        writer.append(fleet)
        writer.append(slice)
        writer.append(windowStartMs)
        writer.append(windowLengthMs)
        writer.append(origin)
        writer.append(epoch)
        writer.append(UInt16(chunk))
        writer.append(UInt16(chunks))
        writer.append(UInt32(groups.count))
        writer.append(UInt32(0))
        for group in groups { writer.append(group) }
        writer.set(CRC32C.checksum(writer.bytes[...]), at: Self.checksumOffset)
        return writer.bytes
    }

    /// Reads one message; what it costs is bounded by its length and by the limits.
    public init(decoding bytes: [UInt8], _ limits: ExchangeLimits = ExchangeLimits()) throws(EnvelopeError) {
        var reader = ByteReader(bytes[...])
        guard try reader.take(4).elementsEqual(Self.magic) else { throw .notOurs }
        let version: UInt8 = try reader.number()
        let flags: UInt8 = try reader.number()
        guard version == 1, flags & ~3 == 0 else { throw .unknownVersion }
        let length = Int(try reader.number(UInt16.self))
        guard length >= Self.headerLength else { throw .outOfRange }
        fleet = try reader.number()
        slice = try reader.number()
        windowStartMs = Int64(bitPattern: try reader.number())
        windowLengthMs = try reader.number()
        origin = try reader.number()
        epoch = try reader.number()
        chunk = try reader.number()
        chunks = try reader.number()
        let count = Int(try reader.number(UInt32.self))
        let checksum: UInt32 = try reader.number()
        guard Self.checksum(of: bytes) == checksum else { throw .checksum }
        guard chunks >= 1, Int(chunks) <= limits.chunksMax, chunk < chunks else { throw .outOfRange }
        lacksStart = flags & 1 != 0
        lacksEnd = flags & 2 != 0
        _ = try reader.take(length - Self.headerLength)
        groups = try GroupCoding.groups(&reader, count: count, limits)
    }

    private static func checksum(of bytes: [UInt8]) -> UInt32 {
        var copy = bytes
        for index in checksumOffset..<checksumOffset + 4 { copy[index] = 0 }
        return CRC32C.checksum(copy[...])
    }
}
