import Exchange
import Sketches
import Telemetry
import TestSupport
import Testing

@Suite("Envelopes", .computing)
struct EnvelopeTests {
    static func partial(_ seed: UInt64 = 1, groups: Int = 3) -> PartialEnvelope {
        let source = SampleFleet(seed: seed, samplesMax: 12)
        let all = (0..<groups).flatMap {
            source.groups(slice: $0, window: 3).filter { $0.key.level == .rack }
        }
        return PartialEnvelope(
            fleet: 0x0123_4567_89AB_CDEF, slice: 5, windowStartMs: 1_700_000_000_000, windowLengthMs: 10_000,
            origin: 77, epoch: 9_000_000_000, lacksEnd: true, groups: all)
    }

    @Test("a partial comes back as it was")
    func roundTrip() throws {
        let partial = Self.partial()
        let messages = partial.chunked()
        #expect(messages.count == 1)
        #expect(try PartialEnvelope(decoding: messages[0]) == partial)
    }

    @Test("the header lies where the format says")
    func header() {
        let bytes = Self.partial(groups: 0).chunked()[0]
        #expect(bytes.count == 60)
        #expect(Array(bytes[0..<8]) == Array("CLSP".utf8) + [1, 2, 60, 0])
        #expect(Array(bytes[8..<16]) == [0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01])
        #expect(Array(bytes[16..<20]) == [5, 0, 0, 0])
        #expect(Array(bytes[28..<32]) == [0x10, 0x27, 0, 0])
        #expect(Array(bytes[48..<56]) == [0, 0, 1, 0, 0, 0, 0, 0])
    }

    @Test("a partial without groups costs no more than its header, and is one message")
    func empty() throws {
        let empty = Self.partial(groups: 0)
        #expect(try PartialEnvelope(decoding: empty.chunked()[0]).groups.isEmpty)
    }

    @Test("what is too long for one message comes in chunks that hold every group once")
    func chunks() throws {
        var limits = ExchangeLimits()
        limits.chunkBytesMax = 400
        let partial = Self.partial(groups: 12)
        let messages = partial.chunked(limits)
        #expect(messages.count > 3)
        let parts = try messages.map { try PartialEnvelope(decoding: $0) }
        #expect(parts.map(\.chunk) == (0..<UInt16(messages.count)).map { $0 })
        #expect(parts.allSatisfy { Int($0.chunks) == messages.count })
        #expect(parts.flatMap(\.groups) == partial.groups)
        #expect(partial.chunked(limits) == messages, "a retry repeats the same bytes")
    }

    @Test("a changed byte is never taken for a partial", arguments: 0..<20 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = Self.partial(seed).chunked()[0]
        for _ in 0..<300 {
            var changed = bytes
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: changed[place] ^= UInt8.random(in: 1...255, using: &random)
            case 1: changed.removeSubrange(place..<bytes.count)
            default: changed.insert(UInt8.random(in: 0...255, using: &random), at: place)
            }
            // An inserted byte may equal its neighbour, and then only the end differs.
            #expect(throws: EnvelopeError.self, "seed \(seed), byte \(place)") {
                try PartialEnvelope(decoding: changed)
            }
        }
    }

    @Test(
        "bytes with a right checksum and anything behind it end in an error or in a partial",
        arguments: 0..<20 as Range<UInt64>)
    func forged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = Self.partial(seed).chunked()[0]
        var read = 0
        for _ in 0..<500 {
            var forged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                forged[Int.random(in: 6..<forged.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            for place in 56..<60 { forged[place] = 0 }
            let sum = Self.crc(forged)
            for place in 0..<4 { forged[56 + place] = UInt8(truncatingIfNeeded: sum >> (8 * place)) }
            if let partial = try? PartialEnvelope(decoding: forged) {
                read += 1
                #expect(partial.groups.allSatisfy { $0.fields.allSatisfy { $0.sum.isFinite } })
            }
        }
        #expect(read > 0, "seed \(seed): the checksum is the format's")
    }

    /// CRC-32C bit by bit: not the table of the code under test. "123456789" gives 0xE3069283 (RFC 3720).
    static func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
        }
        return ~crc
    }

    @Test("the checksum is CRC-32C")
    func checksum() {
        #expect(Self.crc(Array("123456789".utf8)) == 0xE306_9283)
        var bytes = Self.partial().chunked()[0]
        let told = bytes[56..<60].reversed().reduce(UInt32(0)) { ($0 << 8) | UInt32($1) }
        for place in 56..<60 { bytes[place] = 0 }
        #expect(told == Self.crc(bytes))
    }

    @Test(
        "a later version or an unknown flag is refused, not guessed at",
        arguments: [(4, 2), (5, 4), (5, 128)])
    func versions(place: Int, value: UInt8) {
        var bytes = Self.partial().chunked()[0]
        bytes[place] = value
        #expect(throws: EnvelopeError.unknownVersion) { try PartialEnvelope(decoding: bytes) }
    }

    @Test("a final comes back as it was; a changed byte is noticed")
    func finals() throws {
        let groups = Self.partial().groups
        var final = FinalRecord(
            fleet: 3, partition: 1, window: 12, writer: 99, resumeSequence: 1 << 40, slicesPresent: 2,
            slicesExpected: 3, late: 4, groups: groups)
        let bytes = final.encoded()
        #expect(try FinalRecord(decoding: bytes) == final)
        var random = SeededRandom(seed: 4)
        for _ in 0..<500 {
            var changed = bytes
            changed[Int.random(in: 0..<bytes.count, using: &random)] ^= UInt8.random(
                in: 1...255, using: &random)
            #expect(throws: EnvelopeError.self) { try FinalRecord(decoding: changed) }
        }
        final.slicesPresent = 4
        #expect(throws: EnvelopeError.outOfRange) { try FinalRecord(decoding: final.encoded()) }
    }

    @Test("a final that is too long leaves out sketches first, then groups, and says so")
    func longFinals() throws {
        let final = FinalRecord(
            fleet: 3, partition: 1, window: 12, writer: 99, resumeSequence: 1, slicesPresent: 1,
            slicesExpected: 1, late: 0, groups: Self.partial(groups: 40).groups)
        var limits = ExchangeLimits()
        limits.finalBytesMax = final.encoded().count - 1
        let lean = try FinalRecord(decoding: final.encoded(limits))
        #expect(lean.lacksSketches && !lean.lacksGroups)
        #expect(lean.groups.map(\.key) == final.groups.map(\.key))
        limits.finalBytesMax = 100
        let bare = try FinalRecord(decoding: final.encoded(limits))
        #expect(bare.lacksGroups && bare.groups.isEmpty && bare.window == 12)
    }
}
