import Settings
import TestSupport
import Testing

@Suite("StrictYAML", .computing)
struct StrictYAMLTests {
    enum Color: String, CaseIterable { case red, green, blue }

    struct Thing: Equatable {
        var name = ""
        var count = 1
        var wait: Int64 = 10_000
        var size: Int64?
        var ratio = 0.5
        var on = false
        var opened: Int64?
        var colors: [Color] = []
        var nested: String?
        var headers: [String: String] = [:]
    }

    static var thing: YAMLType<Thing> {
        .mapping { m in
            Thing(
                name: m.required("name", .text(max: 8), placeholder: ""),
                count: m.optional("count", .int(in: 1...100_000), default: 1),
                wait: m.optional("wait", .duration(in: 1...3_600_000), default: 10_000),
                size: m.optional("size", .bytes()),
                ratio: m.optional("ratio", .double(in: 0...1), default: 0.5),
                on: m.optional("on", .bool, default: false),
                opened: m.optional("opened", .date),
                colors: m.optional("colors", .list(of: .oneOf(Color.self)), default: []),
                nested: m.optional("nested", .mapping { $0.required("inner", .text(), placeholder: "") }),
                headers: Dictionary(
                    m.optional("headers", .dictionary(of: .text()), default: []).map { ($0.key, $0.value) },
                    uniquingKeysWith: { $1 })
            )
        }
    }

    func read(_ text: String) throws(SettingsFailure) -> Thing {
        try StrictYAML.decode(text, file: "t.yaml") { $0.read(Self.thing) }
    }

    func errors(_ text: String) -> [String] {
        do {
            let thing = try read(text)
            return ["no error: \(thing)"]
        } catch {
            return error.errors.map(\.description)
        }
    }

    @Test("every kind of value is read")
    func values() throws {
        let thing = try read(
            """
            # a comment with a * star
            name: on
            count: 100_000
            wait: 1m
            size: 32MiB
            ratio: 0.25
            on: true
            opened: 2024-09-02
            colors: [red, "blue"]
            nested: {inner: 12}
            headers:
              X-One: 1
              "X-Two": "two: 2"
            """)
        #expect(
            thing
                == Thing(
                    name: "on", count: 100_000, wait: 60_000, size: 33_554_432, ratio: 0.25, on: true,
                    // date -u -d 2024-09-02 +%s
                    opened: 1_725_235_200_000, colors: [.red, .blue], nested: "12",
                    headers: ["X-One": "1", "X-Two": "two: 2"]))
    }

    @Test("defaults stand for missing keys")
    func defaults() throws {
        #expect(try read("name: a") == Thing(name: "a"))
    }

    @Test(
        "a wrong file gives the place, what is wrong, and what was expected",
        arguments: [
            (
                "name: a\ncuont: 3\n",
                ["t.yaml:2:1: unknown key `cuont`; did you mean `count`?, expected one of: "]
            ),
            ("name: a\nzzzzzzz: 3\n", ["t.yaml:2:1: unknown key `zzzzzzz`, expected one of: name, count, "]),
            ("count: 3\n", ["t.yaml:1:1: `name` is missing, expected a text of 1 to 8 bytes"]),
            ("name: a\nname: b\n", ["t.yaml:1:1: `name` given twice, expected each key once"]),
            ("name: a\n\"na\\x6de\": b\n", ["t.yaml:1:1: `name` given twice, expected each key once"]),
            (
                "name: a\ncount: 0\n",
                ["t.yaml:2:8: `0` is not allowed here, expected a whole number from 1 to 100000"]
            ),
            ("name: a\ncount: \"3\"\n", ["t.yaml:2:8: `3` is quoted, expected a whole number"]),
            ("name: a\ncount: 0x10\n", ["t.yaml:2:8: `0x10` is not allowed here"]),
            ("name: a\ncount: 1__0\n", ["t.yaml:2:8: `1__0` is not allowed here"]),
            ("name: a\ncount: 99999999999999999999\n", ["t.yaml:2:8: `99999999999999999999` is not"]),
            ("name: a\non: yes\n", ["t.yaml:2:5: `yes` is not allowed here, expected true or false"]),
            (
                "name: a\nwait: 10\n",
                ["t.yaml:2:7: `10` is not allowed here, expected a duration from 1ms to 1h with its unit"]
            ),
            ("name: a\nwait: 99999999999999d\n", ["t.yaml:2:7: `99999999999999d` is not allowed"]),
            (
                "name: a\nsize: 1Mb\n",
                ["t.yaml:2:7: `1Mb` is not allowed here, expected a size from 0B with its unit"]
            ),
            (
                "name: a\nratio: nan\n",
                ["t.yaml:2:8: `nan` is not allowed here, expected a number from 0.0 to 1.0"]
            ),
            ("name: a\nratio: .5.\n", ["t.yaml:2:8: `.5.` is not"]),
            (
                "name: a\nopened: 2024-02-30\n",
                ["t.yaml:2:9: `2024-02-30` is not allowed here, expected a UTC date"]
            ),
            ("name: a\ncolors: red\n", ["t.yaml:2:9: not a list, expected a list of"]),
            (
                "name: a\ncolors: [rde]\n",
                [
                    "t.yaml:2:10: `rde` is not allowed here; did you mean `red`?, expected one of: red, green, blue"
                ]
            ),
            ("name: a\ncolors:\n", ["t.yaml:2:8: the value is empty, expected a list"]),
            ("name: a\nnested:\n", ["t.yaml:2:8: the value is empty, expected a mapping"]),
            ("name: ~\n", ["t.yaml:1:7: the value is empty, expected a text"]),
            ("name: !!str a\n", []),
            ("name: !secret a\n", ["t.yaml:1:7: the tag !secret is not allowed"]),
            ("name: a\ncount: !!int 5\n", ["t.yaml:2:8: the tag tag:yaml.org,2002:int is not allowed"]),
            ("name: a\n<<: {count: 3}\n", ["t.yaml:2:1: unknown key `<<`, expected one of"]),
            ("name: a\n? [x]\n: 1\n", ["t.yaml:2:3: a list is not allowed as a key, expected a text"]),
            (
                "name: a\nnested: {inner: x, iner: y}\n",
                ["t.yaml:2:20: unknown key `iner`; did you mean `inner`?"]
            ),
            ("[a]\n", ["t.yaml:1:1: a list is not allowed here, expected a mapping"]),
            ("", ["t.yaml:1:1: the file is empty, expected a mapping"]),
            ("# nothing\n", ["t.yaml:1:1: the file is empty, expected a mapping"]),
            (
                "name: a\n---\nname: b\n",
                ["t.yaml:2:1: not YAML: but found another document (expected a single"]
            ),
            ("name: [a\n", ["t.yaml:2:1: not YAML: did not find expected ',' or ']' (while parsing a flow"]),
            ("name: a\n\tcount: 3\n", ["t.yaml:2:1: not YAML: "]),
            (
                "name: abcdefghij\n",
                ["t.yaml:1:7: `abcdefghij` is not allowed here, expected a text of 1 to 8 bytes"]
            ),
        ] as [(String, [String])]
    )
    func wrong(_ text: String, _ expected: [String]) {
        let found = errors(text)
        if expected.isEmpty {
            #expect(found.count == 1 && found[0].hasPrefix("no error"), "\(found)")
        } else {
            #expect(found.count == expected.count, "\(found)")
            for (line, start) in zip(found, expected) { #expect(line.hasPrefix(start), "\(line)") }
        }
    }

    @Test("all errors of a file are found at once, in its order")
    func several() {
        let found = errors("count: x\nwait: y\ncolors: [red, pink]\nbogus: 1\n")
        #expect(
            found.map { $0.split(separator: " ")[0] } == [
                "t.yaml:1:1:", "t.yaml:1:8:", "t.yaml:2:7:", "t.yaml:3:15:", "t.yaml:4:1:",
            ])
    }

    @Test("an alias repeats a value, and a file of aliases on aliases is refused")
    func aliases() throws {
        #expect(try read("name: &n abc\nnested: {inner: *n}").nested == "abc")
        var bomb = "a0: &a0 [x]\n"
        for level in 1...30 {
            bomb +=
                "a\(level): &a\(level) ["
                + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ",")
            bomb += "]\n"
        }
        #expect(errors(bomb).first?.hasPrefix("t.yaml:3:") == true)
        #expect(errors("name: *nobody\n") == ["t.yaml:1:7: not YAML: found undefined alias"])
    }

    @Test("depth and size are bounded")
    func bounds() {
        let deep = "name: " + String(repeating: "[", count: 100_000)
        #expect(errors(deep).first?.contains("not YAML") == true)
        let big = "name: " + String(repeating: "x", count: StrictYAML.fileBytesMax)
        #expect(errors(big).first?.contains("the file has") == true)
        let many = (0..<1_000).map { "k\($0): 1" }.joined(separator: "\n")
        #expect(errors(many).count == StrictYAML.errorsMax)
    }

    @Test(
        "amounts are printed in the largest unit that divides them",
        arguments: [(0, "0s"), (250, "250ms"), (10_000, "10s"), (90_000, "90s"), (172_800_000, "2d")]
            as [(Int64, String)])
    func durations(_ ms: Int64, _ text: String) {
        #expect(Quantity.duration(ms) == text)
        #expect(Quantity.durationMs(text) == ms)
    }
}
