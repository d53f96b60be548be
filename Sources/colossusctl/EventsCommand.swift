import ArgumentParser
import ControlAPI

struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "What happened: XIDs, nodes down and up, jobs, milestones.",
        discussion: """
            With --follow it prints what is stored from now on, until Ctrl-C.

            Examples:
              colossusctl events --kind node_down --from=-1h
              colossusctl events --stream sim/colossus --kind milestone
              colossusctl events --follow --output jsonl
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "measured, or sim/RUN. Default: all.")
    var stream: String?

    @Option(help: "xid, node_down, job_start, milestone …")
    var kind: String?

    @Option(help: "Of this node, rack, hall …")
    var entity: String?

    @Option(help: "Of this job.")
    var job: String?

    @Option(help: "From this moment: a time, a date (its end), or --from=-1h for an hour ago.")
    var from: TimeArgument?

    @Option(help: "To this moment, written as --from.")
    var to: TimeArgument?

    @Option(help: "Most events, 1 to 100000; the newest ones.")
    var limit = 100

    @Flag(name: [.long, .customShort("f")], help: "Go on with what happens from now on.")
    var follow = false

    private var request: EventsRequest {
        var request = EventsRequest()
        request.stream = stream
        request.kind = kind
        request.entity = entity
        request.job = job
        request.from = from?.time
        request.to = to?.time
        request.limit = limit
        return request
    }

    func run() throws {
        let client = global.client()
        let first = try client.events(request)
        guard follow else { return try global.show(first) }
        var printer = EventFollower(format: global.output)
        Output.write(try printer.lines(first))
        try follow(client, from: first.next, &printer)
    }

    private func follow(
        _ client: ControlClient, from start: Int64, _ printer: inout EventFollower
    ) throws {
        let pause = InterruptibleSleep()
        var patience = Patience(seconds: 30)
        var next = request
        next.after = start
        next.limit = 1000
        while true {
            let reply = try patience.attempt { () throws(ControlError) in try client.events(next) }
            if let reply {
                Output.write(try printer.lines(reply))
                next.after = reply.next
            }
            // A full page means that there is more already.
            if reply?.truncated != true, pause.sleep(milliseconds: 1000) { return }
        }
    }
}
