import ArgumentParser
import ControlAPI

/// `--run`, where there may be only one.
struct RunOption: ParsableArguments {
    @Option(name: .customLong("run"), help: "The run. Default: the only one that plays.")
    var name: String?

    func resolved(_ client: ControlClient) throws -> String {
        if let name { return name }
        let playing = try client.simulations().simulations.filter { !$0.state.isOver }
        guard let only = playing.first, playing.count == 1 else {
            throw ControlError(
                playing.isEmpty ? .notFound : .badRequest,
                playing.isEmpty ? "No run is playing." : "\(playing.count) runs are playing.",
                hint: playing.isEmpty
                    ? "Start one: colossusctl simulate start FILE"
                    : "Say which with --run: \(playing.map(\.run).joined(separator: ", ")).")
        }
        return only.run
    }
}

struct SimulateInject: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inject",
        abstract: "Lets a fault strike a run, now.",
        discussion: """
            Kinds that every run has: gpu_lost, memory, nvlink, node_down, software, hot, silent, stall; besides, every cause \
            of the run's scenario. The fault is kept with the run: after a restart of the daemon it strikes again at the \
            same simulated millisecond.

            Examples:
              colossusctl simulate inject memory --at r0001-n3/5 --run colossus
              colossusctl simulate inject node_down --at r0002 --for 2h --run colossus
              colossusctl simulate inject "Power supply" --at r0001-n1 --run colossus
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var chosen: RunOption

    @Argument(help: "What strikes.") var kind: String

    @Option(help: "A node (r0001-n1), a GPU (r0001-n1/3), or a rack, array, hall or site.")
    var at: String

    @Option(
        name: .customLong("for"),
        help: "Simulated time until it is repaired, found or over. Default: by kind.")
    var length: DurationArgument?

    func run() throws {
        let client = global.client()
        let request = InjectionRequest(
            kind: kind, at: at, for: length.map { DurationText.text(ms: $0.milliseconds) })
        try global.show(client.inject(run: chosen.resolved(client), request))
    }
}

struct SimulateTruth: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "truth",
        abstract: "What really failed in a run, beside what the core saw of it, and when.",
        discussion: """
            A fault counts as detected at the end of the first stored window that shows it: an XID, GPUs that fell silent, a \
            temperature beyond the limit. Silent corruption and stalls leave no sign: hidden. \
            Undetected: a sign was looked for, and there was none. Unknown: the windows after the fault are not closed yet, or not \
            kept any more. With --limit, the counts are of the faults that are shown.

            Examples:
              colossusctl simulate truth --injected --run colossus
              colossusctl simulate truth --run colossus --limit 1000 -o csv
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var chosen: RunOption

    @Flag(help: "Only faults that somebody asked for.") var injected = false
    @Option(help: "Most faults; the newest ones.") var limit = 100

    func run() throws {
        let client = global.client(timeout: .seconds(120))
        var request = TruthRequest()
        request.injected = injected
        request.limit = limit
        try global.show(client.truth(run: chosen.resolved(client), request))
    }
}

struct SimulateRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Forgets a run that is over, with all its history; its name is free again.",
        discussion: "Example:\n  colossusctl simulate remove old")

    @OptionGroup var global: GlobalOptions
    @Argument(help: ArgumentHelp("The run's name.", valueName: "run")) var name: String

    func run() throws { try global.show(global.client().removeSimulation(run: name)) }
}
