import ArgumentParser
import ControlAPI
import Settings
import Simulation
import Telemetry

/// The fleet that `config explain --cost` is about.
struct CostOptions: ParsableArguments {
    @Option(
        help: "The file; conf.d/*.yaml beside it is read, too.", completion: .file(extensions: ["yaml"]))
    var file = "/etc/colossusd/colossusd.yaml"

    @Option(help: "A fleet of so many GPUs.")
    var gpus: Int?

    @Option(help: "The fleet of a scenario when it is complete.", completion: .file(extensions: ["yaml"]))
    var scenario: String?

    @Option(help: "Fields of each GPU. Default: the default ones of dcgm-exporter.")
    var fields: Int?

    @Option(help: "How often each series is sent.")
    var interval = DurationArgument(seconds: 15)

    var isGiven: Bool { gpus != nil || scenario != nil || fields != nil }

    func validate() throws {
        if gpus != nil, scenario != nil {
            throw ValidationError("--gpus and --scenario say the same: give one")
        }
        if let gpus, !(1...100_000_000).contains(gpus) {
            throw ValidationError("--gpus: expected a number from 1 to 100000000")
        }
        if let fields, !(1...FieldCatalog.all.count).contains(fields) {
            throw ValidationError("--fields: expected a number from 1 to \(FieldCatalog.all.count)")
        }
    }

    func reply() throws -> ConfigCostReply {
        let settings = try loadSettings(path: file)
        var fleet = try size(settings)
        if let fields { fleet.fields = fields }
        fleet.intervalMs = interval.milliseconds
        return ConfigCostReply(path: file, StorageCost(settings, fleet: fleet), settings)
    }

    private func size(_ settings: DaemonSettings) throws -> FleetSize {
        if let gpus { return FleetSize(gpus: gpus) }
        if let scenario {
            let loaded = try loadScenario(path: scenario)
            var fleet = FleetSize(gpus: loaded.gpuCount)
            let layout = loaded.layout
            fleet.racks = Self.groups(fleet.nodes, of: layout.nodesPerRack)
            fleet.arrays = Self.groups(fleet.racks, of: layout.racksPerArray)
            fleet.halls = Self.groups(fleet.gpus, of: layout.gpusPerHall)
            return fleet
        }
        guard let inventory = settings.inventory.file else {
            throw ControlError(
                .badRequest, "\(file) names no inventory, so the size of the fleet is not known.",
                hint: "Say it with --gpus or --scenario.")
        }
        return try FleetSize(inventory: inventory)
    }

    private static func groups(_ count: Int, of size: Int) -> Int { (count + size - 1) / max(1, size) }
}

extension ConfigCostReply {
    init(path: String, _ cost: StorageCost, _ settings: DaemonSettings) {
        let size = cost.fleet
        self.init(
            path: path,
            fleet: Fleet(
                gpus: size.gpus, nodes: size.nodes, racks: size.racks, arrays: size.arrays, halls: size.halls,
                fields: size.fields, intervalSeconds: Double(size.intervalMs) / 1_000))
        series = Int64(cost.series)
        samplesPerSecond = cost.samplesPerSecond
        memoryBytes = cost.memoryBytes
        store = cost.rows.map {
            Row(
                level: $0.level.rawValue, resolution: DurationText.text(ms: $0.resolutionMs),
                rowsPerDay: $0.rowsPerDay, bytesPerDay: $0.bytesPerDay, keptBytes: $0.keptBytes)
        }
        bytesPerDay = cost.bytesPerDay
        keptBytes = cost.keptBytes
        bytesMax = settings.store.bytesMax
        endpoints = cost.endpoints.map {
            Rate(
                name: $0.name, kind: $0.kind, samplesPerSecond: $0.samplesPerSecond,
                requestsPerSecond: $0.requestsPerSecond)
        }
        if keptBytes > settings.store.bytesMax {
            warnings.append(
                "The history would grow to \(Number.bytes(keptBytes)), more than store.bytes_max (\(Number.bytes(settings.store.bytesMax))): the finest windows go before their time."
            )
        }
        if cost.series > settings.ingest.limits.series {
            warnings.append(
                "\(Number.grouped(cost.series)) series are more than ingest.limits.series (\(Number.grouped(settings.ingest.limits.series))): the rest is folded into __other__."
            )
        }
    }
}
