import ArgumentParser
import Glibc

/// Benchmarks that print a table. Each result stands beside a calibration figure of the same run, because machines
/// drift: compare only what one run printed.
@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "colossus-bench",
        abstract:
            "Measures the core: ingest over HTTP and its parts, simulated telemetry, closing of windows, exchange between machines.",
        discussion: """
            EXAMPLES
              colossus-bench                        all of them, about two minutes
              colossus-bench ingest --rounds 5 --series 4000000 --order shards
              colossus-bench ingest --version 2 --per-request 0
              colossus-bench ingest --churn 0.01 --reorder 0.05 --durability process
              colossus-bench ingest --tls
              colossus-bench ingest --paced --series 4000000 --seconds 30
              colossus-bench ingest --to 8428 --pid 4711      a server of another process
              colossus-bench exchange --nats nats://127.0.0.1:4222
              colossus-bench day --rounds 1 --hours 1       the whole fleet, second by second
              colossus-bench --json
            """
    )

    @Argument(
        help: "Which: snappy, registry, sketch, ingest, close, simulate, exchange, day. Default: all but day."
    )
    var names: [Benchmark] = Benchmark.allCases.filter { $0 != .day }

    @Option(help: "Rounds, interleaved over the benchmarks; the median is shown with the extremes.")
    var rounds = 3

    @Option(help: "day: hours of it.")
    var hours = 24

    @Option(help: "The scenario of `simulate`, `close` and `day`; all of its GPUs stand at its end.")
    var scenario = "Config/scenarios/colossus.yaml"

    @Flag(help: "One JSON object a line instead of the table.")
    var json = false

    @OptionGroup var ingest: IngestOptions

    @OptionGroup var exchange: ExchangeOptions

    @Option(help: "Only receives on this port, until it is ended: for a load generator from outside.")
    var serve: Int?

    func validate() throws {
        guard (1...100).contains(rounds) else { throw ValidationError("Rounds are 1 to 100.") }
        guard (1...24).contains(hours) else { throw ValidationError("Hours are 1 to 24.") }
    }

    /// On standard error, so that the table can be kept.
    private func progress(_ text: String) {
        var bytes = Array(text.utf8)
        _ = write(STDERR_FILENO, &bytes, bytes.count)
    }

    func run() throws {
        if let serve {
            return try IngestHost.serve(port: serve, durability: ingest.durability, tls: ingest.tls)
        }
        var results: [String: Series] = [:]
        var order: [String] = []
        for round in 1...rounds {
            for name in names {
                progress("round \(round) of \(rounds): \(name.rawValue)\n")
                let calibration = Calibration.measure()
                for result in try name.run(scenario: scenario, hours: hours, ingest, exchange) {
                    if results[result.name] == nil { order.append(result.name) }
                    results[result.name, default: Series(unit: result.unit)].add(result, calibration)
                }
            }
        }
        let all = order.compactMap { name in results[name].map { (name, $0) } }
        print(json ? Report.json(all) : Report.table(all))
    }
}

enum Benchmark: String, CaseIterable, ExpressibleByArgument {
    case snappy, registry, sketch, ingest, close, simulate, exchange, day

    func run(
        scenario: String, hours: Int, _ ingest: IngestOptions, _ exchange: ExchangeOptions
    ) throws -> [Result] {
        switch self {
        case .snappy: try CodecBenchmarks.snappy()
        case .registry: try CodecBenchmarks.registry(ingest)
        case .sketch: CodecBenchmarks.sketch()
        case .ingest: try IngestBenchmark.run(ingest)
        case .simulate: try SimulateBenchmark.run(scenario: scenario)
        case .close: try CloseBenchmark.run(scenario: scenario)
        case .exchange: try ExchangeBenchmark.run(exchange)
        case .day: try DayBenchmark.run(scenario: scenario, hours: hours)
        }
    }

    /// One figure of one round.
    struct Result {
        var name: String
        var value: Double
        var unit: String
    }
}
