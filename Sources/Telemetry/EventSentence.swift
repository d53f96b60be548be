extension Event {
    /// The message, or, where whoever told of the event gave none, a sentence made of what is known.
    public var sentence: String { message.isEmpty ? made : message }

    /// More names than these do not help anybody to read a line.
    private static let namesMax = 8

    private var made: String {
        switch kind {
        case .xid: "XID \(number) on \(place)"
        case .nodeDown: "\(place) is down"
        case .nodeUp: "\(place) is up again"
        case .jobStart: "job \(job) starts" + onNodes
        case .jobEnd: "job \(job) ends"
        case .jobInterrupted: "job \(job) is interrupted" + (entity.isEmpty ? "" : " by \(place)")
        case .jobRestarted: "job \(job) goes on again" + onNodes
        case .checkpoint: "job \(job) has written a checkpoint"
        case .maintenanceStart: "maintenance of \(place) begins"
        case .maintenanceEnd: "maintenance of \(place) ends"
        case .milestone: "a milestone" + (entity.isEmpty ? "" : ": \(entity)")
        case .phaseStart: "phase \(entity) begins"
        case .phaseEnd: "phase \(entity) ends"
        case .powerChange: "the power changes to \(number) MW"
        case .alertFiring: "alert\(rule) on \(place)"
        case .alertResolved: "alert\(rule) on \(place) is over"
        }
    }

    private var place: String {
        let name = entity.isEmpty ? (nodes.isEmpty ? "the site" : names) : entity
        return gpu.map { "GPU \($0) of \(name)" } ?? name
    }

    private var rule: String { alert.map { " " + $0.rule } ?? "" }

    private var onNodes: String {
        nodes.isEmpty ? "" : " on \(nodes.count) node\(nodes.count == 1 ? "" : "s"): \(names)"
    }

    private var names: String {
        let more = nodes.count - Self.namesMax
        return nodes.prefix(Self.namesMax).joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
    }

    private var number: String {
        guard let value else { return "?" }
        return Int64(exactly: value).map { "\($0)" } ?? "\(value)"
    }
}
