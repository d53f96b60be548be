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
        /// Failures by cause, and in the second half interruptions: those that plain time adds to the core's.
        var struck: [Int]
        /// Earlier returns, since nodes joined, of those that have been back and failed again.
        var repeated: [Return] = []

        init(startMs: Int64, endMs: Int64, causeCount: Int) {
            returns = ReturnTally(startMs: startMs, endMs: endMs)
            struck = Array(repeating: 0, count: 2 * causeCount)
        }

        mutating func removeAll(nodeCount: Int) {
            if backMs.isEmpty { backMs = Array(repeating: .min, count: nodeCount) }
            for node in backMs.indices { backMs[node] = .min }
            for index in struck.indices { struck[index] = 0 }
            returns.removeAll()
            repeated.removeAll(keepingCapacity: true)
            (joinedMs, joinedNodes) = (.min, 0)
        }
    }

    // MARK: The clock

    /// The part of `advance` that lies in plain time.
    mutating func advancePlainly(to goalMs: Int64) {
        let goal = min(goalMs, plan.plainUntilMs)
        if let timeMs = runPlainly(to: goal) {
            // Too few nodes: the job waits for more, and from here on who comes back matters.
            leavePlainTime(timeMs)
            var nobody = NobodyWatching()
            continueJob(timeMs, &nobody)
        } else if goal < goalMs {
            leavePlainTime(goal)
        }
    }

    /// - Returns: when there were too few nodes for the job, if there were.
    private mutating func runPlainly(to goal: Int64) -> Int64? {
        // Held alone meanwhile: nobody else looks at them.
        var (nodes, returns, causes): ([Int64], [Int32], [Int]) = ([], [], [])
        swap(&nodes, &plain.backMs)
        swap(&returns, &plain.returns.pages)
        swap(&causes, &plain.struck)
        defer {
            swap(&nodes, &plain.backMs)
            swap(&returns, &plain.returns.pages)
            swap(&causes, &plain.struck)
        }
        var backMs = nodes.mutableSpan
        var pages = returns.mutableSpan
        var struck = causes.mutableSpan
        while true {
            let rare = min(nextStepMs, nextWorkloadMs)
            let next = min(min(rare, nextFailureMs), job.nextMs)
            if next > goal { break }
            if nextFailureMs < min(rare, job.nextMs) {
                strikePlainly(next, goal, &backMs, &pages, &struck)
                continue
            }
            while nextStepMs == next { takePlainStep(next, &backMs, &pages) }
            while nextFailureMs == next { strikePlainly(next, goal, &backMs, &pages, &struck) }
            if nextWorkloadMs == next {
                countReturns(until: next, &pages)
                while nextWorkloadMs == next { changeWorkload(next) }
            }
            guard job.nextMs == next else { continue }
            if job.phase != .hung {
                countReturns(until: next, &pages)
                if job.phase != .running, !isEnough { return next }
            }
            var nobody = NobodyWatching()
            continueJob(next, &nobody)
        }
        countReturns(until: goal, &pages)
        return nil
    }

    /// Books what came back, whoever it was.
    @inline(__always)
    private mutating func countReturns(until timeMs: Int64, _ pages: inout MutableSpan<Int32>) {
        let (nodes, sinceStartMs) = plain.returns.take(until: timeMs, &pages)
        outTime.add(-nodes, sinceStartMs: -sinceStartMs)
        readyTime.add(nodes, sinceStartMs: sinceStartMs)
        upTime.add(nodes, sinceStartMs: sinceStartMs)
    }

    // MARK: Nodes

    @inline(__always)
    private mutating func takePlainStep(
        _ timeMs: Int64, _ backMs: inout MutableSpan<Int64>, _ pages: inout MutableSpan<Int32>
    ) {
        let step = plan.rackSteps[nextStep]
        nextStep &+= 1
        nextStepMs = nextStep < plan.rackSteps.count ? plan.rackSteps[nextStep].timeMs : .max
        let nodes = step.nodes
        everReady = nodes.upperBound
        activeCount &+= nodes.count
        var passed = UInt8(truncatingIfNeeded: 1 << nodes.count - 1)
        while nextRejected < nodes.upperBound {
            passed &= ~(1 << UInt8(truncatingIfNeeded: nextRejected - nodes.lowerBound))
            let returnMs = timeMs &+ rejectedDraw.repairMs
            backMs[nextRejected] = returnMs
            plain.returns.add(1, at: returnMs, &pages)
            drawRejected()
        }
        let count = passed.nonzeroBitCount
        outTime.add(nodes.count &- count, at: timeMs)
        readyTime.add(count, at: timeMs)
        upTime.add(count, at: timeMs)
        candidates.append(.init(first: Int32(truncatingIfNeeded: nodes.lowerBound), nodes: passed))
        (pacePeak, flopNodes) = (step.pacePeak, -1)
        setHazard(timeMs)
    }

    @inline(__always)
    private mutating func strikePlainly(
        _ timeMs: Int64, _ goal: Int64, _ backMs: inout MutableSpan<Int64>,
        _ pages: inout MutableSpan<Int32>, _ struck: inout MutableSpan<Int>
    ) {
        let draw = nextFailure(timeMs)
        guard let node = victim(draw) else { return }
        let backWhen = backMs[node]
        guard backWhen <= timeMs else { return }
        let index = Int(draw.cause)
        failureCount &+= 1
        struck[index] &+= 1
        let isMember = node < plain.joinedNodes && backWhen <= plain.joinedMs
        let members = memberCount
        let cause = law.causes[index]
        let takesDown = cause.takesDown
        if !isMember {
            guard takesDown != 0 else { return }
            if members > 0 { book(timeMs) }
            readyTime.add(-1, at: timeMs)
            if backWhen > plain.joinedMs {
                plain.repeated.append(.init(timeMs: backWhen, node: Int32(truncatingIfNeeded: node)))
            }
        } else {
            book(timeMs)
            memberCount &-= takesDown
        }
        // Whether a node goes down or only its software is chance: neither way is guessed.
        let drain = cause.drainMs
        let returnMs = timeMs &+ max(drain, drain &+ draw.repairMs)
        upTime.add(-takesDown, at: timeMs)
        outTime.add(takesDown, at: timeMs)
        time.draining &+= min(drain, endMs &- timeMs)
        backMs[node] = takesDown != 0 ? returnMs : backWhen
        plain.returns.add(takesDown, at: returnMs, &pages)
        if isMember { interruptPlainly(index, members, timeMs, goal, &pages, &struck) }
    }

    /// A member has failed. If nothing else happens until the job trains again, it does so at once.
    @inline(__always)
    private mutating func interruptPlainly(
        _ index: Int, _ members: Int, _ timeMs: Int64, _ goal: Int64, _ pages: inout MutableSpan<Int32>,
        _ struck: inout MutableSpan<Int>
    ) {
        var nobody = NobodyWatching()
        let detectionMs = law.causes[index].detectionMs
        let restartMs = timing.restart(nodes: memberCount)
        let runMs = timeMs &+ detectionMs &+ restartMs
        let isAlone = runMs < min(min(nextStepMs, nextFailureMs), nextWorkloadMs)
        guard job.phase == .running, isAlone, runMs <= goal else {
            interrupt(-1, index, members, timeMs, &nobody)
            return
        }
        struck[struck.count / 2 &+ index] &+= 1
        _ = fallBack(law.causes[index].rollbackMs, members, timeMs)
        time.detection &+= Int64(memberCount) &* detectionMs
        time.restart &+= Int64(memberCount) &* restartMs
        countReturns(until: runMs, &pages)
        if readyCount &+ memberCount >= minimumNodes {
            run(runMs, &nobody)
        } else {
            enter(.restarting, runMs, until: runMs, NobodyWatching.self)
        }
    }

    /// All that is ready joins.
    @inline(__always)
    mutating func joinPlainly(_ timeMs: Int64) {
        let joined = readyCount
        memberCount &+= joined
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
