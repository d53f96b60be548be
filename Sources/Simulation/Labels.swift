import Telemetry

extension FleetPlan {
    private static let hex = Array("0123456789abcdef".utf8)
    private static let buses = ["18", "2A", "3A", "5D", "9A", "AB", "BA", "DB"]

    /// `GPU-` and a UUID of version 4 out of the seed; the same GPU has the same one in every run of the scenario.
    public func uuid(gpu: Int) -> String {
        var draw = philox.draw(.identity, entity: UInt32(gpu), counter: 0)
        draw[1] = draw[1] & 0xffff_0fff | 0x4000
        draw[2] = draw[2] & 0x3fff_ffff | 0x8000_0000
        var text = [UInt8]("GPU-".utf8)
        for word in 0..<4 {
            for shift in stride(from: 28, through: 0, by: -4) {
                if shift == 12, word == 1 || word == 2 { text.append(UInt8(ascii: "-")) }
                text.append(Self.hex[Int(draw[word] >> UInt32(shift) & 15)])
            }
            if word < 2 { text.append(UInt8(ascii: "-")) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The labels (without `__name__`) with which dcgm-exporter would send this GPU's series, and its place in the
    /// fleet: `rack`, `pod` (the array) and `hall`; sorted by name, as remote write wants them.
    ///
    /// - Parameter job: adds `hpc_job`.
    public func labels(gpu: Int, job: String? = nil) -> [(String, String)] {
        let node = gpu / Scenario.Layout.gpusPerNode
        let ordinal = gpu % Scenario.Layout.gpusPerNode
        let rack = Int(rackOfNode[node])
        let array = Int(racks[rack].array)
        var labels = [
            ("DCGM_FI_DRIVER_VERSION", scenario.telemetry.driverVersion),
            ("Hostname", nodeName(node)),
            ("UUID", uuid(gpu: gpu)),
            ("device", "nvidia\(ordinal)"),
            ("gpu", String(ordinal)),
            ("hall", hallName(hall(ofArray: array))),
            ("modelName", model(ofNode: node).name),
            ("pci_bus_id", "00000000:\(Self.buses[ordinal]):00.0"),
            ("pod", arrayName(array)),
            ("rack", rackName(rack)),
        ]
        if let job, !job.isEmpty { labels.insert(("hpc_job", job), at: 6) }
        return labels
    }
}
