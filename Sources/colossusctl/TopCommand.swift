import ArgumentParser
import ControlAPI

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "The status again and again, or who has the most series.",
        subcommands: [TopStatusCommand.self, TopSeriesCommand.self],
        defaultSubcommand: TopStatusCommand.self)
}

struct TopStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "The status, again and again: full-screen on a terminal, plain without one.",
        discussion: """
            Ctrl-C ends it. It bears with a daemon that is away. With NO_COLOR it uses no colours.

            Examples:
              colossusctl top
              colossusctl top --interval 10s --count 6 > minute.txt
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "How long between two looks: 500ms, 2s, 1m.")
    var interval = DurationArgument(seconds: 2)

    @Option(help: "End after so many looks.")
    var count: Int?

    func validate() throws {
        if let count, count < 1 { throw ValidationError("--count: expected a number from 1") }
    }

    func run() throws {
        let client = global.client()
        let pause = InterruptibleSleep()
        let isLive = global.choice == .table && Terminal.isTerminal
        var patience = Patience(seconds: 60)
        var looks = 0
        if isLive { Output.writeRaw(TopView.open) }
        defer { if isLive { Output.writeRaw(TopView.close) } }
        while true {
            let reply = try patience.attempt { () throws(ControlError) in try client.status() }
            if isLive {
                let view = TopView(isStyled: GlobalOptions.environment("NO_COLOR") == nil)
                let lines = try reply?.output(.table, width: Terminal.width) ?? ["colossusd does not answer"]
                Output.writeRaw(view.frame(lines, width: Terminal.width ?? 80, height: Terminal.height))
            } else if let reply {
                if looks > 0, global.output == .table { Output.write([""]) }
                try global.show(reply)
            }
            if reply != nil { looks += 1 }
            if let count, looks >= count { return }
            if pause.sleep(milliseconds: Int(interval.milliseconds)) { return }
        }
    }
}
