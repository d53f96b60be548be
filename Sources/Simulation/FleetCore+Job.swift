import Telemetry

extension FleetCore {
    /// Members that the job may have, nodes.
    var limit: Int {
        let share =
            workload.training >= 1 ? activeCount : Int(Double(activeCount) * workload.training + 1e-9)
        return max(0, min(maximumNodes, share, activeCount - spareNodes))
    }

    // MARK: Books

    /// Brings the members' books up to that time. To be called before the number of members, the pace or the phase changes.
    @inline(__always)
    mutating func book(_ timeMs: Int64) {
        let elapsed = timeMs - bookedMs
        guard elapsed > 0 else { return }
        let members = Int64(memberCount)
        switch job.phase {
        case .waiting: break
        case .hung: time.detection += members * elapsed
        case .restarting: time.restart += members * elapsed
        case .stalled: time.stall += members * elapsed
        case .running:
            let from = timing.training(job.elapsed(at: bookedMs), job.intervalMs)
            let training = timing.training(job.elapsed(at: timeMs), job.intervalMs) - from
            let straggling = slowPermille == 0 ? 0 : members * training * slowPermille / 1_000
            let productive = members * training - straggling
            time.checkpoint += members * (elapsed - training)
            time.straggling += straggling
            time.productive += productive
            flop += Double(productive) * flopPerNodeMs
        }
        bookedMs = timeMs
    }

    /// Useful FLOP of a member in a millisecond, for the members that the job has now.
    private mutating func rateFLOP() {
        guard flopNodes != memberCount, hasMFU else { return }
        flopNodes = memberCount
        let mean = peakSum / Double(max(1, everReady))
        let peak = isPacedBySlowest ? min(peakLeast, mean) : mean
        // TFLOP/s of a GPU make 8 x 10^9 FLOP in a node's millisecond.
        flopPerNodeMs = peak * 8e9 * law.mfuByNodes[memberCount]
    }

    /// Training that was booked as productive and is thrown away, node-milliseconds.
    mutating func lose(_ nodeMs: Int64) {
        let lost = min(nodeMs, time.productive)
        time.productive -= lost
        time.lost += lost
        flop = max(0, flop - Double(lost) * flopPerNodeMs)
    }

    /// Notes when the target was reached, once what is not yet saved is out of the books.
    mutating func checkTarget(_ timeMs: Int64) {
        guard targetFLOP > 0, targetMs == nil, flop >= targetFLOP else { return }
        let share = Double(job.intervalMs) / Double(job.intervalMs + timing.write)
        let perMs = flopPerNodeMs * Double(max(1, memberCount)) * share
        targetMs = timeMs - (perMs > 0 ? Int64((flop - targetFLOP) / perMs) : 0)
    }

    private mutating func enter<Observer: FleetObserver>(
        _ phase: JobState.Phase, _ timeMs: Int64, until nextMs: Int64, _ observer: Observer.Type,
        offsetMs: Int64 = 0
    ) {
        if Observer.isLive { timing.settle(&job, at: timeMs) }
        job.phase = phase
        job.sinceMs = timeMs
        job.nextMs = nextMs
        job.offsetMs = offsetMs
        bookedMs = timeMs
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

    private var isEnough: Bool {
        min(readyCount + memberCount, limit) >= minimumNodes
    }

    private mutating func run<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        join(timeMs, &observer)
        job.intervalMs = timing.interval(nodes: memberCount, spread: spread)
        rateFLOP()
        enter(.running, timeMs, until: nextResize(after: timeMs), Observer.self)
        if !hidden.isEmpty { weighSlowness() }
        while reachedMs.count < thresholds.count, 8 * memberCount >= thresholds[reachedMs.count] {
            reachedMs.append(timeMs)
        }
    }

    /// Candidates become members up to the limit, or members leave until they are within it.
    private mutating func join<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let limit = limit
        if memberCount > limit { shed(to: limit, timeMs, &observer) }
        while memberCount < limit, candidatesHead < candidates.count {
            let node = Int(candidates[candidatesHead])
            candidatesHead += 1
            guard standing[node] == Standing.ready else { continue }
            standing[node] = Standing.member
            memberCount += 1
            readyCount -= 1
            if Observer.isLive { observer.moved(node, to: .training, at: timeMs, job) }
        }
        if candidatesHead > 0, candidatesHead == candidates.count {
            candidates.removeAll(keepingCapacity: true)
            candidatesHead = 0
        }
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
            readyCount += 1
            candidates.append(Int32(node))
            if Observer.isLive { observer.moved(node, to: .ready, at: timeMs, job) }
        }
    }

    private func nextResize(after timeMs: Int64) -> Int64 {
        let first = job.firstStartMs ?? timeMs
        return first + ((timeMs - first) / timing.resize + 1) * timing.resize
    }

    // MARK: Stopping

    /// A member has failed. The members' books are closed; `members` counts those that trained until now.
    mutating func interrupt<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ members: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let cause = law.causes[index]
        switch job.phase {
        case .running, .stalled:
            let (count, sinceLast) = timing.progress(job.elapsed(at: timeMs), job.intervalMs)
            job.interruptions += 1
            interruptionsByCause[index] += 1
            job.savedMs += count * job.intervalMs
            let back = min(cause.rollbackMs, job.savedMs)
            job.savedMs -= back
            let trained = Int64(members) * (sinceLast + back)
            lose(trained - trained * slowPermille / 1_000)
            checkTarget(timeMs)
            job.checkpoints += Int(count)
            enter(.hung, timeMs, until: timeMs + cause.detectionMs, Observer.self)
            guard Observer.isLive else { return }
            observer.record(
                ModelEvent(
                    timeMs: timeMs, kind: .jobInterrupted, node: Int32(node), reason: .cause(index),
                    value: Double(sinceLast + back) / 1_000))
        case .restarting:
            // It hangs again, and the restart begins anew.
            enter(.hung, timeMs, until: timeMs + cause.detectionMs, Observer.self)
        case .hung, .waiting: break
        }
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
            candidates.append(Int32(node))
            if Observer.isLive { observer.moved(node, to: .ready, at: timeMs, job) }
        }
        readyCount += memberCount
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
