import Sketches
import Telemetry

/// The binary form of groups, the same in partials and finals.
///
/// `level u8 (0x80: with ordinals) | name, job (varint length, UTF-8) | expected, reporting, in job, faulted (varints) | number of fields (varint)`,
/// then for each field `id u16 | count varint | sum, min, max f64 | sketch (varint length, bytes of Sketches)`.
enum GroupCoding {
    /// On the wire for ever: a level keeps its number.
    private static let levels: [Level] = [.node, .rack, .array, .hall, .site, .job]

    /// Set in the level's byte: after the counts come three u64 of `GPUOrdinals`.
    private static let hasOrdinals: UInt8 = 0x80

    static func append(_ group: PartialGroup, to writer: inout ByteWriter) {
        let level = levels.firstIndex(of: group.key.level) ?? 0
        writer.append(UInt8(level) | (group.ordinals == nil ? 0 : hasOrdinals))
        writer.append(counted: Array(group.key.name.utf8))
        writer.append(counted: Array(group.key.job.utf8))
        for number in [
            group.gpus.expected, group.gpus.reporting, group.gpus.inJob, group.gpus.faulted,
        ] {
            writer.append(varint: UInt64(number))
        }
        if let ordinals = group.ordinals {
            for bits in [ordinals.known, ordinals.reporting, ordinals.inJob] { writer.append(bits) }
        }
        writer.append(varint: UInt64(group.fields.count))
        for field in group.fields {
            writer.append(field.field)
            writer.append(varint: field.count)
            writer.append(field.sum)
            writer.append(field.min)
            writer.append(field.max)
            writer.append(counted: field.sketch.encoded())
        }
    }

    static func encoded(_ group: PartialGroup) -> [UInt8] {
        var writer = ByteWriter()
        append(group, to: &writer)
        return writer.bytes
    }

    /// Reads groups up to the end of the bytes.
    static func groups(
        _ reader: inout ByteReader, count: Int, _ limits: ExchangeLimits
    ) throws(EnvelopeError) -> [PartialGroup] {
        // A group takes 8 bytes at least: a count beyond that is a lie, and would reserve memory.
        guard count <= limits.groupsMax, count <= reader.left / 8 else { throw .outOfRange }
        var groups: [PartialGroup] = []
        groups.reserveCapacity(count)
        for _ in 0..<count { groups.append(try group(&reader, limits)) }
        guard reader.left == 0 else { throw .trailingBytes }
        return groups
    }

    private static func group(
        _ reader: inout ByteReader, _ limits: ExchangeLimits
    ) throws(EnvelopeError) -> PartialGroup {
        let first = try reader.number(UInt8.self)
        let level = Int(first & ~hasOrdinals)
        guard level < levels.count else { throw .badName }
        guard let name = String(validating: try reader.counted(max: limits.nameBytesMax), as: UTF8.self),
            let job = String(validating: try reader.counted(max: limits.nameBytesMax), as: UTF8.self)
        else { throw .badName }
        var gpus = GroupGPUs()
        gpus.expected = UInt32(try reader.varint(max: UInt64(UInt32.max)))
        gpus.reporting = UInt32(try reader.varint(max: UInt64(UInt32.max)))
        gpus.inJob = UInt32(try reader.varint(max: UInt64(UInt32.max)))
        gpus.faulted = UInt32(try reader.varint(max: UInt64(UInt32.max)))
        var ordinals: GPUOrdinals?
        if first & hasOrdinals != 0 {
            ordinals = GPUOrdinals(
                known: try reader.number(), reporting: try reader.number(), inJob: try reader.number())
        }
        let count = Int(try reader.varint(max: UInt64(limits.fieldsMax)))
        var fields: [FieldStatistics] = []
        for _ in 0..<count {
            let field = try field(&reader, limits)
            if let last = fields.last, last.field >= field.field { throw .outOfRange }
            fields.append(field)
        }
        return PartialGroup(
            key: PartialGroupKey(level: levels[level], name: name, job: job), gpus: gpus, ordinals: ordinals,
            fields: fields)
    }

    private static func field(
        _ reader: inout ByteReader, _ limits: ExchangeLimits
    ) throws(EnvelopeError) -> FieldStatistics {
        let id: UInt16 = try reader.number()
        let count = try reader.varint()
        let sum = try reader.double()
        let low = try reader.double()
        let high = try reader.double()
        // Statistics that no finite samples make would spoil everything they are merged with.
        guard sum.isFinite, low.isFinite, high.isFinite, low <= high else { throw .outOfRange }
        let bytes = try reader.counted(max: limits.sketchBytesMax)
        let sketch: QuantileSketch
        do {
            sketch = try QuantileSketch(encoded: bytes)
        } catch {
            throw .badSketch
        }
        return FieldStatistics(field: id, count: count, sum: sum, min: low, max: high, sketch: sketch)
    }
}
