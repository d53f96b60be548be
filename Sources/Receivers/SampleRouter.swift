import Telemetry
import WireFormats

/// Where a connection's last series stands in the learned order of its lane.
struct LearnedPlace {
    fileprivate var entry: UInt32 = 0
    fileprivate var generation: UInt32 = 0
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
        /// The entry of the run before, with the generation of the cache in which it is that.
        var after: UInt32
        var generation: UInt32
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
    /// Counts requests: rejections that hold for one only carry its number.
    private var number: UInt32 = 0
    /// Samples that go on without their series being told apart.
    private(set) var foldedCount = 0
    /// Samples that wrong guesses turned out to have besides the one.
    private var more = 0

    // For what is not known, one round after another:
    private var missed: [Missed] = []
    private var unknown: [UnknownSeries?] = []
    private var identities: [SeriesIdentity] = []
    private var routes: [Route] = []
    private var scratch: [UInt8] = []
    private var reread = WriteRequest()

    init(_ context: Context, stream: StreamIndex, shardCount: Int, identities: Int) {
        self.context = context
        cache = SeriesCache(limit: identities)
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
        var last = place.generation == cache.generation ? place.entry : 0
        missed.removeAll(keepingCapacity: true)
        addKnown(request, after: &last)
        let known = LearnedPlace(entry: last, generation: cache.generation)
        var next = 0
        while next < missed.count, builder.batches.count <= context.limits.batchesPerRequest {
            let round = next..<min(next + cache.roundMax, missed.count)
            try learn(round, of: request, in: bytes, format)
            try addMissed(round, of: request, in: bytes, format)
            next = round.upperBound
        }
        builder.finish()
        place = known
        if !sightings.isEmpty { context.registry.observe(sightings, arrivalMs: arrivalMs) }
        return builder.batches.count <= context.limits.batchesPerRequest
    }

    // MARK: What has to be forgotten

    /// How far the cache was swept for the order that is under way.
    private struct Sweep {
        var order: UInt64
        var generation: UInt32
        var place: Int?
    }

    private var sweep = Sweep(order: 0, generation: 0, place: nil)

    /// Works on a retirement order for a fraction of a millisecond.
    mutating func sweep(_ order: Retirement.Order, lane: Int, nowMs: Int64) {
        if sweep.order != order.number {
            sweep = Sweep(order: order.number, generation: cache.generation, place: 0)
        }
        guard var place = sweep.place else { return }
        if sweep.generation != cache.generation {
            sweep.generation = cache.generation
            place = 0
        }
        sweep.place = cache.sweep(order, from: place, count: context.limits.sweepEntries)
        if sweep.place == nil { context.registry.finished(lane: lane, order: order.number, nowMs: nowMs) }
    }

    // MARK: What is known

    /// The hot loop: adds what has an entry, and puts the rest into `missed`.
    private mutating func addKnown(_ request: borrowing WriteRequest, after last: inout UInt32) {
        let wantsSightings = context.registry.wantsSightings
        let batchesMax = context.limits.batchesPerRequest
        let runs = request.runs.span
        let samples = request.samples.span
        var index = 0
        var ahead = Lookahead()
        while index < runs.count {
            let run = runs[index]
            let entries = cache.young.entries
            let expected = entries[Int(last)].next
            var entry = expected
            if !entries[Int(entry)].isOf(run.identity) || entry == 0 {
                entry = ahead.place(of: index, runs, cache)
                if entry == 0 {
                    let generation = cache.generation
                    entry = cache.find(run.identity)
                    if generation != cache.generation {
                        ahead.forget()
                        last = 0
                    }
                }
                guard entry != 0 else {
                    miss(index, after: last)
                    // Most often it is one in another's place, as when a node gets a new label: the order goes on behind it.
                    last = last == 0 ? 0 : expected
                    index &+= 1
                    continue
                }
                cache.young.entries[Int(last)].next = entry
            }
            if !take(run, cache.young.entries + Int(entry), samples, wantsSightings) {
                miss(index, after: last)
            }
            last = entry
            index &+= 1
            if builder.batches.count > batchesMax { return }
        }
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
        if route.stamp != stamp {
            guard stamp &- route.stamp <= stampsMax, !route.isBeyondLimit else { return false }
            known.pointee.route.stamp = stamp
        }
        if route.isRejected {
            if route.isPassing, route.slot != number { return false }
            builder.reject(route.rejection ?? .noEntity, run.sampleCount)
            return true
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
        return true
    }

    private mutating func miss(_ index: Int, after last: UInt32) {
        missed.append(Missed(run: Int32(index), after: last, generation: cache.generation))
    }

    private mutating func note(_ route: Route, _ timeMs: Int64) {
        // A time that the sample itself is refused for says nothing about jobs either.
        guard timeMs >= 0, timeMs <= arrivalMs + context.limits.aheadMs else { return }
        sightings.append(
            JobSighting(slot: route.slot, shard: route.shard, job: route.job - 1, timeMs: timeMs))
    }

    // MARK: What is not

    /// Makes entries for some series that have none: no more than are sure to be kept.
    private mutating func learn(
        _ round: Range<Int>, of request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) {
        unknown.removeAll(keepingCapacity: true)
        identities.removeAll(keepingCapacity: true)
        scratch.removeAll(keepingCapacity: true)
        for index in round {
            let run = request.runs[Int(missed[index].run)]
            // A wrong guess is for later, when its turn comes.
            if run.isGuess, !RemoteWriteDecoder.confirm(run, in: bytes) { continue }
            identities.append(run.identity)
            unknown.append(try read(run, request, in: bytes, format))
        }
        admit(in: bytes, format)
    }

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
        for (identity, route) in zip(identities, routes) { remember(identity, route) }
    }

    /// Adds the samples of series that have entries now, and puts these into the learned order.
    private mutating func addMissed(
        _ round: Range<Int>, of request: borrowing WriteRequest, in bytes: RawSpan, _ format: SeriesFormat
    ) throws(WireError) {
        let wantsSightings = context.registry.wantsSightings
        let generation = cache.generation
        // The entry of the run before.
        var last: UInt32 = 0
        for index in round {
            let one = missed[index]
            let run = request.runs[Int(one.run)]
            if index == round.lowerBound || missed[index - 1].run &+ 1 != one.run {
                last = one.generation == generation ? one.after : 0
            }
            let entry = cache.find(run.identity)
            guard entry != 0,
                take(run, cache.young.entries + Int(entry), request.samples.span, wantsSightings)
            else {
                // All others have one: it was a wrong guess.
                try addReread(run, request, in: bytes, format)
                last = 0
                continue
            }
            guard generation == cache.generation else {
                last = 0
                continue
            }
            if last != 0 { cache.young.entries[Int(last)].next = entry }
            let isEnd = index + 1 == missed.count || missed[index + 1].run != one.run &+ 1
            if isEnd, Int(one.run) + 1 < request.runs.count {
                let next = cache.find(request.runs[Int(one.run) + 1].identity)
                if next != 0, generation == cache.generation { cache.young.entries[Int(entry)].next = next }
            }
            last = entry
        }
    }

    private mutating func remember(_ identity: SeriesIdentity, _ route: Route) {
        var route = route
        route.stamp = stamp
        if route.isPassing { route.slot = number }
        // It may be there, out of date, or twice among the new ones.
        let known = cache.find(identity)
        if known != 0 {
            cache.young.entries[Int(known)].route = route
        } else {
            var entry = SeriesTable.Entry()
            entry.high = identity.high
            entry.low = identity.low
            entry.route = route
            cache.insert(entry)
        }
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
        let wantsSightings = context.registry.wantsSightings
        for run in series.runs {
            var entry = cache.find(run.identity)
            if entry != 0, take(run, cache.young.entries + Int(entry), series.samples.span, wantsSightings) {
                continue
            }
            scratch.removeAll(keepingCapacity: true)
            identities = [run.identity]
            unknown = [try read(run, series, in: bytes, format)]
            admit(in: bytes, format)
            entry = cache.find(run.identity)
            _ = take(run, cache.young.entries + Int(entry), series.samples.span, wantsSightings)
        }
    }
}

extension SeriesFormat {
    /// Whether labels are read where they stand in the message.
    fileprivate var hasText: Bool { self != .exposition }
}
