import ControlAPI
import Logging
import Receivers
import Settings
import SystemdSupport

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
        let inventory = try DaemonParts.readInventory(new)
        try await DaemonParts.apply(new.endpoints, parts.reporter, parts.store)
        parts.ingest.reload(inventory: inventory)
        threshold.level = .init(new.log.level)
        if new.endpoints != settings.endpoints { reply.changed.append("endpoints") }
        if new.inventory.file != settings.inventory.file { reply.changed.append("inventory.file") }
        if new.log != settings.log { reply.changed.append("log") }
        if new.ingest != settings.ingest { reply.needRestart.append("ingest") }
        if new.web != settings.web { reply.needRestart.append("web") }
        if new.hosts != settings.hosts { reply.needRestart.append("hosts") }
        if new.inventory.site != settings.inventory.site { reply.needRestart.append("inventory.site") }
        if new.windows != settings.windows { reply.needRestart.append("windows") }
        if new.aggregation != settings.aggregation { reply.needRestart.append("aggregation") }
        if new.store != settings.store { reply.needRestart.append("store") }
        if new.simulations != settings.simulations { reply.needRestart.append("simulations") }
        settings = new
        return reply
    }

    func checkConfiguration(_ request: ConfigCheckRequest) async throws -> ConfigCheckReply {
        let path = request.path ?? places.config
        do {
            _ = try loadSettings(path: path)
            return ConfigCheckReply(path: path)
        } catch {
            return ConfigCheckReply(path: path, problems: error.errors.map(\.description))
        }
    }
}
