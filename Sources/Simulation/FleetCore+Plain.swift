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
        /// How many nodes of each rack do not pass burn-in, until it is ready.
        var rejected: [UInt8] = []
        /// Of nodes that have been ready once: those that are not out are up.
        var stands: NodeTime
        /// When all that was ready joined, and how many nodes had been ready once: the members are those of them that were
        /// back then and have not failed since.
        var joinedMs = Int64.min
        var joinedNodes = 0
        /// Failures by cause, and in the second half interruptions: those that plain time adds to the core's.
        var struck: [Int]
        /// Earlier returns, since nodes joined, of those that have been back and failed again.
        var repeated: [Return] = []

        private let startMs: Int64

        init(startMs: Int64, endMs: Int64, causeCount: Int) {
            returns = ReturnTally(startMs: startMs, endMs: endMs)
            stands = NodeTime(startMs: startMs)
            self.startMs = startMs
            struck = Array(repeating: 0, count: 2 * causeCount)
        }

        mutating func removeAll(nodeCount: Int, rackCount: Int) {
            if backMs.isEmpty {
                backMs = Array(repeating: .min, count: nodeCount)
                rejected = Array(repeating: 0, count: rackCount)
            }
            for node in backMs.indices { backMs[node] = .min }
            for rack in rejected.indices { rejected[rack] = 0 }
            for index in struck.indices { struck[index] = 0 }
            returns.removeAll()
            repeated.removeAll(keepingCapacity: true)
            (joinedMs, joinedNodes) = (.min, 0)
            stands = NodeTime(startMs: startMs)
        }
    }

    /// Where that is kept while plain time runs and nobody else looks at it. A node's number is below the plan's number of nodes,
    /// a rack's below that of racks, and a cause's below that of causes: none is looked up that the plan does not have.
    struct PlainMemory {
        let backMs: UnsafeMutablePointer<Int64>
        let pages: UnsafeMutablePointer<ReturnTally.Page>
        let struck: UnsafeMutablePointer<Int>
        let rejected: UnsafeMutablePointer<UInt8>
    }

    // MARK: The clock

    /// The part of `advance` that lies in plain time.
    mutating func advancePlainly(to goalMs: Int64) {
        let goal = min(goalMs, plan.plainUntilMs)
        if let timeMs = withPlainMemory({ core, memory in core.runPlainly(to: goal, memory) }) {
            leavePlainTime(forWaiting: timeMs)
        } else if goal < goalMs {
            leavePlainTime(goal)
        }
    }

    /// The same for times that follow each other, as far as they lie in plain time: `reached` is told of each. It may look at all
    /// but `plain`, which is held until the last one.
    ///
    /// - Returns: how many were reached.
    mutating func advancePlainly(through times: [Int64], _ reached: (inout FleetCore, Int) -> Void) -> Int {
        var count = 0
        let waitsFrom = withPlainMemory { core, memory -> Int64? in
            while count < times.count, times[count] <= core.plan.plainUntilMs {
                if let timeMs = core.runPlainly(to: times[count], memory) { return timeMs }
                reached(&core, count)
                count += 1
            }
            return nil
        }
        if let waitsFrom { leavePlainTime(forWaiting: waitsFrom) }
        return count
    }

    /// Too few nodes: the job waits for more, and from here on who comes back matters.
    private mutating func leavePlainTime(forWaiting timeMs: Int64) {
        leavePlainTime(timeMs)
        var nobody = NobodyWatching()
        continueJob(timeMs, &nobody)
    }

    private mutating func withPlainMemory<Result>(
        _ body: (inout FleetCore, PlainMemory) -> Result
    ) -> Result {
        var (nodes, returns): ([Int64], [ReturnTally.Page]) = ([], [])
        var (causes, racks): ([Int], [UInt8]) = ([], [])
        swap(&nodes, &plain.backMs)
        swap(&returns, &plain.returns.pages)
        swap(&causes, &plain.struck)
        swap(&racks, &plain.rejected)
        defer {
            swap(&nodes, &plain.backMs)
            swap(&returns, &plain.returns.pages)
            swap(&causes, &plain.struck)
            swap(&racks, &plain.rejected)
        }
        return nodes.withUnsafeMutableBufferPointer { nodes in
            returns.withUnsafeMutableBufferPointer { returns in
                causes.withUnsafeMutableBufferPointer { causes in
                    racks.withUnsafeMutableBufferPointer { racks in
                        guard let backMs = nodes.baseAddress, let pages = returns.baseAddress,
                            let struck = causes.baseAddress, let rejected = racks.baseAddress
                        else { preconditionFailure("a plan has nodes, racks and causes") }
                        return body(
                            &self,
                            PlainMemory(backMs: backMs, pages: pages, struck: struck, rejected: rejected))
                    }
                }
            }
        }
    }

    /// - Returns: when there were too few nodes for the job, if there were.
    @inline(never)
    private mutating func runPlainly(to goal: Int64, _ memory: PlainMemory) -> Int64? {
        while true {
            // At the same time racks come first, then failures, then the workload, and the job comes last.
            let others = min(nextWorkloadMs, job.nextMs)
            if nextFailureMs <= min(others, goal), nextFailureMs < nextStepMs {
                strikePlainly(nextFailureMs, goal, memory)
                continue
            }
            let next = min(nextStepMs, others)
            if next > goal { break }
            if nextStepMs == next {
                takePlainStep(next, memory)
            } else if nextWorkloadMs == next {
                bookReturns(until: next, memory)
                changeWorkload(next)
            } else {
                if job.phase != .hung {
                    countReturns(until: next, memory)
                    if job.phase != .running, !isEnough {
                        bookReturns(until: next, memory)
                        return next
                    }
                }
                var nobody = NobodyWatching()
                continueJob(next, &nobody)
            }
        }
        bookReturns(until: goal, memory)
        return nil
    }

    /// Counts what came back, whoever it was; its time is complete only after `bookReturns`.
    @inline(__always)
    private mutating func countReturns(until timeMs: Int64, _ memory: PlainMemory) {
        let (nodes, sinceStartMs) = plain.returns.take(until: timeMs, memory.pages)
        addReturns(nodes, sinceStartMs)
    }

    private mutating func bookReturns(until timeMs: Int64, _ memory: PlainMemory) {
        countReturns(until: timeMs, memory)
        addReturns(0, plain.returns.settle(timeMs, memory.pages))
        upTime = plain.stands.less(outTime)
    }

    @inline(__always)
    private mutating func addReturns(_ nodes: Int, _ sinceStartMs: Int64) {
        outTime.add(0 &- nodes, sinceStartMs: 0 &- sinceStartMs)
        readyTime.add(nodes, sinceStartMs: sinceStartMs)
    }

    // MARK: Nodes

    /// Draws all nodes that do not pass burn-in: when their racks become ready has nothing to do with chance.
    mutating func rejectPlainly() {
        plain.removeAll(nodeCount: plan.nodeCount, rackCount: plan.rackCount)
        withPlainMemory { core, memory in core.rejectPlainly(memory) }
    }

    private mutating func rejectPlainly(_ memory: PlainMemory) {
        let (nodes, rackOfNode, racks) = (plainNodes, plan.rackOfNode, plan.racks)
        var (node, draw) = (nextRejected, rejectedDraw)
        while node < nodes {
            let rack = Int(rackOfNode[node])
            let returnMs = racks[rack].readyMs &+ draw.repairMs
            memory.backMs[node] = returnMs
            memory.rejected[rack] &+= 1
            plain.returns.add(1, at: returnMs, memory.pages)
            draw = rejections.next()
            node &+= 1 &+ draw.passed
        }
    }

    @inline(__always)
    private mutating func takePlainStep(_ timeMs: Int64, _ memory: PlainMemory) {
        let step = plan.rackSteps[nextStep]
        nextStep &+= 1
        nextStepMs = nextStep < plan.rackSteps.count ? plan.rackSteps[nextStep].timeMs : .max
        let nodes = step.nodes
        everReady = nodes.upperBound
        activeCount &+= nodes.count
        let rejected = Int(memory.rejected[step.rack])
        let count = nodes.count &- rejected
        outTime.add(rejected, at: timeMs)
        readyTime.add(count, at: timeMs)
        plain.stands.add(nodes.count, at: timeMs)
        (pacePeak, flopNodes) = (step.pacePeak, -1)
        setHazard(timeMs)
    }

    @inline(__always)
    private mutating func strikePlainly(
        _ timeMs: Int64, _ goal: Int64, _ memory: PlainMemory
    ) {
        let draw = nextFailure(timeMs)
        guard let node = victim(draw) else { return }
        let backWhen = memory.backMs[node]
        guard backWhen <= timeMs else { return }
        let index = Int(draw.cause)
        failureCount &+= 1
        memory.struck[index] &+= 1
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
        outTime.add(takesDown, at: timeMs)
        time.draining &+= min(drain, endMs &- timeMs)
        memory.backMs[node] = takesDown != 0 ? returnMs : backWhen
        plain.returns.add(takesDown, at: returnMs, memory.pages)
        if isMember { interruptPlainly(index, members, timeMs, goal, memory) }
    }

    /// A member has failed. If nothing else happens until the job trains again, it does so at once.
    @inline(__always)
    private mutating func interruptPlainly(
        _ index: Int, _ members: Int, _ timeMs: Int64, _ goal: Int64, _ memory: PlainMemory
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
        memory.struck[plan.causes.count &+ index] &+= 1
        _ = fallBack(law.causes[index].rollbackMs, members, timeMs)
        time.detection &+= Int64(memberCount) &* detectionMs
        time.restart &+= Int64(memberCount) &* restartMs
        countReturns(until: runMs, memory)
        if readyCount &+ memberCount >= minimumNodes {
            joinPlainly(runMs)
            begin(runMs, NobodyWatching.self)
        } else {
            enter(.restarting, runMs, until: runMs, NobodyWatching.self)
        }
    }

    /// All that is ready joins.
    @inline(__always)
    mutating func joinPlainly(_ timeMs: Int64) {
        let joined = readyCount
        memberCount &+= joined
        readyTime.add(0 &- joined, at: timeMs)
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
        var next = 0
        rejections.restart(philox)
        drawFirstRejected()
        for step in plan.rackSteps[..<nextStep] {
            var passed = UInt8(truncatingIfNeeded: 1 << step.nodes.count - 1)
            while nextRejected < step.nodes.upperBound {
                passed &= ~(1 << UInt8(truncatingIfNeeded: nextRejected - step.nodes.lowerBound))
                drawRejected()
            }
            guard step.nodes.lowerBound >= plain.joinedNodes else { continue }
            while next < waiting.count, waiting[next].timeMs < step.timeMs {
                candidates.append(Int(waiting[next].node))
                next += 1
            }
            candidates.append(.init(first: Int32(step.nodes.lowerBound), nodes: passed))
        }
        for entry in waiting[next...] { candidates.append(Int(entry.node)) }
    }
}

extension FleetPlan {
    /// The nodes that become ready in plain time.
    static func plainNodes(_ steps: [RackStep], untilMs: Int64) -> Int {
        steps.last { $0.timeMs <= untilMs }?.nodes.upperBound ?? 0
    }

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
