import ArgumentParser
import ControlAPI

struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Starts, steers and watches simulated runs.",
        subcommands: [
            SimulateStart.self, SimulateStatus.self, SimulateWatch.self, SimulatePause.self,
            SimulateResume.self, SimulateSpeed.self, SimulateStop.self, SimulateRemove.self,
            SimulateInject.self, SimulateTruth.self, SimulateExport.self,
        ])
}

struct SimulateStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "All runs, or one with its milestones.",
        discussion: """
            Examples:
              colossusctl simulate status
              colossusctl simulate status colossus --output json | jq .simulation.milestones
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("The run's name.", valueName: "run"))
    var name: String?

    func run() throws {
        if let name {
            try global.show(global.client().simulation(run: name))
        } else {
            try global.show(global.client().simulations())
        }
    }
}

struct SimulatePause: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Stops a run's clock.",
        discussion: "Example:\n  colossusctl simulate pause colossus")

    @OptionGroup var global: GlobalOptions
    @Argument(help: ArgumentHelp("The run's name.", valueName: "run")) var name: String

    func run() throws { try global.show(global.client().changeSimulation(run: name, .pause)) }
}

struct SimulateResume: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Lets a paused run go on.",
        discussion: "Example:\n  colossusctl simulate resume colossus")

    @OptionGroup var global: GlobalOptions
    @Argument(help: ArgumentHelp("The run's name.", valueName: "run")) var name: String

    func run() throws { try global.show(global.client().changeSimulation(run: name, .resume)) }
}

struct SimulateStop: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Ends a run; its history stays.",
        discussion: "Example:\n  colossusctl simulate stop colossus")

    @OptionGroup var global: GlobalOptions
    @Argument(help: ArgumentHelp("The run's name.", valueName: "run")) var name: String

    func run() throws { try global.show(global.client().changeSimulation(run: name, .stop)) }
}

struct SimulateSpeed: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Changes how fast a run's clock goes.",
        discussion: """
            Examples:
              colossusctl simulate speed colossus 1d/s
              colossusctl simulate speed colossus 1         (real time)
              colossusctl simulate speed colossus max       (as fast as this machine can)
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: ArgumentHelp("The run's name.", valueName: "run")) var name: String
    @Argument(help: "Simulated seconds a second (1, 86400), a length a second (1d/s), or max.")
    var speed: String

    func run() throws { try global.show(global.client().changeSimulation(run: name, .speed(speed))) }
}
