import Telemetry

/// Endpoints: merged by name, and with keys that depend on their kind; a key of another kind is an unknown one.
extension SettingsDraft {
    func endpoints(_ m: YAMLMapping) {
        var seen: [String: YAMLPlace] = [:]
        m.each("endpoints", "an endpoint: name, kind, url or path, and what it wants", max: 500) {
            endpoint($0, &seen)
        }
    }

    private func endpoint(_ m: YAMLMapping, _ seen: inout [String: YAMLPlace]) {
        let name = m.required("name", .name)
        let known = settings.endpoints.firstIndex { $0.name == name }
        let destination = destination(m, known.map { settings.endpoints[$0].destination })
        var new =
            known.map { settings.endpoints[$0] } ?? .init(name: name ?? "", destination: .file(path: ""))
        if destination?.kind == .alertmanager {
            alertSelection(m, &new)
        } else {
            selection(m, &new)
            new.fromBeginning = m.optional("from_beginning", .bool, default: new.fromBeginning)
            new.allowFuture = m.optional("allow_future", .bool, default: new.allowFuture)
        }
        m.section("batch") { batch($0, destination?.kind, &new) }
        if let kind = destination?.kind { specific(kind, m, &new) } else { everything(m, &new) }
        guard let name, let destination, unique(name, m, "name", &seen) else { return }
        new.destination = destination
        for key in ["resolutions", "bearer_token_file", "basic", "header_files", "signing_key_file", "tls"]
        where m.keys.contains(key) {
            places["endpoint.\(name).\(key)"] = m.place(key)
        }
        places["endpoint.\(name)"] = m.place("name")
        if let known { settings.endpoints[known] = new } else { settings.endpoints.append(new) }
    }

    private func batch(
        _ batch: YAMLMapping, _ kind: DaemonSettings.Endpoint.Kind?, _ new: inout DaemonSettings.Endpoint
    ) {
        new.batchSamples = batch.optional("samples", .int(in: 1...100_000), default: new.batchSamples)
        new.batchBytes = batch.optional("bytes", .bytes(in: 1_024...(16 << 20)), default: new.batchBytes)
        new.batchWindows = batch.optional("windows", .int(in: 1...64), default: new.batchWindows)
        new.batchWaitMs = batch.optional("wait", .duration(in: 0...60_000), default: new.batchWaitMs)
        if new.batchWindows > 1, let kind, ![.remoteWrite, .otlp, .influx].contains(kind) {
            batch.fail(
                "windows", "\(kind.rawValue) gets one window in a request",
                expected: "1, or remote_write, otlp or influx")
        } else if new.batchWaitMs > 0, new.batchWindows == 1 {
            batch.fail("wait", "a batch of one window has nothing to wait for", expected: "windows, too")
        }
    }

    /// Alerts have no levels, fields or windows.
    private func alertSelection(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.streams = m.optional("streams", .streams, default: new.streams)
        labels(m, &new)
    }

    private func labels(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        m.section("labels") { labels in
            new.labelsAdded = labels.optional("add", .texts("a label"), default: new.labelsAdded)
            new.labelsRenamed = labels.optional("rename", .texts("a label"), default: new.labelsRenamed)
        }
    }

    /// What it gets.
    private func selection(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.streams = m.optional("streams", .streams, default: new.streams)
        new.levels = m.optional("levels", .list(of: .oneOf(Level.self)), default: new.levels)
        new.resolutionsMs = m.optional(
            "resolutions", .list(of: .duration(in: 1_000...(366 * UTC.dayMs)), max: 16),
            default: new.resolutionsMs)
        let answers: [(String, Bool)] = [("refused", false), ("accepted", true)]
        new.takesCoarser = m.optional("coarser", .oneOf(answers), default: new.takesCoarser)
        new.fields = m.optional("fields", .list(of: .field), default: new.fields)
        new.statistics = m.optional(
            "statistics", .list(of: .oneOf(FieldStatistic.self)), default: new.statistics)
        new.gpuCounts = m.optional("gpu_counts", .bool, default: new.gpuCounts)
        labels(m, &new)
    }

    private func specific(
        _ kind: DaemonSettings.Endpoint.Kind, _ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint
    ) {
        switch kind {
        case .webhook: webhook(m, &new)
        case .remoteWrite:
            let versions: [(String, Int)] = [("1.0", 1), ("2.0", 2)]
            new.version = m.optional("version", .oneOf(versions), default: new.version)
            new.histograms = m.optional("histograms", .bool) ?? new.histograms
            new.staleAfterMs = m.optional(
                "stale_after", .duration(in: 0...600_000), default: new.staleAfterMs)
        case .otlp:
            let encodings: [(String, Bool)] = [("protobuf", false), ("json", true)]
            new.isJSON = m.optional("encoding", .oneOf(encodings), default: new.isJSON)
            new.histograms = m.optional("histograms", .bool) ?? new.histograms
        case .influx: influx(m, &new)
        case .alertmanager:
            new.resendMs = m.optional("resend", .duration(in: 1_000...600_000), default: new.resendMs)
            new.generatorURL = m.optional("generator_url", .url, default: new.generatorURL)
        case .file: file(m, &new)
        case .stdout: break
        }
        if kind.isRequesting { request(m, &new) }
        if kind.isRequesting, kind != .alertmanager { order(m, &new) }
    }

    /// Alerts have no order, and lines of a file no other.
    private func order(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        let answers: [(String, Bool)] = [("refused", false), ("accepted", true)]
        new.takesAnyOrder = m.optional("out_of_order", .oneOf(answers), default: new.takesAnyOrder)
        new.maxInFlight = m.optional("max_in_flight", .int(in: 1...64), default: new.maxInFlight)
        if m.keys.contains("max_in_flight"), !new.takesAnyOrder {
            m.fail(
                "max_in_flight", "in strict order one request is on its way at a time",
                expected: "out_of_order: accepted, too")
        }
        if new.takesAnyOrder, !new.summaries {
            m.fail("out_of_order", "events alone are sent in their order", expected: "summaries, too")
        }
    }

    /// The kind is wrong or missing, and that was said: any key may be right.
    private func everything(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        for key in m.keys { _ = m.value(key) }
    }

    private func webhook(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.format = m.optional(
            "format", .oneOf(DaemonSettings.Endpoint.WebhookFormat.self), default: new.format)
        if let file = m.optional("signing_key_file", .text()) { new.signingKeyFile = path(file) }
        new.handshakeOrigin = m.optional("handshake_origin", .host) ?? new.handshakeOrigin
        let kinds: [(String, [EventKind])] =
            EventKind.allCases.map { ($0.rawValue, [$0]) } + [("all", EventKind.allCases)]
        if let chosen = m.optional("events", .list(of: .oneOf(kinds))) {
            new.eventKinds = chosen.flatMap(\.self)
        }
        new.summaries = m.optional("summaries", .bool, default: new.summaries)
        if !new.summaries, new.eventKinds.isEmpty {
            m.fail("summaries", "with neither summaries nor events nothing is sent", expected: "events, too")
        }
    }

    private func influx(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.org = m.optional("org", .text(max: 256), default: new.org)
        new.bucket = m.optional("bucket", .text(max: 256), default: new.bucket)
    }

    private func file(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.fsync = m.optional("fsync", .bool, default: new.fsync)
        m.section("rotate") { rotate in
            new.rotateBytes = rotate.optional("bytes", .bytes(in: 65_536...(1 << 40))) ?? new.rotateBytes
            new.rotateFiles = rotate.optional("files", .int(in: 0...1_000), default: new.rotateFiles)
        }
    }

    /// What only endpoints with a URL have; said of another, it is an unknown key.
    private func request(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.timeoutMs = m.optional("timeout", .duration(in: 100...600_000), default: new.timeoutMs)
        let compressions = DaemonSettings.Endpoint.Compression.self
        new.compression = m.optional("compression", .oneOf(compressions)) ?? new.compression
        m.section("retry") { retry in
            let wait = YAMLType<Int64>.duration(in: 10...3_600_000)
            new.retryMinMs = retry.optional("min", wait, default: new.retryMinMs)
            new.retryMaxMs = retry.optional("max", wait, default: new.retryMaxMs)
        }
        if new.retryMinMs > new.retryMaxMs {
            m.fail("retry", "min is greater than max", expected: "min at most max")
        }
        new.headers = m.optional("headers", .headers, default: new.headers)
        secrets(m, &new)
    }

    private func secrets(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        if let file = m.optional("bearer_token_file", .text()) { new.bearerTokenFile = path(file) }
        m.section("basic") { basic in
            new.basicUser = basic.optional("user", .text(max: 256)) ?? new.basicUser
            if let file = basic.optional("password_file", .text()) { new.basicPasswordFile = path(file) }
        }
        if let files = m.optional("header_files", .texts("the name of a header")) {
            new.headerFiles = files.mapValues { path($0) }
        }
        m.section("tls") { tls in
            if let file = tls.optional("ca_file", .text()) { new.tls.caFile = path(file) }
            if let file = tls.optional("cert_file", .text()) { new.tls.certificateFile = path(file) }
            if let file = tls.optional("key_file", .text()) { new.tls.keyFile = path(file) }
            let versions: [(String, Bool)] = [("1.2", false), ("1.3", true)]
            new.tls.isTLS13 = tls.optional("min_version", .oneOf(versions), default: new.tls.isTLS13)
        }
    }

    private func destination(_ m: YAMLMapping, _ known: DaemonSettings.Endpoint.Destination?)
        -> DaemonSettings.Endpoint.Destination?
    {
        typealias Kind = DaemonSettings.Endpoint.Kind
        let said =
            known == nil ? m.required("kind", .oneOf(Kind.self)) : m.optional("kind", .oneOf(Kind.self))
        if let known, let said, known.kind != said {
            m.fail(
                "kind", "an earlier file made this a \(known.kind.rawValue) endpoint",
                expected: "another name")
            return nil
        }
        guard let kind = said ?? known?.kind else { return nil }
        if kind == .stdout { return .stdout }
        let (key, type) = kind == .file ? ("path", YAMLType<String>.text()) : ("url", .url)
        let target = known == nil ? m.required(key, type) : m.optional(key, type) ?? known?.target
        return target.map { DaemonSettings.Endpoint.Destination(kind, $0) }
    }
}

extension YAMLType<[DaemonSettings.Header]> {
    fileprivate static var headers: YAMLType<[DaemonSettings.Header]> {
        .mapping("a mapping of header names to values") { m in
            let read = m.keys.map { m.required($0, .header($0)) }
            let good = read.compactMap(\.self)
            return good.count == read.count ? good : nil
        }
    }
}

extension YAMLType<[String: String]> {
    /// A mapping of names to texts; what they mean is checked elsewhere.
    fileprivate static func texts(_ what: String) -> YAMLType<[String: String]> {
        .mapping("a mapping from \(what) to a text") { m in
            Dictionary(m.all(.text(max: 1_024)).map { ($0.key, $0.value) }) { _, last in last }
        }
    }
}
