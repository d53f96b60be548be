import Foundation
import Glibc
import Telemetry
import TestSupport
import Testing

@testable import Store

/// What the log does so that it does not go through all memory.
@Suite struct IngestLogPagesTests {
    typealias Folder = IngestLogTests.Folder

    private static let body = [UInt8](repeating: 1, count: 1_000)

    /// Files of the folder that this process has open.
    private static func openFiles(_ folder: Folder) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter { number in
            // One that was closed meanwhile has no target.
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + number)
            return target?.contains(folder.path) ?? false
        }.count
    }

    /// What is asked of the kernel, by inode: numbers of files are used again.
    private final class Asked: Sendable {
        struct One: Sendable {
            var begun: [ClosedRange<Int64>] = []
            var letGo = 0
        }
        let calls = Locked<[UInt: One]>([:])

        var files: IngestLogFiles {
            var files = IngestLogFiles.system
            files.beginWriting = { [self] file, offset, bytes in
                note(file) { $0.begun.append(offset...offset + bytes) }
                IngestLogFiles.system.beginWriting(file, offset, bytes)
            }
            files.letGo = { [self] file in
                note(file) { $0.letGo += 1 }
                IngestLogFiles.system.letGo(file)
            }
            return files
        }

        private func note(_ file: CInt, _ change: (inout One) -> Void) {
            var info = stat()
            guard fstat(file, &info) == 0 else { return }
            let inode = UInt(info.st_ino)
            calls.withLock { change(&$0[inode, default: One()]) }
        }

        var now: [One] { calls.withLock { Array($0.values) } }
    }

    @Test("pages of older segments go back once each, steps come in order, and all can still be read")
    func released() async throws {
        let folder = try Folder()
        let asked = Asked()
        let log = try folder.log(files: asked.files)
        log.repeated()
        for _ in 0..<100 { #expect(await IngestLogTests.append(log, Self.body) == true) }
        let count = try folder.files.count
        #expect(count > 20)
        // The last is at hand; the eight before it keep their pages. What is asked for comes to its turn later.
        for _ in 0..<1_000 where asked.now.count(where: { $0.letGo == 1 }) < count - 9 { usleep(2_000) }
        let letGo = asked.now.map(\.letGo)
        #expect(letGo.max() == 1 && (count - 9...count - 8).contains(letGo.reduce(0, +)))
        #expect(asked.now.contains { !$0.begun.isEmpty })
        for one in asked.now {
            for (early, late) in zip(one.begun, one.begun.dropFirst()) {
                #expect(early.upperBound == late.lowerBound)
            }
        }
        #expect(try IngestLogTests.readAll(log).map(\.body) == Array(repeating: Self.body, count: 100))
        await log.close()
    }

    @Test("while an earlier log is repeated all keeps its pages; what is on the disk at once needs no step")
    func kept() async throws {
        for (durability, isRepeated) in [(IngestDurability.process, false), (.disk, true)] {
            let folder = try Folder()
            let asked = Asked()
            let log = try folder.log(durability, files: asked.files)
            if isRepeated { log.repeated() }
            for _ in 0..<100 { #expect(await IngestLogTests.append(log, Self.body) == true) }
            await log.close()
            #expect(asked.now.allSatisfy { $0.begun.isEmpty })
            #expect(asked.now.contains { $0.letGo > 0 } == isRepeated)
        }
    }

    @Test(
        "files that keep their pages are few, and none is open when its segment is gone or the log is closed")
    func open() async throws {
        let folder = try Folder()
        let log = try folder.log()
        log.repeated()
        for _ in 0..<100 { #expect(await IngestLogTests.append(log, Self.body, newestMs: 1) == true) }
        // Eight, with the one at hand and the next one; those before them are closed in their turn.
        for _ in 0..<1_000 where try Self.openFiles(folder) > 10 { usleep(2_000) }
        let before = try Self.openFiles(folder)
        #expect(before >= 9 && before <= 10)
        let cut = log.noteClosing(throughMs: 1_000)
        log.release(LogMark(cut: cut, keepFrom: cut))
        #expect(await IngestLogTests.append(log, Self.body) == true)
        // Left are the one that was at hand, perhaps one after it, and the next one; the writer comes to it in its turn.
        for _ in 0..<1_000 where try Self.openFiles(folder) > 3 { usleep(2_000) }
        #expect(try Self.openFiles(folder) <= 3)
        await log.close()
        #expect(try Self.openFiles(folder) == 0)
    }

    @Test("a check in stretches side by side is that of one after another")
    func wideCheck() {
        var random = SeededRandom(seed: 7)
        let bytes = (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        for length in [0, 1, 3_071, 3_072, 3_073, 6_144, 6_151, 19_990] {
            for start in 0..<9 {
                let crc = UInt32.random(in: 0...UInt32.max, using: &random)
                bytes.withUnsafeBytes { raw in
                    let part = UnsafeRawBufferPointer(rebasing: raw[start..<start + length])
                    #expect(CRC32C.update(crc, part) == CRC32C.slow(crc, part), "\(length) from \(start)")
                }
            }
        }
    }
}
