import ArgumentParser
import CMalloc
import ControlAPI
import Dispatch
import Glibc
import Logging
import Reporting
import Settings
import SystemdSupport

/// The program: reads the command line, starts the daemon, and waits for its end.
@main
struct Colossusd: ParsableCommand {
    static let version = ProgramVersion.text

    static let configuration = CommandConfiguration(
        commandName: "colossusd",
        abstract: "Simulates and ingests the telemetry of GPU training clusters.",
        discussion: """
            Receives remote write, exposition text and events on 127.0.0.1:9480, plays simulated fleets, aggregates \
            both, keeps the history in the state directory and pushes summaries to the configured endpoints. \
            colossusctl(1) talks to it.

            EXAMPLES
              colossusd --check-config --config ./colossusd.yaml
              colossusd --config ./colossusd.yaml --state-dir ./state --runtime-dir ./run
            """,
        version: version
    )

    @Option(help: "The configuration; conf.d/*.yaml beside it is read after it.")
    var config = "/etc/colossusd/colossusd.yaml"

    @Option(help: "Where the history is kept. [default: $STATE_DIRECTORY, else /var/lib/colossusd]")
    var stateDir: String?

    @Option(help: "Where the control socket is. [default: $RUNTIME_DIRECTORY, else /run/colossusd]")
    var runtimeDir: String?

    @Flag(help: "Read and check the configuration, say what is wrong with it, and end with 0 or 78.")
    var checkConfig = false

    @Option(
        help: ArgumentHelp(
            "Look at all of a history or a backup, print what is found as JSON, and end with 0 or 1.",
            discussion: "`colossusctl store verify FILE` does, and shows it.", valueName: "file"))
    var verifyHistory: String?

    /// Signals are blocked before anything can have started a thread.
    static func main() {
        blockSignals()
        boundMemory()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            Glibc.exit(report(error))
        }
    }

    /// One arena a core, and large blocks apart from them. The C library would make eight arenas a core, and let the size from
    /// which a block has pages of its own rise to 32 MB: for millions of series a good tenth of all memory would lie about
    /// unused. Whoever sets these from outside knows better.
    private static func boundMemory() {
        guard getenv("MALLOC_ARENA_MAX") == nil, getenv("GLIBC_TUNABLES") == nil else { return }
        _ = cmalloc_limit_arenas(CInt(clamping: max(2, sysconf(CInt(_SC_NPROCESSORS_ONLN)))))
        _ = cmalloc_map_from(1 << 20)
        // What the C library would have done by itself, had it not been told the size.
        _ = cmalloc_keep_free(4 << 20)
    }

    /// Help and the version end with 0, a wrong use with 2 as that of colossusctl does, all else with its own status.
    private static func report(_ error: any Error) -> Int32 {
        let message = fullMessage(for: error)
        let status = exitCode(for: error)
        if !message.isEmpty {
            if status == .success { print(message) } else { StandardError.write(message + "\n") }
        }
        return status == .validationFailure ? ExitReason.usage.rawValue : status.rawValue
    }

    func run() throws {
        if let verifyHistory { return try HistoryCheck.run(verifyHistory) }
        let settings = try load()
        if checkConfig {
            for warning in settings.accessWarnings { StandardError.write("\(config): warning: \(warning)\n") }
            print("\(config) is good.")
            return
        }
        let threshold = LogThreshold(Logger.Level(settings.log.level))
        ServiceLogging.bootstrap(threshold: threshold)
        var places = DaemonPlaces(
            config: config,
            stateDirectory: stateDir ?? ServiceDirectory.first("STATE_DIRECTORY") ?? "/var/lib/colossusd",
            runtimeDirectory: runtimeDir ?? ServiceDirectory.first("RUNTIME_DIRECTORY") ?? "/run/colossusd")
        places.passed = PassedListeners(PassedSocket.take())
        // The history is nobody else's business, whoever started the process.
        umask(0o027)
        let daemon = Daemon(settings: settings, places: places, threshold: threshold)
        Task { Glibc.exit(await daemon.runUntilStopped()) }
        dispatchMain()
    }

    private func load() throws -> DaemonSettings {
        do {
            let settings = try loadSettings(path: config)
            let problems =
                EndpointConfiguration.problems(in: settings.endpoints.map { EndpointConfiguration($0) })
                + ListenerTLS.problems(in: settings)
            guard problems.isEmpty else {
                for problem in problems { StandardError.write("\(config): \(problem)\n") }
                throw ExitCode(78)
            }
            return settings
        } catch let code as ExitCode {
            throw code
        } catch {
            StandardError.write("\(error)\n")
            throw ExitCode(78)
        }
    }
}

/// Standard error, before there is a log.
enum StandardError {
    static func write(_ text: String) {
        var bytes = Array(text.utf8)
        _ = Glibc.write(STDERR_FILENO, &bytes, bytes.count)
    }
}

extension Logger.Level {
    init(_ level: DaemonSettings.Log.Level) { self = Logger.Level(rawValue: level.rawValue) ?? .info }
}
