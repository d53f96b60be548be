import Telemetry

/// The names and parents of a fleet at one version, before zstd.
enum TopologyBlob {
    static let form: UInt8 = 1

    static func encode(_ topology: TopologySnapshot) -> [UInt8] {
        var writer = ByteWriter(capacity: 64 + topology.nodeNames.count * 24 + topology.gpuNode.count * 3)
        writer.byte(form)
        writer.count(topology.version)
        writer.text(topology.site)
        for names in [
            topology.hallNames, topology.arrayNames, topology.rackNames, topology.nodeNames,
            topology.nodeModel,
        ] {
            writer.texts(names)
        }
        for parents in [topology.arrayHall, topology.rackArray, topology.nodeRack, topology.gpuNode] {
            writer.count(parents.count)
            var last: Int64 = 0
            for parent in parents {
                writer.zigzag(Int64(parent) - last)
                last = Int64(parent)
            }
        }
        writer.count(topology.gpuOrdinal.count)
        writer.raw(topology.gpuOrdinal)
        return writer.bytes
    }

    static func decode(_ bytes: [UInt8]) throws(StoreError) -> TopologySnapshot {
        var reader = ByteReader(bytes)
        guard try reader.byte() == form else { throw ByteReader.damage("its form is not known") }
        let version = try reader.varint()
        let site = try reader.text()
        var names: [[String]] = []
        for _ in 0..<5 { names.append(try reader.texts()) }
        var parents: [[Int32]] = []
        for _ in 0..<4 { parents.append(try self.parents(&reader)) }
        let ordinals = Array(try reader.raw(try reader.count()))
        guard
            let topology = TopologySnapshot(
                version: Int(truncatingIfNeeded: version), site: site, hallNames: names[0],
                arrayNames: names[1],
                arrayHall: parents[0], rackNames: names[2], rackArray: parents[1], nodeNames: names[3],
                nodeRack: parents[2], nodeModel: names[4], gpuNode: parents[3], gpuOrdinal: ordinals)
        else { throw ByteReader.damage("a fleet does not fit together") }
        return topology
    }

    private static func parents(_ reader: inout ByteReader) throws(StoreError) -> [Int32] {
        let count = try reader.count()
        var parents: [Int32] = []
        parents.reserveCapacity(count)
        var last: Int64 = 0
        for _ in 0..<count {
            last &+= try reader.zigzag()
            guard let parent = Int32(exactly: last) else {
                throw ByteReader.damage("a parent is out of range")
            }
            parents.append(parent)
        }
        return parents
    }
}
