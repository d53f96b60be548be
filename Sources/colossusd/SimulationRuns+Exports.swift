import ControlAPI
import Exporters
import FoundationEssentials
import Logging
import Playback
import Simulation
import Store
import Telemetry

/// An export that is open.
struct ActiveExport: Sendable {
    enum Kind: Sendable {
        case scrape(ScrapeExport)
        case remoteWrite(RemoteWriteExport)
    }

    /// Without what it has done so far.
    var base: ExportStatus
    var kind: Kind

    var status: ExportStatus {
        var status = base
        let counts =
            switch kind {
            case .scrape(let export): export.counts
            case .remoteWrite(let export): export.counts
            }
        status.requests = counts.requests
        status.samples = counts.samples
        status.bytes = counts.bytes
        status.failed = counts.failed
        status.dropped = counts.dropped
        status.lastError = counts.lastError
        return status
    }

    func stop() async {
        switch kind {
        case .scrape(let export): await export.stop()
        case .remoteWrite(let export): export.stop()
        }
    }
}

// Exports live with their runs: they end with them, and go on with them after a restart.
extension SimulationRuns {
    static let exportsMax = 16
    private static let nodesDefault = 64
    /// Where free ports are looked for: below those that the kernel gives to outgoing connections.
    private static let freePorts = 20_000..<30_000

    var exportStatuses: [ExportStatus] {
        exports.values.map(\.status).sorted { $0.name < $1.name }
    }

    func export(name: String) throws -> ExportStatus {
        guard let export = exports[name] else {
            let names = exports.keys.sorted().joined(separator: ", ")
            throw ControlError(
                .notFound, "There is no export \(name).",
                hint: names.isEmpty
                    ? "Start one: colossusctl simulate export start RUN" : "There are: \(names).")
        }
        return export.status
    }

    func startExport(_ start: ExportStart) async throws -> ExportStatus {
        let name = start.name ?? start.run
        guard StreamID.simulated(run: name) != nil else {
            throw ControlError(
                .badRequest, "\(name) is no name for an export.",
                hint: "Write 1 to 64 characters out of a-z A-Z 0-9 . _ -")
        }
        guard exports[name] == nil, exports.count < Self.exportsMax else {
            throw ControlError(
                .conflict,
                exports[name] == nil
                    ? "\(exports.count) exports are open." : "There is an export \(name) already.",
                hint: "Choose another name with --name, or stop one: colossusctl simulate export stop NAME")
        }
        let status = try await open(start, name: name)
        var kept = start
        kept.name = name
        kept.port = status.targets.first?.address.split(separator: ":").last.flatMap { Int($0) }
        try await store.save(
            StoredExport(name: name, run: start.run, request: ControlJSON.text(kept)))
        return status
    }

    func stopExport(name: String) async throws -> ExportStatus {
        let last = try export(name: name)
        await close(export: name)
        try await store.removeExport(name: name)
        return last
    }

    /// Opens what was open when the daemon ended.
    func resumeExports(run: String) async {
        let kept = (try? await store.exports()) ?? []
        for stored in kept where stored.run == run {
            do {
                let start = try ControlJSON.decode(ExportStart.self, from: Data(stored.request.utf8))
                _ = try await open(start, name: stored.name)
            } catch {
                let text = (error as? ControlError)?.text ?? "\(error)"
                logger.error("export \(stored.name) cannot go on: \(text)")
            }
        }
    }

    /// Closes the exports of a run, or all of them; `forgets` when they are not to go on after a restart.
    func closeExports(run: String?, forgets: Bool) async {
        for (name, export) in exports where run == nil || export.base.run == run {
            await close(export: name)
            if forgets { try? await store.removeExport(name: name) }
        }
    }

    private func close(export name: String) async {
        guard let export = exports.removeValue(forKey: name) else { return }
        runs[export.base.run]?.tap.remove(name: name)
        await export.stop()
        logger.notice("an export has ended", metadata: ["export": "\(name)", "run": "\(export.base.run)"])
    }

    private func open(_ start: ExportStart, name: String) async throws -> ExportStatus {
        guard let playing = runs[start.run], !playing.run.status().state.isOver else {
            _ = try await status(run: start.run)
            throw ControlError(.conflict, "Run \(start.run) is over.", hint: "Start another one.")
        }
        let plan = playing.run.plan
        let nodes = try Self.nodes(start, plan)
        var base = ExportStatus(
            name: name, run: start.run, kind: start.url == nil ? "scrape" : "remote_write",
            nodes: nodes.count, firstNode: plan.nodeName(nodes.lowerBound),
            simulatedTime: start.simulatedTime ?? false, url: start.url)
        let kind: ActiveExport.Kind
        if let url = start.url {
            kind = .remoteWrite(
                RemoteWriteExport(
                    plan: plan, nodes: nodes, url: try Self.checked(url), name: name,
                    showsJob: start.jobLabels ?? false, showsTime: base.simulatedTime, clock: clock))
        } else {
            let (export, ports) = try await Self.listen(start, plan, nodes)
            let host = start.host ?? "127.0.0.1"
            let shown = host.contains(":") ? "[\(host)]" : host
            base.targets = zip(nodes, ports).map { node, port in
                let labels = Dictionary(plan.labels(gpu: 8 * node), uniquingKeysWith: { first, _ in first })
                return ExportTarget(
                    address: "\(shown):\(port)", node: plan.nodeName(node), rack: labels["rack"] ?? "",
                    array: labels["pod"] ?? "", hall: labels["hall"] ?? "")
            }
            kind = .scrape(export)
        }
        let export = ActiveExport(base: base, kind: kind)
        // Opening ports took a moment.
        guard exports[name] == nil, runs[start.run]?.run.status().state.isOver == false else {
            await export.stop()
            throw ControlError(.conflict, "Run \(start.run) has ended, or export \(name) is there by now.")
        }
        exports[name] = export
        switch kind {
        case .scrape(let scrape): playing.tap.add(scrape, name: name)
        case .remoteWrite(let write): playing.tap.add(write, name: name)
        }
        logger.notice(
            "a run is exported",
            metadata: [
                "export": "\(name)", "run": "\(start.run)", "kind": "\(base.kind)", "nodes": "\(nodes.count)",
            ])
        return export.status
    }

    private static func nodes(_ start: ExportStart, _ plan: FleetPlan) throws -> Range<Int> {
        var first = 0
        if let name = start.firstNode {
            guard let node = plan.node(named: name) else {
                throw ControlError(
                    .notFound, "The run has no node \(name).",
                    hint:
                        "Its first node is \(plan.nodeName(0)), its last \(plan.nodeName(plan.nodeCount - 1))."
                )
            }
            first = node
        }
        let most = min(plan.nodeCount - first, ScrapeExport.nodesMax)
        let wanted = start.nodes ?? min(nodesDefault, most)
        guard (1...most).contains(wanted) else {
            throw ControlError(
                .badRequest, "\(wanted) nodes cannot be exported.", hint: "Write 1 to \(most).")
        }
        return first..<(first + wanted)
    }

    private static func checked(_ url: String) throws -> String {
        let isHTTP = url.hasPrefix("http://") || url.hasPrefix("https://")
        // It is shown to all who may look.
        guard isHTTP, let parsed = URL(string: url), parsed.host() != nil, parsed.user == nil,
            parsed.password == nil, parsed.query == nil
        else {
            throw ControlError(
                .badRequest, "Nothing can be sent to that URL.",
                hint: "Write http://HOST:PORT/PATH or https://…, without a user, a password or a query.")
        }
        return url
    }

    private static func listen(
        _ start: ExportStart, _ plan: FleetPlan, _ nodes: Range<Int>
    ) async throws -> (ScrapeExport, [Int]) {
        let host = start.host ?? "127.0.0.1"
        if let port = start.port, !(1...(65_536 - nodes.count)).contains(port) {
            throw ControlError(
                .badRequest, "Port \(port) cannot be the first of \(nodes.count).",
                hint: "Write 1 to \(65_536 - nodes.count).")
        }
        var failure: (any Error)?
        for _ in 0..<(start.port == nil ? 20 : 1) {
            let free = freePorts.lowerBound..<(freePorts.upperBound - nodes.count)
            let export = ScrapeExport(
                plan: plan, nodes: nodes, host: host, showsJob: start.jobLabels ?? false,
                showsTime: start.simulatedTime ?? false)
            do {
                return (export, try await export.start(port: start.port ?? Int.random(in: free)))
            } catch {
                failure = error
            }
        }
        throw ControlError(
            .conflict, "The ports on \(host) cannot be opened: \(failure.map { "\($0)" } ?? "").",
            hint: "Choose others with --listen and --port.")
    }
}
