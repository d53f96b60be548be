import Dispatch
import Foundation
import Glibc
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite struct IngestLogTests {
    /// A log in a folder of its own.
    final class Folder {
        let path: String
        let metrics = Metrics()

        init() throws {
            path = NSTemporaryDirectory() + "ingest-log-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func log(
            _ durability: IngestDurability = .process, files: IngestLogFiles = .system,
            after: LogPosition = .start, _ change: (inout IngestLogLimits) -> Void = { _ in }
        ) throws -> IngestLog {
            var limits = IngestLogLimits()
            limits.segmentBytes = 4_096
            limits.freeBytesMin = 0
            limits.retryMs = 5
            change(&limits)
            return try IngestLog(
                directory: path, after: after, durability: durability, limits: limits, files: files,
                metrics: metrics, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        var files: [String] {
            get throws {
                try FileManager.default.contentsOfDirectory(atPath: path + "/ingest").filter {
                    $0.hasSuffix(".log")
                }.sorted().map { path + "/ingest/" + $0 }
            }
        }

        func metric(_ name: String) -> Int {
            metrics.exposition().split(separator: "\n").first { $0.hasPrefix(name + " ") }
                .flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
        }
    }

    /// Appends, and waits until the log has said whether it is safe.
    static func append(_ log: IngestLog, _ body: [UInt8], newestMs: Int64 = 0) async -> Bool? {
        await withCheckedContinuation { continuation in
            let head = JournalHead(format: 7, timeMs: 42, newestMs: newestMs, sender: "ingest/10.0.0.1")
            let place = log.append(head, body: body.span.bytes) { continuation.resume(returning: $0) }
            if place == nil { continuation.resume(returning: nil) }
        }
    }

    static func readAll(_ log: IngestLog, from: LogPosition? = nil) throws -> [JournalRecord] {
        var records: [JournalRecord] = []
        var position = from ?? log.first
        while true {
            let chunk = try log.read(from: position, bytesMax: 1_000)
            records += chunk.records
            guard chunk.next > position else { return records }
            position = chunk.next
        }
    }

    static func bodies(_ count: Int, seed: UInt64) -> [[UInt8]] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in
            (0..<Int.random(in: 0...300, using: &random)).map { _ in .random(in: 0...255, using: &random) }
        }
    }

    @Test("CRC-32C is that of RFC 3720, by table and by instruction")
    func crc() {
        let zeros = [UInt8](repeating: 0, count: 32)
        let ascending = (0..<32).map { UInt8($0) }
        for (bytes, expected) in [(zeros, 0x8A91_36AA), (ascending, 0x46DD_794E)] as [([UInt8], UInt32)] {
            #expect(bytes.withUnsafeBytes { CRC32C.update(0, $0) } == expected)
            #expect(bytes.withUnsafeBytes { CRC32C.slow(0, $0) } == expected)
        }
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC32C.update(0, $0) } == 0xE306_9283)
    }

    @Test("what was written is read again, over segments and restarts", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) async throws {
        let folder = try Folder()
        let bodies = Self.bodies(100, seed: seed)
        for half in [bodies[..<50], bodies[50...]] {
            let log = try folder.log()
            for body in half { #expect(await Self.append(log, body) == true) }
            await log.close()
        }
        #expect(try folder.files.count > 3)
        let log = try folder.log()
        let records = try Self.readAll(log)
        #expect(records.map(\.body) == bodies, "seed \(seed)")
        #expect(records.allSatisfy { $0.head.sender == "ingest/10.0.0.1" && $0.head.format == 7 })
        #expect(zip(records, records.dropFirst()).allSatisfy { $0.end < $1.end })
        await log.close()
    }

    @Test("a torn tail costs only the torn record, wherever it is torn")
    func tornTail() async throws {
        let folder = try Folder()
        let bodies = Self.bodies(3, seed: 9).map { Array($0.prefix(40)) }
        let log = try folder.log()
        for body in bodies { #expect(await Self.append(log, body) == true) }
        await log.close()
        let file = try #require(try folder.files.last)
        let whole = try Data(contentsOf: URL(filePath: file))
        let lastCount = IngestLogCodec.headBytes + "ingest/10.0.0.1".utf8.count + bodies[2].count
        for kept in (whole.count - lastCount)..<whole.count {
            try whole.prefix(kept).write(to: URL(filePath: file))
            let log = try folder.log()
            #expect(
                try Self.readAll(log).map(\.body) == Array(bodies[..<2]), "\(kept) bytes of \(whole.count)")
            await log.close()
        }
    }

    @Test("a flipped bit in the middle costs one record, and is counted", arguments: [4, 5] as [UInt64])
    func flippedBit(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let folder = try Folder()
        let bodies = Self.bodies(8, seed: seed)
        let log = try folder.log { $0.segmentBytes = 1 << 20 }
        var ends: [Int64] = [Int64(IngestLogCodec.segmentHeadBytes)]
        for body in bodies {
            #expect(await Self.append(log, body) == true)
            ends.append(log.end.rawValue)
        }
        await log.close()
        let file = try #require(try folder.files.first)
        let whole = try Data(contentsOf: URL(filePath: file))
        for _ in 0..<60 {
            let hit = Int.random(in: 0..<7, using: &random)
            let byte = Int(Int64.random(in: ends[hit]..<ends[hit + 1], using: &random))
            var broken = whole
            broken[byte] ^= 1 << UInt8.random(in: 0...7, using: &random)
            try broken.write(to: URL(filePath: file))
            let log = try folder.log { $0.segmentBytes = 1 << 20 }
            var expected = bodies
            expected.remove(at: hit)
            let before = folder.metric("colossus_ingest_log_damaged_total")
            #expect(try Self.readAll(log).map(\.body) == expected, "seed \(seed), byte \(byte)")
            #expect(folder.metric("colossus_ingest_log_damaged_total") > before)
            await log.close()
        }
    }

    @Test("at the limit nothing is taken, and again after segments were let go")
    func limit() async throws {
        let folder = try Folder()
        let log = try folder.log { $0.bytesMax = 12_288 }
        let body = [UInt8](repeating: 1, count: 1_000)
        var taken = 0
        while await Self.append(log, body, newestMs: Int64(taken)) == true { taken += 1 }
        #expect((6...12).contains(taken))
        #expect(log.bytes <= 12_288)
        let cut = log.noteClosing(throughMs: 1_000)
        let keep = log.keepFrom(newestMs: 4, cut: cut)
        #expect(keep > .start && keep < cut)
        log.release(LogMark(cut: cut, keepFrom: keep))
        #expect(await Self.append(log, body) == true)
        // What may hold samples from 4 on is still there.
        #expect(try Self.readAll(log).contains { $0.head.newestMs == 4 })
        await log.close()
    }

    @Test("a segment that is let go of before it is written leaves no file")
    func letGoEarly() async throws {
        let folder = try Folder()
        let log = try folder.log()
        let body = [UInt8](repeating: 1, count: 3_000)
        let head = JournalHead(timeMs: 0)
        for _ in 0..<3 {
            let check = log.check(head, body: body.span.bytes)
            #expect(log.append(head, body: body.span.bytes, check: check) != nil)
        }
        log.release(LogMark(cut: log.end, keepFrom: log.end))
        #expect(await Self.whenSafe(log))
        #expect(try Self.readAll(log).count == 1)
        await log.close()
        #expect(try folder.files.count == 1)
    }

    @Test("a full disk refuses before anything is taken, and recovers by itself")
    func diskFull() async throws {
        let full = Flag()
        let folder = try Folder()
        var files = IngestLogFiles.system
        files.allocate = { full.value ? ENOSPC : IngestLogFiles.system.allocate($0, $1) }
        let log = try folder.log(files: files)
        let body = [UInt8](repeating: 1, count: 1_000)
        #expect(await Self.append(log, body) == true)
        full.set(true)
        var results: [Bool?] = []
        for _ in 0..<200 { results.append(await Self.append(log, body)) }
        #expect(results.contains { $0 == nil })
        full.set(false)
        var isBack = false
        for _ in 0..<1_000 where !isBack {
            isBack = await Self.append(log, body) == true
            if !isBack { usleep(2_000) }
        }
        #expect(isBack)
        await log.close()
    }

    @Test("what a failing write left unsafe is in the log when it works again, once")
    func failingWrite() async throws {
        let fails = Flag()
        let folder = try Folder()
        var files = IngestLogFiles.system
        files.write = { file, bytes, offset in
            fails.value ? -Int(EIO) : IngestLogFiles.system.write(file, bytes, offset)
        }
        let log = try folder.log(files: files)
        #expect(await Self.append(log, [1]) == true)
        fails.set(true)
        #expect(await Self.append(log, [2]) == false)
        #expect(await Self.append(log, [3]) == nil)
        fails.set(false)
        var isBack = false
        for _ in 0..<1_000 where !isBack {
            isBack = await Self.append(log, [4]) == true
            if !isBack { usleep(2_000) }
        }
        #expect(try Self.readAll(log).map(\.body) == [[1], [2], [4]])
        await log.close()
    }

    @Test("many records share a write, and are called safe in their order", .timeLimit(.minutes(1)))
    func groupCommit() async throws {
        let folder = try Folder()
        let log = try folder.log(.disk) { $0.segmentBytes = 1 << 20 }
        let order = Locked<[Int]>([])
        await withCheckedContinuation { continuation in
            for number in 0..<500 {
                Self.append(log, number, order) { $0 == 500 ? continuation.resume() : () }
            }
        }
        #expect(order.withLock { $0 } == Array(0..<500))
        #expect(folder.metric("colossus_ingest_log_writes_total") < 500)
        await log.close()
    }

    /// - Parameter tell: how many are safe by then.
    static func append(
        _ log: IngestLog, _ number: Int, _ order: Locked<[Int]>,
        tell: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        let body = [UInt8(number & 255)]
        _ = log.append(JournalHead(timeMs: 0), body: body.span.bytes) { _ in
            tell(
                order.withLock { order in
                    order.append(number)
                    return order.count
                })
        }
    }

    @Test("whoever asks first writes, and those who come meanwhile do not wait", .timeLimit(.minutes(1)))
    func firstWrites() async throws {
        let holds = Flag()
        let isWriting = DispatchSemaphore(value: 0)
        let goOn = DispatchSemaphore(value: 0)
        let folder = try Folder()
        var files = IngestLogFiles.system
        files.write = { file, bytes, offset in
            if holds.value {
                isWriting.signal()
                goOn.wait()
            }
            return IngestLogFiles.system.write(file, bytes, offset)
        }
        let log = try folder.log(files: files) { $0.segmentBytes = 1 << 20 }
        #expect(await Self.append(log, [0]) == true)
        let order = Locked<[Int]>([])
        Self.append(log, 1, order)
        #expect(order.withLock { $0 } == [1])
        holds.set(true)
        DispatchQueue.global().async { @Sendable in Self.append(log, 2, order) }
        isWriting.wait()
        let before = folder.metric("colossus_ingest_log_writes_total")
        await withCheckedContinuation { continuation in
            for number in 3..<400 {
                Self.append(log, number, order) { $0 == 399 ? continuation.resume() : () }
            }
            #expect(order.withLock { $0 } == [1])
            holds.set(false)
            goOn.signal()
        }
        #expect(order.withLock { $0 } == Array(1..<400))
        #expect(folder.metric("colossus_ingest_log_writes_total") == before + 2)
        await log.close()
    }

    @Test("one call has many records written, and one without any is told at once", .timeLimit(.minutes(1)))
    func together() async throws {
        let folder = try Folder()
        let log = try folder.log(.disk) { $0.segmentBytes = 1 << 20 }
        let bodies = Self.bodies(20, seed: 11)
        for round in 0..<4 {
            for body in bodies[(round * 5)..<(round * 5 + 5)] {
                let head = JournalHead(timeMs: 0)
                let check = log.check(head, body: body.span.bytes)
                #expect(log.append(head, body: body.span.bytes, check: check) != nil)
            }
            #expect(await Self.whenSafe(log))
            #expect(try Self.readAll(log).map(\.body) == Array(bodies[..<(round * 5 + 5)]))
            // Nothing is left to be written.
            #expect(await Self.whenSafe(log))
        }
        #expect(folder.metric("colossus_ingest_log_writes_total") == 4)
        await log.close()
    }

    static func whenSafe(_ log: IngestLog) async -> Bool {
        await withCheckedContinuation { continuation in log.whenSafe { continuation.resume(returning: $0) } }
    }

    @Test("whoever asks while writing fails, or when it begins to fail, is told so and does not wait")
    func failingRound() async throws {
        let fails = Flag()
        let isWriting = DispatchSemaphore(value: 0)
        let goOn = DispatchSemaphore(value: 0)
        let folder = try Folder()
        var files = IngestLogFiles.system
        files.write = { file, bytes, offset in
            guard fails.value else { return IngestLogFiles.system.write(file, bytes, offset) }
            isWriting.signal()
            goOn.wait()
            return -Int(EIO)
        }
        let log = try folder.log(files: files) { $0.retryMs = 3_600_000 }
        #expect(await Self.append(log, [1]) == true)
        fails.set(true)
        let answers = Locked<[Bool]>([])
        @Sendable func ask(_ body: [UInt8]) {
            #expect(
                log.append(JournalHead(timeMs: 0), body: body.span.bytes) { isSafe in
                    answers.withLock { $0.append(isSafe) }
                } != nil)
        }
        // In a thread of its own, for whoever asks first writes.
        DispatchQueue.global().async { @Sendable in ask([2]) }
        isWriting.wait()
        // Comes while the writer is at the one before.
        ask([3])
        goOn.signal()
        for _ in 0..<5_000 where answers.withLock({ $0.count }) < 2 { usleep(1_000) }
        #expect(answers.withLock { $0 } == [false, false])
        #expect(await Self.whenSafe(log) == false)
        await log.close()
    }

    @Test("a log whose folder was emptied begins after what the store knows")
    func after() async throws {
        let folder = try Folder()
        let log = try folder.log(after: LogPosition(rawValue: 1_000_000))
        #expect(await Self.append(log, [1]) == true)
        #expect(log.end.rawValue > 1_000_000)
        await log.close()
    }
}

/// A switch that two threads see.
final class Flag: Sendable {
    private let state = Atomic<Bool>(false)
    var value: Bool { state.load(ordering: .acquiring) }
    func set(_ value: Bool) { state.store(value, ordering: .releasing) }
}
