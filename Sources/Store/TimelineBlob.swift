import Telemetry

/// The timeline point that came with a window, inside the window's row.
enum TimelineBlob {
    static func encode(_ point: TimelinePoint) -> [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.byte(1)
        writer.zigzag(point.timeMs)
        writer.text(point.phase)
        for number in [
            point.day, point.phaseDay, point.phaseDays, point.announced, point.installed, point.powered,
            point.inTraining, point.interruptions,
        ] {
            writer.zigzag(Int64(number))
        }
        for number in [point.utilization, point.megawatts, point.ettr] { writer.fixed64(number.bitPattern) }
        return writer.bytes
    }

    static func decode(_ bytes: [UInt8]) throws(StoreError) -> TimelinePoint {
        var reader = ByteReader(bytes)
        guard try reader.byte() == 1 else { throw ByteReader.damage("its form is not known") }
        var point = TimelinePoint(timeMs: try reader.zigzag())
        point.phase = try reader.text()
        point.day = Int(try reader.zigzag())
        point.phaseDay = Int(try reader.zigzag())
        point.phaseDays = Int(try reader.zigzag())
        point.announced = Int(try reader.zigzag())
        point.installed = Int(try reader.zigzag())
        point.powered = Int(try reader.zigzag())
        point.inTraining = Int(try reader.zigzag())
        point.interruptions = Int(try reader.zigzag())
        point.utilization = Double(bitPattern: try reader.fixed64())
        point.megawatts = Double(bitPattern: try reader.fixed64())
        point.ettr = Double(bitPattern: try reader.fixed64())
        return point
    }
}
