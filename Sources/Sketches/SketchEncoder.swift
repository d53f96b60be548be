/// Writes encodings one after the other into memory that it keeps. See `SketchCoding`.
public struct SketchEncoder: Sendable {
    /// Room to write in; the first `count` bytes are written.
    private var room: [UInt8] = []
    /// Bytes that were written.
    public private(set) var count = 0

    public init() {}

    /// What was written.
    public var bytes: [UInt8] { Array(room[..<count]) }

    /// Forgets everything, and keeps the memory.
    public mutating func removeAll() { count = 0 }

    mutating func append(_ bytes: [UInt8]) {
        reserve(bytes.count)
        for byte in bytes {
            room[count] = byte
            count += 1
        }
    }

    /// Appends bytes that lie in an array.
    public mutating func append(_ bytes: [UInt8], _ range: Range<Int>) {
        reserve(range.count)
        room.replaceSubrange(count..<count + range.count, with: bytes[range])
        count += range.count
    }

    private mutating func reserve(_ more: Int) {
        let missing = count + more - room.count
        if missing > 0 { room.append(contentsOf: repeatElement(0, count: max(missing, room.count, 4_096))) }
    }

    /// Appends a run's buckets.
    mutating func write(_ run: SketchArena.Run, _ counters: Span<UInt32>, _ buckets: Int) {
        reserve(SketchCoding.sizeMax(buckets: buckets))
        var writer = VarintWriter(position: count)
        var span = room.mutableSpan
        writer.append(UInt64(buckets), to: &span)
        let first = Int(run.offset)
        // One less than the key that would be written as zero.
        var previous: Int32?
        let zerosFirst = run.width == 0 || run.base > 0
        if zerosFirst, run.zeros > 0 { writer.append(0, count: run.zeros, after: &previous, to: &span) }
        var place = 0
        let width = Int(run.width)
        if previous == nil, width > 0 {
            while place < width, counters[first &+ place] == 0 { place &+= 1 }
            if place < width {
                writer.append(
                    run.base &+ Int32(truncatingIfNeeded: place), count: counters[first &+ place],
                    after: &previous, to: &span)
                place &+= 1
            }
        }
        var last = previous ?? 0
        while place < width {
            let value = counters[first &+ place]
            if value > 0 {
                let key = run.base &+ Int32(truncatingIfNeeded: place)
                let step = UInt32(bitPattern: key &- last &- 1)
                if (step | value) < 0x80 {
                    span[writer.position] = UInt8(truncatingIfNeeded: step)
                    span[writer.position &+ 1] = UInt8(truncatingIfNeeded: value)
                    writer.position &+= 2
                } else {
                    writer.append(UInt64(step), to: &span)
                    writer.append(UInt64(value), to: &span)
                }
                last = key
            }
            place &+= 1
        }
        if !zerosFirst, run.zeros > 0 {
            if previous != nil { previous = last }
            writer.append(0, count: run.zeros, after: &previous, to: &span)
        }
        count = writer.position
    }

    /// Appends buckets that were read.
    public mutating func encode(_ buckets: borrowing SketchBuckets) {
        guard !buckets.isEmpty else { return }
        reserve(SketchCoding.sizeMax(buckets: buckets.count))
        var writer = VarintWriter(position: count)
        var span = room.mutableSpan
        writer.append(UInt64(buckets.count), to: &span)
        var previous: Int32?
        for index in 0..<buckets.count {
            let bucket = buckets.bucket(index)
            writer.append(bucket.key, count: bucket.count, after: &previous, to: &span)
        }
        count = writer.position
    }
}
