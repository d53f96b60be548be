import ArgumentParser
import ControlAPI

struct SimulateWatch: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Shows a run as it goes, until it ends.",
        discussion: """
            On a terminal it is a view that is redrawn in place; otherwise a line a simulated day, and at most one a \
            second. At the end come the milestones. Ctrl-C leaves the run going.

            With --output jsonl or csv it prints a row a simulated day; with json, the final state.

            Examples:
              colossusctl simulate watch colossus
              colossusctl simulate watch colossus --stop-on-exit
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("The run's name.", valueName: "run"))
    var name: String

    @Flag(help: "Ctrl-C stops the run, too.")
    var stopOnExit = false

    func run() throws {
        let client = global.client()
        let pause = InterruptibleSleep()
        var screen = WatchScreen(format: global.output)
        defer { screen.close() }
        var patience = Patience(seconds: 10)
        while true {
            let reply = try patience.attempt { () throws(ControlError) in try client.simulation(run: name) }
            if let reply {
                try screen.show(reply)
                if reply.simulation.state.isOver { return try end(reply, &screen) }
            }
            if pause.sleep(milliseconds: screen.intervalMs) {
                screen.close()
                return try interrupted(client)
            }
        }
    }

    private func end(_ reply: SimulationReply, _ screen: inout WatchScreen) throws {
        screen.close()
        let run = reply.simulation
        switch global.output {
        case .table: Output.write(WatchScreen.ending(run, width: Terminal.width))
        case .json: try global.show(reply)
        case .jsonl, .csv: break
        }
        if run.state == .failed {
            throw ControlError(.failed, "The run \(run.run) failed: \(run.message ?? "no reason is known").")
        }
    }

    private func interrupted(_ client: ControlClient) throws {
        guard stopOnExit else {
            Output.complain("The run goes on. `colossusctl simulate stop \(name)` ends it.")
            return
        }
        _ = try client.changeSimulation(run: name, .stop)
        Output.complain("The run \(name) was stopped.")
    }
}

/// Where `simulate watch` draws.
struct WatchScreen {
    private let format: OutputFormat
    private let isLive: Bool
    private let view = WatchView(
        usesUnicode: Terminal.usesUnicode, isStyled: GlobalOptions.environment("NO_COLOR") == nil)
    private var log = WatchLog()
    private var drawnLines = 0
    private var milestonesSeen: Int?
    private var isOpen = false
    private var hasHeader = false

    init(format: OutputFormat) {
        self.format = format
        isLive = format == .table && Terminal.isTerminal
    }

    var intervalMs: Int { isLive ? 200 : 500 }

    mutating func show(_ reply: SimulationReply) throws {
        if isLive { return draw(reply.simulation) }
        guard format != .json, log.isDue(reply.simulation, seconds: Double(Terminal.now.ms) / 1000) else {
            return
        }
        switch format {
        case .table:
            if !hasHeader { Output.write([WatchLog.heading(reply.simulation)]) }
            Output.write([WatchLog.text(reply.simulation)])
        case .csv: Output.write(Array(reply.records.csv.dropFirst(hasHeader ? 1 : 0)))
        case .jsonl: Output.write(try reply.objects())
        case .json: break
        }
        hasHeader = true
    }

    private mutating func draw(_ run: SimulationStatus) {
        let width = Terminal.width ?? 80
        var text = isOpen ? "" : "\u{1B}[?25l"
        isOpen = true
        if drawnLines > 0 { text += "\u{1B}[\(drawnLines)F" }
        // Milestones that were passed since the last look stay above the block.
        let reached = run.milestones.filter(\.isReached)
        for milestone in reached.dropFirst(milestonesSeen ?? reached.count) {
            text += "\u{1B}[2K" + view.passed(milestone, width: width) + "\n"
        }
        milestonesSeen = reached.count
        let lines = view.lines(run, width: width)
        text += lines.map { "\u{1B}[2K" + $0 + "\n" }.joined() + "\u{1B}[J"
        drawnLines = lines.count
        Output.writeRaw(text)
    }

    /// Gives the terminal back as it was.
    mutating func close() {
        if isOpen { Output.writeRaw("\u{1B}[?25h") }
        isOpen = false
        drawnLines = 0
    }

    static func ending(_ run: SimulationStatus, width: Int?) -> [String] {
        let date = run.now.time.endingDate
        let head = "sim/\(run.run) \(run.state.rawValue) on \(date), day \(run.now.day) of \(run.days)"
        guard !run.milestones.isEmpty else { return ["", head] }
        return ["", head, ""] + run.milestoneTable.lines(width: width)
    }
}
