import ArgumentParser
import Exchange
import NATSExchange

/// One process of a cluster over NATS, for Deploy/cluster-test: it does nothing but the protocol, with samples that
/// every process computes alike.
@main
struct ExchangeNode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exchange-node", abstract: "A worker or roll-up over NATS, and what checks them.",
        subcommands: [Run.self, Check.self, Measure.self, Connect.self])
}

struct ClusterOptions: ParsableArguments {
    @Option(help: "Brokers, with commas between.") var servers: String
    @Option var cluster = "test"
    @Option(help: "Copies of each stream.") var replicas = 3
    @Option var slices = 12
    @Option var partitions = 3
    @Option var windowMs: Int64 = 1_000
    @Option(help: "When the first window begins, Unix milliseconds.") var startMs: Int64 = 0
    @Option(help: "PEM file of authorities; means TLS.") var authorities: String?
    @Option(help: "Public nkey and file with its seed, with a comma between.") var nkey: String?

    func bus(_ name: String) throws -> NATSBus {
        var options = NATSOptions(servers: servers.split(separator: ",").map(String.init), name: name)
        options.tls = authorities != nil
        options.authorities = authorities
        if let parts = nkey?.split(separator: ",").map(String.init), parts.count == 2 {
            options.nkey = (parts[0], parts[1])
        }
        var streams = NATSStreams(cluster: cluster, replicas: replicas)
        streams.partialBytesMax = 256 << 20
        return try NATSBus(options, streams: streams)
    }

    func fleet() throws -> FleetMap {
        guard
            let map = FleetMap(
                cluster: cluster, stream: "sim/test", slices: slices, partitions: partitions,
                windowMs: windowMs, startMs: startMs)
        else { throw ValidationError("That is no fleet map.") }
        return map
    }
}
