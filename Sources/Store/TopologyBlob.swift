import Telemetry

/// The names and parents of a fleet at one version, before zstd.
enum TopologyBlob {
    static let form: UInt8 = 1
    /// With who says that the nodes belong to the fleet, at the end; only where an inventory says something.
    static let formWithStanding: UInt8 = 2

    static func encode(_ topology: TopologySnapshot) -> [UInt8] {
        var writer = ByteWriter(capacity: 64 + topology.nodeNames.count * 24 + topology.gpuNode.count * 3)
        let isListed = topology.nodeStanding.contains { $0 != .heard }
        writer.byte(isListed ? formWithStanding : form)
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
        if isListed {
            writer.count(topology.nodeStanding.count)
            writer.raw(topology.nodeStanding.map(\.rawValue))
        }
        return writer.bytes
    }

    static func decode(_ bytes: [UInt8]) throws(StoreError) -> TopologySnapshot {
        var reader = ByteReader(bytes)
        let form = try reader.byte()
        guard form == Self.form || form == formWithStanding else {
            throw ByteReader.damage("its form is not known")
        }
        let version = try reader.varint()
        let site = try reader.text()
        var names: [[String]] = []
        for _ in 0..<5 { names.append(try reader.texts()) }
        var parents: [[Int32]] = []
        for _ in 0..<4 { parents.append(try self.parents(&reader)) }
        let ordinals = Array(try reader.raw(try reader.count()))
        let standing = form == formWithStanding ? try standings(&reader) : nil
        guard
            let topology = TopologySnapshot(
                version: Int(truncatingIfNeeded: version), site: site, hallNames: names[0],
                arrayNames: names[1],
                arrayHall: parents[0], rackNames: names[2], rackArray: parents[1], nodeNames: names[3],
                nodeRack: parents[2], nodeModel: names[4], nodeStanding: standing,
                gpuNode: parents[3], gpuOrdinal: ordinals)
        else { throw ByteReader.damage("a fleet does not fit together") }
        return topology
    }

    private static func standings(_ reader: inout ByteReader) throws(StoreError) -> [NodeStanding] {
        var standings: [NodeStanding] = []
        for byte in try reader.raw(try reader.count()) {
            guard let standing = NodeStanding(rawValue: byte) else {
                throw ByteReader.damage("a node's standing is not known")
            }
            standings.append(standing)
        }
        return standings
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
