import ArgumentParser
import Store

extension SeriesOrder: ExpressibleByArgument {}

/// When the log calls a request safe; `none` is no log.
enum BenchDurability: String, CaseIterable, ExpressibleByArgument {
    case none, process, disk
}

/// What `ingest` and `registry` send.
struct IngestOptions: ParsableArguments {
    @Option(help: "ingest: series of the fleet; 160 a node.")
    var series = 400_000

    @Option(
        help: "ingest: order of the series: scrape, shards (ten queue shards of a Prometheus) or shuffled.")
    var order = SeriesOrder.scrape

    @Option(help: "ingest: version of remote write, 1 or 2.")
    var version = 1

    @Option(help: "ingest: samples a request; 0 is one node (160).")
    var perRequest = 2_000

    @Option(help: "ingest: connections, each with a part of the series.")
    var connections = 8

    @Option(help: "ingest: seconds to measure for.")
    var seconds = 5.0

    @Option(
        help: ArgumentHelp(
            "ingest: share of the nodes whose series get another label in each pass: new spellings, labels parsed."
        ))
    var churn = 0.0

    @Option(help: "ingest: share of the requests whose series come in another order than in the pass before.")
    var reorder = 0.0

    @Flag(
        help: "ingest: the whole fleet once a second, evenly over it, with the times of now; tells the lag.")
    var paced = false

    @Option(help: "ingest: the ingest log: none, process or disk.")
    var durability = BenchDurability.none

    @Flag(help: "ingest: over TLS, with a certificate made for it; with --to, one that is not looked at.")
    var tls = false

    @Option(
        help: ArgumentHelp(
            "ingest: sends to that port of 127.0.0.1 (a colossusd, a VictoriaMetrics) instead of a receiver in this process."
        ))
    var to: Int?

    @Option(help: "ingest: process whose CPU and memory are measured, with --to.")
    var pid: Int32?

    func validate() throws {
        guard (160...8_000_000).contains(series), (1...2).contains(version),
            (1...1_000).contains(connections),
            (0...100_000).contains(perRequest), (0.1...3_600).contains(seconds)
        else {
            throw ValidationError("series, version, per-request, connections or seconds is out of range.")
        }
        guard (0...1).contains(churn), (0...1).contains(reorder) else {
            throw ValidationError("churn and reorder are shares from 0 to 1.")
        }
        guard to == nil || (1...65_535).contains(to ?? 0), pid == nil || to != nil else {
            throw ValidationError("--to is a port, and --pid goes with it.")
        }
    }

    /// Each so many passes a node's series are spelled anew; 0 is never.
    var churnEvery: Int { churn > 0 ? max(1, Int((1 / churn).rounded())) : 0 }
    /// Each so many requests one has two orders.
    var reorderEvery: Int { reorder > 0 ? max(1, Int((1 / reorder).rounded())) : 0 }

    /// As the rows of the table are called.
    var title: String {
        var parts = ["remote write \(version).0", "\(order.rawValue) order"]
        parts.append(perRequest == 0 ? "one node a request" : "\(perRequest) a request")
        parts.append("\(series / 160 * 160) series")
        if churn > 0 { parts.append("churn \(churn)") }
        if reorder > 0 { parts.append("reordered \(reorder)") }
        if to == nil { parts.append("log \(durability.rawValue)") }
        if tls { parts.append("over TLS") }
        if paced { parts.append("once a second") }
        return parts.joined(separator: ", ")
    }
}
