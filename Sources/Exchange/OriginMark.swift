/// A worker's word that it has said everything of a window of ingested telemetry in one partition: sent once all of
/// its shares of that window are stored, and before any of the next.
///
/// Little-endian: `"CLSO" | version u8 | flags u8 (0) | fleet u64 | partition u32 | window i64 | origin u64 | epoch u64 |
/// weight u32 | coverage f64 | CRC-32C u32` of what is before.
public struct OriginMark: Sendable, Equatable {
    /// `FleetMap.fingerprint`.
    public var fleet: UInt64
    public var partition: UInt32
    /// Number of the window.
    public var window: Int64
    /// Who; see `FleetMap.origin`.
    public var origin: UInt64
    public var epoch: UInt64
    /// Nodes that it knows: how much it counts in the coverage.
    public var weight: UInt32
    /// How much of its senders it has heard, 0...1.
    public var coverage: Double

    public init(
        fleet: UInt64, partition: Int, window: Int64, origin: UInt64, epoch: UInt64, weight: Int,
        coverage: Double
    ) {
        self.fleet = fleet
        self.partition = UInt32(partition)
        self.window = window
        self.origin = origin
        self.epoch = epoch
        self.weight = UInt32(clamping: weight)
        self.coverage = coverage
    }

    private static let magic: [UInt8] = Array("CLSO".utf8)

    public static func isOne(_ bytes: [UInt8]) -> Bool { bytes.starts(with: magic) }

    public func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(Self.magic)
        writer.append(UInt8(1))
        writer.append(UInt8(0))
        writer.append(fleet)
        writer.append(partition)
        writer.append(window)
        writer.append(origin)
        writer.append(epoch)
        writer.append(weight)
        writer.append(coverage)
        writer.append(CRC32C.checksum(writer.bytes[...]))
        return writer.bytes
    }

    public init(decoding bytes: [UInt8]) throws(EnvelopeError) {
        var reader = ByteReader(bytes[...])
        guard try reader.take(4).elementsEqual(Self.magic) else { throw .notOurs }
        let version: UInt8 = try reader.number()
        let flags: UInt8 = try reader.number()
        guard version == 1, flags == 0 else { throw .unknownVersion }
        fleet = try reader.number()
        partition = try reader.number()
        window = Int64(bitPattern: try reader.number())
        origin = try reader.number()
        epoch = try reader.number()
        weight = try reader.number()
        coverage = try reader.double()
        let sum = CRC32C.checksum(bytes[..<reader.position])
        guard try reader.number() == sum else { throw .checksum }
        guard reader.left == 0 else { throw .trailingBytes }
        guard (0..<FleetMap.windowNumberMax).contains(window), (0...1).contains(coverage) else {
            throw .outOfRange
        }
    }
}

extension FleetMap {
    /// A worker's stable identity, from its name: never 0.
    public static func origin(_ name: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return max(1, hash)
    }
}
