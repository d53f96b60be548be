import Telemetry

/// The lists whose entries are merged by name: a later file changes what it says of an entry, and adds new ones.
extension SettingsDraft {
    func simulations(_ m: YAMLMapping) {
        var seen: [String: YAMLPlace] = [:]
        m.each("simulations", "a simulation: run, scenario, speed, seed, autostart", max: 100) {
            simulation($0, &seen)
        }
    }

    private func simulation(_ m: YAMLMapping, _ seen: inout [String: YAMLPlace]) {
        let run = m.required("run", .name)
        let known = settings.simulations.firstIndex { $0.run == run }
        var new = known.map { settings.simulations[$0] } ?? .init(run: run ?? "", scenario: "")
        if let file = known == nil ? m.required("scenario", .text()) : m.optional("scenario", .text()) {
            new.scenario = path(file)
        }
        new.speed = m.optional("speed", .speed, default: new.speed)
        new.seed = m.optional("seed", .int()).map { UInt64($0) } ?? new.seed
        new.autostart = m.optional("autostart", .bool, default: new.autostart)
        guard let run, unique(run, m, "run", &seen) else { return }
        if m.keys.contains("scenario") { places["simulation.\(run)"] = m.place("scenario") }
        if let known { settings.simulations[known] = new } else { settings.simulations.append(new) }
    }

    func endpoints(_ m: YAMLMapping) {
        var seen: [String: YAMLPlace] = [:]
        m.each("endpoints", "an endpoint: name, kind, url or path, and what it wants", max: 100) {
            endpoint($0, &seen)
        }
    }

    private func endpoint(_ m: YAMLMapping, _ seen: inout [String: YAMLPlace]) {
        let name = m.required("name", .name)
        let known = settings.endpoints.firstIndex { $0.name == name }
        let destination = destination(m, known.map { settings.endpoints[$0].destination })
        var new =
            known.map { settings.endpoints[$0] } ?? .init(name: name ?? "", destination: .file(path: ""))
        new.streams = m.optional("streams", .streams, default: new.streams)
        new.levels = m.optional("levels", .list(of: .oneOf(Level.self)), default: new.levels)
        new.resolutionsMs = m.optional(
            "resolutions", .list(of: .duration(in: 1_000...(366 * UTC.dayMs)), max: 16),
            default: new.resolutionsMs)
        new.fields = m.optional("fields", .list(of: .field), default: new.fields)
        new.fromBeginning = m.optional("from_beginning", .bool, default: new.fromBeginning)
        new.allowFuture = m.optional("allow_future", .bool, default: new.allowFuture)
        if destination?.kind != .file { request(m, &new) }
        guard let name, let destination, unique(name, m, "name", &seen) else { return }
        new.destination = destination
        if m.keys.contains("resolutions") { places["endpoint.\(name).resolutions"] = m.place("resolutions") }
        if m.keys.contains("bearer_token_file") {
            places["endpoint.\(name).bearer_token_file"] = m.place("bearer_token_file")
        }
        places["endpoint.\(name)"] = m.place("name")
        if let known { settings.endpoints[known] = new } else { settings.endpoints.append(new) }
    }

    /// What only endpoints with a URL have; said of a file endpoint, it is an unknown key.
    private func request(_ m: YAMLMapping, _ new: inout DaemonSettings.Endpoint) {
        new.timeoutMs = m.optional("timeout", .duration(in: 100...600_000), default: new.timeoutMs)
        _ = m.optional(
            "retry",
            .mapping { retry in
                let wait = YAMLType<Int64>.duration(in: 10...3_600_000)
                return (retry.optional("min", wait), retry.optional("max", wait))
            }
        ).map {
            new.retryMinMs = $0.0 ?? new.retryMinMs; new.retryMaxMs = $0.1 ?? new.retryMaxMs
        }
        if new.retryMinMs > new.retryMaxMs {
            m.fail("retry", "min is greater than max", expected: "min at most max")
        }
        new.headers = m.optional("headers", .headers, default: new.headers)
        if let file = m.optional("bearer_token_file", .text()) { new.bearerTokenFile = path(file) }
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
            _ = (m.value("url"), m.value("path"))
            return nil
        }
        guard let kind = said ?? known?.kind else {
            // The kind is wrong or missing, and that was said; which of the two keys belongs here is not known.
            _ = (m.value("url"), m.value("path"))
            return nil
        }
        switch kind {
        case .webhook, .remoteWrite:
            let url = known == nil ? m.required("url", .url) : m.optional("url", .url) ?? known?.target
            return url.map { kind == .webhook ? .webhook(url: $0) : .remoteWrite(url: $0) }
        case .file:
            let path =
                known == nil ? m.required("path", .text()) : m.optional("path", .text()) ?? known?.target
            return path.map { .file(path: $0) }
        }
    }

    /// Within one file a name stands once; in a later file it changes the entry.
    private func unique(_ name: String, _ m: YAMLMapping, _ key: String, _ seen: inout [String: YAMLPlace])
        -> Bool
    {
        if let first = seen[name] {
            m.fail(key, "`\(name)` is already in line \(first.line)", expected: "each name once in a file")
            return false
        }
        seen[name] = m.place(key)
        return true
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
