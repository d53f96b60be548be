import Telemetry
import WireFormats

/// Where a connection's last series stands in the learned order.
struct LearnedPlace {
    fileprivate var entry: UInt32 = 0
}

/// Sends the samples of requests to the batches of their shards. One for each lane; no lock is taken for what it
/// knows.
struct SampleRouter: ~Copyable {
    /// What does not change.
    struct Context {
        var registry: SeriesRegistry
        var hasher: IdentityHasher
        var limits: ReceiverLimits
    }

    /// A run that had no entry, or one that was out of date, when the hot loop came to it.
    private struct Missed {
        var run: Int32
        /// The entry after which the learned order came to it.
        var after: UInt32
    }

    private let context: Context
    private var cache: SeriesCache
    private(set) var builder: BatchBuilder
    private var scanner: LabelScanner
    private var sightings: [JobSighting] = []

    // Of the request at hand:
    private var sender = SenderID(rawValue: 0)
    private var arrivalMs: Int64 = 0
    private var stamp: UInt16 = 0
    private let stampsMax: UInt16
    /// After which series came again since the last `tend`, by the same steps.
    private var pauses = SeriesPauses.Counts(repeating: 0)
    /// Counts requests: rejections that hold for one only carry its number, and the lane's tag.
    private var number: UInt32 = 0
    private let tag: UInt32
    /// Samples that go on without their series being told apart.
    private(set) var foldedCount = 0
    /// Samples that wrong guesses turned out to have besides the one.
    private var more = 0

    // For what is not known, one round after another:
    private var missed: [Missed] = []
    /// The time of all samples of what was missed, and of all that was added since.
    private var missedMs: Int64 = 0
    private var unknown: [UnknownSeries?] = []
    private var identities: [SeriesIdentity] = []
    private var routes: [Route] = []
    private var entries: [UInt32] = []
    private var scratch: [UInt8] = []
    private var reread = WriteRequest()

    init(_ context: Context, stream: StreamIndex, shardCount: Int, table: SeriesTable) {
        self.context = context
        cache = SeriesCache(table)
        tag = table.tag()
        builder = BatchBuilder(stream: stream, shardCount: shardCount)
        scanner = LabelScanner(limits: context.limits.labels, hasher: context.hasher)
        stampsMax = Route.steps(context.limits.routeIdleMs)
    }

    /// Sorts the samples of a request into `builder`. Throws if labels of new series are corrupt, or if there turn
    /// out to be too many samples.
    ///
    /// - Returns: false if the timestamps jump about so that it would be more batches than a request may be.
    mutating func route(
        _ request: borrowing WriteRequest, in bytes: RawSpan, format: SeriesFormat, sender: SenderID,
        arrivalMs: Int64, after place: inout LearnedPlace
    ) throws(WireError) -> Bool {
        builder.begin(sender: sender, arrivalMs: arrivalMs, aheadMs: context.limits.aheadMs)
        sightings.removeAll(keepingCapacity: true)
        self.sender = sender
        self.arrivalMs = arrivalMs
        stamp = Route.stamp(arrivalMs)
        number &+= 1
        more = 0
        foldedCount = 0
        _ = cache.refresh()
        var last = place.entry
        // A request that turned out corrupt may have left some.
        missed.removeAll(keepingCapacity: true)
        var next = 0
        // Up to here all have an entry, or there is no room for any.
        var learned = 0
        while true {
            next = addKnown(request, from: next, after: &last, in: bytes)
            try addMissed(request, in: bytes, format)
            guard next < request.runs.count, builder.batches.count <= context.limits.batchesPerRequest
            else { break }
            let run = request.runs[next]
            if run.isGuess, !RemoteWriteDecoder.confirm(run, in: bytes) {
                try addReread(run, request, in: bytes, format)
                next += 1
            } else if next < learned {
                last = try add(run, of: request, in: bytes, format)
                next += 1
            } else {
                learned = try learn(request, from: next, after: last, in: bytes, format)
            }
        }
        builder.finish()
        place = LearnedPlace(entry: last)
        if !sightings.isEmpty { context.registry.observe(sightings, arrivalMs: arrivalMs) }
        return builder.batches.count <= context.limits.batchesPerRequest
    }

    // MARK: What has to be forgotten

    /// Forgets what was not used for long, where nobody orders anything: the same for a lane that has a table of its own.
    mutating func forgetIdle(nowMs: Int64) { _ = forget(nil, lane: 0, nowMs: nowMs) }

    /// Works on what has to be forgotten for a fraction of a millisecond. To be called some times a second.
    mutating func tend(lane: Int, nowMs: Int64) {
        let order = context.registry.retirementOrder
        let isDone = forget(order, lane: lane, nowMs: nowMs)
        _ = cache.refresh()
        if isDone, let order { context.registry.finished(lane: lane, order: order.number, nowMs: nowMs) }
    }

    private mutating func forget(_ order: Retirement.Order?, lane: Int, nowMs: Int64) -> Bool {
        let now = Route.stamp(nowMs)
        let series = context.registry.seriesCount
        guard
            let idleMax = cache.table.idleMax(
                noting: &pauses, stamp: now, series: series, atMost: Int(stampsMax))
        else { return false }
        return cache.table.tend(
            lane: lane, order, stamp: now, idleMax: idleMax, count: context.limits.sweepEntries)
    }

    // MARK: What is known

    /// The hot loop: adds what has an entry, and puts what has none into `missed`, to be added behind it: in a scrape all
    /// samples have one time, and their order does not matter. It goes on until that is not so, or no more fit in a round.
    ///
    /// - Returns: the run that it did not come to, or that it cannot put off.
    private mutating func addKnown(
        _ request: borrowing WriteRequest, from first: Int, after last: inout UInt32, in bytes: RawSpan
    ) -> Int {
        let wantsSightings = context.registry.wantsSightings
        let batchesMax = context.limits.batchesPerRequest
        let runs = request.runs.span
        let samples = request.samples.span
        var index = first
        let entries = cache.entries
        var ahead = Lookahead()
        var hasMissed = false
        while index < runs.count {
            let run = runs[index]
            if hasMissed,
                run.sampleCount != 1 || samples[run.samples.lowerBound].timeMs != missedMs
            {
                return index
            }
            let expected = entries[Int(last)].following
            var entry = expected
            if entry == 0 || !entries[Int(entry)].isOf(run.identity) {
                entry = ahead.place(of: index, runs, cache)
                if entry == 0 { entry = cache.find(run.identity) }
                guard entry != 0 else {
                    guard putOff(index, run, samples, after: last, in: bytes) else { return index }
                    hasMissed = true
                    // Most often it is one in another's place, as when a node gets a new label: the order goes on behind it.
                    last = last == 0 ? 0 : expected
                    index &+= 1
                    continue
                }
                entries[Int(last)].isFollowed(by: entry)
            }
            if !take(run, entries + Int(entry), samples, wantsSightings) {
                guard putOff(index, run, samples, after: last, in: bytes) else { return index }
                hasMissed = true
            }
            last = entry
            index &+= 1
            if builder.batches.count > batchesMax { return index }
        }
        return index
    }

    /// - Returns: false if its samples have to be added before those that follow.
    private mutating func putOff(
        _ index: Int, _ run: SeriesRun, _ samples: Span<TimedValue>, after last: UInt32, in bytes: RawSpan
    ) -> Bool {
        guard run.sampleCount == 1, missed.count < Self.roundMax,
            !run.isGuess || RemoteWriteDecoder.confirm(run, in: bytes)
        else { return false }
        missedMs = samples[run.samples.lowerBound].timeMs
        missed.append(Missed(run: Int32(index), after: last))
        return true
    }

    /// Adds the samples of a run that has an entry.
    ///
    /// - Returns: false, without having added any, if the entry is out of date.
    @inline(__always)
    private mutating func take(
        _ run: SeriesRun, _ known: UnsafeMutablePointer<SeriesTable.Entry>, _ samples: Span<TimedValue>,
        _ wantsSightings: Bool
    ) -> Bool {
        let route = known.pointee.route
        let idle = route.idle(stamp)
        if idle > 0 { notePause(idle, route) }
        guard !isOutdated(route) else { return false }
        if idle > 0 { known.pointee.stamp(route, stamp) }
        add(run, route, samples, wantsSightings)
        return true
    }

    @inline(never)
    private mutating func notePause(_ steps: Int, _ route: Route) {
        guard !route.isUnknown, steps <= Int(stampsMax) else { return }
        pauses[min(steps, pauses.count - 1)] += 1
    }

    /// Whether the registry has to be asked again.
    @inline(__always)
    private func isOutdated(_ route: Route) -> Bool {
        let idle = route.idle(stamp)
        if idle != 0, idle > Int(stampsMax) || idle < Route.idleMin || route.isBeyondLimit && asksAgain(route)
        {
            return true
        }
        return route.isPassing && (route.slot != number || route.job != tag || route.isUnknown)
    }

    private func asksAgain(_ route: Route) -> Bool {
        stamp / UInt16(Route.askingSteps) != route.stamp / UInt16(Route.askingSteps)
    }

    @inline(__always)
    private mutating func add(
        _ run: SeriesRun, _ route: Route, _ samples: Span<TimedValue>, _ wantsSightings: Bool
    ) {
        if route.isRejected {
            return builder.reject(route.rejection ?? .noEntity, run.sampleCount)
        }
        for place in run.samples {
            builder.add(samples[place], slot: route.slot, shard: route.shard)
        }
        if route.job > 0 {
            if route.isBeyondLimit {
                foldedCount &+= run.sampleCount
            } else if wantsSightings {
                note(route, samples[run.samples.lowerBound].timeMs)
            }
        }
    }

    private mutating func note(_ route: Route, _ timeMs: Int64) {
        // A time that the sample itself is refused for says nothing about jobs either.
        guard timeMs >= 0, timeMs <= arrivalMs + context.limits.aheadMs else { return }
        sightings.append(
            JobSighting(slot: route.slot, shard: route.shard, job: route.job - 1, timeMs: timeMs))
    }

    // MARK: What is not

    /// Makes entries for the series from here on that have none, and adds nothing.
    ///
    /// - Returns: the run to which it came.
    private mutating func learn(
        _ request: borrowing WriteRequest, from first: Int, after last: UInt32, in bytes: RawSpan,
        _ format: SeriesFormat
    ) throws(WireError) -> Int {
        forgetUnknown()
        var index = first
        var place = last
        var ahead = Lookahead()
        while index < request.runs.count, unknown.count < Self.roundMax {
            let run = request.runs[index]
            let entry = known(request.runs.span, index, after: &place, &ahead)
            index += 1
            guard entry == 0 || isOutdated(cache.entries[Int(entry)].route) else { continue }
            // A wrong guess is for later, when the loop comes to it.
            if run.isGuess, !RemoteWriteDecoder.confirm(run, in: bytes) { continue }
            identities.append(run.identity)
            unknown.append(try read(run, request, in: bytes, format))
        }
        admit(in: bytes, format)
        return index
    }

    /// The run's entry, or 0.
    ///
    /// - Parameter place: where the learned order stands. A series that is not known is taken for one in another's place,
    ///   as when a node gets a new label: so the order goes on behind it.
    private mutating func known(
        _ runs: Span<SeriesRun>, _ index: Int, after place: inout UInt32, _ ahead: inout Lookahead
    ) -> UInt32 {
        let identity = runs[index].identity
        let expected = cache.entries[Int(place)].following
        if expected != 0, cache.entries[Int(expected)].isOf(identity) {
            place = expected
            return expected
        }
        var entry = ahead.place(of: index, runs, cache)
        if entry == 0 { entry = cache.find(identity) }
        place = entry != 0 ? entry : expected
        return entry
    }

    private mutating func forgetUnknown() {
        unknown.removeAll(keepingCapacity: true)
        identities.removeAll(keepingCapacity: true)
        scratch.removeAll(keepingCapacity: true)
    }

    /// Asks the registry about `unknown`; `routes` becomes what it says, and `entries` the numbers of their entries.
    private mutating func admit(in bytes: RawSpan, _ format: SeriesFormat) {
        // Taken out, because the registry writes to it while the scratch is read.
        var routes: [Route] = []
        swap(&routes, &self.routes)
        defer { swap(&routes, &self.routes) }
        if format.hasText {
            context.registry.admit(unknown, in: bytes, sender: sender, stamp: stamp, into: &routes)
        } else {
            context.registry.admit(
                unknown, in: scratch.span.bytes, sender: sender, stamp: stamp, into: &routes)
        }
        for index in routes.indices {
            routes[index].stamp = stamp
            if routes[index].isPassing { (routes[index].slot, routes[index].job) = (number, tag) }
        }
        cache.remember(identities, routes, numbers: &entries)
    }

    /// Makes entries for what was missed, adds its samples, and puts it into the learned order.
    private mutating func addMissed(
        _ request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) {
        guard !missed.isEmpty else { return }
        forgetUnknown()
        for one in missed {
            let run = request.runs[Int(one.run)]
            identities.append(run.identity)
            unknown.append(try read(run, request, in: bytes, format))
        }
        admit(in: bytes, format)
        let wantsSightings = context.registry.wantsSightings
        var last: UInt32 = 0
        for (index, one) in missed.enumerated() {
            add(request.runs[Int(one.run)], routes[index], request.samples.span, wantsSightings)
            guard builder.batches.count <= context.limits.batchesPerRequest else { break }
            let entry = entries[index]
            let isFirst = index == 0 || missed[index - 1].run &+ 1 != one.run
            if isFirst { last = one.after }
            if last != 0 { cache.entries[Int(last)].isFollowed(by: entry) }
            let isLast = index + 1 == missed.count || missed[index + 1].run != one.run &+ 1
            if entry != 0, isLast, Int(one.run) + 1 < request.runs.count {
                let next = cache.find(request.runs[Int(one.run) + 1].identity)
                if next != 0 { cache.entries[Int(entry)].isFollowed(by: next) }
            }
            last = entry
        }
        missed.removeAll(keepingCapacity: missed.count <= Self.missedKept)
    }

    /// So many are asked about at once.
    private static let roundMax = 65_536
    /// Of so many the memory is kept for the next request.
    private static let missedKept = 10_000

    /// Adds the samples of one run, whose entry is made when it has none. Returns the entry, or 0.
    private mutating func add(
        _ run: SeriesRun, of request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) -> UInt32 {
        let wantsSightings = context.registry.wantsSightings
        let known = cache.find(run.identity)
        if known != 0, take(run, cache.entries + Int(known), request.samples.span, wantsSightings) {
            return known
        }
        forgetUnknown()
        identities.append(run.identity)
        unknown.append(try read(run, request, in: bytes, format))
        admit(in: bytes, format)
        add(run, routes[0], request.samples.span, wantsSightings)
        return entries[0]
    }

    private mutating func read(
        _ run: SeriesRun, _ request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) -> UnknownSeries? {
        switch format {
        case .remoteWrite:
            let labels = try scanner.remoteWrite(bytes, run.labels)
            return labels.map { UnknownSeries($0, in: bytes, scanner, context.hasher) }
        case .remoteWrite2:
            let labels = try scanner.remoteWrite2(bytes, run.labels, symbolsOf: request)
            return labels.map { UnknownSeries($0, in: bytes, scanner, context.hasher) }
        case .exposition:
            let read = ExpositionParser.readLabels(bytes, run.labels, limits: context.limits.labels)
            let labels = scanner.labels(read, scratch: &scratch)
            return labels.map { UnknownSeries($0, in: scratch.span.bytes, scanner, context.hasher) }
        }
    }

    /// A guess was wrong: reads that series again, with all checks, and adds what it really brings.
    private mutating func addReread(
        _ guess: SeriesRun, _ request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) {
        var series = WriteRequest()
        swap(&series, &reread)
        defer { swap(&series, &reread) }
        let room = context.limits.samplesPerRequest - (request.samples.count - 1) - more
        try RemoteWriteDecoder.series(
            of: guess, in: bytes, hasher: context.hasher, salt: format.salt(sender), samplesMax: room,
            into: &series)
        more += series.samples.count - 1
        for run in series.runs { _ = try add(run, of: series, in: bytes, format) }
    }
}

extension SeriesFormat {
    /// Whether labels are read where they stand in the message.
    fileprivate var hasText: Bool { self != .exposition }
}
