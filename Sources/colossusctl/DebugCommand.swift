import ArgumentParser
import ControlAPI
import Glibc

struct DebugCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug",
        abstract: "What somebody else needs to find out what is wrong.",
        subcommands: [Bundle.self])

    struct Bundle: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Writes status, configuration, metrics, events and journal into one file, without secrets.",
            discussion: """
                A tar.gz with mode 0600. What cannot be had is named in README inside, and is no error: also a daemon \
                that does not answer leaves its journal. Passwords in URLs, header values and what looks like a token \
                are hidden; names of nodes, jobs and endpoints are not: look at it before you give it away.

                Example:
                  colossusctl debug bundle ./colossusd-debug.tar.gz
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A file that is not there yet.", completion: .file())
        var file: String

        func validate() throws {
            guard file != "-" else { throw ValidationError("name a file: it is not written to the output") }
        }

        func run() throws {
            guard access(file, F_OK) != 0 else {
                throw ControlError(.conflict, "\(file) is there already.", hint: "Choose another name.")
            }
            let folder = try BundleFolder()
            defer { folder.remove() }
            try DebugFacts(client: global.client(timeout: .seconds(10)), folder: folder).collect()
            try folder.pack(into: file)
            Output.complain("\(file) is complete; look at it before you give it away")
        }
    }
}

/// What goes into the file, piece by piece.
private struct DebugFacts {
    let client: ControlClient
    let folder: BundleFolder

    func collect() throws {
        var missing: [String] = []
        func keep(_ name: String, _ make: () throws -> String) {
            do {
                try folder.write(name, Redaction.text(try make()))
            } catch {
                missing.append("\(name): \(ControlError.line(error))")
            }
        }
        keep("status.json") { try ControlJSON.text(client.status(), pretty: true) }
        keep("endpoints.json") { try ControlJSON.text(client.endpoints(), pretty: true) }
        keep("config.json") { try configuration() }
        keep("log-level.json") { try ControlJSON.text(client.logLevel(), pretty: true) }
        keep("maintenance.json") { try ControlJSON.text(client.maintenance(), pretty: true) }
        keep("top-series.json") { try ControlJSON.text(client.topSeries(TopSeriesRequest()), pretty: true) }
        keep("deadletters.json") {
            try ControlJSON.text(client.deadLetters(DeadLettersRequest()), pretty: true)
        }
        keep("events.json") { try ControlJSON.text(client.events(EventsRequest()), pretty: true) }
        keep("metrics.txt") { try client.metrics().text }
        keep("versions.txt") { versions }
        for (name, program, arguments) in Self.commands {
            guard let ran = ChildProcess.run(program, arguments, bytesMax: 16 << 20, hidesErrors: true),
                ran.status == 0, !ran.output.isEmpty
            else {
                missing.append("\(name): `\(program) \(arguments.joined(separator: " "))` gave nothing")
                continue
            }
            keep(name) { String(decoding: ran.output, as: UTF8.self) }
        }
        try folder.write(
            "README",
            "Made by colossusctl \(ProgramVersion.text) at \(Terminal.now).\n"
                + (missing.isEmpty
                    ? "Everything is there.\n" : "Not there:\n" + missing.map { "  \($0)\n" }.joined()))
    }

    private static let commands = [
        ("journal.txt", "journalctl", ["-u", "colossusd", "--no-pager", "-n", "5000", "-o", "short-iso"]),
        ("unit.txt", "systemctl", ["show", "colossusd", "--no-pager"]),
        ("unit-files.txt", "systemctl", ["cat", "colossusd", "--no-pager"]),
        ("machine.txt", "uname", ["-a"]), ("memory.txt", "free", ["-m"]), ("disks.txt", "df", ["-h"]),
    ]

    private func configuration() throws -> String {
        var reply = try client.configuration()
        for index in reply.entries.indices {
            reply.entries[index].value = Redaction.value(
                reply.entries[index].value, of: reply.entries[index].key)
        }
        return try ControlJSON.text(reply, pretty: true)
    }

    private var versions: String {
        let running = (try? client.status().version) ?? "does not answer"
        return "colossusctl \(ProgramVersion.text)\ncolossusd \(running)\nsocket \(client.socketPath)\n"
    }
}

/// A folder of our own that becomes a tar.gz.
private struct BundleFolder {
    private let parent: String
    private var path: String { parent + "/colossusd-debug" }

    init() throws {
        let base = GlobalOptions.environment("TMPDIR") ?? "/tmp"
        var template = Array((base + "/colossusctl-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ControlError(
                .failed, "No folder can be made in \(base): \(String(cString: strerror(errno))).")
        }
        parent = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        mkdir(path, 0o700)
    }

    func write(_ name: String, _ text: String) throws {
        let file = open(path + "/" + name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(name) }
        defer { close(file) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else {
                let error = failure(name)
                unlink(path + "/" + name)
                throw error
            }
            rest = rest.dropFirst(max(0, count))
        }
    }

    private func failure(_ name: String) -> ControlError {
        ControlError(.failed, "\(name) cannot be written in \(path): \(String(cString: strerror(errno))).")
    }

    func pack(into name: String) throws {
        // So that tar takes neither `-…` for an option nor `a:b` for another machine's.
        let file = name.hasPrefix("/") ? name : try Self.workingFolder() + "/" + name
        let target = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard target >= 0 else {
            throw ControlError(
                .failed, "\(file) cannot be made: \(String(cString: strerror(errno))).",
                hint: "Name a file in a folder where you may write.")
        }
        close(target)
        let ran = ChildProcess.run("tar", ["--force-local", "-C", parent, "-czf", file, "colossusd-debug"])
        guard ran?.status == 0 else {
            unlink(file)
            throw ControlError(.failed, "tar could not write \(file).", hint: "Look at the free space.")
        }
    }

    private static func workingFolder() throws -> String {
        guard let folder = getcwd(nil, 0) else {
            throw ControlError(
                .failed, "The working folder cannot be told: \(String(cString: strerror(errno))).",
                hint: "Name the file from the root on.")
        }
        defer { free(folder) }
        return String(cString: folder)
    }

    func remove() { _ = ChildProcess.run("rm", ["-rf", "--", parent]) }
}
