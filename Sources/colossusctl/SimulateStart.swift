import ArgumentParser
import ControlAPI
import Glibc

struct SimulateStart: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Starts a run of a scenario.",
        discussion: """
            The file is read here and sent to the daemon, which need not be able to read it. The run's stream is \
            sim/RUN. With --shared all members of the daemon's cluster play it together; a cluster plays one run at a \
            time, and the next one under another name.

            Examples:
              colossusctl simulate start Config/scenarios/colossus.yaml --speed 1d/s
              colossusctl simulate start colossus.yaml --run b --seed 7 --speed max --tick 1d
              colossusctl simulate start colossus.yaml --shared --speed 60
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(help: "A scenario file.", completion: .file(extensions: ["yaml"]))
    var scenario: String

    @Option(name: .customLong("run"), help: "Name of the run. Default: the scenario's name.")
    var name: String?

    @Option(help: "Simulated seconds a second (1, 86400), a length a second (1d/s), or max.")
    var speed: String?

    @Option(help: "A whole number from 0; the same seed gives the same run. Default: the scenario's.")
    var seed: UInt64?

    @Option(help: "One tick of telemetry in simulated time: 10s, 1h, 1d. Default: follows the speed.")
    var tick: DurationArgument?

    @Flag(help: "For all members of the cluster, where no run of it goes on.")
    var shared = false

    func run() throws {
        var start = SimulationStart()
        start.scenario = scenario
        start.scenarioText = try Self.text(of: scenario)
        start.run = name
        start.speed = speed
        start.seed = seed
        start.tick = (tick?.milliseconds).map(DurationText.text(ms:))
        start.isShared = shared ? true : nil
        try global.show(global.client(timeout: .seconds(90)).startSimulation(start))
    }

    /// A text file, no larger than the daemon takes.
    static func text(of path: String) throws(ControlError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(path, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0 { throw unreadable(path, String(cString: strerror(errno))) }
            if count == 0 { break }
            bytes += piece[..<count]
            guard bytes.count < ControlLimits.requestBytesMax / 2 else {
                throw unreadable(path, "it is too large")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw unreadable(path, "it is not UTF-8")
        }
        return text
    }

    private static func unreadable(_ path: String, _ reason: String) -> ControlError {
        ControlError(.notFound, "The scenario \(path) cannot be read: \(reason).", hint: "Check the path.")
    }
}
