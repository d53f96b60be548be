import Store

/// What one kind of endpoint makes of a window. Pure: the same window always gives the same bytes.
protocol EndpointEncoding: Sendable {
    func grid(for window: StoredWindow) -> any WindowGrid
    /// The protocol's own headers; none for files.
    func headers(for part: Part) -> [HTTPHeader]
}

/// One line of a request's head.
struct HTTPHeader: Sendable, Equatable {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension EndpointConfiguration {
    var encoding: any EndpointEncoding {
        switch kind {
        case .webhook: WebhookEndpoint(configuration: self)
        case .remoteWrite: RemoteWriteEndpoint(configuration: self)
        case .file: FileEndpoint(configuration: self)
        }
    }
}
