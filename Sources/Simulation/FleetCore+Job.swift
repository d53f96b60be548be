import Telemetry

extension FleetCore {
    /// Members that the job may have, nodes.
    @inline(__always)
    var limit: Int {
        let share =
            workload.training >= 1 ? activeCount : Int(Double(activeCount) * workload.training + 1e-9)
        return max(0, min(maximumNodes, share, activeCount - spareNodes))
    }

    // MARK: Books

    /// Brings the members' books up to that time. To be called before the number of members, the pace or the phase changes.
    @inline(__always)
    mutating func book(_ timeMs: Int64) {
        guard timeMs > bookedMs else { return }
        if job.phase == .running {
            let from = bookedTraining
            bookProgress(timeMs)
            let productive = Self.book(entry(timeMs, training: bookedTraining &- from), into: &time)
            flop += Double(productive) * flopPerNodeMs
        } else {
            _ = Self.book(entry(timeMs, training: 0), into: &time)
        }
        bookedMs = timeMs
    }

    /// What the books would say at that time if nothing happened before.
    func booked(_ timeMs: Int64) -> (time: GPUTime, flop: Double) {
        var (time, flop) = (time, flop)
        var training: Int64 = 0
        if job.phase == .running {
            training = timing.training(job.elapsed(at: timeMs), job.intervalMs) - bookedTraining
        }
        if timeMs > bookedMs {
            let productive = Self.book(entry(timeMs, training: training), into: &time)
            flop += Double(productive) * flopPerNodeMs
        }
        Self.book(ready: readyTime.sum(until: timeMs) - readyBookedMs, workload, into: &time)
        return (time, flop)
    }

    /// A stretch in which nothing changes.
    private struct Entry {
        var phase: JobState.Phase
        var members: Int64
        var elapsed: Int64
        var training: Int64
        var slowPermille: Int64
    }

    @inline(__always)
    private func entry(_ timeMs: Int64, training: Int64) -> Entry {
        Entry(
            phase: job.phase, members: Int64(memberCount), elapsed: timeMs &- bookedMs, training: training,
            slowPermille: slowPermille)
    }

    /// - Returns: the productive node-milliseconds.
    @inline(__always)
    private static func book(_ entry: Entry, into time: inout GPUTime) -> Int64 {
        let (members, elapsed, training) = (entry.members, entry.elapsed, entry.training)
        switch entry.phase {
        case .waiting: break
        case .hung: time.detection &+= members &* elapsed
        case .restarting: time.restart &+= members &* elapsed
        case .stalled: time.stall &+= members &* elapsed
        case .running:
            let straggling =
                entry.slowPermille == 0 ? 0 : Self.permille(entry.slowPermille, of: members * training)
            let productive = members &* training &- straggling
            time.checkpoint &+= members &* (elapsed &- training)
            time.straggling &+= straggling
            time.productive &+= productive
            return productive
        }
        return 0
    }

    /// Says what ready nodes were for.
    static func book(ready readyMs: Int64, _ workload: Scenario.Workload, into time: inout GPUTime) {
        var idle = readyMs
        let spare = 1 - workload.training
        if spare > 0 {
            let reinforcement = Int64(Double(idle) * (workload.reinforcement / spare))
            let inference = min(
                idle - reinforcement, Int64(Double(idle) * (workload.inference / spare)))
            time.reinforcement += reinforcement
            time.inference += inference
            idle -= reinforcement + inference
        }
        time.idle += idle
    }

    @inline(__always)
    private mutating func bookProgress(_ timeMs: Int64) {
        let (count, sinceLast) = timing.progress(job.elapsed(at: timeMs), job.intervalMs)
        bookedCheckpoints = count
        bookedSinceLast = sinceLast
        bookedTraining = count &* job.intervalMs &+ sinceLast
    }

    /// Checkpoints written, and training time since the last one, at a time until which the books are closed.
    @inline(__always)
    private func bookedProgress(_ timeMs: Int64) -> (checkpoints: Int64, sinceLast: Int64) {
        job.phase == .running && bookedMs == timeMs
            ? (bookedCheckpoints, bookedSinceLast)
            : timing.progress(job.elapsed(at: timeMs), job.intervalMs)
    }

    /// In 128 bits: the product of a large fleet's years does not fit into 64.
    private static func permille(_ share: Int64, of nodeMs: Int64) -> Int64 {
        Int64(1_000).dividingFullWidth(nodeMs.multipliedFullWidth(by: share)).quotient
    }

    /// Useful FLOP of a member in a millisecond, for the members that the job has now.
    private mutating func rateFLOP() {
        guard flopNodes != memberCount, hasMFU else { return }
        flopNodes = memberCount
        // TFLOP/s of a GPU make 8 x 10^9 FLOP in a node's millisecond.
        flopPerNodeMs = pacePeak * 8e9 * law.mfuByNodes[memberCount]
    }

    /// Training that was booked as productive and is thrown away, node-milliseconds.
    @inline(__always)
    mutating func lose(_ nodeMs: Int64) {
        let lost = min(nodeMs, time.productive)
        time.productive &-= lost
        time.lost &+= lost
        flop = max(0, flop - Double(lost) * flopPerNodeMs)
    }

    /// Notes when the target was reached, once what is not yet saved is out of the books.
    @inline(__always)
    mutating func checkTarget(_ timeMs: Int64) {
        guard targetFLOP > 0, targetMs == nil, flop >= targetFLOP else { return }
        let share = Double(job.intervalMs) / Double(job.intervalMs + timing.write)
        let perMs = flopPerNodeMs * Double(max(1, memberCount)) * share
        targetMs = timeMs - (perMs > 0 ? Int64((flop - targetFLOP) / perMs) : 0)
    }

    @inline(__always)
    mutating func enter<Observer: FleetObserver>(
        _ phase: JobState.Phase, _ timeMs: Int64, until nextMs: Int64, _ observer: Observer.Type,
        offsetMs: Int64 = 0
    ) {
        if Observer.isLive { timing.settle(&job, at: timeMs) }
        job.phase = phase
        job.sinceMs = timeMs
        job.nextMs = nextMs
        job.offsetMs = offsetMs
        if Observer.isLive { job.slowPermille = slowPermille }
        bookedMs = timeMs
        if phase == .running {
            (bookedCheckpoints, bookedSinceLast, bookedTraining) = (0, 0, 0)
            if offsetMs != 0 { bookProgress(timeMs) }
        }
    }

    // MARK: Starting

    /// All that is ready joins, if it is enough.
    mutating func startJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        guard isEnough else { return }
        let isFirst = job.firstStartMs == nil
        if isFirst { job.firstStartMs = timeMs }
        run(timeMs, &observer)
        guard Observer.isLive else { return }
        observer.record(
            ModelEvent(
                timeMs: timeMs, kind: isFirst ? .jobStart : .jobRestarted, value: Double(8 * memberCount)))
    }

    @inline(__always)
    var isEnough: Bool {
        min(readyCount + memberCount, limit) >= minimumNodes
    }

    mutating func run<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        join(timeMs, &observer)
        begin(timeMs, Observer.self)
    }

    /// All that will have joined.
    @inline(__always)
    mutating func begin<Observer: FleetObserver>(_ timeMs: Int64, _ observer: Observer.Type) {
        job.intervalMs = timing.interval(nodes: memberCount, spread: spread)
        rateFLOP()
        enter(.running, timeMs, until: nextResize(after: timeMs), Observer.self)
        if !hidden.isEmpty { weighSlowness(timeMs, Observer.self) }
        while reachedMs.count < thresholds.count, 8 * memberCount >= thresholds[reachedMs.count] {
            reachedMs.append(timeMs)
        }
    }

    /// Candidates become members up to the limit, or members leave until they are within it.
    private mutating func join<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        if isPlain {
            joinPlainly(timeMs)
            return
        }
        let limit = limit
        if memberCount > limit { shed(to: limit, timeMs, &observer) }
        guard !candidates.isEmpty else { return }
        var room = limit - memberCount
        var joined = 0
        // Held alone while nodes join: nobody else looks at it.
        var alone: [UInt8] = []
        swap(&alone, &standing)
        defer { swap(&alone, &standing) }
        var standing = alone.mutableSpan
        while room > 0, let entry = candidates.removeFirst() {
            var (node, nodes) = (Int(entry.first), entry.nodes)
            if !Observer.isLive, nodes != 1, room >= 8, node + 8 <= standing.count {
                // Which of a rack's nodes are missing is chance: a sum needs no guess.
                for place in 0..<8 {
                    let isReady: UInt8 = standing[node + place] == Standing.ready ? 1 : 0
                    let joins = isReady & (nodes >> UInt8(place))
                    standing[node + place] += joins * (Standing.member - Standing.ready)
                    joined += Int(joins)
                }
                room = limit - memberCount - joined
                continue
            }
            while nodes != 0, room > 0 {
                if nodes & 1 != 0, standing[node] == Standing.ready {
                    standing[node] = Standing.member
                    (joined, room) = (joined + 1, room - 1)
                    if Observer.isLive { observer.moved(node, to: .training, at: timeMs, job) }
                }
                (node, nodes) = (node + 1, nodes >> 1)
            }
            if nodes != 0 { candidates.putBack(.init(first: Int32(node), nodes: nodes)) }
        }
        memberCount += joined
        readyTime.add(-joined, at: timeMs)
    }

    private mutating func shed<Observer: FleetObserver>(
        to limit: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        var node = everReady
        while memberCount > limit, node > 0 {
            node -= 1
            guard standing[node] == Standing.member else { continue }
            standing[node] = Standing.ready
            memberCount -= 1
            readyTime.add(1, at: timeMs)
            candidates.append(node)
            if Observer.isLive { observer.moved(node, to: .ready, at: timeMs, job) }
        }
    }

    @inline(__always)
    private mutating func nextResize(after timeMs: Int64) -> Int64 {
        if nextResizeMs <= timeMs {
            let first = job.firstStartMs ?? timeMs
            nextResizeMs = first + ((timeMs - first) / timing.resize + 1) * timing.resize
        }
        return nextResizeMs
    }

    // MARK: Stopping

    /// A member has failed. The members' books are closed; `members` counts those that trained until now.
    mutating func interrupt<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ members: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let cause = law.causes[index]
        switch job.phase {
        case .running, .stalled:
            interruptionsByCause[index] += 1
            let lostMs = fallBack(cause.rollbackMs, members, timeMs)
            enter(.hung, timeMs, until: timeMs + cause.detectionMs, Observer.self)
            guard Observer.isLive else { return }
            observer.record(
                ModelEvent(
                    timeMs: timeMs, kind: .jobInterrupted, node: Int32(node), reason: .cause(index),
                    value: Double(lostMs) / 1_000))
        case .restarting:
            // It hangs again, and the restart begins anew.
            enter(.hung, timeMs, until: timeMs + cause.detectionMs, Observer.self)
        case .hung, .waiting: break
        }
    }

    /// To the last checkpoint, or further back. The books are closed.
    ///
    /// - Returns: how much training of each member is thrown away, milliseconds.
    @inline(__always)
    mutating func fallBack(_ rollbackMs: Int64, _ members: Int, _ timeMs: Int64) -> Int64 {
        let (count, sinceLast) = bookedProgress(timeMs)
        job.interruptions &+= 1
        job.savedMs &+= count &* job.intervalMs
        let back = min(rollbackMs, job.savedMs)
        job.savedMs &-= back
        let trained = Int64(members) &* (sinceLast &+ back)
        lose(slowPermille == 0 ? trained : trained - Self.permille(slowPermille, of: trained))
        checkTarget(timeMs)
        job.checkpoints &+= Int(count)
        return sinceLast &+ back
    }

    mutating func strikeJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let draw = philox.draw(.jobEvent, entity: 0, counter: jobEventIndex - 1)
        drawJobEvent(after: timeMs)
        guard job.phase == .running else { return }
        let index = law.jobCause(draw.unit32(2))
        failuresByCause[index] += 1
        if Observer.isLive {
            observer.truth(TrueFault(timeMs: timeMs, cause: index, node: -1, gpu: -1, isInjected: false))
        }
        book(timeMs)
        switch law.causes[index].effect {
        case .stall: stall(index, timeMs)
        case .planned:
            interruptionsByCause[index] += 1
            stopJob(timeMs, &observer)
        default: interrupt(-1, index, memberCount, timeMs, &observer)
        }
    }

    /// The job stands still and goes on afterwards where it was.
    mutating func stall(_ index: Int, _ timeMs: Int64, forMs: Int64? = nil) {
        guard job.phase == .running else { return }
        book(timeMs)
        timing.settle(&job, at: timeMs)
        let elapsed = job.elapsed(at: timeMs)
        job.phase = .stalled
        job.sinceMs = timeMs
        job.offsetMs = elapsed
        job.nextMs = timeMs + max(1, forMs ?? law.causes[index].stallMs)
        bookedMs = timeMs
    }

    /// A stop that loses nothing, to take in nodes or to let them go.
    mutating func stopJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        guard job.phase == .running || job.phase == .stalled else { return }
        book(timeMs)
        job.savedMs = timing.effective(job, at: timeMs)
        job.checkpoints = timing.checkpoints(job, at: timeMs)
        job.plannedStops += 1
        checkTarget(timeMs)
        enter(
            .restarting, timeMs, until: timeMs + timing.write + timing.restart(nodes: memberCount),
            Observer.self)
        guard Observer.isLive else { return }
        observer.record(ModelEvent(timeMs: timeMs, kind: .jobInterrupted, reason: .planned, value: 0))
    }

    // MARK: Going on

    /// The time of a phase is over.
    mutating func continueJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        switch job.phase {
        case .waiting:
            job.nextMs = .max
            startJob(timeMs, &observer)
        case .running: resizeJob(timeMs, &observer)
        case .hung:
            book(timeMs)
            enter(.restarting, timeMs, until: timeMs + timing.restart(nodes: memberCount), Observer.self)
        case .restarting: restartJob(timeMs, &observer)
        case .stalled:
            book(timeMs)
            enter(
                .running, timeMs, until: nextResize(after: timeMs), Observer.self, offsetMs: job.offsetMs)
        }
    }

    private mutating func resizeJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let limit = limit
        let wanted = min(readyCount, limit - memberCount)
        if memberCount > limit || (wanted > 0 && Double(wanted) >= resizeShare * Double(memberCount)) {
            stopJob(timeMs, &observer)
        } else {
            job.nextMs = nextResize(after: timeMs)
            if targetFLOP > 0 {
                book(timeMs)
                let unsaved = timing.progress(job.elapsed(at: timeMs), job.intervalMs).sinceLast
                if flop - Double(Int64(memberCount) * unsaved) * flopPerNodeMs >= targetFLOP {
                    checkTarget(timeMs)
                }
            }
        }
    }

    private mutating func restartJob<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        book(timeMs)
        if isEnough {
            run(timeMs, &observer)
            guard Observer.isLive else { return }
            observer.record(
                ModelEvent(timeMs: timeMs, kind: .jobRestarted, value: Double(8 * memberCount)))
            return
        }
        for node in standing.indices where standing[node] == Standing.member {
            standing[node] = Standing.ready
            candidates.append(node)
            if Observer.isLive { observer.moved(node, to: .ready, at: timeMs, job) }
        }
        readyTime.add(memberCount, at: timeMs)
        memberCount = 0
        enter(.waiting, timeMs, until: .max, Observer.self)
    }
}

extension Scenario.TrainingJob {
    /// Model FLOP utilisation of a job of that size: linear in the logarithm of the size between the points, and going on like
    /// that beyond them, within 0...1.
    public func mfu(gpus: Int) -> Double {
        guard let first = mfu.first, let last = mfu.last else { return 0 }
        guard mfu.count > 1, gpus > 0 else { return first.mfu }
        if gpus <= first.gpus { return first.mfu }
        let right = mfu.firstIndex { gpus < $0.gpus } ?? mfu.count - 1
        let (a, b) = (mfu[right - 1], gpus < last.gpus ? mfu[right] : last)
        let place =
            PortableMath.log(Double(gpus) / Double(a.gpus))
            / PortableMath.log(Double(b.gpus) / Double(a.gpus))
        return min(1, max(0.01, a.mfu + place * (b.mfu - a.mfu)))
    }
}
