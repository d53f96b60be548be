import Reporting
import Settings
import Store
import Telemetry

extension EndpointConfiguration {
    /// What the reporter has to know of an endpoint of the configuration.
    init(_ endpoint: DaemonSettings.Endpoint) {
        switch endpoint.destination {
        case .webhook(let url): self.init(name: endpoint.name, kind: .webhook, url: url)
        case .remoteWrite(let url): self.init(name: endpoint.name, kind: .remoteWrite, url: url)
        case .file(let path): self.init(name: endpoint.name, kind: .file, path: path)
        }
        selection = DeliverySelection(
            streams: DeliverySelection.Streams(endpoint.streams), levels: Set(endpoint.levels),
            resolutions: Set(endpoint.resolutionsMs), fields: Set(endpoint.fields))
        timeoutMs = endpoint.timeoutMs
        connectTimeoutMs = min(connectTimeoutMs, endpoint.timeoutMs)
        backoff.baseMs = endpoint.retryMinMs
        backoff.capMs = endpoint.retryMaxMs
        headers = Dictionary(endpoint.headers.map { ($0.name, $0.value) }) { _, last in last }
        bearerTokenFile = endpoint.bearerTokenFile
        fromBeginning = endpoint.fromBeginning
        allowFuture = endpoint.allowFuture
    }
}

extension DeliverySelection.Streams {
    init(_ streams: DaemonSettings.Endpoint.Streams) {
        switch streams {
        case .measured: self = .measured
        case .simulated: self = .simulated
        case .all: self = .all
        case .named(let names): self = .named(Set(names))
        }
    }
}
