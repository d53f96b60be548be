import Telemetry

/// The way of silent series out of the registry and the lanes, as `SeriesRetirement` asks for: one order at a time.
///
/// 1. Slots that the sink named are gathered. An order begins: the registry forgets whose they are.
/// 2. Each lane goes through its cache, some entries at a time, and forgets what leads to one of them.
/// 3. When all have done so, and requests that may still wait for credit are gone, the slots are free.
///
/// A value without a clock; `SeriesRegistry` holds it under its lock.
struct Retirement {
    /// What lanes have to forget.
    struct Order: Sendable {
        var number: UInt64
        /// A bit for each slot of each shard.
        var bits: [[UInt64]]

        @inline(__always)
        func holds(shard: Int, slot: UInt32) -> Bool {
            let word = Int(slot >> 6)
            return word < bits[shard].count && bits[shard][word] >> UInt64(slot & 63) & 1 == 1
        }
    }

    /// Slots that may wait to be gathered; what is beyond is named again later.
    static let gatheredMax = 4_000_000

    private(set) var order: Order?
    private let laneCount: Int
    private let waitMs: Int64
    private var gathered: [Set<UInt32>]
    private var gatheredCount = 0
    private var slots: [[UInt32]] = []
    private var lanesDone: Set<Int> = []
    private var freeFromMs: Int64?
    private var number: UInt64 = 0

    init(shardCount: Int, laneCount: Int, waitMs: Int64) {
        gathered = Array(repeating: [], count: shardCount)
        self.laneCount = laneCount
        self.waitMs = waitMs
    }

    mutating func gather(_ slots: [UInt32], shard: Int) {
        guard gathered.indices.contains(shard) else { return }
        for slot in slots where gatheredCount < Self.gatheredMax {
            // One that is on its way is named again as long as it is silent.
            if order?.holds(shard: shard, slot: slot) == true { continue }
            if gathered[shard].insert(slot).inserted { gatheredCount += 1 }
        }
    }

    /// Begins an order if there is something to forget and no other under way; returns its slots by shard.
    mutating func begin() -> [[UInt32]]? {
        guard order == nil, gatheredCount > 0 else { return nil }
        slots = gathered.map { $0.sorted() }
        number += 1
        order = Order(
            number: number,
            bits: slots.map { slots in
                var bits = [UInt64](repeating: 0, count: slots.last.map { Int($0 >> 6) + 1 } ?? 0)
                for slot in slots { bits[Int(slot >> 6)] |= 1 << UInt64(slot & 63) }
                return bits
            })
        gathered = Array(repeating: [], count: gathered.count)
        gatheredCount = 0
        lanesDone = []
        freeFromMs = nil
        return slots
    }

    /// A lane has nothing left that leads to a slot of that order.
    mutating func finished(lane: Int, _ number: UInt64, nowMs: Int64) {
        guard order?.number == number else { return }
        lanesDone.insert(lane)
        if lanesDone.count == laneCount, freeFromMs == nil { freeFromMs = nowMs + waitMs }
    }

    /// The slots that are free now, by shard; ends the order.
    mutating func end(nowMs: Int64) -> [[UInt32]]? {
        guard order != nil, let freeFromMs, nowMs >= freeFromMs else { return nil }
        order = nil
        defer { slots = [] }
        return slots
    }
}
