import TestSupport
import Testing

@testable import Reporting

/// What a receiver does in a seeded schedule: outages that come and go, refusals, and answers that are lost.
struct Weather {
    /// From then on it is up.
    var calmMs = Int64.max
    /// What senders see of an outage.
    var outage = AttemptOutcome.failed(.connect, reason: "nobody")
    /// Parts that were taken while their answers were lost.
    private(set) var lost: Set<String> = []
    private var isUp = true
    private var changesMs: Int64 = 0

    /// - Parameter failure: what is wrong with this part for now, if anything is.
    /// - Returns: whether the part was taken, and what its sender sees.
    mutating func answer(
        _ id: String, at now: Int64, _ random: inout SplitMix64, failure: AttemptOutcome? = nil
    ) -> (Bool, AttemptOutcome) {
        if now > changesMs {
            isUp.toggle()
            changesMs = now + Int64.random(in: 100...5_000, using: &random)
        }
        if now > calmMs { isUp = true }
        if !isUp { return (false, outage) }
        if let failure { return (false, failure) }
        switch Int.random(in: 0..<40, using: &random) {
        case 0: return (false, MachineDriver.status(429, retryAfterMs: 300))
        case 1: return (false, MachineDriver.status(503))
        case 2:
            lost.insert(id)
            return (true, .failed(.timeout, reason: "the answer was lost"))
        default: return (true, MachineDriver.status(204))
        }
    }

    /// A part comes again only when its answer or the process was lost; a crash costs one part a lane at most.
    func expectOnce(_ driver: LanesDriver, lanes: Int, _ note: String) {
        var lives: [String: [Int]] = [:]
        for part in driver.taken { lives[part.id, default: []].append(part.life) }
        var doubles = 0
        for (id, lived) in lives where lived.count > 1 {
            #expect(Set(lived).count == lived.count || lost.contains(id), "\(id), \(note)")
            if !lost.contains(id) { doubles += lived.count - 1 }
        }
        #expect(doubles <= driver.crashes * lanes, "\(note)")
    }
}
