import Exchange
import TestSupport
import Testing

@Suite("The control log of a shared run", .computing)
struct ControlLogTests {
    static let base = ControlCourse.Base(startMs: 1_000_000, endMs: 90_000_000, startedMs: 500_000, speed: 60)

    static func log(
        _ deeds: [ControlEntry.Deed], everyMs: Int64 = 10_000
    ) throws(ControlRefusal) -> ControlLog {
        var log = ControlLog(fleet: 0xABC, horizonMs: base.startMs)
        for (number, deed) in deeds.enumerated() {
            let nowMs = base.startedMs + Int64(number + 1) * everyMs
            log.extend(to: ControlCourse(base, log).dueThrough(nowMs: nowMs + 4_000))
            _ = try log.append(deed, from: base, by: "w1", id: UInt64(number), nowMs: nowMs)
        }
        return log
    }

    static let all: [ControlEntry.Deed] = [
        .speed(120), .inject(kind: "node_down", entity: "r0001-n1", forMs: 3_600_000), .pause,
        .inject(kind: "Power supply, 100 % (ü)", entity: "r0001-n1/3", forMs: nil), .speed(0.5), .resume,
        .stop,
    ]

    @Test("what is written is read")
    func roundTrip() throws {
        let log = try Self.log(Self.all)
        #expect(try ControlLog(decoding: log.bytes) == log)
        #expect(log.entries.map(\.deed) == Self.all)
        let lines = String(decoding: log.bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines[0] == "clsd1 control abc \(log.horizonMs)")
        #expect(lines[1] == "1 1840000 514000 510000 w1 0 speed 120.0")
    }

    @Test("what is asked counts from the horizon on, and never before what was asked earlier")
    func behindTheHorizon() throws {
        var log = ControlLog(fleet: 1, horizonMs: 2_000_000)
        let first = try log.append(.speed(2), from: Self.base, by: "a", id: 1, nowMs: 510_000)
        #expect(first.atMs == 2_000_000)
        #expect(first.strikesMs == 2_000_001)
        log.extend(to: 1_500_000)
        #expect(log.horizonMs == 2_000_000)
        let earlier = log
        log.extend(to: 2_000_100)
        let second = try log.append(
            .inject(kind: "hot", entity: "n", forMs: nil), from: Self.base, by: "b", id: 2, nowMs: 511_000)
        #expect(second.atMs == 2_000_100)
        #expect(second.sequence == 2)
        #expect(log.follows(earlier))
        #expect(!earlier.follows(log))
    }

    @Test("a log that changes what may have been played does not follow")
    func changedPast() throws {
        var earlier = try Self.log([.speed(120)])
        earlier.extend(to: 5_000_000)
        var other = try Self.log([.speed(120)])
        _ = try other.append(.pause, from: Self.base, by: "w2", id: 9, nowMs: 530_000)
        other.extend(to: 5_000_000)
        #expect(!other.follows(earlier))
        #expect(!(try Self.log([.speed(121)])).follows(earlier))
    }

    @Test("the simulated time goes on without a jump where the speed changes")
    func continuous() throws {
        let log = try Self.log([.speed(600), .speed(0.5), .pause, .resume, .speed(60)], everyMs: 9_000)
        let course = ControlCourse(Self.base, log)
        #expect(course.speed == 60)
        #expect(course.dueThrough(nowMs: 0) == Self.base.startMs)
        #expect(course.dueThrough(nowMs: Self.base.startedMs + 1_000) == Self.base.startMs + 60_000)
        var last = Self.base.startMs
        for nowMs in stride(from: Self.base.startedMs, through: Self.base.startedMs + 120_000, by: 1) {
            let due = course.dueThrough(nowMs: nowMs)
            #expect(due >= last && due - last <= 600, "\(nowMs)")
            last = due
        }
        for entry in log.entries { #expect(course.dueThrough(nowMs: entry.dueMs) == entry.atMs) }
    }

    @Test("it stands while it is paused, and after a stop, and goes on from where it stood")
    func stands() throws {
        let paused = try Self.log([.pause])
        let atMs = try #require(paused.entries.last?.atMs)
        #expect(ControlCourse(Self.base, paused).dueThrough(nowMs: 1 << 40) == atMs)
        var going = paused
        _ = try going.append(.resume, from: Self.base, by: "a", id: 2, nowMs: 10_000_000)
        let course = ControlCourse(Self.base, going)
        #expect(course.dueThrough(nowMs: 9_999_999) == atMs)
        #expect(course.dueThrough(nowMs: 10_001_000) == atMs + 60_000)
        let stopped = try Self.log([.speed(120), .stop])
        #expect(
            ControlCourse(Self.base, stopped).dueThrough(nowMs: 1 << 40) == stopped.entries.last?.atMs)
    }

    @Test("what it was behind is forgiven where the speed changes")
    func forgiven() throws {
        var log = ControlLog(fleet: 1, horizonMs: 1_100_000)
        _ = try log.append(.speed(1), from: Self.base, by: "a", id: 1, nowMs: 900_000)
        #expect(log.entries.first?.dueMs == 900_000)
        #expect(ControlCourse(Self.base, log).dueThrough(nowMs: 910_000) == 1_110_000)
    }

    @Test("what cannot be is refused with a reason")
    func refusals() throws {
        #expect(throws: ControlRefusal.isNotPaused) { try Self.log([.resume]) }
        #expect(throws: ControlRefusal.isPaused) { try Self.log([.pause, .speed(2), .pause]) }
        #expect(throws: ControlRefusal.isOver) { try Self.log([.stop, .speed(2)]) }
        #expect(throws: ControlRefusal.isUnwritable) { try Self.log([.speed(0)]) }
        #expect(throws: ControlRefusal.isUnwritable) { try Self.log([.speed(.nan)]) }
        for name in ["", "line\nbreak", "nul\0", String(repeating: "x", count: 97)] {
            #expect(throws: ControlRefusal.isUnwritable) {
                try Self.log([.inject(kind: "hot", entity: name, forMs: nil)])
            }
        }
        var over = ControlLog(fleet: 1, horizonMs: Self.base.endMs)
        #expect(throws: ControlRefusal.isOver) {
            try over.append(.pause, from: Self.base, by: "a", id: 1, nowMs: 1)
        }
        // Workers may have a while to play.
        #expect(try over.append(.stop, from: Self.base, by: "a", id: 1, nowMs: 1).atMs == Self.base.endMs)
    }

    @Test("a clock that is ahead is believed only as far as another says, and a fault needs none")
    func clocks() throws {
        var log = ControlLog(fleet: 1, horizonMs: 1_100_000)
        let fault = try log.append(
            .inject(kind: "hot", entity: "n", forMs: nil), from: Self.base, by: "a", id: 1, nowMs: 1 << 50)
        #expect(fault.dueMs == Self.base.startedMs)
        let speed = try log.append(
            .speed(2), from: Self.base, by: "a", id: 2, nowMs: 1 << 50, latestMs: 504_000)
        #expect(speed.dueMs == 504_000)
        #expect(try ControlLog(decoding: log.bytes) == log)
        // Of any time that is taken there are nanoseconds.
        #expect(!ControlLog.timeMax.multipliedReportingOverflow(by: 1_000_000).overflow)
        let later = String(decoding: log.bytes, as: UTF8.self)
            .replacing("504000", with: "\(ControlLog.timeMax + 1)")
        #expect(throws: (any Error).self) { try ControlLog(decoding: Array(later.utf8)) }
    }

    @Test("names as long as may be leave room for a stop, too")
    func longNames() throws {
        let name = String(repeating: "ü", count: ControlLog.nameMax / 2)
        let member = String(repeating: "m", count: ControlLog.nameMax)
        var log = ControlLog(fleet: .max, horizonMs: Self.base.startMs)
        #expect(throws: ControlRefusal.isFull) {
            for number in 0..<ControlLog.entriesMax {
                _ = try log.append(
                    .inject(kind: name, entity: name, forMs: ControlLog.timeMax), from: Self.base, by: member,
                    id: .max - UInt64(number), nowMs: 1 << 52)
            }
        }
        #expect(
            log.entries.count < ControlLog.entriesMax - 1 && log.bytes.count > ControlLog.bytesMax - 2_048)
        _ = try log.append(.stop, from: Self.base, by: member, id: .max, nowMs: 1 << 52)
        #expect(try ControlLog(decoding: log.bytes) == log)
    }

    @Test("it has a bound, and room for a stop in any case")
    func bounded() throws {
        var log = try Self.log(Array(repeating: .speed(2), count: ControlLog.entriesMax - 1))
        #expect(throws: ControlRefusal.isFull) {
            try log.append(.pause, from: Self.base, by: "a", id: 1, nowMs: 900_000)
        }
        _ = try log.append(.stop, from: Self.base, by: "a", id: 1, nowMs: 900_000)
        #expect(log.bytes.count < ControlLog.bytesMax)
        #expect(try ControlLog(decoding: log.bytes) == log)
    }

    @Test(
        "bytes that are none are refused, and it says where",
        arguments: [
            ("", ControlLogError.notOurs), ("clsd1 control abc 5", .notOurs), ("clsd1 log abc 5\n", .notOurs),
            ("clsd2 control abc 5\n", .unknownVersion), ("clsd1 control xyz 5\n", .badLine(1)),
            ("clsd1 control abc -5\n", .badLine(1)), ("clsd1 control abc 99999999999999999\n", .badLine(1)),
            ("clsd1 control abc 5 6\n", .badLine(1)), ("clsd1 control abc 5\n\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 jump\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 speed inf\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 speed 2000000000\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 inject hot n x\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 inject hot n 0\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 inject h%6Ft n -\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 inject hot n% -\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 inject hot n%0A -\n", .badLine(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 pause now\n", .badLine(2)),
            ("clsd1 control abc 5\n1 +5 5 5 w 0 pause\n", .badLine(2)),
            ("clsd1 control abc 5\n2 5 5 5 w 0 pause\n", .outOfOrder(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 resume\n", .outOfOrder(2)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 stop\n2 5 5 5 w 0 pause\n", .outOfOrder(3)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 pause\n2 4 5 5 w 0 resume\n", .outOfOrder(3)),
            ("clsd1 control abc 5\n1 5 5 5 w 0 pause\n2 5 4 5 w 0 resume\n", .outOfOrder(3)),
        ])
    func strict(text: String, error: ControlLogError) {
        #expect(throws: error) { try ControlLog(decoding: Array(text.utf8)) }
    }

    @Test("too much is refused, and so is what is no UTF-8; changed bytes never crash")
    func hostile() throws {
        #expect(throws: ControlLogError.tooLong) {
            try ControlLog(decoding: Array(repeating: 10, count: ControlLog.bytesMax + 1))
        }
        let lines = (1...ControlLog.entriesMax + 1).map { "\($0) 5 5 5 w 0 speed 2\n" }.joined()
        #expect(throws: ControlLogError.tooLong) {
            try ControlLog(decoding: Array("clsd1 control abc 5\n\(lines)".utf8))
        }
        #expect(throws: ControlLogError.notOurs) { try ControlLog(decoding: [0xFF, 10]) }
        let good = try Self.log(Self.all).bytes
        var random = SeededRandom(seed: 7)
        for _ in 0..<5_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            if let log = try? ControlLog(decoding: bytes) {
                #expect(try ControlLog(decoding: log.bytes) == log)
            }
        }
    }

    @Test(
        "a run that is stopped at its very end is one that was stopped, also once all its windows are closed")
    func finished() throws {
        let fleet = try ControlMachineTests.fleet()
        let base = ControlCourse.Base(startMs: 0, endMs: 3_600_000, startedMs: 0, speed: 1e9)
        var log = ControlLog(fleet: fleet.fingerprint, horizonMs: 0)
        log.extend(to: base.endMs)
        #expect(!log.isFinished(fleet, closed: -1, endMs: base.endMs))
        #expect(!log.isFinished(fleet, closed: 58, endMs: base.endMs))
        #expect(log.isFinished(fleet, closed: 59, endMs: base.endMs))
        // As fast as it can be, it has its end before anybody can stop it, and windows are on their way.
        _ = try log.append(.stop, from: base, by: "w", id: 1, nowMs: 1)
        for closed: Int64 in [-1, 30, 59] {
            #expect(!log.isFinished(fleet, closed: closed, endMs: base.endMs) && log.isStopped)
        }
    }
}
