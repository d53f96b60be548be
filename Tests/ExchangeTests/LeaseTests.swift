import Exchange
import TestSupport
import Testing

@Suite("A lease", .computing)
struct LeaseTests {
    static let leaseMs: Int64 = 3_000

    /// A subject with compare-and-set, as simple as can be.
    struct Cell {
        var value: LeaseValue?
        var revision: UInt64 = 0
        mutating func write(_ value: LeaseValue, _ expected: UInt64) -> Result<UInt64, BusError> {
            guard expected == revision else { return .failure(.conflict) }
            revision += 7
            self.value = value
            return .success(revision)
        }
        var message: StoredMessage? {
            value.map {
                StoredMessage(subject: Subject("l"), bytes: $0.bytes, sequence: revision, timestampMs: 0)
            }
        }
    }

    /// Does what the machine wants at once, until it wants nothing.
    static func settle(
        _ lease: inout LeaseStateMachine, _ cell: inout Cell, _ now: Int64, wanted: Bool = true
    ) {
        while let action = lease.next(nowMs: now, wanted: wanted) {
            switch action {
            case .read: lease.wasRead(.success(cell.message), nowMs: now)
            case .write(let value, let expected):
                lease.wrote(cell.write(value, expected), nowMs: now)
            }
        }
    }

    @Test("what is free is taken at once, and the revision of the taking is the epoch")
    func takesFree() {
        var cell = Cell()
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        Self.settle(&lease, &cell, 0)
        #expect(lease.epoch == 7)
        #expect(lease.mayAct(nowMs: 0))
    }

    @Test("a live owner keeps it; a dead one loses it after the lease, and not before")
    func takeOver() {
        var cell = Cell()
        var first = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        var second = LeaseStateMachine(owner: 2, leaseMs: Self.leaseMs)
        Self.settle(&first, &cell, 0)
        for now in stride(from: Int64(0), through: 20_000, by: 200) {
            Self.settle(&first, &cell, now)
            Self.settle(&second, &cell, now)
            #expect(second.epoch == nil)
        }
        // The first is silent from now on.
        var taken: Int64?
        for now in stride(from: Int64(20_200), through: 30_000, by: 200) where taken == nil {
            Self.settle(&second, &cell, now)
            if second.epoch != nil { taken = now }
        }
        let when = taken ?? 0
        #expect(when >= 20_000 + Self.leaseMs - 1_000 && when <= 20_000 + Self.leaseMs + 1_400)
        #expect(!first.mayAct(nowMs: when), "the old owner holds still before anybody takes it")
        Self.settle(&first, &cell, when + 100)
        #expect(first.epoch == nil)
        #expect(first.losses == 1)
        #expect((second.epoch ?? 0) > 7)
    }

    @Test("an owner stops acting when its last confirmed renewal began three quarters of a lease ago")
    func selfFence() {
        var cell = Cell()
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        Self.settle(&lease, &cell, 0)
        #expect(lease.next(nowMs: 1_000, wanted: true) != nil, "renews after a third")
        // Its answer comes late: what counts is when it began.
        lease.wrote(cell.write(LeaseValue(owner: 1, epoch: 7), cell.revision), nowMs: 2_500)
        #expect(lease.mayAct(nowMs: 3_250))
        #expect(!lease.mayAct(nowMs: 3_251))
    }

    @Test("a release is taken over at once")
    func release() {
        var cell = Cell()
        var first = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        var second = LeaseStateMachine(owner: 2, leaseMs: Self.leaseMs)
        Self.settle(&first, &cell, 0)
        Self.settle(&second, &cell, 0)
        Self.settle(&first, &cell, 100, wanted: false)
        #expect(first.epoch == nil && first.losses == 0)
        second.observe(cell.value, revision: cell.revision, nowMs: 110)
        Self.settle(&second, &cell, 110)
        #expect(second.epoch == cell.revision)
    }

    @Test("one that was taken away is taken anew, by whoever had it and by whoever knew of it")
    func purged() {
        var cell = Cell()
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        Self.settle(&lease, &cell, 0)
        // A subject without a value expects 0; the stream's sequence goes on.
        var empty = Cell()
        for now in stride(from: Int64(1_000), through: 20_000, by: 100) {
            while let action = lease.next(nowMs: now, wanted: true) {
                switch action {
                case .read: lease.wasRead(.success(empty.message), nowMs: now)
                case .write(let value, let expected):
                    if empty.value == nil {
                        guard expected == 0 else {
                            lease.wrote(.failure(.conflict), nowMs: now)
                            continue
                        }
                        (empty.value, empty.revision) = (value, 100)
                        lease.wrote(.success(100), nowMs: now)
                    } else {
                        lease.wrote(empty.write(value, expected), nowMs: now)
                    }
                }
            }
            #expect(lease.mayAct(nowMs: now))
        }
        #expect(lease.epoch == 100 && lease.losses == 1 && lease.acquisitions == 2)
        #expect(lease.regressions == 0, "no copies disagree")
    }

    @Test("a taking whose answer is lost is found by reading", arguments: [true, false])
    func ambiguousTaking(watchTellsFirst: Bool) {
        var cell = Cell()
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        #expect(lease.next(nowMs: 0, wanted: true) == .read)
        lease.wasRead(.success(nil), nowMs: 1)
        guard case .write(let value, let expected)? = lease.next(nowMs: 2, wanted: true) else {
            Issue.record("it does not take what is free")
            return
        }
        _ = cell.write(value, expected)
        if watchTellsFirst { lease.observe(cell.value, revision: cell.revision, nowMs: 3) }
        lease.wrote(.failure(.ambiguous), nowMs: 700)
        #expect(lease.epoch == nil)
        Self.settle(&lease, &cell, 701)
        #expect(lease.epoch == 7)
        #expect(lease.mayAct(nowMs: 2_252) && !lease.mayAct(nowMs: 2_253), "confirmed since the taking began")
    }

    @Test("a renewal whose answer is lost costs nothing when reading finds it")
    func ambiguousRenewal() {
        var cell = Cell()
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        Self.settle(&lease, &cell, 0)
        guard case .write(let value, let expected)? = lease.next(nowMs: 1_000, wanted: true) else {
            Issue.record("it does not renew")
            return
        }
        _ = cell.write(value, expected)
        lease.wrote(.failure(.ambiguous), nowMs: 1_700)
        Self.settle(&lease, &cell, 1_701)
        #expect(lease.epoch == 7 && lease.mayAct(nowMs: 3_250))
        Self.settle(&lease, &cell, 2_800)
        #expect(lease.epoch == 7 && lease.losses == 0)
    }

    @Test("readings that go backwards are counted and do not keep a dead owner alive")
    func staleReads() {
        var cell = Cell(value: LeaseValue(owner: 9, epoch: 5), revision: 20)
        var lease = LeaseStateMachine(owner: 1, leaseMs: Self.leaseMs)
        let old = StoredMessage(
            subject: Subject("l"), bytes: LeaseValue(owner: 9, epoch: 5).bytes, sequence: 19, timestampMs: 0)
        var isOld = false
        for now in stride(from: Int64(0), through: 6_000, by: 100) where lease.epoch == nil {
            guard let action = lease.next(nowMs: now, wanted: true) else { continue }
            switch action {
            case .read:
                lease.wasRead(.success(isOld ? old : cell.message), nowMs: now)
                isOld.toggle()
            case .write(let value, let expected):
                lease.wrote(cell.write(value, expected), nowMs: now)
            }
        }
        #expect(lease.epoch == 27)
        #expect(lease.regressions > 0)
    }

    @Test(
        "lease values and member notes are read strictly",
        arguments: ["", "clsd1", "clsd1 x y", "clsd2 1 1", "clsd1 1 1 "])
    func strictValues(text: String) {
        #expect(LeaseValue(Array(text.utf8)) == nil)
        #expect(Membership.Note(Array(text.utf8)) == nil)
    }

    @Test("values come back as they were")
    func values() {
        let value = LeaseValue(owner: .max, epoch: 12)
        #expect(LeaseValue(value.bytes) == value)
        let note = Membership.Note(incarnation: 0xAB, isDraining: true, held: 3)
        #expect(Membership.Note(note.bytes) == note)
    }

    @Test("shares add up, differ by one at most, and count only those who live and take work")
    func shares() {
        var members = Membership(leaseMs: Self.leaseMs)
        for (index, name) in ["a", "b", "c", "d", "e"].enumerated() {
            let note = Membership.Note(incarnation: 1, isDraining: name == "d", held: 0)
            members.observe(name, note.bytes, revision: UInt64(index + 1), nowMs: name == "e" ? 0 : 2_000)
        }
        let shares = ["a", "b", "c"].map { members.share(of: $0, total: 64, nowMs: 3_500) }
        #expect(shares == [22, 21, 21])
        #expect(members.share(of: "new", total: 64, nowMs: 3_500) == 16)
    }
}
