import Telemetry

/// Settings while files are laid over them, with the places that later checks need.
///
/// A class, because the readers of nested mappings write into it.
final class SettingsDraft {
    var settings = DaemonSettings()
    /// Where things that are checked at the end were said, by a name of the check's own.
    var places: [String: YAMLPlace] = [:]
    /// The folder of the file that is being read: what relative paths start from.
    var folder = ""

    /// Lays one file over what the files before it said.
    func read(_ m: YAMLMapping) {
        m.section("ingest", ingest)
        m.section("web", web)
        settings.hosts = m.optional("hosts", .list(of: .host, max: 100), default: settings.hosts)
        m.section("inventory", inventory)
        m.section("windows", windows)
        m.section("aggregation", aggregation)
        m.section("store", store)
        m.section("alerts", alerts)
        simulations(m)
        endpoints(m)
        m.section("cluster", cluster)
        m.section("log") { log in
            settings.log.level = log.optional(
                "level", .oneOf(DaemonSettings.Log.Level.self), default: settings.log.level)
        }
    }

    func path(_ text: String) -> String {
        text.hasPrefix("/") || text.hasPrefix("credential:") || folder.isEmpty ? text : folder + "/" + text
    }

    func note(_ name: String, _ m: YAMLMapping, _ key: String) {
        if m.keys.contains(key) { places[name] = m.place(key) }
    }

    private func ingest(_ m: YAMLMapping) {
        settings.ingest.listen = m.optional("listen", .listen, default: settings.ingest.listen)
        note("ingest.listen", m, "listen")
        settings.ingest.tokens = tokens(m, "ingest", takesEvents: true, over: settings.ingest.tokens)
        settings.ingest.insecure = m.optional("insecure", .bool, default: settings.ingest.insecure)
        settings.ingest.tls = tls(m, "ingest", over: settings.ingest.tls)
        settings.ingest.durability = m.optional(
            "durability", .oneOf(DaemonSettings.Ingest.Durability.self), default: settings.ingest.durability)
        m.section("limits") { limits in
            var new = settings.ingest.limits
            new.ingestLogBytes = limits.optional(
                "ingest_log_bytes", .bytes(in: (64 << 20)...(1 << 50)), default: new.ingestLogBytes)
            let size = YAMLType<Int64>.bytes(in: (1 << 10)...(1 << 30))
            new.bodyBytes = limits.optional("body_bytes", size, default: new.bodyBytes)
            new.decompressedBytes = limits.optional(
                "decompressed_bytes", size, default: new.decompressedBytes)
            new.connections = limits.optional(
                "connections", .int(in: 1...100_000), default: new.connections)
            new.idleMs = limits.optional("idle", .duration(in: 1_000...3_600_000), default: new.idleMs)
            new.series = limits.optional("series", .int(in: 1...100_000_000), default: new.series)
            new.seriesPerSender = limits.optional(
                "series_per_sender", .int(in: 1...100_000_000), default: new.seriesPerSender)
            new.senders = limits.optional("senders", .int(in: 1...1_000_000), default: new.senders)
            settings.ingest.limits = new
        }
    }

    private func web(_ m: YAMLMapping) {
        settings.web.listen = m.optional("listen", .listen, default: settings.web.listen)
        note("web.listen", m, "listen")
        settings.web.tokens = tokens(m, "web", takesEvents: false, over: settings.web.tokens)
        settings.web.insecure = m.optional("insecure", .bool, default: settings.web.insecure)
        settings.web.tls = tls(m, "web", over: settings.web.tls)
    }

    /// A list that a later file replaces as a whole.
    private func tokens(
        _ m: YAMLMapping, _ listener: String, takesEvents: Bool, over old: [DaemonSettings.Token]
    ) -> [DaemonSettings.Token] {
        guard m.keys.contains("tokens") else { return old }
        var found: [DaemonSettings.Token] = []
        var seen: [String: YAMLPlace] = [:]
        var certificates: [String: YAMLPlace] = [:]
        let expected = "a token: name, file or certificate" + (takesEvents ? ", events" : "")
        m.each("tokens", expected, max: 1_000) { one in
            let name = one.required("name", .name)
            let file = one.optional("file", .text())
            let certificate = one.optional("certificate", .certificateName)
            let tellsEvents = takesEvents && one.optional("events", .bool, default: false)
            if !one.keys.contains("file"), !one.keys.contains("certificate") {
                one.fail(
                    "file", "`file` is missing",
                    expected: "file, where secrets are, or certificate, a name in a client's certificate")
            }
            guard let name, file != nil || certificate != nil, unique(name, one, "name", &seen) else {
                return
            }
            if let certificate, !unique(certificate, one, "certificate", &certificates) { return }
            note("\(listener).tokens.\(name)", one, "file")
            note("\(listener).tokens.\(name).certificate", one, "certificate")
            found.append(
                .init(
                    name: name, file: file.map(path), certificate: certificate, mayTellEvents: tellsEvents))
        }
        return found
    }

    /// Later files are laid over what earlier ones said.
    private func tls(
        _ m: YAMLMapping, _ listener: String, over old: DaemonSettings.ListenerTLS?
    ) -> DaemonSettings.ListenerTLS? {
        var new = old
        m.section("tls") { tls in
            var read = old ?? .init()
            if let file = tls.optional("certificate", .text()) { read.certificate = path(file) }
            if let file = tls.optional("key", .text()) { read.key = path(file) }
            if let file = tls.optional("client_ca", .text()) { read.clientCA = path(file) }
            if let file = tls.optional("client_crl", .text()) { read.clientCRL = path(file) }
            if listener == "web" {
                read.healthWithoutCertificate = tls.optional(
                    "health_without_certificate", .bool, default: read.healthWithoutCertificate)
            }
            read.clientCertificate = tls.optional(
                "client_certificate", .oneOf(DaemonSettings.ListenerTLS.ClientCertificate.self),
                default: read.clientCertificate)
            let versions: [(String, Bool)] = [("1.2", false), ("1.3", true)]
            read.isTLS13 = tls.optional("min_version", .oneOf(versions), default: read.isTLS13)
            for key in [
                "certificate", "key", "client_ca", "client_certificate", "client_crl",
                "health_without_certificate",
            ] {
                note("\(listener).tls.\(key)", tls, key)
            }
            new = read
        }
        note("\(listener).tls", m, "tls")
        return new
    }

    private func inventory(_ m: YAMLMapping) {
        settings.inventory.site = m.optional("site", .name, default: settings.inventory.site)
        if let file = m.optional("file", .text()) {
            settings.inventory.file = path(file)
            note("inventory.file", m, "file")
        }
    }

    private func windows(_ m: YAMLMapping) {
        var new = settings.windows
        new.finestMs = m.optional("finest", .duration(in: 1_000...3_600_000), default: new.finestMs)
        new.rollupsMs = m.optional(
            "rollups", .list(of: .duration(in: 2_000...(7 * UTC.dayMs)), max: 8), default: new.rollupsMs)
        new.latenessMs = m.optional("lateness", .duration(in: 0...3_600_000), default: new.latenessMs)
        new.senderSilentMs = m.optional(
            "sender_silent", .duration(in: 1_000...UTC.dayMs), default: new.senderSilentMs)
        new.maxHoldMs = m.optional("max_hold", .duration(in: 0...UTC.dayMs), default: new.maxHoldMs)
        new.reviseWithinMs = m.optional(
            "revise_within", .duration(in: 0...UTC.dayMs), default: new.reviseWithinMs)
        new.futureMaxMs = m.optional("future_max", .duration(in: 0...UTC.dayMs), default: new.futureMaxMs)
        settings.windows = new
        places["windows"] = m.place("rollups")
    }

    private func aggregation(_ m: YAMLMapping) {
        settings.aggregation.shards = m.optional(
            "shards", .int(in: 0...1_024), default: settings.aggregation.shards)
        m.section("levels") { levels in
            let list = YAMLType<[Level]>.list(of: .oneOf(Level.self), min: 1)
            settings.aggregation.measuredLevels = levels.optional(
                "measured", list, default: settings.aggregation.measuredLevels)
            settings.aggregation.simulatedLevels = levels.optional(
                "simulated", list, default: settings.aggregation.simulatedLevels)
        }
    }

    private func store(_ m: YAMLMapping) {
        var new = settings.store
        let keep = YAMLType<Int64>.duration(in: 60_000...(36_500 * UTC.dayMs))
        if let table = m.optional("retention", .dictionary(of: keep)) {
            new.retention = table.compactMap { entry in
                guard let resolution = Quantity.durationMs(entry.key), resolution > 0 else {
                    m.fail(
                        "retention", "`\(entry.key)` is not the length of a window",
                        expected: "a mapping of lengths to durations, as 10s: 6h")
                    return nil
                }
                return DaemonSettings.Store.Retention(resolutionMs: resolution, keepMs: entry.value)
            }.sorted { $0.resolutionMs < $1.resolutionMs }
            if table.isEmpty { m.fail("retention", "the mapping is empty", expected: "10s: 6h and so on") }
        }
        new.eventsKeepMs = m.optional("events", keep, default: new.eventsKeepMs)
        new.undeliveredKeepMs = m.optional(
            "undelivered_keep", .duration(in: 60_000...(366 * UTC.dayMs)), default: new.undeliveredKeepMs)
        new.bytesMax = m.optional("bytes_max", .bytes(in: (1 << 20)...(1 << 50)), default: new.bytesMax)
        settings.store = new
    }
}
