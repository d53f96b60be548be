import Telemetry

/// Reads the records of one segment. Damage costs only what it hit: reading goes on at the next place where a record
/// stands whole.
struct IngestLogReader {
    let folder: IngestLogFolder
    /// Longest body that there can be.
    let bodyMax: Int

    /// Records of a segment from a position on.
    ///
    /// - Parameters:
    ///   - end: bytes from here on are not looked at.
    ///   - isLast: whether what is not whole at the end may be a torn tail.
    /// - Returns: `next` is `end` when nothing more comes in this segment.
    func read(
        _ start: Int64, from: Int64, end: Int64, bytesMax: Int
    ) throws(StoreError) -> JournalChunk {
        let position = max(from, start + Int64(IngestLogCodec.segmentHeadBytes))
        guard position < end else { return JournalChunk(records: [], next: LogPosition(rawValue: end)) }
        var wanted = max(bytesMax, IngestLogCodec.headBytes)
        while true {
            let left = end - position
            let count = Int(min(Int64(wanted), left))
            let bytes = try folder.read(start, offset: position - start, count: count)
            let reachesEnd = Int64(count) == left
            let chunk = Self.scan(
                bytes, position: position, isWhole: reachesEnd || bytes.count < count, end: end, bodyMax)
            if !chunk.records.isEmpty || chunk.next.rawValue > position || reachesEnd { return chunk }
            wanted = max(wanted * 2, IngestLogCodec.headBytes + 255 + bodyMax)
        }
    }

    /// - Parameter isWhole: nothing comes after these bytes in the segment.
    static func scan(
        _ bytes: [UInt8], position: Int64, isWhole: Bool, end: Int64, _ bodyMax: Int
    ) -> JournalChunk {
        var records: [JournalRecord] = []
        var damaged = 0
        var offset = 0
        bytes.withUnsafeBytes { raw in
            while offset < raw.count {
                switch IngestLogCodec.record(
                    in: raw, at: offset, position: position + Int64(offset), bodyMax: bodyMax)
                {
                case .record(let record, let count):
                    records.append(record)
                    offset += count
                    continue
                case .cut where !isWhole: return
                case .cut, .damaged:
                    // With records before it, leave it for the next call, where it is the first.
                    if !records.isEmpty, !isWhole { return }
                    damaged += 1
                    offset = resume(raw, after: offset, position, isWhole, bodyMax)
                }
            }
        }
        let next = isWhole ? end : position + Int64(offset)
        return JournalChunk(records: records, next: LogPosition(rawValue: next), damaged: damaged)
    }

    /// The next offset at which a record stands whole, or that is too near to the end to tell.
    private static func resume(
        _ raw: UnsafeRawBufferPointer, after offset: Int, _ position: Int64, _ isWhole: Bool, _ bodyMax: Int
    ) -> Int {
        var next = offset + 1
        while next < raw.count {
            guard raw.count - next >= 4 else { return isWhole ? raw.count : next }
            guard
                raw.loadUnaligned(fromByteOffset: next, as: UInt32.self).littleEndian == IngestLogCodec.magic
            else {
                next += 1
                continue
            }
            switch IngestLogCodec.record(
                in: raw, at: next, position: position + Int64(next), bodyMax: bodyMax)
            {
            case .record: return next
            case .cut where !isWhole: return next
            default: next += 1
            }
        }
        return raw.count
    }

    /// Where the last whole record of a segment ends, and whether something follows that is none.
    func goodEnd(_ segment: IngestLogFolder.Segment) throws(StoreError) -> Int64 {
        let end = segment.start + segment.count
        var position = segment.start
        var good = min(end, segment.start + Int64(IngestLogCodec.segmentHeadBytes))
        while position < end {
            let chunk = try read(segment.start, from: position, end: end, bytesMax: 4 << 20)
            if let last = chunk.records.last { good = last.end.rawValue }
            guard chunk.next.rawValue > position else { break }
            position = chunk.next.rawValue
        }
        return good
    }
}
