import CSnappy
import TestSupport
import Testing
import WireFormats

/// The reference implementation, Debian's libsnappy.
private enum Reference {
    static func compress(_ bytes: [UInt8]) -> [UInt8] {
        var length = snappy_max_compressed_length(bytes.count)
        var output = [UInt8](repeating: 0, count: length)
        let status = bytes.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { target in
                snappy_compress(
                    source.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count,
                    target.baseAddress?.assumingMemoryBound(to: CChar.self), &length)
            }
        }
        #expect(status == SNAPPY_OK)
        return Array(output[..<length])
    }

    /// `nil` for a corrupt block.
    static func decompress(_ block: [UInt8]) -> [UInt8]? {
        block.withUnsafeBytes { source in
            let start = source.baseAddress?.assumingMemoryBound(to: CChar.self)
            var length = 0
            guard snappy_uncompressed_length(start, block.count, &length) == SNAPPY_OK, length <= 1 << 20
            else { return nil }
            var output = [UInt8](repeating: 0, count: max(1, length))
            let status = output.withUnsafeMutableBytes { target in
                snappy_uncompress(
                    start, block.count, target.baseAddress?.assumingMemoryBound(to: CChar.self), &length)
            }
            return status == SNAPPY_OK ? Array(output[..<length]) : nil
        }
    }
}

private enum Corpus {
    /// Bytes between random and very repetitive.
    static func bytes(_ random: inout SeededRandom) -> [UInt8] {
        let count = [0, 1, 3, 15, 60, 61, 200, 1_000, 70_000][random.below(9)]
        let alphabet = [1, 2, 4, 256][random.below(4)]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            if random.below(3) == 0, bytes.count > 8 {
                let back = 1 + random.below(min(bytes.count, 3_000))
                for _ in 0..<min(1 + random.below(100), count - bytes.count) {
                    bytes.append(bytes[bytes.count - back])
                }
            } else {
                bytes.append(UInt8(random.below(alphabet)))
            }
        }
        return bytes
    }

    static func mutate(_ block: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var block = block
        for _ in 0...random.below(3) {
            switch random.below(4) {
            case 0 where !block.isEmpty: block[random.below(block.count)] = random.byte()
            case 1 where !block.isEmpty: block.removeLast(1 + random.below(min(block.count, 8)))
            case 2: block.insert(random.byte(), at: random.below(block.count + 1))
            default:
                guard !block.isEmpty else { continue }
                block[random.below(block.count)] ^= 1 << UInt8(random.below(8))
            }
        }
        return block
    }
}

@Suite(.computing) struct SnappyTests {
    @Test("libsnappy reads what we compress", arguments: [UInt64(1), 2, 3])
    func compressed(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<150 {
            let bytes = Corpus.bytes(&random)
            #expect(Reference.decompress(Snappy.encode(bytes)) == bytes, "seed \(seed)")
        }
    }

    @Test("libsnappy reads literals and copies of every length at which their form changes")
    func lengths() {
        var random = SeededRandom(seed: 21)
        let lengths = [
            0, 1, 4, 11, 12, 59, 60, 61, 64, 65, 67, 68, 69, 128, 255, 256, 257, 2_047, 2_048, 65_535, 65_536,
            65_537,
        ]
        for literal in lengths {
            let head = (0..<literal).map { _ in UInt8(random.below(256)) }
            for copied in lengths {
                // What does not repeat, then a part of it again, then a single byte again and again.
                let bytes = head + head.prefix(copied) + [UInt8](repeating: 9, count: copied)
                let block = Snappy.encode(bytes)
                #expect(Reference.decompress(block) == bytes, "\(literal), \(copied)")
                #expect(block.count <= 32 + bytes.count + bytes.count / 6)
            }
        }
    }

    @Test("we read what libsnappy compresses", arguments: [UInt64(4), 5, 6])
    func decompressed(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<150 {
            let bytes = Corpus.bytes(&random)
            #expect(try Snappy.decode(Reference.compress(bytes), limit: 1 << 20) == bytes, "seed \(seed)")
        }
    }

    @Test("mutated blocks are accepted and rejected as libsnappy does", arguments: [UInt64(7), 8, 9, 10])
    func mutated(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var output: [UInt8] = []
        var accepted = 0
        for _ in 0..<1_500 {
            let whole =
                random.below(2) == 0 ? Payloads.node(fields: 1, random: &random) : Corpus.bytes(&random)
            let good = random.below(2) == 0 ? Snappy.encode(whole) : Reference.compress(whole)
            let block = Corpus.mutate(good, &random)
            let expected = Reference.decompress(block)
            // The same buffer again and again, as a receiver uses it.
            let count = try? Snappy.decode(block.span.bytes, into: &output, limit: 1 << 20)
            let found = count.map { Array(output[..<$0]) }
            #expect(found == expected, "seed \(seed)")
            if found != nil { accepted += 1 }
        }
        #expect(accepted > 50, "the mutations are too hard to say anything")
    }

    @Test("blocks of random bytes never get out of bounds")
    func random() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<3_000 {
            let block = (0..<random.below(60)).map { _ in random.byte() }
            let expected = Reference.decompress(block)
            #expect((try? Snappy.decode(block, limit: 1 << 20)) == expected)
        }
    }

    @Test("a repetitive message becomes small")
    func ratio() {
        var random = SeededRandom(seed: 12)
        let message = Payloads.node(fields: 20, random: &random)
        let block = Snappy.encode(message)
        #expect(block.count * 5 < message.count)
        #expect(block.count < Reference.compress(message).count * 3 / 2)
    }

    @Test(
        "an error tells what is wrong and where",
        arguments: [
            ([], SnappyError(.badHeader, at: 0)),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0x7F], SnappyError(.badHeader, at: 0)),
            ([0x80, 0x80, 0x80, 0x80, 0x80, 0x01], SnappyError(.badHeader, at: 0)),
            ([0x05, 0x10, 0x61], SnappyError(.truncated, at: 1)),
            ([0x02, 0x08, 0x61, 0x62, 0x63], SnappyError(.pastEnd, at: 1)),
            ([0x05, 0x00, 0x61, 0x01, 0x02], SnappyError(.beforeStart, at: 3)),
            ([0x05, 0x00, 0x61, 0x01, 0x00], SnappyError(.beforeStart, at: 3)),
            ([0x05, 0x00, 0x61, 0x02, 0x01], SnappyError(.truncated, at: 3)),
            // A literal of 2^32 bytes: libsnappy counts in 32 bits and takes it for empty.
            ([0x01, 0x00, 0x61, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF], SnappyError(.truncated, at: 3)),
            ([0x05, 0x00, 0x61], SnappyError(.tooShort, at: 3)),
            ([0x80, 0x80, 0x40, 0x00, 0x61], SnappyError(.tooShort, at: 5)),
        ] as [([UInt8], SnappyError)])
    func errors(block: [UInt8], expected: SnappyError) {
        #expect(throws: expected) { try Snappy.decode(block, limit: 1 << 20) }
    }

    @Test("a block that claims more than the limit is refused before anything is allocated")
    func limit() {
        var output: [UInt8] = []
        let block = Snappy.encode([UInt8](repeating: 7, count: 1_001))
        #expect(throws: SnappyError(.tooLarge, at: 0)) {
            try Snappy.decode(block.span.bytes, into: &output, limit: 1_000)
        }
        #expect(output.isEmpty)
    }
}
