import CDraws
import Telemetry

extension FleetCore {
    // MARK: Racks

    mutating func takeRackStep<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let step = plan.rackSteps[nextStep]
        nextStep += 1
        nextStepMs = nextStep < plan.rackSteps.count ? plan.rackSteps[nextStep].timeMs : .max
        switch step.kind {
        case .ready: makeReady(step, timeMs, &observer)
        case .off: switchOff(step.rack, timeMs, isForGood: false, &observer)
        case .on: switchOn(step.rack, timeMs, &observer)
        case .retired: switchOff(step.rack, timeMs, isForGood: true, &observer)
        }
    }

    private mutating func makeReady<Observer: FleetObserver>(
        _ step: RackStep, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let nodes = step.nodes
        everReady = nodes.upperBound
        activeCount += nodes.count
        do {
            var standing = standing.mutableSpan
            for node in nodes { standing[node] = Standing.ready }
        }
        var passed = UInt8(truncatingIfNeeded: 1 << nodes.count - 1)
        // Racks before this one that are retired without ever being ready reject nobody.
        while nextRejected < nodes.lowerBound { drawRejected() }
        while nextRejected < nodes.upperBound {
            passed &= ~(1 << UInt8(nextRejected - nodes.lowerBound))
            reject(nextRejected, timeMs, &observer)
        }
        let count = passed.nonzeroBitCount
        readyTime.add(count, at: timeMs)
        upTime.add(count, at: timeMs)
        candidates.append(.init(first: Int32(nodes.lowerBound), nodes: passed))
        if Observer.isLive {
            for node in nodes where standing[node] == Standing.ready {
                observer.moved(node, to: .ready, at: timeMs, job)
            }
        }
        (pacePeak, flopNodes) = (step.pacePeak, -1)
        while law.infantPerNode > 0, infantPosition < Double(everReady) { addInfant(timeMs) }
        setHazard(timeMs)
    }

    private mutating func reject<Observer: FleetObserver>(
        _ node: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let duration = rejectedDraw.repairMs
        standing[node] = Standing.out
        outTime.add(1, at: timeMs)
        returns.add(node, at: timeMs + duration)
        if Observer.isLive {
            observer.broke(node, culprit: NodeState.wholeNode, drainMs: 0, at: timeMs)
            observer.moved(node, to: .inRepair, at: timeMs, job)
            observer.record(
                ModelEvent(
                    timeMs: timeMs, kind: .nodeDown, node: Int32(node), reason: .rejected,
                    value: Double(duration) / 1_000))
        }
        drawRejected()
    }

    private mutating func addInfant(_ timeMs: Int64) {
        let draw = philox.draw(.infant, entity: 0, counter: infantIndex)
        let age = -PortableMath.log(draw.unit32(1)) * law.infantMs
        calendar.add(
            .init(
                timeMs: timeMs + max(1, Int64(min(age, 1e15))), node: Int32(infantPosition), kind: .infant,
                cause: UInt8(law.cause(draw.unit32(2))), mark: UInt32(infantIndex)))
        infantIndex += 1
        infantPosition += infantGap()
    }

    private mutating func switchOff<Observer: FleetObserver>(
        _ rack: Int, _ timeMs: Int64, isForGood: Bool, _ observer: inout Observer
    ) {
        let wasOff = rackState[rack] != 0
        rackState[rack] = isForGood ? 2 : 1
        hasRackOff = true
        let before = memberCount
        if before > 0 { book(timeMs) }
        for node in plan.nodes(ofRack: rack) {
            switch standing[node] {
            case Standing.ready:
                readyTime.add(-1, at: timeMs)
                upTime.add(-1, at: timeMs)
            case Standing.member:
                memberCount -= 1
                upTime.add(-1, at: timeMs)
            case Standing.out:
                guard isForGood else { continue }
                outTime.add(-1, at: timeMs)
            default:
                if isForGood, wasOff { offlineTime.add(-1, at: timeMs) }
                if isForGood, Observer.isLive { observer.moved(node, to: .planned, at: timeMs, job) }
                continue
            }
            activeCount -= 1
            standing[node] = Standing.absent
            if !isForGood { offlineTime.add(1, at: timeMs) }
            if !hidden.isEmpty { forget(node, timeMs, &observer) }
            if Observer.isLive {
                observer.moved(node, to: isForGood ? .planned : .installed, at: timeMs, job)
            }
        }
        if memberCount < before, job.phase == .running || job.phase == .stalled {
            stopJob(timeMs, &observer)
        }
    }

    private mutating func switchOn<Observer: FleetObserver>(
        _ rack: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        guard rackState[rack] == 1 else { return }
        rackState[rack] = 0
        for node in plan.nodes(ofRack: rack) where standing[node] == Standing.absent {
            offlineTime.add(-1, at: timeMs)
            activeCount += 1
            release(node, timeMs, &observer)
        }
    }

    // MARK: Nodes

    /// A node that works: it waits for the job.
    @inline(__always)
    private mutating func release<Observer: FleetObserver>(
        _ node: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        standing[node] = Standing.ready
        readyTime.add(1, at: timeMs)
        upTime.add(1, at: timeMs)
        candidates.append(node)
        if Observer.isLive { observer.moved(node, to: .ready, at: timeMs, job) }
    }

    mutating func wake<Observer: FleetObserver>(
        _ item: NodeCalendar.Item, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let node = Int(item.node)
        switch item.kind {
        case .found: find(item, timeMs, &observer)
        case .infant:
            let draw = philox.draw(.infant, entity: 0, counter: Int64(item.mark))
            hit(node, Int(item.cause), draw, timeMs, &observer)
        }
    }

    @inline(__always)
    mutating func comeBack<Observer: FleetObserver>(
        _ node: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        guard standing[node] == Standing.out else { return }
        outTime.add(-1, at: timeMs)
        if Observer.isLive { observer.broke(node, culprit: NodeState.nobody, drainMs: 0, at: timeMs) }
        if !hasRackOff || rackState[Int(plan.rackOfNode[node])] == 0 {
            release(node, timeMs, &observer)
        } else {
            standing[node] = Standing.absent
            offlineTime.add(1, at: timeMs)
            activeCount -= 1
            if Observer.isLive { observer.moved(node, to: .installed, at: timeMs, job) }
        }
        if Observer.isLive {
            observer.record(ModelEvent(timeMs: timeMs, kind: .nodeUp, node: Int32(node)))
        }
    }

    // MARK: Failures

    @inline(__always)
    mutating func strike<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let draw = nextFailure(timeMs)
        guard let node = victim(draw) else { return }
        // It may have come back since.
        if !Observer.isLive, standing[node] == Standing.out { takeBack(until: timeMs, &observer) }
        hit(node, Int(draw.cause), gpu: Int(draw.gpu), draw.repairMs, timeMs, &observer)
    }

    /// The node that a failure strikes, if there is one.
    @inline(__always)
    func victim(_ draw: FailureDraw) -> Int? {
        let unit = draw.place * (1 + law.lemonSurplus)
        if unit < 1 { return min(everReady &- 1, Int(cdraws_whole(unit * Double(everReady)))) }
        let place = (unit - 1) / law.lemonSurplus * Double(everReady)
        let node = law.lemon(near: min(everReady - 1, Int(place)), philox)
        return node < everReady ? node : nil
    }

    /// Somebody asked for it: the same as a failure that is drawn, at a time and place that are given.
    mutating func inject<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        let injection = injections[nextInjection]
        nextInjection += 1
        nextInjectionMs = nextInjection < injections.count ? injections[nextInjection].timeMs : .max
        injected = injection
        defer { injected = nil }
        let stands = standing[injection.node]
        if Observer.isLive, stands != Standing.ready, stands != Standing.member {
            observer.truth(
                TrueFault(
                    timeMs: timeMs, cause: injection.cause, node: Int32(injection.node), gpu: -1,
                    isInjected: true, hasMissed: true))
        }
        // Draws of its own, so that what the seed gives besides stays what it was.
        let draw = philox.draw(
            .injection, entity: UInt32(injection.node), counter: Int64(nextInjection))
        hit(injection.node, injection.cause, draw, timeMs, &observer)
    }

    private mutating func hit<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ draw: Philox.Words, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let repairMs = law.repairMs(index, draw[3])
        hit(node, index, gpu: Int(draw[2] & 7), repairMs, timeMs, &observer)
    }

    /// A cause strikes a node. Nothing happens to one that is not up.
    @inline(__always)
    private mutating func hit<Observer: FleetObserver>(
        _ node: Int, _ index: Int, gpu: Int, _ repairMs: Int64, _ timeMs: Int64,
        _ observer: inout Observer
    ) {
        let stands = standing[node]
        guard stands == Standing.ready || stands == Standing.member else { return }
        failureCount += 1
        failuresByCause[index] += 1
        let ordinal = (Observer.isLive ? injected?.gpu : nil) ?? gpu
        if Observer.isLive { report(node, index, ordinal, timeMs, &observer) }
        let isMember = stands == Standing.member
        switch law.causes[index].effect {
        case .software:
            if isMember {
                book(timeMs)
                interrupt(node, index, memberCount, timeMs, &observer)
            }
        case .stall: if isMember { stall(index, timeMs, forMs: injected?.forMs) }
        case .planned: if isMember { stopJob(timeMs, &observer) }
        case .slow, .silent: hide(node, index, ordinal, timeMs, &observer)
        case .gpu, .node: takeDown(node, index, ordinal, repairMs, timeMs, &observer)
        }
    }

    private func report<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ ordinal: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let cause = law.causes[index]
        let xid = cause.xid
        let isOfGPU = xid != 0 || cause.effect == .gpu || cause.effect == .slow
        observer.truth(
            TrueFault(
                timeMs: timeMs, cause: index, node: Int32(node), gpu: isOfGPU ? Int8(ordinal) : -1,
                isInjected: injected != nil))
        guard xid != 0 else { return }
        observer.reported(node, gpu: ordinal, xid: xid)
        observer.record(
            ModelEvent(
                timeMs: timeMs, kind: .xid, node: Int32(node), gpu: Int8(ordinal), reason: .cause(index),
                value: Double(xid)))
    }

    /// The node and all that goes down with it; a member's failure stops the job.
    private mutating func takeDown<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ ordinal: Int, _ repairMs: Int64, _ timeMs: Int64,
        _ observer: inout Observer
    ) {
        let cause = law.causes[index]
        let members = memberCount
        if members > 0 { book(timeMs) }
        let drain = cause.effect == .gpu ? law.drainMs : 0
        let given = Observer.isLive ? injected?.forMs : nil
        let duration = max(drain, given ?? (drain + repairMs))
        takeOut(node, index, cause.effect == .gpu ? ordinal : nil, drain, duration, timeMs, &observer)
        let blast = (Observer.isLive ? injected?.blast : nil) ?? cause.blast
        if blast != .node {
            takeBack(until: timeMs, &observer)
            for other in plan.nodes(of: blast, around: node)
            where standing[other] == Standing.ready || standing[other] == Standing.member {
                takeOut(other, index, nil, drain, duration, timeMs, &observer)
            }
        }
        if memberCount < members { interrupt(node, index, members, timeMs, &observer) }
    }

    private mutating func takeOut<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ ordinal: Int?, _ drain: Int64, _ duration: Int64, _ timeMs: Int64,
        _ observer: inout Observer
    ) {
        if standing[node] == Standing.member {
            memberCount -= 1
        } else {
            readyTime.add(-1, at: timeMs)
        }
        standing[node] = Standing.out
        upTime.add(-1, at: timeMs)
        outTime.add(1, at: timeMs)
        time.draining += min(drain, endMs - timeMs)
        returns.add(node, at: timeMs + duration)
        if !hidden.isEmpty { forget(node, timeMs, &observer) }
        guard Observer.isLive else { return }
        observer.broke(
            node, culprit: ordinal.map { UInt8($0) } ?? NodeState.wholeNode, drainMs: drain, at: timeMs)
        observer.moved(node, to: drain > 0 ? .failed : .inRepair, at: timeMs, job)
        observer.record(
            ModelEvent(
                timeMs: timeMs, kind: .nodeDown, node: Int32(node), gpu: ordinal.map { Int8($0) } ?? -1,
                reason: .cause(index), value: Double(duration) / 1_000))
    }

    // MARK: What nobody sees at once

    private mutating func hide<Observer: FleetObserver>(
        _ node: Int, _ index: Int, _ ordinal: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        let cause = law.causes[index]
        book(timeMs)
        if Observer.isLive, cause.effect == .slow { observer.slowed(node, true, at: timeMs, job) }
        if Observer.isLive, cause.effect == .slow, cause.xid == 0 {
            observer.heated(node, gpu: ordinal, at: timeMs, job)
        }
        let mark = UInt32(truncatingIfNeeded: failures.count) | (injected == nil ? 0 : 1 << 31)
        let (count, sinceLast) = timing.progress(job.elapsed(at: timeMs), job.intervalMs)
        hidden.append(
            Hidden(
                node: Int32(node), mark: mark, cause: UInt8(index),
                savedMs: job.savedMs + count * job.intervalMs,
                productive: time.productive - Int64(memberCount) * sinceLast))
        let unit = philox.draw(.hidden, entity: UInt32(node), counter: failures.count).unit
        let mean = max(1, Int64(min(-PortableMath.log(unit) * cause.hiddenMs, 1e15)))
        let delay = injected?.forMs ?? mean
        calendar.add(
            .init(timeMs: timeMs + delay, node: Int32(node), kind: .found, cause: UInt8(index), mark: mark))
        weighSlowness(timeMs, Observer.self)
    }

    /// Somebody has found the slow or silent node: it is repaired, and what it spoilt is thrown away.
    private mutating func find<Observer: FleetObserver>(
        _ item: NodeCalendar.Item, _ timeMs: Int64, _ observer: inout Observer
    ) {
        guard let place = hidden.firstIndex(where: { $0.node == item.node && $0.mark == item.mark }) else {
            return
        }
        let fault = hidden[place]
        let members = memberCount
        if members > 0 { book(timeMs) }
        let unit = philox.draw(.hidden, entity: UInt32(item.node), counter: Int64(item.mark)).unit2
        let cause = law.causes[Int(item.cause)]
        takeOut(
            Int(item.node), Int(item.cause), nil, 0, law.repairs[cause.repair].milliseconds(unit), timeMs,
            &observer)
        guard memberCount < members else { return }
        interrupt(Int(item.node), Int(item.cause), members, timeMs, &observer)
        if cause.effect == .silent {
            job.savedMs = min(job.savedMs, fault.savedMs)
            lose(max(0, time.productive - fault.productive))
        }
    }

    private mutating func forget<Observer: FleetObserver>(
        _ node: Int, _ timeMs: Int64, _ observer: inout Observer
    ) {
        guard hidden.contains(where: { $0.node == Int32(node) }) else { return }
        if Observer.isLive {
            observer.heated(node, gpu: nil, at: timeMs, job)
            observer.slowed(node, false, at: timeMs, job)
        }
        hidden.removeAll { $0.node == Int32(node) }
        weighSlowness(timeMs, Observer.self)
    }

    /// The slowest member sets the pace of all.
    mutating func weighSlowness<Observer: FleetObserver>(_ timeMs: Int64, _ observer: Observer.Type) {
        slowPermille = 0
        for fault in hidden where standing[Int(fault.node)] == Standing.member {
            slowPermille = max(slowPermille, law.causes[Int(fault.cause)].slowPermille)
        }
        if Observer.isLive { timing.hold(&job, slowPermille, at: timeMs) }
    }
}

extension FleetPlan {
    /// Nodes that go down together.
    func nodes(of blast: Scenario.Cause.Blast, around node: Int) -> Range<Int> {
        let rack = Int(rackOfNode[node])
        let array = Int(racks[rack].array)
        func span(_ isInside: (Rack) -> Bool) -> Range<Int> {
            var (first, last) = (rack, rack)
            while first > 0, isInside(racks[first - 1]) { first -= 1 }
            while last + 1 < racks.count, isInside(racks[last + 1]) { last += 1 }
            return nodes(ofRack: first).lowerBound..<nodes(ofRack: last).upperBound
        }
        switch blast {
        case .node: return node..<(node + 1)
        case .rack: return nodes(ofRack: rack)
        case .array: return span { Int($0.array) == array }
        case .hall:
            let hall = hall(ofArray: array)
            return span { self.hall(ofArray: Int($0.array)) == hall }
        case .site: return 0..<nodeCount
        }
    }
}
