import ControlAPI
import Exchange
import FoundationEssentials
import NATSExchange
import Playback
import Settings
import Telemetry

// What the control interface asks of the cluster.
extension Daemon {
    func cluster() async throws -> ClusterReply {
        let node = try clusterNode()
        var reply = ClusterReply(
            cluster: node.settings.name, member: node.name, connected: node.isConnected,
            problem: node.problem)
        guard let member = node.shown else { return reply }
        let (map, roster, nowMs) = (member.map, member.roster, ClusterMember.nowMs())
        reply.problem = (node.member == nil ? node.problem : nil) ?? member.note().problem
        reply.stream = map.stream
        reply.speed = member.fleet?.pace.description
        reply.started = member.agreement.map { UTCTime(ms: $0.startedMs) }
        reply.windowSeconds = Double(map.windowMs) / 1_000
        reply.slices = map.isIngested ? 0 : map.slices
        reply.slicesHeld = roster.held(nowMs: nowMs).count
        reply.partitions = map.partitions
        if let closed = roster.closedThrough(partitions: map.partitions), closed >= 0 {
            reply.closedThrough = UTCTime(ms: map.windowEndMs(closed))
        }
        if let control = member.parts.control, let log = control.status.log {
            reply.speed = Pace.times(ControlCourse(control.base, log).speed).description
            let workers = roster.entries.values.filter {
                $0.note.roles.contains("worker") && roster.isLive($0.note.member, nowMs: nowMs)
            }
            reply.control = ClusterControl(
                log, isKnown: workers.allSatisfy { ($0.note.control ?? 0) >= log.entries.count })
        }
        reply.replicaLag = member.replicaLag
        reply.members = roster.entries.keys.sorted().compactMap { name in
            roster.entries[name].map {
                ClusterMemberStatus($0, map, isLive: roster.isLive(name, nowMs: nowMs), nowMs: nowMs)
            }
        }
        // Who is in another run has nothing to do with the windows and slices of this one.
        let others = roster.areElsewhere(nowMs: nowMs).map { ClusterMemberStatus(elsewhere: $0, nowMs) }
        let names = Set(others.map(\.name))
        reply.members.removeAll { names.contains($0.name) }
        reply.members = (reply.members + others).sorted { $0.name < $1.name }
        return reply
    }

    func clusterSlices() async throws -> ClusterSlicesReply {
        let member = try clusterMember()
        // What is ingested belongs to whoever hears it.
        guard let fleet = member.fleet else { return ClusterSlicesReply([]) }
        let (map, topology) = (fleet.map, fleet.topology)
        let held = member.roster.held(nowMs: ClusterMember.nowMs())
        var rows = (0..<map.slices).map {
            ClusterSliceRow(slice: $0, partition: map.partition(of: $0), arrays: [])
        }
        for (array, name) in topology.arrayNames.enumerated() { rows[array % map.slices].arrays.append(name) }
        for (slice, holder) in held where rows.indices.contains(slice) {
            rows[slice].member = holder.member
            rows[slice].epoch = holder.epoch
        }
        return ClusterSlicesReply(rows)
    }

    func drainWorker(name: String) async throws -> ClusterChangeReply {
        let member = try clusterMember()
        guard let entry = member.roster.entries[name], entry.note.roles.contains("worker") else {
            let names = member.roster.entries.keys.sorted().joined(separator: ", ")
            throw ControlError(
                .notFound, "There is no worker \(name) in the cluster.",
                hint: names.isEmpty ? "Nobody has told of himself yet." : "The members are: \(names).")
        }
        var change = await order(.drain, name, member)
        // Mostly a lease is given away within some tenths of a second, and told of within two.
        for _ in 0..<12 where change.ok && change.slices > 0 {
            try? await Task.sleep(for: .milliseconds(250))
            change.slices = slices(of: name, member)
        }
        return ClusterChangeReply([change], done: change.ok && change.slices == 0)
    }

    func rebalanceCluster() async throws -> ClusterChangeReply {
        let member = try clusterMember()
        let (roster, nowMs) = (member.roster, ClusterMember.nowMs())
        let workers = roster.entries.values.filter {
            $0.note.roles.contains("worker") && roster.isLive($0.note.member, nowMs: nowMs)
        }
        var changes: [ClusterMemberChange] = []
        for worker in workers.map(\.note.member).sorted() {
            changes.append(await order(.resume, worker, member))
        }
        return ClusterChangeReply(changes, done: changes.allSatisfy(\.ok))
    }

    private func slices(of name: String, _ member: ClusterMember) -> Int {
        if name == member.name { return member.note().slices.count }
        return member.roster.entries[name]?.note.slices.count ?? 0
    }

    private func order(
        _ verb: ClusterOrder.Verb, _ name: String, _ member: ClusterMember
    ) async -> ClusterMemberChange {
        let order = ClusterOrder(verb: verb)
        let answer: ClusterAnswer
        if name == member.name {
            answer = member.obey(order)
        } else {
            let bytes = (try? JSONEncoder().encode(order)).map(Array.init) ?? []
            let subject = member.map.requestSubject(name)
            answer = await withCheckedContinuation { continuation in
                member.bus.request(subject, bytes, timeoutMs: 3_000) { result in
                    continuation.resume(returning: Self.answer(result))
                }
            }
        }
        return ClusterMemberChange(
            member: name, ok: answer.ok, message: answer.text, slices: slices(of: name, member))
    }

    private static func answer(_ result: Result<[UInt8], BusError>) -> ClusterAnswer {
        switch result {
        case .success(let bytes):
            (try? JSONDecoder().decode(ClusterAnswer.self, from: Data(bytes)))
                ?? ClusterAnswer(ok: false, text: "its answer cannot be read")
        case .failure(.denied(let text)): ClusterAnswer(ok: false, text: "the brokers refuse: \(text)")
        case .failure: ClusterAnswer(ok: false, text: "it does not answer")
        }
    }

    private func clusterNode() throws -> ClusterNode {
        guard let node = try running().cluster else {
            throw ControlError(
                .notFound, "This daemon works alone.",
                hint: "A cluster: section in its configuration makes it a member; see colossusd.yaml(5).")
        }
        return node
    }

    private func clusterMember() throws -> ClusterMember {
        let node = try clusterNode()
        guard let member = node.shown else {
            throw ControlError(
                .tryAgain, "This member has not joined: \(node.problem ?? "it is on its way").",
                hint: "Look at `colossusctl cluster status`.")
        }
        return member
    }

    /// The cluster's line of `status`.
    func clusterStatus() -> ClusterStatus? {
        guard let node = parts?.cluster else { return nil }
        var status = ClusterStatus(
            cluster: node.settings.name, member: node.name, roles: node.settings.roles.map(\.rawValue),
            connected: node.isConnected)
        status.problem = node.problem
        guard let member = node.shown else { return status }
        let (roster, nowMs, note) = (member.roster, ClusterMember.nowMs(), member.note())
        status.members = roster.entries.keys.count { roster.isLive($0, nowMs: nowMs) }
        status.slices = note.slices.count
        status.slicesTotal = member.fleet?.map.slices ?? 0
        status.problem = (node.member == nil ? node.problem : nil) ?? note.problem
        return status
    }
}

extension ClusterControl {
    init(_ log: ControlLog, isKnown: Bool) {
        self.init(
            entries: log.entries.count, isKnown: isKnown, playsThrough: UTCTime(ms: log.horizonMs))
        guard let entry = log.entries.last else { return }
        last = entry.words
        member = entry.member
        asked = UTCTime(ms: entry.askedMs)
        after = UTCTime(ms: entry.atMs)
    }
}

extension ClusterMemberStatus {
    /// One that plays or reports another run.
    init(elsewhere entry: ClusterRoster.Entry, _ nowMs: Int64) {
        let note = entry.note
        self.init(
            name: note.member, state: note.isDraining ? .draining : .active, roles: note.roles,
            version: note.version, heardSeconds: Double(nowMs - entry.heardMs) / 1_000)
        problem = note.problem ?? "it is in run \(note.run ?? 1) of the cluster"
    }

    init(_ entry: ClusterRoster.Entry, _ map: FleetMap, isLive: Bool, nowMs: Int64) {
        let note = entry.note
        let state: State =
            note.hasLeft ? .left : !isLive ? .silent : note.isDraining ? .draining : .active
        self.init(
            name: note.member, state: state, roles: note.roles, version: note.version,
            heardSeconds: Double(nowMs - entry.heardMs) / 1_000)
        func end(_ window: Int64) -> UTCTime? {
            window >= 0 && window < FleetMap.windowNumberMax ? UTCTime(ms: map.windowEndMs(window)) : nil
        }
        slices = note.slices.count
        share = note.share
        readyThrough = end(note.ready)
        control = note.control
        windowsKept = note.kept
        partials = note.published
        partialsRetried = note.retried
        leaseLosses = note.leaseLosses
        partitions = note.partitions.count
        windowsClosed = note.closed
        windowsIncomplete = note.incomplete
        partialsLate = note.partitions.reduce(0) { $0 &+ $1.late }
        reportedThrough = note.reported.flatMap(end)
        reportLagSeconds = Double(note.lagMs) / 1_000
        problem = note.problem
    }
}
