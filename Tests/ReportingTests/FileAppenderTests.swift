import Foundation
import Testing

@testable import Reporting

@Suite struct FileAppenderTests {
    /// A folder that is gone after the test.
    private final class Folder {
        let path = NSTemporaryDirectory() + "/reporting-\(UUID().uuidString)"
        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }
        func text(_ name: String = "out.jsonl") -> String {
            (try? String(contentsOfFile: path + "/" + name, encoding: .utf8)) ?? ""
        }
        func write(_ text: String, _ name: String = "out.jsonl") throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
        }
    }

    private func line(_ id: String, _ rows: String = "") -> String {
        "\(SummaryGrid.idPrefix)\(id)\",\"rows\":[\(rows)]}\n"
    }

    private func append(
        _ ids: [String], _ folder: Folder, path: String = "out.jsonl", sync: Bool = false
    ) async -> [AttemptOutcome] {
        let files = FileAppender(folders: [folder.path])
        var outcomes: [AttemptOutcome] = []
        for id in ids {
            outcomes.append(
                await files.append(
                    Array(line(id).utf8), id: id, from: "e", to: .file(path: path, sync: sync)))
        }
        await files.closeAll()
        return outcomes
    }

    /// Writes lines with ids and rows, as one lane.
    private func write(
        _ lines: [(id: String, rows: String)], from lane: String = "e", _ files: FileAppender
    ) async {
        for (id, rows) in lines {
            let outcome = await files.append(
                Array(line(id, rows).utf8), id: id, from: lane, to: .file(path: "out.jsonl"))
            #expect(outcome == .written)
        }
    }

    @Test("lines are appended, and each once, also after a restart")
    func onceEach() async throws {
        let folder = try Folder()
        #expect(
            await append(["a", "b", "b"], folder, sync: true) == Array(repeating: .written, count: 3))
        #expect(await append(["a", "b", "c"], folder) == Array(repeating: .written, count: 3))
        #expect(folder.text() == line("a") + line("b") + line("c"))
    }

    @Test("a run that is played again under its name is written again, though its parts have the same ids")
    func sameIDs() async throws {
        let folder = try Folder()
        let files = FileAppender(folders: [folder.path])
        await write([("a", "1"), ("b", "1")], files)
        // Other numbers, also where only one part was written; and all the same numbers.
        await write([("b", "2"), ("a", "1"), ("b", "1")], files)
        await files.closeAll()
        let first = line("a", "1") + line("b", "1") + line("b", "2") + line("a", "1") + line("b", "1")
        #expect(folder.text() == first)
        // The last line comes again after a crash; then a run begins that is a part of the one before.
        let second = FileAppender(folders: [folder.path])
        await write([("b", "1"), ("c", "1"), ("b", "2")], second)
        await second.closeAll()
        #expect(folder.text() == first + line("c", "1") + line("b", "2"))
        // Other numbers are another line, whatever was last.
        let third = FileAppender(folders: [folder.path])
        await write([("b", "3")], third)
        await third.closeAll()
        #expect(folder.text() == first + line("c", "1") + line("b", "2") + line("b", "3"))
    }

    @Test("a replay writes once more what is there, whoever has written it, and each line once")
    func replay() async throws {
        let folder = try Folder()
        _ = await append(["a", "b"], folder)
        let files = FileAppender(folders: [folder.path])
        await write([("b", ""), ("c", "")], files)
        await write([("b", ""), ("b", ""), ("c", "")], from: "e#replay", files)
        // What the endpoint gets goes on beside it; a repeat is one although others are behind it.
        await write([("c", ""), ("d", "")], files)
        let all = ["a", "b", "c", "b", "c", "d"]
        #expect(folder.text() == all.map { line($0) }.joined())
        // The next replay knows nothing of the last one, and the endpoint has not forgotten.
        await files.close(.file(path: "out.jsonl"), of: "e#replay")
        await write([("c", "")], from: "e#replay", files)
        await write([("d", "")], files)
        #expect(folder.text() == (all + ["c"]).map { line($0) }.joined())
        await files.closeAll()
    }

    @Test("a torn last line is cut off, wherever it was torn, and written anew")
    func torn() async throws {
        let last = line("c")
        for length in 0..<last.utf8.count {
            let folder = try Folder()
            try folder.write(line("a") + line("b") + String(last.prefix(length)))
            #expect(await append(["b", "c"], folder) == [.written, .written])
            #expect(folder.text() == line("a") + line("b") + last)
        }
    }

    @Test("what somebody else wrote is never cut")
    func foreign() async throws {
        let folder = try Folder()
        try folder.write("root:x:0:0")
        let outcome = await append(["a"], folder)
        guard case .failed(.file, let reason) = outcome.first else {
            Issue.record("\(outcome)")
            return
        }
        #expect(reason.contains("did not write"))
        #expect(folder.text() == "root:x:0:0")
    }

    @Test("a file that was moved away is followed by a new one, which does not repeat its lines")
    func rotation() async throws {
        let folder = try Folder()
        let files = FileAppender(folders: [folder.path])
        await write([("a", ""), ("b", "")], files)
        try FileManager.default.moveItem(atPath: folder.path + "/out.jsonl", toPath: folder.path + "/out.1")
        await write([("b", ""), ("c", "")], files)
        #expect(folder.text("out.1") == line("a") + line("b"))
        #expect(folder.text() == line("c"))
        await files.closeAll()
    }

    @Test(
        "paths outside of the allowed folder are refused",
        arguments: [
            "/etc/colossus.jsonl", "../out.jsonl", "sub/../../out.jsonl", "missing/out.jsonl", "..", "link/x",
        ])
    func outside(path: String) async throws {
        let folder = try Folder()
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: "/etc")
        guard case .failed(.file, _) = await append(["a"], folder, path: path).first else {
            Issue.record("\(path) was accepted")
            return
        }
    }

    @Test("links and devices are not written to")
    func links() async throws {
        let folder = try Folder()
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/out.jsonl", withDestinationPath: folder.path + "/other")
        guard case .failed(.file, _) = await append(["a"], folder).first else {
            Issue.record("a link was followed")
            return
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/other"))
        let files = FileAppender(folders: ["/dev"])
        guard
            case .failed(.file, _) = await files.append(
                Array(line("a").utf8), id: "a", from: "e", to: .file(path: "/dev/full"))
        else {
            Issue.record("a device was written to")
            return
        }
    }

    @Test("a secret is one line of printable characters")
    func secret() async throws {
        let folder = try Folder()
        let files = FileAppender(folders: [])
        try folder.write("s3cret\n", "token")
        try folder.write("\n", "empty")
        try folder.write("a\u{7}b", "bell")
        func header(_ name: String) async throws -> String? {
            var places = EndpointSecrets()
            places.tokenFile = folder.path + "/" + name
            return try await files.secrets(places, .webhook).get().headers.first?.value
        }
        #expect(try await header("token") == "Bearer s3cret")
        for name in ["empty", "bell", "missing"] {
            await #expect(throws: FileAppender.Problem.self) { _ = try await header(name) }
        }
    }

    private func appendRotating(_ ids: [String], _ folder: Folder, files kept: Int) async -> [AttemptOutcome]
    {
        let files = FileAppender(folders: [folder.path])
        let rotation = LineTarget.Rotation(bytes: 130, files: kept)
        var outcomes: [AttemptOutcome] = []
        for id in ids {
            outcomes.append(
                await files.append(
                    Array(line(id).utf8), id: id, from: "e",
                    to: .file(path: "out.jsonl", rotation: rotation)))
        }
        await files.closeAll()
        return outcomes
    }

    @Test("a file that is full becomes the first of the older ones, and the oldest goes")
    func rotationBySize() async throws {
        let folder = try Folder()
        // Two lines of 57 bytes fit.
        #expect(line("1").utf8.count * 2 <= 130 && line("1").utf8.count * 3 > 130)
        let ids = (1...7).map(String.init)
        #expect(await appendRotating(ids, folder, files: 2).allSatisfy { $0 == .written })
        #expect(folder.text() == line("7"))
        #expect(folder.text("out.jsonl.1") == line("5") + line("6"))
        #expect(folder.text("out.jsonl.2") == line("3") + line("4"))
        #expect(folder.text("out.jsonl.3").isEmpty)
    }

    @Test("ids are known over a rotation, also when the process died right behind it")
    func rotationAndRestart() async throws {
        let folder = try Folder()
        _ = await appendRotating(["1", "2"], folder, files: 1)
        try FileManager.default.moveItem(
            atPath: folder.path + "/out.jsonl", toPath: folder.path + "/out.jsonl.1")
        _ = await appendRotating(["1", "2", "3"], folder, files: 1)
        #expect(folder.text() == line("3") && folder.text("out.jsonl.1") == line("1") + line("2"))
    }

    @Test("without older files the full one goes")
    func rotationToNothing() async throws {
        let folder = try Folder()
        _ = await appendRotating(["1", "2", "3"], folder, files: 0)
        #expect(folder.text() == line("3") && folder.text("out.jsonl.1").isEmpty)
    }

    @Test("standard output: lines whole and once, though the reader stops in the middle of one")
    func standardOutput() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let reading = ends[0]
        defer {
            close(ends[0])
            close(ends[1])
        }
        var output = StandardOutput(descriptor: ends[1])
        let large = String(repeating: "x", count: 200_000) + "\n"
        #expect(output.write(Array("first\n".utf8), id: "1", from: "e") == .written)
        #expect(output.write(Array("first\n".utf8), id: "1", from: "e") == .written)
        // Another run, and two replays of it.
        #expect(output.write(Array("other\n".utf8), id: "1", from: "e") == .written)
        #expect(output.write(Array("other\n".utf8), id: "1", from: "e#replay") == .written)
        output.forget("e#replay")
        #expect(output.write(Array("other\n".utf8), id: "1", from: "e#replay") == .written)
        // A pipe holds 64 KiB.
        guard case .failed(.file, _) = output.write(Array(large.utf8), id: "2", from: "e") else {
            Issue.record("it was not stuck")
            return
        }
        let all = Locked("")
        let reader = Thread {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while case let count = read(reading, &buffer, buffer.count), count > 0 {
                all.withLock { $0 += String(decoding: buffer[..<count], as: UTF8.self) }
                if all.withLock({ $0.hasSuffix("last\n") }) { return }
            }
        }
        reader.start()
        var outcome = AttemptOutcome.failed(.file, reason: "")
        for _ in 0..<100 where outcome != .written {
            outcome = output.write(Array(large.utf8), id: "2", from: "e")
        }
        #expect(outcome == .written)
        #expect(output.write(Array("last\n".utf8), id: "3", from: "e") == .written)
        while !reader.isFinished { usleep(1_000) }
        #expect(all.withLock { $0 } == "first\nother\nother\nother\n" + large + "last\n")
    }
}
