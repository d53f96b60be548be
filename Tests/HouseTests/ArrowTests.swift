import Foundation
import Testing

/// The arrows of the house: what may import what. `Sources/README.md` draws them.
@Suite("The house")
struct ArrowTests {
    /// Our own targets only; packages are below.
    static let arrows: [String: Set<String>] = [
        "Telemetry": [],
        "Sketches": [],
        "WireFormats": ["Telemetry", "Sketches"],
        "Simulation": ["Telemetry", "CDraws"],
        "Playback": ["Telemetry", "Simulation", "QueueIsolation"],
        "Exporters": ["Telemetry", "WireFormats", "Simulation", "QueueIsolation", "CCurl"],
        "TLS": ["Telemetry", "COpenSSL"],
        "Receivers": ["Telemetry", "WireFormats", "TLS", "CZlib", "CZstd"],
        "QueueIsolation": [],
        "Aggregation": ["Telemetry", "Sketches", "QueueIsolation", "CPrefetch"],
        "Alerts": ["Telemetry", "QueueIsolation"],
        "Store": ["Telemetry", "Sketches", "WireFormats", "QueueIsolation", "CIngestLog", "CZstd"],
        "Reporting": [
            "Telemetry", "Sketches", "WireFormats", "Store", "QueueIsolation", "CCurl", "CZlib", "CZstd",
        ],
        "Exchange": ["Telemetry", "Sketches", "WireFormats"],
        "NATSExchange": ["Telemetry", "Exchange", "CNats"],
        "Settings": ["Telemetry", "Simulation"],
        "Planning": ["Telemetry", "Simulation", "Settings"],
        "ControlAPI": [],
        "ControlServer": ["ControlAPI", "TLS"],
        "SystemdSupport": ["CSystemd", "QueueIsolation"],
        "CCurl": [],
        "COpenSSL": [], "CSystemd": [],
        "CNats": [], "CZstd": [], "CZlib": [], "CIngestLog": [], "CPrefetch": [], "CDraws": [], "CMalloc": [],
        "colossusd": [
            "Telemetry", "WireFormats", "Simulation", "Playback", "Exporters", "Receivers",
            "QueueIsolation", "Aggregation", "Alerts",
            "Store", "Reporting", "Exchange", "NATSExchange", "Settings", "ControlAPI", "ControlServer",
            "SystemdSupport", "TLS", "CMalloc",
        ],
        "colossusctl": ["Telemetry", "ControlAPI", "Settings", "Simulation", "Planning"],
        "colossus-bench": [
            "Telemetry", "Sketches", "WireFormats", "Simulation", "Receivers", "Aggregation", "Exchange",
            "NATSExchange",
            "QueueIsolation", "Settings", "Store", "TLS", "COpenSSL",
        ],
    ]

    /// Modules from outside that a target may import besides the standard library's and Dispatch.
    static let outside: [String: Set<String>] = [
        "Telemetry": [], "Sketches": [], "WireFormats": [], "Simulation": [], "QueueIsolation": [],
        "Aggregation": [], "Alerts": [], "Exchange": [],
    ]

    /// Targets that lie with the tests and are part of no program.
    static let ofTests: Set<String> = ["CSnappy", "exchange-node"]

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct Manifest: Decodable {
        struct Target: Decodable {
            var name: String
            var type: String
            var dependencies: [Dependency]
        }

        /// `{"byName": ["Telemetry", null]}`, `{"target": […]}` or `{"product": ["Logging", "swift-log", …]}`.
        struct Dependency: Decodable {
            var byName: [String?]?
            var target: [String?]?
            var ours: String? { (byName ?? target)?.first ?? nil }

            enum Key: String, CodingKey { case byName, target }

            init(from decoder: any Decoder) throws {
                let values = try decoder.container(keyedBy: Key.self)
                // The second element is an object or null; only the name matters.
                byName = try? values.decode([Loose].self, forKey: .byName).map(\.text)
                target = try? values.decode([Loose].self, forKey: .target).map(\.text)
            }
        }

        struct Loose: Decodable {
            var text: String?
            init(from decoder: any Decoder) throws {
                text = try? decoder.singleValueContainer().decode(String.self)
            }
        }

        var targets: [Target]
    }

    static func manifest() throws -> Manifest {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        // A scratch folder of its own: the tests' own one is locked while they run.
        let scratch = FileManager.default.temporaryDirectory.appending(path: "colossus-manifest-\(getpid())")
        defer { try? FileManager.default.removeItem(at: scratch) }
        process.arguments = [
            "swift", "package", "--package-path", root.path(), "--scratch-path", scratch.path(),
            "dump-package",
        ]
        process.environment = ProcessInfo.processInfo.environment.filter { $0.key != "COLOSSUS_ONLY" }
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return try JSONDecoder().decode(Manifest.self, from: data)
    }

    @Test("every arrow of the manifest points the way of the design")
    func manifestArrows() throws {
        let targets = try Self.manifest().targets.filter { $0.type != "test" && $0.name != "TestSupport" }
        #expect(targets.count > 15)
        for target in targets where !Self.ofTests.contains(target.name) {
            let allowed = try #require(Self.arrows[target.name], "the design has no target \(target.name)")
            for dependency in target.dependencies.compactMap(\.ours) {
                #expect(allowed.contains(dependency), "\(target.name) may not depend on \(dependency)")
            }
        }
    }

    @Test("every import in the sources is an arrow of the design")
    func importedModules() throws {
        var lookedAt = 0
        for (target, allowed) in Self.arrows {
            for file in try Self.swiftFiles(of: target) {
                lookedAt += 1
                for module in try Self.imports(of: file) {
                    if Self.arrows[module] != nil {
                        #expect(allowed.contains(module), "\(file.lastPathComponent) imports \(module)")
                    } else if Self.outside[target] != nil {
                        let basics: Set<String> = ["Dispatch", "Synchronization", "Glibc"]
                        #expect(basics.contains(module), "\(file.lastPathComponent) imports \(module)")
                    }
                }
            }
        }
        #expect(lookedAt > 20)
    }

    @Test("no actor method of the core awaits: there is no re-entrancy")
    func noAwaitInAggregation() throws {
        for file in try Self.swiftFiles(of: "Aggregation") {
            let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            let code = lines.filter { !$0.drop { $0 == " " }.hasPrefix("//") }
            #expect(!code.contains { $0.contains("await ") }, "\(file.lastPathComponent)")
        }
    }

    @Test("unchecked isolation and unsafe sharing give their reason beside them")
    func reasonsForUnchecked() throws {
        for target in Self.arrows.keys {
            for file in try Self.swiftFiles(of: target) {
                let lines = try String(contentsOf: file, encoding: .utf8)
                    .split(separator: "\n", omittingEmptySubsequences: false)
                for (number, line) in lines.enumerated()
                where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
                    let around = lines[max(0, number - 6)...min(lines.count - 1, number + 2)]
                    #expect(
                        around.contains { $0.contains("//") },
                        "\(file.lastPathComponent):\(number + 1) gives no reason"
                    )
                }
            }
        }
    }

    static func swiftFiles(of target: String) throws -> [URL] {
        let folder = root.appending(path: "Sources/\(target)")
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
        return (files?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "swift" }
    }

    static func imports(of file: URL) throws -> Set<String> {
        let words: Set<Substring> = ["import", "public", "internal", "package", "@preconcurrency", "private"]
        var modules = Set<String>()
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            var parts = line.split(separator: " ")
            guard parts.contains("import"), let first = parts.first, words.contains(first) else { continue }
            parts.removeAll {
                words.contains($0) || ["struct", "class", "enum", "protocol", "func"].contains($0)
            }
            if let module = parts.first { modules.insert(String(module.split(separator: ".")[0])) }
        }
        return modules
    }
}
