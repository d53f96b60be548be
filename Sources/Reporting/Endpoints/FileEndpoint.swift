import Store

/// JSON lines in a file or on standard output: each line is one `colossus.summary/v1` (see `SummaryGrid`); in a file
/// each id is there once.
struct FileEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    func grid(for window: StoredWindow) -> any WindowGrid {
        SummaryGrid(window: configuration.selected(window), configuration, layout: .line)
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        RetryPolicy.verdict(outcome, kind: configuration.kind)
    }
}
