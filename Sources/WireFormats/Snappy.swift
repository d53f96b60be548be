/// Why a snappy block could not be read, and where.
public struct SnappyError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: String, Sendable, Hashable {
        case badHeader = "the length at the start cannot be read"
        case tooLarge = "the decompressed length is over the limit"
        case truncated = "the block ends in the middle of an element"
        case beforeStart = "a copy reaches back before the start of the output"
        case pastEnd = "there is more output than the length at the start says"
        case tooShort = "there is less output than the length at the start says"
    }

    public var reason: Reason
    /// Bytes from the start of the block to the element that is at fault.
    public var offset: Int

    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    public var description: String { "byte \(offset): \(reason.rawValue)" }
}

/// The snappy block format (google/snappy, format_description.txt), never framed: what remote write is packed in.
public enum Snappy {
    /// What the output array has behind the decompressed bytes, so that short copies can be done 16 bytes at a time.
    private static let slack = 64

    /// The decompressed length that a block claims, and the size of that header.
    public static func header(_ block: RawSpan) throws(SnappyError) -> (length: Int, bytes: Int) {
        var length = 0
        for index in 0..<min(5, block.byteCount) {
            let byte = Int(block.byte(index))
            length |= (byte & 0x7F) << (7 * index)
            guard length <= Int(UInt32.max) else { break }
            if byte < 0x80 { return (length, index + 1) }
        }
        throw SnappyError(.badHeader, at: 0)
    }

    /// Decompresses a block to the start of `output`, which grows when it is too small and is meant to be reused;
    /// what follows the decompressed bytes is arbitrary.
    ///
    /// - Parameter limit: refuses blocks that claim more bytes than that, before anything is allocated.
    /// - Returns: the number of decompressed bytes.
    public static func decode(
        _ block: RawSpan, into output: inout [UInt8], limit: Int
    ) throws(SnappyError) -> Int {
        let (length, start) = try header(block)
        guard length <= limit else { throw SnappyError(.tooLarge, at: 0) }
        // The densest element makes 64 bytes of 3.
        guard length <= block.byteCount * 22 else { throw SnappyError(.tooShort, at: block.byteCount) }
        if output.count < length + slack {
            output = [UInt8](repeating: 0, count: length + slack)
        }
        let failure = block.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { target in
                run(source, from: start, into: target, length: length)
            }
        }
        if let failure { throw failure }
        return length
    }

    /// Decompresses a block into an array of its own.
    public static func decode(_ block: [UInt8], limit: Int) throws(SnappyError) -> [UInt8] {
        var output: [UInt8] = []
        let length = try decode(block.span.bytes, into: &output, limit: limit)
        output.removeSubrange(length...)
        return output
    }

    // From here on raw memory, for speed (10 GB/s instead of 2). Invariants: `read <= end`, `written <= length`, and
    // the output has `length + slack` bytes. Nothing is read at or after `end` and nothing written at or after
    // `length + slack`; each access below says by which check.

    private static func run(
        _ source: UnsafeRawBufferPointer, from start: Int, into target: UnsafeMutableRawBufferPointer,
        length: Int
    ) -> SnappyError? {
        guard let from = source.baseAddress, let to = target.baseAddress else {
            return SnappyError(.badHeader, at: 0)
        }
        let end = source.count
        var read = start
        var written = 0
        while true {
            quick(from, &read, end, to, &written, length)
            guard read < end else { break }
            // One element that the quick loop left alone: a long literal, a near copy, the end, or what is wrong.
            let element = read
            let tag = Int(from.load(fromByteOffset: read, as: UInt8.self))
            read &+= 1
            let problem: SnappyError.Reason?
            if tag & 3 == 0 {
                problem = literal(tag, from, &read, end, to, &written, length)
            } else {
                problem = copy(tag, from, &read, end, to, &written, length)
            }
            if let problem { return SnappyError(problem, at: element) }
        }
        return written == length ? nil : SnappyError(.tooShort, at: end)
    }

    /// Does elements of at most 64 bytes as long as all is plain, and stops before the first that is not.
    ///
    /// Every one is copied as 64 bytes whatever its length, which costs less than to find out.
    @inline(__always)
    private static func quick(
        _ from: UnsafeRawPointer, _ first: inout Int, _ end: Int,
        _ to: UnsafeMutableRawPointer, _ filled: inout Int, _ length: Int
    ) {
        var read = first
        var written = filled
        // 65 bytes can be read from `read`: a tag and the longest short literal, or a tag and 4 bytes.
        let last = end &- 65
        while read <= last {
            let tag = Int(from.load(fromByteOffset: read, as: UInt8.self))
            let count: Int
            let source: UnsafeRawPointer
            let next: Int
            // The most frequent first. Of copies, steps of 16 bytes must not read what they write themselves.
            if tag & 3 == 2 {
                count = (tag &>> 2) &+ 1
                let back = Int(
                    UInt16(littleEndian: from.loadUnaligned(fromByteOffset: read &+ 1, as: UInt16.self)))
                next = read &+ 3
                guard back >= 16, back <= written else { break }
                source = UnsafeRawPointer(to + (written &- back))
            } else if tag & 3 == 0 {
                count = (tag &>> 2) &+ 1
                guard count <= 60 else { break }
                source = from + (read &+ 1)
                next = read &+ 1 &+ count
            } else if tag & 3 == 1 {
                count = ((tag &>> 2) & 7) &+ 4
                let back = (tag &>> 5) &<< 8 | Int(from.load(fromByteOffset: read &+ 1, as: UInt8.self))
                next = read &+ 2
                guard back >= 16, back <= written else { break }
                source = UnsafeRawPointer(to + (written &- back))
            } else {
                break
            }
            // `written <= length` afterwards, so that the 64 bytes end before `length + slack`.
            guard count <= length &- written else { break }
            let place = to + written
            copy16(place, source)
            copy16(place + 16, source + 16)
            copy16(place + 32, source + 32)
            copy16(place + 48, source + 48)
            written &+= count
            read = next
        }
        first = read
        filled = written
    }

    @inline(__always)
    private static func literal(
        _ tag: Int, _ from: UnsafeRawPointer, _ read: inout Int, _ end: Int,
        _ to: UnsafeMutableRawPointer, _ written: inout Int, _ length: Int
    ) -> SnappyError.Reason? {
        var count = (tag >> 2) &+ 1
        if count > 60 {
            let bytes = count &- 60
            guard bytes <= end &- read else { return .truncated }
            count = 1
            for index in 0..<bytes {
                count &+= Int(from.load(fromByteOffset: read &+ index, as: UInt8.self)) << (8 &* index)
            }
            read &+= bytes
        }
        guard count <= end &- read else { return .truncated }
        guard count <= length &- written else { return .pastEnd }
        if count <= 16, end &- read >= 16 {
            // 16 bytes can be read by the condition; at most 15 of them fall into the slack.
            copy16(to + written, from + read)
        } else {
            (to + written).copyMemory(from: from + read, byteCount: count)
        }
        read &+= count
        written &+= count
        return nil
    }

    @inline(__always)
    private static func copy(
        _ tag: Int, _ from: UnsafeRawPointer, _ read: inout Int, _ end: Int,
        _ to: UnsafeMutableRawPointer, _ written: inout Int, _ length: Int
    ) -> SnappyError.Reason? {
        let count: Int
        let back: Int
        switch tag & 3 {
        case 1:
            guard end &- read >= 1 else { return .truncated }
            count = ((tag >> 2) & 7) &+ 4
            back = (tag >> 5) << 8 | Int(from.load(fromByteOffset: read, as: UInt8.self))
            read &+= 1
        case 2:
            guard end &- read >= 2 else { return .truncated }
            count = (tag >> 2) &+ 1
            back = Int(UInt16(littleEndian: from.loadUnaligned(fromByteOffset: read, as: UInt16.self)))
            read &+= 2
        default:
            guard end &- read >= 4 else { return .truncated }
            count = (tag >> 2) &+ 1
            back = Int(UInt32(littleEndian: from.loadUnaligned(fromByteOffset: read, as: UInt32.self)))
            read &+= 4
        }
        guard back >= 1, back <= written else { return .beforeStart }
        guard count <= length &- written else { return .pastEnd }
        // Reads stay behind what is written: `written - back >= 0`.
        repeatBytes(to + written, back: back, count: count)
        written &+= count
        return nil
    }

    /// Copies up to 64 bytes that may overlap their own source, which means: repeat the last `back` bytes.
    @inline(__always)
    private static func repeatBytes(_ to: UnsafeMutableRawPointer, back: Int, count: Int) {
        let from = UnsafeRawPointer(to - back)
        if back >= 16 {
            // Whole steps of 16, at most 64 bytes: the excess falls into the slack.
            var done = 0
            while done < count {
                copy16(to + done, from + done)
                done &+= 16
            }
        } else {
            for index in 0..<count {
                to.storeBytes(
                    of: from.load(fromByteOffset: index, as: UInt8.self), toByteOffset: index, as: UInt8.self)
            }
        }
    }

    @inline(__always)
    private static func copy16(_ to: UnsafeMutableRawPointer, _ from: UnsafeRawPointer) {
        to.storeBytes(of: from.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
    }
}
