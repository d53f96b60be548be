import Store
import Telemetry

/// Events as JSON, `colossus.event/v1`:
///
///     {"schema":"colossus.event/v1","id":"event/17","sequence":17,"stream":"measured","time":"2026-11-22T10:00:00Z",
///      "time_ms":1795341600000,"kind":"alert_firing","entity":"r1","value":64,"message":"64 GPUs of rack r1 are silent",
///      "source":"detected",
///      "alert":{"name":"GPUSilent","state":"firing","severity":"warning","value":64,"since":"…","since_ms":…,
///               "labels":{"rack":"r1",…},"annotations":{"summary":"…"}}}
///
/// `gpu`, `job`, `nodes`, `value` and `alert` are there where they mean something.
struct EventGrid: WindowGrid {
    let events: [StoredEvent]
    let format: WebhookFormat
    let labels: LabelChanges
    let source: String
    let form: WireForm

    /// Events of one request in the format `batch`.
    static let batchMax = 100

    var rowCount: Int { events.count }
    func weight(row: Int) -> RowWeight {
        RowWeight(samples: 1, bytes: Self.bytes(events[row].event, source: source, labels: labels))
    }
    /// All in one part, see `batches`: which events come together is not the same after a restart.
    func cut(from first: Int, limits: BatchLimits) -> (end: Int, samples: Int) {
        (events.count, events.count - first)
    }

    /// Bytes of an event in JSON, by an estimate that is never too low: each byte of a text may become six.
    static func bytes(_ event: Event, source: String, labels: LabelChanges) -> Int {
        func sum(_ texts: some Sequence<String>) -> Int { texts.reduce(0) { $0 + 6 * $1.utf8.count + 3 } }
        var bytes = 1_024 + sum([source, event.stream.name, event.entity, event.job, event.sentence])
        bytes += sum(event.nodes)
        guard let alert = event.alert else { return bytes }
        for texts in [alert.labels, alert.annotations] { bytes += sum(texts.keys) + sum(texts.values) }
        return bytes + sum([alert.rule]) + 6 * labels.bytesMax
    }

    /// Cuts events into those that go in one request each. A single one may be larger than the limit.
    static func batches(_ events: [StoredEvent], _ configuration: EndpointConfiguration) -> [[StoredEvent]] {
        let limits = configuration.batch
        var batches: [[StoredEvent]] = []
        var filled = 0
        for event in events {
            let bytes = bytes(event.event, source: configuration.source, labels: configuration.labels)
            if let last = batches.indices.last, filled + bytes <= limits.bytesMax,
                batches[last].count < limits.samplesMax
            {
                batches[last].append(event)
                filled += bytes
            } else {
                batches.append([event])
                filled = bytes
            }
        }
        return batches
    }

    static func type(_ kind: EventKind?) -> String {
        "colossus.event" + (kind.map { "." + $0.rawValue } ?? "")
    }

    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8] {
        var json = JSONWriter()
        switch format {
        case .binary: for event in events[rows] { json.object { write(event, &$0) } }
        case .structured: for event in events[rows] { json.object { envelope(event, &$0) } }
        case .batch:
            json.array { json in for event in events[rows] { json.object { envelope(event, &$0) } } }
        }
        return form.compression.pack(json.bytes)
    }

    private func envelope(_ stored: StoredEvent, _ json: inout JSONWriter) {
        json.field("specversion", "1.0")
        json.field("id", "event/\(stored.id)")
        json.field("source", source)
        json.field("type", Self.type(stored.event.kind))
        json.field("time", UTC.timestamp(stored.event.timeMs))
        json.field("datacontenttype", "application/json")
        json.key("data")
        json.object { write(stored, &$0) }
    }

    private func write(_ stored: StoredEvent, _ json: inout JSONWriter) {
        let event = stored.event
        json.field("schema", "colossus.event/v1")
        json.field("id", "event/\(stored.id)")
        json.field("sequence", stored.id)
        json.field("stream", event.stream.name)
        json.field("time", UTC.timestamp(event.timeMs))
        json.field("time_ms", event.timeMs)
        json.field("kind", event.kind.rawValue)
        json.field("entity", event.entity)
        if let gpu = event.gpu { json.field("gpu", Int64(gpu)) }
        if !event.job.isEmpty { json.field("job", event.job) }
        if !event.nodes.isEmpty {
            json.key("nodes")
            json.array { json in for node in event.nodes { json.value(node) } }
        }
        if let value = event.value { json.field("value", value) }
        json.field("message", event.sentence)
        json.field("source", event.source.rawValue)
        guard let alert = event.alert else { return }
        json.key("alert")
        json.object { json in
            json.field("name", alert.rule)
            json.field("state", alert.state.rawValue)
            json.field("severity", alert.severity.rawValue)
            json.field("value", alert.value)
            json.field("since", UTC.timestamp(alert.sinceMs))
            json.field("since_ms", alert.sinceMs)
            json.texts("labels", labels.applied(to: alert.labels.map { (name: $0.key, value: $0.value) }))
            json.texts("annotations", alert.annotations.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        }
    }
}

extension JSONWriter {
    mutating func texts(_ name: String, _ texts: [(name: String, value: String)]) {
        key(name)
        object { json in for text in texts { json.field(text.name, text.value) } }
    }
}
