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

    @Test("all that was written is released, in order, and can still be read")
    func released() async throws {
        let folder = try Folder()
        // By inode, because numbers of files are used again.
        let calls = Locked<[UInt: [Int64]]>([:])
        var files = IngestLogFiles.system
        files.release = { file, offset, bytes in
            var info = stat()
            guard fstat(file, &info) == 0 else { return }
            let inode = UInt(info.st_ino)
            calls.withLock { $0[inode, default: []].append(offset) }
            IngestLogFiles.system.release(file, offset, bytes)
        }
        let log = try folder.log(files: files)
        for _ in 0..<100 { #expect(await IngestLogTests.append(log, Self.body) == true) }
        let count = try folder.files.count
        #expect(count > 20)
        let (begun, whole) = calls.withLock { calls in
            (calls.count, calls.values.count { $0.last == 0 && $0.count > 1 })
        }
        // The last is at hand; the eight before it keep their pages.
        #expect(begun >= count - 1)
        #expect(whole >= count - 9 && whole <= count - 8)
        #expect(try IngestLogTests.readAll(log).map(\.body) == Array(repeating: Self.body, count: 100))
        await log.close()
    }

    @Test(
        "files that keep their pages are few, and none is open when its segment is gone or the log is closed")
    func open() async throws {
        let folder = try Folder()
        let log = try folder.log()
        for _ in 0..<100 { #expect(await IngestLogTests.append(log, Self.body, newestMs: 1) == true) }
        let before = try Self.openFiles(folder)
        // Eight, with the one at hand and the next one.
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
