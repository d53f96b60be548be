import Alerts
import ControlAPI
import Logging
import Receivers
import Reporting
import Settings
import SystemdSupport
import TLS
import Telemetry
import WireFormats

// Taking a new configuration while everything goes on.
extension Daemon {
    func reload() async throws -> ReloadReply {
        let parts = try running()
        notifier.reloading(status: "reloading the configuration")
        defer { notifier.ready(status: "the configuration was reloaded") }
        do {
            let new = try loadSettings(path: places.config)
            let reply = try await apply(new, parts)
            logger.notice(
                "the configuration was reloaded",
                metadata: JournalMessage.reloadDone.metadata([
                    "changed": "\(reply.changed.joined(separator: " "))",
                    "need_restart": "\(reply.needRestart.joined(separator: " "))",
                ]))
            return reply
        } catch {
            logger.error(
                "the reload failed; the old configuration stays in force",
                metadata: JournalMessage.reloadFailed.metadata([
                    "error": "\("\(error)".split(separator: "\n").joined(separator: "; "))"
                ]))
            throw ControlError(
                .badConfiguration, "\(error)", hint: "The old configuration stays in force.")
        }
    }

    private func apply(_ new: DaemonSettings, _ parts: DaemonParts) async throws -> ReloadReply {
        var reply = ReloadReply(files: [places.config])
        // What can fail comes first, so that a reload takes effect as a whole or not at all.
        let effective = try EffectiveConfiguration(path: places.config)
        let inventory = try DaemonParts.readInventory(new)
        // Where it listens changes with a restart only.
        try AccessTokens.check(
            "ingest", parts.ingestBound, isInsecure: settings.ingest.insecure, new.ingest.tokens,
            new.ingest.tls)
        try AccessTokens.check(
            "web", parts.webBound, isInsecure: settings.web.insecure, new.web.tokens, new.web.tls)
        let (senders, readers) = (
            try AccessTokens.read(new.ingest.tokens, new.ingest.tls),
            try AccessTokens.read(new.web.tokens, new.web.tls)
        )
        let (ingestContext, webContext) = (
            try ListenerTLS.load("ingest", new.ingest.tls, over: ingestTLS),
            try ListenerTLS.load("web", new.web.tls, over: webTLS)
        )
        try await DaemonParts.apply(new, parts.reporter, parts.store)
        try? await parts.alerts.replace(AlertPolicy(new.alerts))
        let before = parts.ingest.inventory
        let moves = parts.ingest.reload(inventory: inventory)
        parts.cluster?.around.inventory.withLock { $0 = inventory }
        if let merged = parts.merged, merged != parts.measured {
            // Nodes that came since then are listed by the old one, too.
            let topology = parts.streams.topology(merged)
            if inventory != nil, !before.nodes.isEmpty { topology.arrange(as: before) }
            topology.arrange(as: inventory)
        }
        if moves != FleetChange() {
            reply.inventory = InventoryChange(
                moved: moves.moved.count, removed: moves.removed.count, returned: moves.returned.count)
        }
        parts.ingest.reload(access: senders)
        webAccess.withLock { $0 = readers }
        ingestTLS.replace(ingestContext)
        webTLS.replace(webContext)
        (settings.ingest.tokens, settings.ingest.tls) = (new.ingest.tokens, new.ingest.tls)
        (settings.web.tokens, settings.web.tls) = (new.web.tokens, new.web.tls)
        warnOfTokensInClear(parts)
        if new.log != settings.log { threshold.level = .init(new.log.level) }
        settings.endpoints = new.endpoints
        settings.store.undeliveredKeepMs = new.store.undeliveredKeepMs
        settings.alerts = new.alerts
        settings.inventory.file = new.inventory.file
        settings.log = new.log
        note(effective, in: &reply)
        return reply
    }

    /// Says in the reply, key by key, what a reload has changed, and keeps what is in force.
    private func note(_ new: EffectiveConfiguration, in reply: inout ReloadReply) {
        let old = (effective?.entries ?? []).map(ConfigEntry.init)
        let diff = ConfigDiffReply(path: places.config, running: old, file: new.entries.map(ConfigEntry.init))
        reply.changed = diff.differences.filter { $0.needs == "reload" }.map(\.key)
        reply.needRestart = diff.differences.filter { $0.needs == "restart" }.map(\.key)
        needRestart = reply.needRestart
        let kept = Dictionary((effective?.entries ?? []).map { ($0.key, $0) }) { $1 }
        let names = Set(new.entries.map(\.key))
        var entries = new.entries.compactMap {
            ConfigDiffReply.needs($0.key) == "restart" ? kept[$0.key] : $0
        }
        entries += kept.values.filter {
            !names.contains($0.key) && ConfigDiffReply.needs($0.key) == "restart"
        }
        .sorted { $0.key < $1.key }
        effective = EffectiveConfiguration(entries: entries)
        reply.files =
            [places.config] + Set(new.entries.map(\.file)).subtracting(["", places.config]).sorted()
    }

    func configuration() async throws -> ConfigReply {
        ConfigReply(
            path: places.config, entries: (effective?.entries ?? []).map(ConfigEntry.init),
            needRestart: needRestart.isEmpty ? nil : needRestart)
    }

    func logLevel() async throws -> LogLevelReply {
        LogLevelReply(
            level: threshold.level.rawValue, subsystems: threshold.subsystems.mapValues(\.rawValue),
            heldBack: threshold.heldBackTotal)
    }

    func setLogLevel(_ change: LogLevelChange) async throws -> LogLevelReply {
        let level = change.level.flatMap { Logger.Level(rawValue: $0) }
        if let name = change.level, level == nil {
            let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ControlError(.badRequest, "There is no level \(name).", hint: "The levels are \(names).")
        }
        if let subsystem = change.subsystem {
            guard Self.subsystems.contains(subsystem) else {
                throw ControlError(
                    .badRequest, "There is no subsystem \(subsystem).",
                    hint: "There are \(Self.subsystems.joined(separator: ", ")).")
            }
            threshold.set(level, subsystem: subsystem)
        } else if let level {
            threshold.level = level
        }
        // At the level of whoever wants to see little, this must still be seen.
        logger.warning(
            "the log level was changed",
            metadata: JournalMessage.logLevel.metadata([
                "subsystem": "\(change.subsystem ?? "colossusd")", "level": "\(change.level ?? "default")",
            ]))
        return try await logLevel()
    }

    /// The labels of the loggers.
    private static let subsystems = [
        "alerts", "cluster", "colossusd", "control", "ingest", "ingestlog", "reporter", "simulation", "store",
        "watchdog",
    ]

    func checkConfiguration(_ request: ConfigCheckRequest) async throws -> ConfigCheckReply {
        let path = request.path ?? places.config
        do {
            let settings = try loadSettings(path: path)
            let endpoints = settings.endpoints.map { EndpointConfiguration($0) }
            return ConfigCheckReply(
                path: path,
                problems: EndpointConfiguration.problems(in: endpoints) + ListenerTLS.problems(in: settings),
                warnings: settings.accessWarnings)
        } catch {
            return ConfigCheckReply(path: path, problems: error.errors.map(\.description))
        }
    }
}

extension ConfigEntry {
    init(_ entry: EffectiveConfiguration.Entry) {
        self.init(key: entry.key, value: entry.value, file: entry.file.isEmpty ? nil : entry.file)
    }
}
