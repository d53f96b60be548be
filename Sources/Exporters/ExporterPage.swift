public import Simulation
import Telemetry

/// The text that the dcgm-exporter of one simulated node would answer: fields, types, labels and their order are those
/// of NVIDIA/dcgm-exporter@d5e5f510.
public struct ExporterPage: Sendable {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private let rack: Int
    /// Position of the node's first GPU in its rack.
    private let lane: Int
    /// What stands before each GPU's value, without the name of the field: `{gpu="0",…}` less the last brace.
    private let labels: [String]
    private let showsJob: Bool

    /// - Parameters:
    ///   - node: number in the plan.
    ///   - showsJob: adds `hpc_job` while the node is a member, as dcgm-exporter does with a job mapping.
    public init(plan: FleetPlan, node: Int, showsJob: Bool = false) {
        let place = plan.place(ofNode: node)
        rack = place.rack
        lane = 8 * place.position
        self.showsJob = showsJob
        labels = (0..<8).map { ordinal in
            let all = Dictionary(
                plan.labels(gpu: 8 * node + ordinal), uniquingKeysWith: { first, _ in first })
            let names = [
                "gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION",
            ]
            return "{" + names.map { "\($0)=\"\(Self.escaped(all[$0] ?? ""))\"" }.joined(separator: ",")
        }
    }

    /// - Parameter timeMs: written behind each value; dcgm-exporter writes none.
    /// - Returns: `nil` when the node is silent: nobody answers then.
    public func text(_ tick: SimulatedTick, timeMs: Int64? = nil) -> [UInt8]? {
        var buffer = [Double](repeating: 0, count: tick.fields.count * 64)
        var span = buffer.mutableSpan
        let state = tick.fill(rack: rack, into: &span)
        let reporting = state.reporting >> UInt64(lane) & 0xff
        guard reporting != 0 else { return nil }
        let job = state.jobOfNode[lane / 8]
        var tail = "} "
        if showsJob, tick.jobs.indices.contains(Int(job)) {
            tail = ",hpc_job=\"\(Self.escaped(tick.jobs[Int(job)]))\"} "
        }
        let end = timeMs.map { " \($0)\n" } ?? "\n"
        var text: [UInt8] = []
        text.reserveCapacity(64 << 10)
        for (position, index) in tick.fields.enumerated() {
            let field = index.field
            text += "# HELP \(field.name) \(field.help)\n# TYPE \(field.name) \(Self.type(of: field))\n".utf8
            for ordinal in 0..<8 where reporting >> UInt64(ordinal) & 1 == 1 {
                text += field.name.utf8
                let value = buffer[position * 64 + lane + ordinal]
                text += labels[ordinal].utf8
                if index == .xidErrors { text += Self.errorLabels(value).utf8 }
                text += tail.utf8
                text += Self.number(value).utf8
                text += end.utf8
            }
        }
        return text
    }

    /// As default-counters.csv has it: the exporter takes the rate of NVLink for a counter.
    static func type(of field: Field) -> String {
        field.kind == .counter || field.id == 449 ? "counter" : "gauge"
    }

    /// What the exporter says of an XID besides.
    private static func errorLabels(_ value: Double) -> String {
        let code = Int(value)
        return ",err_code=\"\(code)\",err_msg=\"\(escaped(XID.text(code) ?? "Unknown Error"))\""
    }

    /// All digits, so that whoever reads it has the same number.
    static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
