import ArgumentParser
import ControlAPI

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "The daemons that share a fleet over NATS: who they are, and who does what.",
        discussion: """
            Any member answers for all. Ends with 4 when the daemon works alone.

            Examples:
              colossusctl cluster status
              colossusctl cluster slices --output csv
              colossusctl cluster drain gpu-ops-2
            """,
        subcommands: [Status.self, Workers.self, Slices.self, Drain.self, Rebalance.self, Capacity.self],
        defaultSubcommand: Status.self)

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The run, its slices, and all members.",
            discussion: """
                Ends with 3 when the member has a problem, or when slices have no worker.

                Examples:
                  colossusctl cluster status
                  colossusctl cluster status --output json | jq '.members[] | {name, state, slices}'
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws {
            let reply = try global.client().cluster()
            try global.show(reply)
            if reply.problem != nil || reply.slicesHeld < reply.slices { throw ExitReason.warnings }
        }
    }

    struct Workers: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The workers, with their shares and how far they are.",
            discussion: """
                Examples:
                  colossusctl cluster workers
                  colossusctl cluster workers --output jsonl | jq -r 'select(.state == "silent").name'
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(ClusterWorkersReply(global.client().cluster())) }
    }

    struct Slices: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Each slice, with its arrays and its worker.",
            discussion: "Example:\n  colossusctl cluster slices --output csv")

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(global.client().clusterSlices()) }
    }

    struct Drain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a worker give all its slices away, and waits until it has none.",
            discussion: """
                It takes none again until `cluster rebalance`, or until it is restarted. Ends with 75 when it still has \
                slices after the time.

                Example:
                  colossusctl cluster drain gpu-ops-2 --timeout 30s
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The worker's name, as `cluster workers` shows it.")
        var worker: String

        @Option(help: "How long to wait: 10s, 5m.")
        var timeout = DurationArgument(seconds: 60)

        func run() throws {
            let client = global.client(timeout: .seconds(30))
            let start = Terminal.now
            var reply = try client.drainWorker(name: worker)
            while !reply.done, Terminal.now.ms - start.ms < timeout.milliseconds {
                reply = try client.drainWorker(name: worker)
            }
            try global.show(reply)
            if !reply.done { throw ExitReason.tryAgain }
        }
    }

    struct Capacity: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What fleets of some sizes cost brokers and workers; needs no running daemon.",
            discussion: """
                Worked out of measured figures, which --output json shows.

                Examples:
                  colossusctl cluster capacity
                  colossusctl cluster capacity --gpus 400000 --window 1s --output json
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "GPUs of a fleet, 1 to 100000000; repeatable. Default: 200000, 1000000 and 10000000.")
        var gpus: [Int] = []

        @Option(help: "Time between two windows, of the wall clock.")
        var window = DurationArgument(seconds: 10)

        @Option(help: "Fields of a GPU, 1 to 256.")
        var fields = 25

        @Option(help: "cluster.lease")
        var lease = DurationArgument(seconds: 10)

        @Option(help: "cluster.slices, 1 to 4096")
        var slices = 64

        func validate() throws {
            guard gpus.allSatisfy({ (1...100_000_000).contains($0) }), (1...256).contains(fields),
                (1...4_096).contains(slices), window.milliseconds > 0, lease.milliseconds > 0
            else { throw ValidationError("a number is out of its range; see --help") }
        }

        func run() throws {
            try global.show(
                ClusterCapacityReply(
                    gpus: gpus.isEmpty ? [200_000, 1_000_000, 10_000_000] : gpus,
                    windowSeconds: Double(window.milliseconds) / 1_000, fields: fields,
                    leaseSeconds: Double(lease.milliseconds) / 1_000, slicesMax: slices))
        }
    }

    struct Rebalance: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets all workers take slices, also those that were drained; shares even out.",
            discussion: """
                Shares even out by themselves when workers come and go: this ends drains.

                Example:
                  colossusctl cluster rebalance
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws {
            let reply = try global.client().rebalanceCluster()
            try global.show(reply)
            if reply.members.contains(where: { !$0.ok }) { throw ExitReason.failed }
        }
    }
}
