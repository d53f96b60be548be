/// Plain time: racks become ready, failures take down one node or none, and the job takes every node that there is.
///
/// Most of most trajectories is like that, and then a node's standing follows from when it last came back: it is out until
/// then, a member if the job has (re)started since, and ready in between. So nobody has to be told when a node comes back, and
/// none has to be looked at when it joins: counting them is enough. The result is that of `step`, to the bit.
extension FleetCore {
    /// A node that came back before it failed again while the job had not taken it yet.
    struct Return: Sendable {
        var timeMs: Int64
        var node: Int32
    }

    /// What is kept of nodes in plain time.
    struct PlainNodes: Sendable {
        /// When each came back, or will; `Int64.min` for those that never were out.
        var backMs: [Int64] = []
        var returns: ReturnTally
        /// When all that was ready joined, and how many nodes had been ready once: the members are those of them that were
        /// back then and have not failed since.
        var joinedMs = Int64.min
        var joinedNodes = 0
        /// Earlier returns, since nodes joined, of those that have been back and failed again.
        var repeated: [Return] = []

        init(startMs: Int64, endMs: Int64) { returns = ReturnTally(startMs: startMs, endMs: endMs) }

        mutating func removeAll(nodeCount: Int) {
            if backMs.isEmpty { backMs = Array(repeating: .min, count: nodeCount) }
            for node in backMs.indices { backMs[node] = .min }
            returns.removeAll()
            repeated.removeAll(keepingCapacity: true)
            (joinedMs, joinedNodes) = (.min, 0)
        }
    }

    // MARK: The clock

    /// The part of `advance` that lies in plain time.
    mutating func advancePlainly(to goalMs: Int64) {
        let goal = min(goalMs, plan.plainUntilMs)
        while isPlain {
            let other = min(nextStepMs, nextFailureMs, nextWorkloadMs)
            let next = min(other, job.nextMs)
            if next > goal { break }
            if next == other {
                while nextStepMs == next { takePlainStep(next) }
                while nextFailureMs == next { strikePlainly(next) }
                if nextWorkloadMs == next {
                    countReturns(until: next)
                    while nextWorkloadMs == next { changeWorkload(next) }
                }
            }
            if job.nextMs == next { continuePlainly(next) }
        }
        guard isPlain else { return }
        countReturns(until: goal)
        if goal < goalMs { leavePlainTime(goal) }
    }

    @inline(__always)
    private mutating func continuePlainly(_ timeMs: Int64) {
        var nobody = NobodyWatching()
        if job.phase != .hung {
            countReturns(until: timeMs)
            if job.phase != .running, !isEnough {
                leavePlainTime(timeMs)
            }
        }
        continueJob(timeMs, &nobody)
    }

    /// Books what came back, whoever it was.
    @inline(__always)
    private mutating func countReturns(until timeMs: Int64) {
        let (nodes, sinceStartMs) = plain.returns.take(until: timeMs)
        outTime.add(-nodes, sinceStartMs: -sinceStartMs)
        readyTime.add(nodes, sinceStartMs: sinceStartMs)
        upTime.add(nodes, sinceStartMs: sinceStartMs)
    }

    // MARK: Nodes

    private mutating func takePlainStep(_ timeMs: Int64) {
        let step = plan.rackSteps[nextStep]
        nextStep += 1
        nextStepMs = nextStep < plan.rackSteps.count ? plan.rackSteps[nextStep].timeMs : .max
        let nodes = step.nodes
        everReady = nodes.upperBound
        activeCount += nodes.count
        var passed = UInt8(truncatingIfNeeded: 1 << nodes.count - 1)
        while nextRejected < nodes.upperBound {
            passed &= ~(1 << UInt8(truncatingIfNeeded: nextRejected - nodes.lowerBound))
            let backMs = timeMs + rejectedDraw.repairMs
            outTime.add(1, at: timeMs)
            plain.backMs[nextRejected] = backMs
            plain.returns.add(at: backMs)
            drawRejected()
        }
        let count = passed.nonzeroBitCount
        readyTime.add(count, at: timeMs)
        upTime.add(count, at: timeMs)
        candidates.append(.init(first: Int32(truncatingIfNeeded: nodes.lowerBound), nodes: passed))
        addPeak(step)
        setHazard(timeMs)
    }

    @inline(__always)
    private mutating func strikePlainly(_ timeMs: Int64) {
        let draw = nextFailure(timeMs)
        guard let node = victim(draw) else { return }
        let backMs = plain.backMs[node]
        guard backMs <= timeMs else { return }
        let index = Int(draw.cause)
        failureCount += 1
        failuresByCause[index] += 1
        var nobody = NobodyWatching()
        let isMember = node < plain.joinedNodes && backMs <= plain.joinedMs
        let effect = law.causes[index].effect
        let members = memberCount
        if effect == .software {
            guard isMember else { return }
            book(timeMs)
        } else {
            if members > 0 { book(timeMs) }
            let drain = effect == .gpu ? law.drainMs : 0
            let until = timeMs + max(drain, drain + draw.repairMs)
            if isMember {
                memberCount -= 1
            } else {
                readyTime.add(-1, at: timeMs)
                if backMs > plain.joinedMs { plain.repeated.append(.init(timeMs: backMs, node: Int32(node))) }
            }
            upTime.add(-1, at: timeMs)
            outTime.add(1, at: timeMs)
            time.draining += min(drain, endMs - timeMs)
            plain.backMs[node] = until
            plain.returns.add(at: until)
            guard isMember else { return }
        }
        interrupt(node, index, members, timeMs, &nobody)
    }

    /// All that is ready joins.
    @inline(__always)
    mutating func joinPlainly(_ timeMs: Int64) {
        let joined = readyCount
        memberCount += joined
        readyTime.add(-joined, at: timeMs)
        candidates.removeAll()
        if !plain.repeated.isEmpty { plain.repeated.removeAll(keepingCapacity: true) }
        (plain.joinedMs, plain.joinedNodes) = (timeMs, everReady)
    }

    // MARK: The end of it

    /// Writes down the standing of each node, who waits for the job, and when the others come back. All that was due at that
    /// time has happened.
    mutating func leavePlainTime(_ timeMs: Int64) {
        isPlain = false
        var waiting = plain.repeated
        for node in 0..<everReady {
            let backMs = plain.backMs[node]
            if backMs > timeMs {
                standing[node] = Standing.out
                returns.add(node, at: backMs)
            } else if node < plain.joinedNodes, backMs <= plain.joinedMs {
                standing[node] = Standing.member
            } else {
                standing[node] = Standing.ready
                if backMs > plain.joinedMs { waiting.append(Return(timeMs: backMs, node: Int32(node))) }
            }
        }
        waiting.sort { ($0.timeMs, $0.node) < ($1.timeMs, $1.node) }
        // Racks that became ready come before nodes that came back at the same time.
        var racks: [CandidateQueue.Entry] = []
        while let rack = candidates.removeFirst() { racks.append(rack) }
        var next = 0
        for rack in racks {
            let readyMs = plan.racks[Int(plan.rackOfNode[Int(rack.first)])].readyMs
            while next < waiting.count, waiting[next].timeMs < readyMs {
                candidates.append(Int(waiting[next].node))
                next += 1
            }
            candidates.append(rack)
        }
        for entry in waiting[next...] { candidates.append(Int(entry.node)) }
    }
}

extension FleetPlan {
    /// Until when time is plain, whatever happens; before the start when it never is.
    static func plainUntilMs(_ scenario: Scenario, _ steps: [RackStep], _ law: FleetLaw) -> Int64 {
        let (failures, job) = (scenario.failures, scenario.job)
        let isPlain =
            failures.causes.allSatisfy { cause in
                cause.blast == .node && cause.perJobDay == 0
                    && (cause.effect == .gpu || cause.effect == .node || cause.effect == .software)
            }
            && law.infantPerNode <= 0 && job.spareNodes == 0 && 8 * (job.maximumGPUs / 8) >= scenario.gpuCount
        guard isPlain else { return scenario.startMs - 1 }
        // A rack that is never ready leaves a gap in the numbers of nodes that were.
        var nodes = 0
        var rack = Int64.max
        for step in steps where rack == .max {
            if step.kind != .ready || step.nodes.lowerBound != nodes { rack = step.timeMs }
            nodes = step.nodes.upperBound
        }
        let workload = job.workload.first { $0.training < 1 }?.timeMs ?? .max
        return min(rack, workload) - 1
    }
}
