/// How much the fleet was used and what it drew: sums over time, for means over the last hours.
///
/// Sums grow at events and at full hours only, so that they do not depend on who asks how often.
struct FleetUsage: Sendable {
    private struct Sums: Sendable {
        /// Node milliseconds, and these times utilisation or watts per GPU.
        var up = 0.0
        var used = 0.0
        var watts = 0.0
        var exposed = 0.0
    }

    private static let hourMs: Int64 = 3_600_000
    private static let hoursKept = 25

    private let power: Scenario.SitePower
    private let idleWatts: Double
    private let risingWatts: Double
    private let burnIn: (utilization: Double, watts: Double)
    /// By `JobState.Phase`.
    private let training: [(utilization: Double, watts: Double)]
    /// What all that waiting for slow members takes off the watts of a job that trains.
    private let waitingWatts: Double
    private let startMs: Int64

    private var sums = Sums()
    private var atMs: Int64
    /// Sums at the last full hours, by hour since the start modulo `hoursKept`.
    private var hourly: [Sums]

    private(set) var nextHourMs: Int64

    init(_ scenario: Scenario, timing: JobTiming) {
        let loads = scenario.telemetry
        power = scenario.power
        idleWatts = Double(loads.idleWatts)
        risingWatts = Double(loads.trainingWatts - loads.idleWatts)
        func uses(_ load: Scenario.Load) -> (Double, Double) {
            (
                Double(load.engine),
                Double(loads.idleWatts) + Double(loads.trainingWatts - loads.idleWatts)
                    * Double(load.powerPermille) / 1_000
            )
        }
        burnIn = uses(loads.burnIn)
        let (computing, writing) = (uses(loads.training), uses(loads.checkpointing))
        let share = Double(timing.interval) / Double(timing.interval + timing.write)
        let running = (
            computing.0 * share + writing.0 * (1 - share), computing.1 * share + writing.1 * (1 - share)
        )
        let stopped = uses(loads.restarting)
        training = [uses(loads.idle), running, uses(loads.hung), stopped, stopped]
        waitingWatts = share * (computing.1 - uses(loads.hung).1)
        startMs = scenario.startMs
        atMs = startMs
        hourly = Array(repeating: Sums(), count: Self.hoursKept)
        nextHourMs = startMs + Self.hourMs
    }

    /// Adds the time until then, during which nothing changed.
    mutating func settle(at timeMs: Int64, _ counts: [Int], _ job: JobState) {
        if timeMs > atMs {
            sums = sum(until: timeMs, counts, job)
            atMs = timeMs
        }
        if timeMs == nextHourMs {
            hourly[Int((timeMs - startMs) / Self.hourMs) % Self.hoursKept] = sums
            nextHourMs += Self.hourMs
        }
    }

    /// Means over the last `windowMs`, to full hours, back to the start at most and a day at most.
    func mean(
        until nowMs: Int64, overMs windowMs: Int64, _ counts: [Int], _ job: JobState
    ) -> (utilization: Double, megawatts: Double) {
        let span = min(max(windowMs, Self.hourMs), 24 * Self.hourMs)
        let hour = max(0, nowMs - span - startMs) / Self.hourMs
        let from = hourly[Int(hour) % Self.hoursKept]
        let until = sum(until: max(nowMs, atMs), counts, job)
        let length = Double(nowMs - (startMs + hour * Self.hourMs))
        let up = until.up - from.up
        guard length > 0 else { return (0, power.baseMegawatts) }
        // Node milliseconds and watts per GPU make watts of nodes of 8 GPUs.
        let nodeWatts = 8 * ((until.watts - from.watts) + up * power.hostWattsPerGPU) / length
        let facility = nodeWatts * (1 + power.networkShare) * power.pue / 1e6
        return (up > 0 ? (until.used - from.used) / up : 0, power.baseMegawatts + facility)
    }

    func exposedNodeMs(at timeMs: Int64, _ counts: [Int]) -> Double {
        sum(until: max(timeMs, atMs), counts, nil).exposed
    }

    private func sum(until timeMs: Int64, _ counts: [Int], _ job: JobState?) -> Sums {
        let elapsed = Double(timeMs - atMs)
        func nodes(_ status: NodeStatus) -> Double { Double(counts[Int(status.rawValue)]) }
        let idle = nodes(.powered) + nodes(.ready) + nodes(.failed)
        var training = self.training[Int((job?.phase ?? .waiting).rawValue)]
        if let job, job.phase == .running {
            training.watts -= waitingWatts * Double(job.slowPermille) / 1_000
        }
        var sums = sums
        sums.up += elapsed * (idle + nodes(.burnIn) + nodes(.training))
        sums.used +=
            elapsed * (nodes(.burnIn) * burnIn.utilization + nodes(.training) * training.utilization)
        sums.watts +=
            elapsed
            * (idle * idleWatts + nodes(.burnIn) * burnIn.watts + nodes(.training) * training.watts)
        sums.exposed += elapsed * (nodes(.ready) + nodes(.training))
        return sums
    }
}
