import Foundation
import Settings
import TestSupport
import Testing

@Suite(.computing) struct EffectiveConfigurationTests {
    private func entry(_ key: String, _ files: [String: String]) throws -> EffectiveConfiguration.Entry? {
        let folder = try ConfigFolder(files)
        return try EffectiveConfiguration(path: folder.path + "/c.yaml").entries.first { $0.key == key }
    }

    @Test("the programs explain the file that is shipped")
    func embedded() throws {
        let shipped = try String(contentsOfFile: repository + "/Config/colossusd.yaml", encoding: .utf8)
        #expect(ConfigurationGuide.text == shipped, "run Deploy/tools/embed-config")
    }

    @Test("without files everything is a default; a later file wins, and lists of named things are merged")
    func layers() throws {
        #expect(
            try entry("windows.lateness", ["c.yaml": "{}"]) == .init(key: "windows.lateness", value: "15s"))
        let files = [
            "c.yaml": "windows: {lateness: 20s}\nendpoints: [{name: a, kind: file, path: x, levels: [rack]}]",
            "conf.d/10.yaml": "windows: {lateness: 30s}\nendpoints: [{name: a, levels: [site, job]}]",
        ]
        let lateness = try #require(try entry("windows.lateness", files))
        #expect(lateness.value == "30s" && lateness.file.hasSuffix("/conf.d/10.yaml"))
        #expect(try entry("endpoints.a.levels", files)?.value == "[site, job]")
        #expect(try entry("endpoints.a.path", files)?.file.hasSuffix("/c.yaml") == true)
        #expect(
            try entry("store.retention", ["c.yaml": "store: {retention: {1m: 1d}}"])?.value == "{1m: 1d}")
    }

    @Test("a wrong configuration has no effect at all")
    func wrong() {
        #expect(throws: SettingsFailure.self) { try entry("log.level", ["c.yaml": "log: {level: lod}"]) }
    }

    @Test("keys are explained with value and comment, also those that are commented out")
    func guide() throws {
        let guide = ConfigurationGuide.shipped
        let lateness = try #require(guide.find("windows.lateness").first)
        #expect(lateness.value == "15s" && lateness.isDefault)
        #expect(lateness.meaning == "how far the watermark stays behind the newest sample of a sender")
        let file = try #require(guide.find("inventory.file").first)
        #expect(file.value == "inventory.csv" && !file.isDefault)
        #expect(guide.find("simulations.run").first?.meaning == "the stream is sim/colossus")
        #expect(guide.find("endpoints.retry").first?.value.hasPrefix("{min: 1s") == true)
        #expect(guide.find("windows").count > 6)
        #expect(guide.find("window").isEmpty)
        #expect(guide.keys.allSatisfy { !$0.path.contains(" ") })
    }
}

@Suite(.computing) struct MutatedConfigurationTests {
    private static let pieces = [
        "-1", "0", "99999999999999999999", "10", "10s", "10x", "1e9", "true", "null", "~", "''", "\"", "[",
        "]", "{", "}", ": ",
        "- ", "&a ", "*a", "!!str ", "!x ", "\t", "# ", "é", "\u{0}", "\u{FEFF}", "|", ">", "%", "---", "...",
        "<<: *a",
        "../../etc/passwd", "0.0.0.0:80", "[::]:1", "127.0.0.1:0", "127.0.0.1:70000", "http://u:p@h/",
        "measured", "sim/../x",
    ]

    private func mutated(_ text: String, _ dice: inout SeededRandom) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for _ in 0..<Int.random(in: 1...3, using: &dice) {
            let index = Int.random(in: 0..<lines.count, using: &dice)
            var characters = Array(lines[index])
            let place = Int.random(in: 0...characters.count, using: &dice)
            switch Int.random(in: 0..<9, using: &dice) {
            case 0: lines.remove(at: index)
            case 1: lines.insert(lines[index], at: Int.random(in: 0...lines.count, using: &dice))
            case 2: lines[index] = "  " + lines[index]
            case 3: lines[index] = String(lines[index].drop { $0 == " " })
            case 4 where !characters.isEmpty:
                characters.remove(at: min(place, characters.count - 1))
                lines[index] = String(characters)
            case 5:
                // Uncomment what may be a key.
                lines[index] = lines[index].replacingOccurrences(of: "# ", with: "")
            case 6:
                let key = lines[index].prefix { $0 != ":" }
                lines[index] = key + ": " + (Self.pieces.randomElement(using: &dice) ?? "")
            default:
                characters.insert(contentsOf: Self.pieces.randomElement(using: &dice) ?? "", at: place)
                lines[index] = String(characters)
            }
            if lines.isEmpty { lines = [""] }
        }
        return lines.joined(separator: "\n")
    }

    @Test("a thousand mutated files are each accepted, or refused with a place and a reason")
    func thousand() throws {
        let seed = UInt64.random(in: .min ... .max)
        var dice = SeededRandom(seed: seed)
        let shipped = ConfigurationGuide.text
        let examples = try ["50-victoriametrics", "60-webhook"].map {
            try String(contentsOfFile: repository + "/Config/conf.d.example/\($0).yaml", encoding: .utf8)
        }
        var (accepted, refused) = (0, 0)
        for round in 0..<1_000 {
            let text = mutated(([shipped, shipped] + examples)[round % 4], &dice)
            let folder = try ConfigFolder(["c.yaml": text])
            do throws(SettingsFailure) {
                _ = try folder.load()
                accepted += 1
            } catch {
                refused += 1
                let bad = error.errors.filter { one in
                    let isPlaced = one.line > 0 && one.column > 0 && one.line <= text.utf8.count + 1
                    return one.problem.isEmpty || !(isPlaced || one.line == 0) || one.message.contains("\n")
                }
                #expect(
                    !error.errors.isEmpty && bad.isEmpty, "seed \(seed), round \(round): \(bad)\n\(text)")
            }
        }
        #expect(accepted > 50 && refused > 200, "seed \(seed): \(accepted) accepted, \(refused) refused")
    }
}
