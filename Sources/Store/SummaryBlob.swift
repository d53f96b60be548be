import Telemetry

/// The blobs of a summary, before zstd. Each begins with its form's number and the number of entities.
enum SummaryBlob {
    static let form: UInt8 = 1
    /// A blob may say that it holds this many entities and no more: a constant column of any length takes nine bytes.
    static let entitiesMax = 16_000_000

    static func encode(_ column: FieldColumn) throws(StoreError) -> [UInt8] {
        let entities = column.entityCount
        let always = [column.sum, column.min, column.max]
        let quantiles = [column.p50, column.p90, column.p99]
        guard always.allSatisfy({ $0.count == entities }),
            quantiles.allSatisfy({ $0.isEmpty || $0.count == entities })
        else {
            let name = column.field.field.name
            throw StoreError(
                .malformed, "the columns of \(name) are not equally long; this is a fault of colossusd")
        }
        var writer = ByteWriter(capacity: 16 + entities * 32)
        header(entities, &writer)
        writer.column(column.count)
        for values in always + quantiles { writer.column(values) }
        return writer.bytes
    }

    static func column(_ bytes: [UInt8], field: FieldIndex) throws(StoreError) -> FieldColumn {
        var reader = ByteReader(bytes)
        let entities = try header(&reader)
        var column = FieldColumn(field: field, entityCount: 0)
        column.count = try reader.counts(entities)
        column.sum = try reader.column(entities)
        column.min = try reader.column(entities)
        column.max = try reader.column(entities)
        column.p50 = try reader.column(entities)
        column.p90 = try reader.column(entities)
        column.p99 = try reader.column(entities)
        guard column.count.count == entities, column.sum.count == entities, column.min.count == entities,
            column.max.count == entities, reader.isAtEnd
        else { throw ByteReader.damage("a column is not complete") }
        return column
    }

    static func encode(_ gpus: GPUCounts) throws(StoreError) -> [UInt8] {
        let columns = [gpus.expected, gpus.reporting, gpus.inJob, gpus.faulted]
        guard (columns + [gpus.maintenance]).allSatisfy({ $0.count == gpus.expected.count }) else {
            throw StoreError(.malformed, "the GPU counts are not equally long; this is a fault of colossusd")
        }
        var writer = ByteWriter(capacity: 16 + gpus.expected.count * 8)
        header(gpus.expected.count, &writer)
        for values in columns { writer.column(values) }
        // Seldom there, and unknown to earlier versions, which wrote and read the first four.
        if gpus.maintenance.contains(where: { $0 > 0 }) { writer.column(gpus.maintenance) }
        return writer.bytes
    }

    static func gpus(_ bytes: [UInt8]) throws(StoreError) -> GPUCounts {
        var reader = ByteReader(bytes)
        let entities = try header(&reader)
        var gpus = GPUCounts(entityCount: 0)
        gpus.expected = try reader.counts(entities)
        gpus.reporting = try reader.counts(entities)
        gpus.inJob = try reader.counts(entities)
        gpus.faulted = try reader.counts(entities)
        gpus.maintenance =
            reader.isAtEnd ? Array(repeating: 0, count: entities) : try reader.counts(entities)
        guard
            [gpus.expected, gpus.reporting, gpus.inJob, gpus.faulted, gpus.maintenance].allSatisfy({
                $0.count == entities
            })
        else { throw ByteReader.damage("the GPU counts are not complete") }
        return gpus
    }

    /// `nil` when the column has no sketches.
    static func encodeSketches(_ column: FieldColumn) throws(StoreError) -> [UInt8]? {
        guard !column.sketchOffsets.isEmpty else { return nil }
        let offsets = column.sketchOffsets
        let ascending = zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 }
        guard offsets.count == column.entityCount + 1, offsets.first == 0, ascending,
            offsets.last.map(Int.init) == column.sketchBytes.count
        else {
            throw StoreError(.malformed, "sketch offsets do not fit; this is a fault of colossusd")
        }
        var writer = ByteWriter(capacity: 16 + column.entityCount * 2 + column.sketchBytes.count)
        header(column.entityCount, &writer)
        writer.column(zip(offsets, offsets.dropFirst()).map { $1 - $0 })
        writer.raw(column.sketchBytes)
        return writer.bytes
    }

    static func sketches(_ bytes: [UInt8], into column: inout FieldColumn) throws(StoreError) {
        var reader = ByteReader(bytes)
        let entities = try header(&reader)
        guard entities == column.entityCount else { throw ByteReader.damage("sketches of other entities") }
        let lengths = try reader.counts(entities)
        var offsets: [UInt32] = [0]
        offsets.reserveCapacity(entities + 1)
        var end: UInt32 = 0
        for length in lengths {
            let (sum, overflow) = end.addingReportingOverflow(length)
            guard !overflow else { throw ByteReader.damage("sketches are too long") }
            end = sum
            offsets.append(end)
        }
        guard offsets.count == entities + 1, Int(end) == reader.remaining else {
            throw ByteReader.damage("sketches are not complete")
        }
        column.sketchOffsets = offsets
        column.sketchBytes = Array(try reader.raw(reader.remaining))
    }

    static func encode(names: [String]) -> [UInt8] {
        var writer = ByteWriter(capacity: 16 + names.count * 16)
        writer.byte(form)
        writer.texts(names)
        return writer.bytes
    }

    static func names(_ bytes: [UInt8]) throws(StoreError) -> [String] {
        var reader = ByteReader(bytes)
        guard try reader.byte() == form else { throw ByteReader.damage("its form is not known") }
        return try reader.texts()
    }

    private static func header(_ entities: Int, _ writer: inout ByteWriter) {
        writer.byte(form)
        writer.count(entities)
    }

    private static func header(_ reader: inout ByteReader) throws(StoreError) -> Int {
        guard try reader.byte() == form else { throw ByteReader.damage("its form is not known") }
        let entities = try reader.varint()
        guard entities <= UInt64(entitiesMax) else { throw ByteReader.damage("it says \(entities) entities") }
        return Int(entities)
    }
}
