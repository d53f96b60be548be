import Exchange
import Logging
import NATSExchange
import SystemdSupport
import Telemetry

/// What of a member shows in metrics, and which of its changes are worth a line in the journal.
struct ClusterJournal {
    private let logger: Logger
    private let metrics: Metrics
    private var wasConnected = true
    private var slices: [Int] = []
    private var problem: String?
    private var divergence: UInt64 = 0

    init(_ logger: Logger, _ metrics: Metrics) {
        self.logger = logger
        self.metrics = metrics
    }

    /// - Parameter pauseMs: the longest time between two ticks of late, which come ten times a second.
    mutating func look(at member: ClusterMember, pauseMs: Int64) {
        set("tick_pause_seconds", "Longest time between two ticks of late.", Double(pauseMs) / 1_000)
        let now = ClusterMember.nowMs()
        let worker = member.parts.worker?.withMachine { $0.status(nowMs: now) }
        let rollup = member.parts.rollup?.withMachine { $0.status(nowMs: now) }
        let former = member.parts.former?.withMachine { ($0.trimmed, $0.failures) }
        let roster = member.roster
        let live = roster.entries.keys.count { roster.isLive($0, nowMs: now) }
        set("members", "Members of the cluster that tell of themselves.", Double(live))
        set("connected", "Whether a broker is reached.", member.bus.isConnected ? 1 : 0)
        if let worker {
            set("slices", "Slices that this worker has.", Double(worker.slices.count))
            set("share", "Slices that it should have.", Double(worker.share))
            set(
                "lease_age_seconds", "Since the lease was confirmed of which that is longest ago.",
                Double(worker.leaseAgeMs) / 1_000)
            set("epochs", "Leases of slices that this worker has taken.", Double(worker.acquisitions))
            set("lease_losses", "Leases of slices that others have taken away.", Double(worker.leaseLosses))
            set("partials", "Messages with partials that are stored.", Double(worker.published))
            set("partials_retried", "Messages that were sent again.", Double(worker.retried))
            set(
                "partials_repeated", "Windows of slices that were published once more, being in no final.",
                Double(worker.repeated))
        }
        if let windows = member.parts.simulation?.windows {
            set(
                "slices_played", "Slices whose telemetry this worker works out.",
                Double(windows.playedCount))
            set("windows_kept", "Windows that wait until they are reported.", Double(windows.count))
        }
        if let control = member.parts.control {
            set(
                "control_entries", "What was asked of the run, as this member knows it.",
                Double(control.applied))
            set(
                "control_missed", "Of that, what was known only after its time; always 0.",
                Double(control.missed))
        }
        if let rollup {
            set("partitions", "Partitions that this roll-up has.", Double(rollup.partitions.count))
            set("windows_closed", "Windows of partitions that it has closed.", Double(rollup.closed))
            set("windows_incomplete", "Of those, with slices missing.", Double(rollup.incomplete))
            set(
                "partials_trimmed", "Partials taken off the brokers, being in finals.",
                Double(rollup.trimmed + (former?.0 ?? 0)))
            set(
                "former_failures",
                "Attempts to take something of a run before off the brokers that came to nothing.",
                Double(former?.1 ?? 0))
            let late = rollup.partitions.reduce(0) { $0 + $1.merged.late }
            set("partials_late", "Partials that came after their window was closed.", Double(late))
        }
        if let ingest = member.parts.ingest { look(at: ingest, now) }
        if let reporter = member.parts.reporter?.status {
            set(
                "report_lag_seconds", "From the storing of a window's last final to its commit here.",
                Double(reporter.lagMs) / 1_000)
            set("windows_reported", "Windows that this reporter has stored.", Double(reporter.windows))
        }
        if let reporter = member.parts.reporter?.status {
            set(
                "windows_skipped", "Windows whose finals were gone before they were read.",
                Double(reporter.skipped))
        }
        let waiting = [
            BusStream.partials.rawValue: (worker?.full ?? 0) > 0
                || member.parts.ingest?.shared.status.isFull == true,
            BusStream.finals.rawValue: (rollup?.full ?? 0) > 0
                || (member.parts.ingest?.rollup?.withMachine { $0.status(nowMs: now).full } ?? 0) > 0,
        ]
        for (stream, measure) in member.streams {
            look(at: measure, stream, isFull: waiting[stream] ?? false)
        }
        let regressions = (worker?.leaseRegressions ?? 0) + (rollup?.regressions ?? 0)
        set(
            "divergence", "Answers of brokers that went backwards: their copies disagree.",
            Double(regressions))
        tell(member, worker?.slices ?? [], regressions)
    }

    private func look(at measure: NATSBus.Measure, _ stream: String, isFull: Bool) {
        func set(_ name: String, _ help: String, _ value: Double) {
            metrics.gauge("colossus_cluster_" + name, help, ["bus_stream": stream]).set(value)
        }
        set(
            "replica_lag_messages", "How far the copy that is furthest behind is behind its leader.",
            Double(measure.lag.values.max() ?? 0))
        set("stream_bytes", "Bytes that a stream has on each broker.", Double(measure.bytes))
        if measure.bytesMax > 0 {
            set("stream_bytes_max", "Bytes that a stream may have on each broker.", Double(measure.bytesMax))
        }
        set("stream_full", "Whether something of this member waits for room in a stream.", isFull ? 1 : 0)
    }

    private static let refusals: [(String, String, any KeyPath<MergeCounters, UInt64> & Sendable)] = [
        ("stale", "Partials of an earlier process of their worker.", \.stale),
        ("foreign", "Partials of another fleet map, or of too many workers.", \.foreign),
        ("malformed", "Partials that could not be read.", \.malformed),
        ("ahead", "Partials of windows of the future, or of too many at a time.", \.ahead),
    ]

    private func look(at ingest: ClusterMember.Ingest, _ now: Int64) {
        let own = ingest.shared.status
        set(
            "ingest_windows", "Windows of ingested telemetry that this worker has published.",
            Double(own.published))
        set("ingest_waiting", "Windows of ingested telemetry that wait for the brokers.", Double(own.waiting))
        set(
            "ingest_unrevised", "Late shares of windows that this worker does not keep any more.",
            Double(ingest.shared.book.tooLate))
        if let rollup = ingest.rollup?.withMachine({ $0.status(nowMs: now) }) {
            let late = rollup.partitions.reduce(0) { $0 + $1.merged.late }
            let revised = rollup.partitions.reduce(0) { $0 + $1.merged.revised }
            let merged = rollup.partitions.map(\.merged)
            for (reason, help, count) in Self.refusals {
                set("ingest_partials_\(reason)", help, Double(merged.reduce(0) { $0 &+ $1[keyPath: count] }))
            }
            set("ingest_partials_late", "Partials that came too late to revise their window.", Double(late))
            set(
                "ingest_lapses", "Partitions that had no roll-up for longer than the brokers keep partials.",
                Double(rollup.lapses))
            set(
                "ingest_windows_revised", "Windows of partitions that were stored once more.", Double(revised)
            )
        }
        if let reporter = ingest.reporter?.status {
            set(
                "ingest_report_lag_seconds", "From the storing of a window's last final to its commit here.",
                Double(reporter.lagMs) / 1_000)
            set(
                "ingest_finals_foreign", "Finals that could not be read or are of another fleet.",
                Double(reporter.foreign))
            set(
                "ingest_finals_lacking_groups", "Finals that were too long, even without sketches.",
                Double(reporter.lacksGroups))
            set(
                "ingest_finals_lacking_sketches", "Finals that were too long with their sketches.",
                Double(reporter.lacksSketches))
            set(
                "ingest_revisions_without_sketches",
                "Fields of groups that a revision had more samples of, and no sketch of them.",
                Double(reporter.keptSketches))
            set(
                "ingest_revisions_late", "Revisions of windows that cannot be revised here.",
                Double(reporter.skipped))
        }
    }

    private func set(_ name: String, _ help: String, _ value: Double) {
        metrics.gauge("colossus_cluster_" + name, help).set(value)
    }

    private mutating func tell(_ member: ClusterMember, _ slices: [Int], _ regressions: UInt64) {
        let isConnected = member.bus.isConnected
        if isConnected != wasConnected {
            logger.log(
                level: isConnected ? .notice : .error,
                isConnected ? "the brokers are back" : "no broker can be reached; windows wait",
                metadata: (isConnected ? JournalMessage.clusterBack : .clusterUnreachable).metadata([
                    "member": "\(member.name)"
                ]))
            wasConnected = isConnected
        }
        if slices != self.slices {
            let taken = Set(slices).subtracting(self.slices).count
            logger.notice(
                "the share of this worker has changed",
                metadata: JournalMessage.clusterShare.metadata([
                    "member": "\(member.name)", "slices": "\(slices.count)", "taken": "\(taken)",
                    "given": "\(Set(self.slices).subtracting(slices).count)",
                ]))
            self.slices = slices
        }
        let problem = member.note().problem
        if let problem, BusStream.allCases.map(\.fullWords).contains(problem) {
            if problem != self.problem {
                logger.error(
                    "\(problem)", metadata: JournalMessage.clusterFull.metadata(["member": "\(member.name)"]))
            }
        } else if let problem, problem != self.problem, isConnected {
            logger.error(
                "the brokers do not do what this member asks",
                metadata: JournalMessage.clusterRefused.metadata([
                    "cluster": "\(member.map.cluster)", "reason": "\(problem)",
                ]))
        }
        if problem == nil, self.problem != nil, isConnected {
            logger.notice(
                "what kept this member from its work is over",
                metadata: JournalMessage.clusterOver.metadata(["member": "\(member.name)"]))
        }
        self.problem = problem
        if regressions > divergence {
            logger.error(
                "an answer of the brokers went backwards: their copies disagree",
                metadata: JournalMessage.clusterDivergence.metadata([
                    "member": "\(member.name)", "count": "\(regressions)",
                ]))
            divergence = regressions
        }
    }
}
