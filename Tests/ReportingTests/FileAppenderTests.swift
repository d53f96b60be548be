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

    private func line(_ id: String) -> String { "\(SummaryGrid.idPrefix)\(id)\",\"rows\":[]}\n" }

    private func append(
        _ ids: [String], _ folder: Folder, path: String = "out.jsonl", sync: Bool = false
    ) async -> [AttemptOutcome] {
        let files = FileAppender(folders: [folder.path])
        var outcomes: [AttemptOutcome] = []
        for id in ids {
            outcomes.append(await files.append(Array(line(id).utf8), id: id, to: path, sync: sync))
        }
        await files.closeAll()
        return outcomes
    }

    @Test("lines are appended, and each id once, also after a restart")
    func onceEach() async throws {
        let folder = try Folder()
        #expect(
            await append(["a", "b", "b", "a"], folder, sync: true) == Array(repeating: .written, count: 4))
        #expect(await append(["a", "b", "c"], folder) == Array(repeating: .written, count: 3))
        #expect(folder.text() == line("a") + line("b") + line("c"))
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
        for id in ["a", "b"] {
            _ = await files.append(Array(line(id).utf8), id: id, to: "out.jsonl", sync: false)
        }
        try FileManager.default.moveItem(atPath: folder.path + "/out.jsonl", toPath: folder.path + "/out.1")
        for id in ["b", "c"] {
            _ = await files.append(Array(line(id).utf8), id: id, to: "out.jsonl", sync: false)
        }
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
                Array(line("a").utf8), id: "a", to: "/dev/full", sync: false)
        else {
            Issue.record("a device was written to")
            return
        }
    }

    @Test("a token is one line of printable characters")
    func token() async throws {
        let folder = try Folder()
        let files = FileAppender(folders: [])
        try folder.write("s3cret\n", "token")
        try folder.write("\n", "empty")
        try folder.write("a\u{7}b", "bell")
        #expect(try await files.token(folder.path + "/token").get() == "s3cret")
        for name in ["empty", "bell", "missing"] {
            await #expect(throws: FileAppender.Problem.self) {
                try await files.token(folder.path + "/" + name).get()
            }
        }
    }
}
