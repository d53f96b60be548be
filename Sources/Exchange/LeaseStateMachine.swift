/// One lease, seen from one member: who holds it, and whether that is us.
///
/// Only compare-and-set decides, and no clock of the broker takes part. A lease is taken when it is free, or when its
/// revision has stood still for `leaseMs` of our own clock. The revision of the taking is the *epoch*: it grows with each
/// owner, so what an old owner still sends is recognised. The holder renews every third of `leaseMs` and holds still
/// (`mayAct`) once its last confirmed renewal began more than three quarters of `leaseMs` ago: before anybody may take it.
public struct LeaseStateMachine: Sendable {
    public enum Action: Equatable, Sendable {
        case read
        /// Compare and set: expects this revision, 0 for no value.
        case write(LeaseValue, expecting: UInt64)
    }

    private struct Held: Sendable {
        var epoch: UInt64
        var revision: UInt64
        /// When the last renewal that is known to be stored began.
        var confirmedMs: Int64
        var renewedMs: Int64
    }

    private struct Pending: Sendable {
        var value: LeaseValue
        var beganMs: Int64
        /// When the broker stored what it takes the place of.
        var formerMs: Int64?
    }

    /// Our incarnation: no two processes ever have the same, nor one process twice.
    public let owner: UInt64
    public let leaseMs: Int64
    private var held: Held?
    private var seen: (revision: UInt64, value: LeaseValue?, sinceMs: Int64, storedMs: Int64?)?
    private var pending: Pending?
    private var isReading = false
    private var mustRead = true
    /// What we wrote last was refused: the value is not the one that we know.
    private var isRefused = false
    private var lastReadMs: Int64?
    /// The earliest write whose fate is open.
    private var uncertain: Pending?
    /// Readings that went backwards: a broker whose copies disagree, or one that answers from an old copy.
    public private(set) var regressions: UInt64 = 0
    /// When somebody had it last before we took it, by the broker's clock; `nil` where nobody is known to have had it.
    public private(set) var formerMs: Int64?
    /// Whom the lease was lost to or taken from, how often.
    public private(set) var acquisitions: UInt64 = 0
    public private(set) var losses: UInt64 = 0

    public init(owner: UInt64, leaseMs: Int64) {
        self.owner = owner
        self.leaseMs = leaseMs
    }

    /// Our epoch while we hold it.
    public var epoch: UInt64? { held?.epoch }
    /// The last known holder's incarnation; 0 for nobody.
    public var holder: UInt64 { held != nil ? owner : seen?.value?.owner ?? 0 }
    /// When the revision was last seen to move, on our clock.
    public var seenSinceMs: Int64? { seen?.sinceMs }

    /// How long ago the last confirmed renewal began; `nil` while it is not held.
    public func ageMs(nowMs: Int64) -> Int64? { held.map { nowMs - $0.confirmedMs } }

    /// Whether it could be taken now, by what is known.
    public func looksFree(nowMs: Int64) -> Bool {
        guard held == nil else { return false }
        return seen.map { canTake($0.value, sinceMs: $0.sinceMs, nowMs) } ?? true
    }

    /// Whether we may publish under it.
    public func mayAct(nowMs: Int64) -> Bool {
        guard let held else { return false }
        return nowMs - held.confirmedMs <= leaseMs * 3 / 4
    }

    /// What is to be done now; the caller does it and tells the outcome.
    public mutating func next(nowMs: Int64, wanted: Bool) -> Action? {
        guard pending == nil, !isReading else { return nil }
        if let held, nowMs - held.confirmedMs > 4 * leaseMs { lose() }
        let concerned = held != nil || uncertain != nil || wanted
        let isOld = held == nil && wanted && nowMs - (lastReadMs ?? .min / 2) >= leaseMs / 3
        if (mustRead && concerned) || isOld { return read(nowMs) }
        if let held {
            if !wanted { return write(.released, expecting: held.revision, nowMs) }
            guard nowMs - held.renewedMs >= leaseMs / 3 else { return nil }
            self.held?.renewedMs = nowMs
            return write(LeaseValue(owner: owner, epoch: held.epoch), expecting: held.revision, nowMs)
        }
        guard wanted, let seen, canTake(seen.value, sinceMs: seen.sinceMs, nowMs) else { return nil }
        return write(LeaseValue(owner: owner, epoch: 0), expecting: seen.revision, nowMs)
    }

    private func canTake(_ value: LeaseValue?, sinceMs: Int64, _ nowMs: Int64) -> Bool {
        guard let value, value.owner != 0, value.owner != owner else { return true }
        return nowMs - sinceMs >= leaseMs
    }

    private mutating func read(_ nowMs: Int64) -> Action {
        isReading = true
        lastReadMs = nowMs
        return .read
    }

    private mutating func write(_ value: LeaseValue, expecting: UInt64, _ nowMs: Int64) -> Action {
        pending = Pending(value: value, beganMs: nowMs, formerMs: seen?.storedMs)
        return .write(value, expecting: expecting)
    }

    private mutating func lose() {
        if held != nil { losses += 1 }
        held = nil
        mustRead = true
    }

    /// The outcome of a write.
    public mutating func wrote(_ result: Result<UInt64, BusError>, nowMs: Int64) {
        guard let write = pending else { return }
        pending = nil
        switch result {
        case .success(let revision): stored(write, revision, nowMs)
        case .failure(let error):
            isRefused = error == .conflict
            // A conflict may be with an earlier write of ours: only reading tells.
            if error == .ambiguous || error == .conflict { mustRead = true }
            if error == .ambiguous, uncertain == nil { uncertain = write }
        }
    }

    private mutating func stored(_ write: Pending, _ revision: UInt64, _ nowMs: Int64) {
        (uncertain, isRefused) = (nil, false)
        see(write.value, revision, nowMs, storedMs: nil)
        if write.value.owner == 0 {
            held = nil
        } else if write.value.epoch == 0 {
            acquisitions += 1
            formerMs = write.formerMs
            held = Held(
                epoch: revision, revision: revision, confirmedMs: write.beganMs, renewedMs: write.beganMs)
        } else if held?.epoch == write.value.epoch {
            held?.revision = revision
            held?.confirmedMs = write.beganMs
        }
    }

    /// The outcome of a read.
    public mutating func wasRead(_ result: Result<StoredMessage?, BusError>, nowMs: Int64) {
        isReading = false
        guard case .success(let message) = result else { return }
        if message == nil, isRefused {
            // It was taken away: what was known of it is no more. If that is an old copy's word, the next write is refused.
            lose()
            seen = (0, nil, nowMs, nil)
        }
        (mustRead, isRefused) = (false, false)
        observe(
            message.flatMap { LeaseValue($0.bytes) }, revision: message?.sequence ?? 0, nowMs: nowMs,
            storedMs: message?.timestampMs)
        // Whatever was open is decided, unless it is stored yet; then its revision will show.
        if pending == nil { uncertain = nil }
    }

    /// A value that was read or that a watch told. Older ones than are known change nothing.
    ///
    /// - Parameter storedMs: when the broker stored it.
    public mutating func observe(
        _ value: LeaseValue?, revision: UInt64, nowMs: Int64, storedMs: Int64? = nil
    ) {
        if let seen, revision < seen.revision {
            regressions += 1
            return
        }
        see(value, revision, nowMs, storedMs: storedMs)
        guard let value, value.owner == owner else {
            if let held, revision > held.revision { value?.owner == 0 ? self.held = nil : lose() }
            return
        }
        if let held, revision > held.revision, value.epoch == held.epoch {
            self.held?.revision = revision
            // Which of several open renewals it was is not known: the earliest is the safe guess.
            if let began = uncertain?.beganMs { self.held?.confirmedMs = max(held.confirmedMs, began) }
        } else if held == nil, pending == nil, value.epoch == 0, let taking = uncertain,
            taking.value.epoch == 0, taking.value.owner == owner
        {
            stored(taking, revision, nowMs)
        }
    }

    private mutating func see(
        _ value: LeaseValue?, _ revision: UInt64, _ nowMs: Int64, storedMs: Int64?
    ) {
        if let seen, revision <= seen.revision {
            // Our own writes are known before the broker says when that was.
            if revision == seen.revision, let storedMs { self.seen?.storedMs = storedMs }
            return
        }
        seen = (revision, value, nowMs, storedMs)
    }
}
