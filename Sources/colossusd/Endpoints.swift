import Reporting
import Settings
import Store
import Telemetry

extension EndpointConfiguration {
    /// What the reporter has to know of an endpoint of the configuration.
    init(_ endpoint: DaemonSettings.Endpoint) {
        let target = endpoint.destination.target
        switch endpoint.destination {
        case .webhook: self.init(name: endpoint.name, kind: .webhook, url: target)
        case .remoteWrite: self.init(name: endpoint.name, kind: .remoteWrite, url: target)
        case .otlp: self.init(name: endpoint.name, kind: .otlp, url: target)
        case .influx: self.init(name: endpoint.name, kind: .influx, url: target)
        case .alertmanager: self.init(name: endpoint.name, kind: .alertmanager, url: target)
        case .file: self.init(name: endpoint.name, kind: .file, path: target)
        case .stdout: self.init(name: endpoint.name, kind: .stdout)
        }
        takeSelection(endpoint)
        takeForm(endpoint)
        takeSecrets(endpoint)
        timeoutMs = endpoint.timeoutMs
        connectTimeoutMs = min(connectTimeoutMs, endpoint.timeoutMs)
        backoff.baseMs = endpoint.retryMinMs
        backoff.capMs = endpoint.retryMaxMs
        batch.samplesMax = endpoint.batchSamples
        batch.bytesMax = Int(endpoint.batchBytes)
        batch.windowsMax = endpoint.batchWindows
        batch.waitMs = endpoint.batchWaitMs
        takesAnyOrder = endpoint.takesAnyOrder
        maxInFlight = endpoint.maxInFlight
        fromBeginning = endpoint.fromBeginning
        allowFuture = endpoint.allowFuture
        if kind == .remoteWrite { staleAfterMs = endpoint.staleAfterMs > 0 ? endpoint.staleAfterMs : nil }
    }

    private mutating func takeSelection(_ endpoint: DaemonSettings.Endpoint) {
        hasHistograms = endpoint.histograms ?? hasHistograms
        selection = DeliverySelection(
            streams: DeliverySelection.Streams(endpoint.streams), levels: Set(endpoint.levels),
            resolutions: Set(endpoint.resolutionsMs), fields: Set(endpoint.fields), sketches: hasHistograms)
        selection.standInsOf = endpoint.takesCoarser ? name : nil
        statistics = Set(endpoint.statistics)
        hasGPUCounts = endpoint.gpuCounts
        labels = LabelChanges(added: endpoint.labelsAdded, renamed: endpoint.labelsRenamed)
    }

    private mutating func takeForm(_ endpoint: DaemonSettings.Endpoint) {
        protocolVersion = endpoint.version
        compression = endpoint.compression.flatMap { Compression(rawValue: $0.rawValue) }
        payload = endpoint.isJSON ? .json : .protobuf
        format = WebhookFormat(rawValue: endpoint.format.rawValue) ?? .binary
        handshakeOrigin = endpoint.handshakeOrigin
        eventKinds = Set(endpoint.eventKinds)
        hasSummaries = endpoint.summaries
        resendMs = endpoint.resendMs
        generatorURL = endpoint.generatorURL
        org = endpoint.org
        bucket = endpoint.bucket
        rotateBytes = endpoint.rotateBytes
        rotateFiles = endpoint.rotateFiles
        fsync = endpoint.fsync
    }

    private mutating func takeSecrets(_ endpoint: DaemonSettings.Endpoint) {
        headers = Dictionary(endpoint.headers.map { ($0.name, $0.value) }) { _, last in last }
        secrets.tokenFile = endpoint.bearerTokenFile
        secrets.basicUser = endpoint.basicUser
        secrets.basicPasswordFile = endpoint.basicPasswordFile
        secrets.headerFiles = endpoint.headerFiles
        secrets.signingKeyFile = endpoint.signingKeyFile
        tls.caFile = endpoint.tls.caFile
        tls.certificateFile = endpoint.tls.certificateFile
        tls.keyFile = endpoint.tls.keyFile
        tls.minimumVersion = endpoint.tls.isTLS13 ? .tls13 : .tls12
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
