import Store

/// JSON lines in a file: each line is one `colossus.summary/v1` (see `SummaryGrid`), each id is there once.
struct FileEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    func grid(for window: StoredWindow) -> any WindowGrid {
        SummaryGrid(window: SelectedWindow(window, selection: configuration.selection), endsWithNewline: true)
    }

    func headers(for part: Part) -> [HTTPHeader] { [] }
}
