/// The kinds of endpoints. The raw value is what users write and see.
public enum EndpointKind: String, CaseIterable, Sendable, Hashable {
    case webhook
    case remoteWrite = "remote_write"
    case otlp, influx, alertmanager, file, stdout

    /// Sends HTTP requests to a URL.
    public var isRequesting: Bool {
        switch self {
        case .webhook, .remoteWrite, .otlp, .influx, .alertmanager: true
        case .file, .stdout: false
        }
    }

    /// Databases of time series, of which some refuse everything that comes after a sample from the future, and which
    /// cannot replace what they have.
    /// A request is a heap of series, so that several windows fit into one.
    public var isOfSeries: Bool { self == .remoteWrite || self == .otlp || self == .influx }

    public var refusesFuture: Bool { self == .remoteWrite || self == .otlp || self == .influx }
}

/// How OTLP is written. The raw value is what users write.
public enum PayloadEncoding: String, CaseIterable, Sendable, Hashable { case protobuf, json }

/// How a webhook gets a part of a window. The raw value is what users write.
public enum WebhookFormat: String, CaseIterable, Sendable, Hashable {
    /// CloudEvents in binary mode: the summary is the body, its attributes are headers.
    case binary
    /// CloudEvents in structured mode: one event, the summary is its data.
    case structured
    /// A batch of CloudEvents: a row each.
    case batch
}
