import Foundation
import NATSExchange
import Settings

// Whom to connect to, as whom, and what the streams there are like.
extension ClusterNode {
    func natsOptions() -> NATSOptions {
        var options = NATSOptions(servers: settings.servers, name: "colossusd \(name)")
        let tls = settings.tls
        options.tls =
            tls.caFile != nil || tls.certificateFile != nil
            || settings.servers.contains { $0.hasPrefix("tls://") }
        options.authorities = tls.caFile.map(Self.resolved)
        if let chain = tls.certificateFile, let key = tls.keyFile {
            options.certificate = (Self.resolved(chain), Self.resolved(key))
        }
        options.nkey = settings.nkey.map { ($0.publicKey, Self.resolved($0.seedFile)) }
        options.credentials = settings.credentialsFile.map(Self.resolved)
        options.allowsOldServers = settings.allowsOldServers
        return options
    }

    func natsStreams() -> NATSStreams {
        var streams = NATSStreams(cluster: settings.name, replicas: settings.replicas)
        streams.partialBytesMax = settings.partialsBytes
        streams.partialAgeS = settings.partialsKeepMs / 1_000
        streams.finalAgeS = settings.finalsKeepMs / 1_000
        return streams
    }

    /// `credential:NAME` is a file that systemd has put into a folder of its own.
    private static func resolved(_ file: String) -> String {
        let prefix = "credential:"
        guard file.hasPrefix(prefix) else { return file }
        let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] ?? "/nonexistent"
        return folder + "/" + file.dropFirst(prefix.count)
    }
}
