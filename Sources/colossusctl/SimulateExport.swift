import ArgumentParser
import ControlAPI

struct SimulateExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract:
            "Gives a run's telemetry to others: scrape ports like those of dcgm-exporters, or remote write.",
        discussion: """
            An export ends with its run, or with `simulate export stop`; it goes on after a restart of the daemon.

            Examples:
              colossusctl simulate export start colossus --nodes 8 --port 9400
              colossusctl simulate export targets colossus > simulated.json
              colossusctl simulate export start colossus --name load --to http://127.0.0.1:9090/api/v1/write
              colossusctl simulate export stop load
            """,
        subcommands: [Start.self, List.self, Targets.self, Stop.self])

    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Opens scrape ports for nodes of a run, or sends their samples to a URL.",
            discussion: """
                Without --to, each node gets a port of its own on loopback that answers GET /metrics as the dcgm-exporter of \
                that node would: names, types, labels and their order. A node that is down does not answer. With --to, \
                each tick is sent by remote write 1.0.

                Samples are of the wall clock's time, whatever the run's pace. With --simulated-time they carry the \
                simulated time: a receiver that takes a sample of the future may refuse everything after it.
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: ArgumentHelp("The run's name.", valueName: "run"))
        var runName: String

        @Option(help: "Name of the export. Default: the run's.")
        var name: String?

        @Option(name: .customLong("to"), help: "Remote write to this URL (http or https).")
        var url: String?

        @Option(help: "How many nodes. Default: 64, or all there are.")
        var nodes: Int?

        @Option(name: .customLong("from"), help: "The first of them. Default: the first of the fleet.")
        var firstNode: String?

        @Option(help: "Address of the scrape ports.")
        var listen: String?

        @Option(help: "Port of the first node; the others follow. Default: free ones.")
        var port: Int?

        @Flag(name: .customLong("simulated-time"), help: "Samples carry the simulated time.")
        var simulatedTime = false

        @Flag(name: .customLong("job-labels"), help: "Members of the job have the label hpc_job.")
        var jobLabels = false

        func run() throws {
            var start = ExportStart(run: runName)
            start.name = name
            start.url = url
            start.nodes = nodes
            start.firstNode = firstNode
            start.host = listen
            start.port = port
            start.simulatedTime = simulatedTime ? true : nil
            start.jobLabels = jobLabels ? true : nil
            try global.show(global.client().startExport(start))
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "All exports.", discussion: "Example:\n  colossusctl simulate export list")

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(global.client().exports()) }
    }

    struct Targets: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The scrape ports, as Prometheus' file_sd_configs reads them.",
            discussion: """
                Always JSON: each target with its node's rack, pod (the array) and hall.

                Example:
                  colossusctl simulate export targets colossus > simulated.json
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: ArgumentHelp("The export's name.", valueName: "export"))
        var name: String

        func run() throws {
            let export = try global.client().export(name: name).export
            guard export.kind == "scrape" else {
                throw ControlError(
                    .failed, "Export \(name) has no scrape ports.",
                    hint: "It sends to \(export.url ?? "a URL").")
            }
            let groups = Dictionary(grouping: export.targets) { [$0.rack, $0.array, $0.hall] }
            let documents = groups.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { key, targets in
                Group(
                    targets: targets.map(\.address),
                    labels: ["rack": key[0], "pod": key[1], "hall": key[2], "job": "dcgm-exporter"])
            }
            Output.write([try ControlJSON.text(documents, pretty: true)])
        }

        private struct Group: Encodable {
            var targets: [String]
            var labels: [String: String]
        }
    }

    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends an export.", discussion: "Example:\n  colossusctl simulate export stop colossus")

        @OptionGroup var global: GlobalOptions

        @Argument(help: ArgumentHelp("The export's name.", valueName: "export"))
        var name: String

        func run() throws { try global.show(global.client().stopExport(name: name)) }
    }
}
