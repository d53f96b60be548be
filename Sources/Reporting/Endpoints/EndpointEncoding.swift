import Store

/// What one kind of endpoint makes of a window. Pure: the same window always gives the same bytes.
protocol EndpointEncoding: Sendable {
    /// What is tried first.
    var form: WireForm { get }
    func grid(for window: StoredWindow) -> any WindowGrid
    /// For kinds whose requests are heaps of series.
    func grid(for windows: [StoredWindow]) -> any WindowGrid
    /// For endpoints that get events or alerts.
    func grid(for consignment: Consignment) -> any WindowGrid
    /// For kinds that say which series have ended.
    func grid(for consignment: Consignment, after memory: SeriesMemory?) -> any WindowGrid
    /// The protocol's own headers; none for files.
    func headers(for part: Part, form: WireForm) -> [HTTPHeader]
    /// A harmless request; `nil` for files.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])?
    /// What an answer means; the table of `RetryPolicy` unless the protocol says more than a status.
    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict
    /// What to try when a form is not understood; `nil` when nothing is simpler.
    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm?
    /// How many numbers were not taken by a request of which others were; `nil` when the endpoint does not say.
    func rejected(_ outcome: AttemptOutcome) -> Int?
    /// What an endpoint says of a request that it took whole.
    func warning(_ outcome: AttemptOutcome) -> String?
}

extension EndpointEncoding {
    var form: WireForm { .plain }

    func grid(for consignment: Consignment) -> any WindowGrid {
        switch consignment {
        case .window(let window): grid(for: window)
        case .windows(let windows): grid(for: windows)
        case .events, .alerts: EmptyGrid()
        }
    }

    func grid(for windows: [StoredWindow]) -> any WindowGrid { EmptyGrid() }
    func grid(for consignment: Consignment, after memory: SeriesMemory?) -> any WindowGrid {
        grid(for: consignment)
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] { [] }
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? { nil }
    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm? { nil }
    func rejected(_ outcome: AttemptOutcome) -> Int? { nil }
    func warning(_ outcome: AttemptOutcome) -> String? { nil }
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
        case .otlp: OTLPEndpoint(configuration: self)
        case .influx: InfluxEndpoint(configuration: self)
        case .alertmanager: AlertmanagerEndpoint(configuration: self)
        case .file, .stdout: FileEndpoint(configuration: self)
        }
    }

    /// A window with the levels, fields and labels of this endpoint.
    func selected(_ window: StoredWindow) -> SelectedWindow {
        SelectedWindow(window, selection: selection, labels: labels)
    }
}
