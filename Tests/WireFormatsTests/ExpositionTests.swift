import TestSupport
import Testing
import WireFormats

private let hasher = IdentityHasher(seed: (1, 2))

private func parse(_ text: String, arrivalMs: Int64 = 42, samplesMax: Int = 1_000) throws -> ExpositionPage {
    var page = ExpositionPage()
    let bytes = Array(text.utf8)
    try ExpositionParser.parse(
        bytes.span.bytes, arrivalMs: arrivalMs, hasher: hasher, salt: 0, samplesMax: samplesMax, into: &page)
    return page
}

/// Labels and value of each line that was read.
private func series(_ text: String) throws -> [ReadLabels] {
    let bytes = Array(text.utf8)
    return try parse(text).request.runs.map { run in
        ExpositionParser.readLabels(bytes.span.bytes, run.labels, limits: LabelLimits())
    }
}

@Suite(.computing) struct ExpositionParserTests {
    @Test("a page is read: families, labels, values, timestamps, line numbers")
    func page() throws {
        let text = """
            # HELP http_requests_total The total number of HTTP requests\\nand \\\\ more.
            # TYPE http_requests_total counter
            http_requests_total{method="post",code="200"} 1027 1395066363000
            http_requests_total{method="post",code="400"}    3 1395066363001

            # a comment
            metric_without_timestamp_and_labels 12.47
            something_weird{problem="division by zero"} +Inf -3982045
            \t indented{a="b",} 1e3
            """
        let page = try parse(text + "\n")
        #expect(page.badLines == 0)
        #expect(page.lines == [3, 4, 7, 8, 9])
        #expect(
            page.request.samples == [
                TimedValue(timeMs: 1_395_066_363_000, value: 1_027),
                TimedValue(timeMs: 1_395_066_363_001, value: 3), TimedValue(timeMs: 42, value: 12.47),
                TimedValue(timeMs: -3_982_045, value: .infinity), TimedValue(timeMs: 42, value: 1_000),
            ])
        #expect(page.families.count == 1)
        #expect(page.families[0].name == "http_requests_total" && page.families[0].type == "counter")
        #expect(page.families[0].help == "The total number of HTTP requests\nand \\ more.")
        #expect(
            try series(text)[0]
                == .labels([
                    Label("__name__", "http_requests_total"), Label("method", "post"), Label("code", "200"),
                ]))
        #expect(try series(text)[4] == .labels([Label("__name__", "indented"), Label("a", "b")]))
    }

    @Test(
        "label values are unescaped",
        arguments: [
            (
                #"m{p="C:\\DIR\\FILE.TXT",e="a \"b\"\nc"} 1"#,
                [("p", #"C:\DIR\FILE.TXT"#), ("e", "a \"b\"\nc")]
            ),
            (#"m{a="}, b=\"",c="{"} 1"#, [("a", "}, b=\""), ("c", "{")]),
            ("m{ a = \"ü\" , b=\"\" } 1", [("a", "ü"), ("b", "")]),
            ("m {a=\"b\"} 1", [("a", "b")]),
            (#"{"m","a.b"="c"} 1"#, [("a.b", "c")]),
        ] as [(String, [(String, String)])])
    func escapes(line: String, labels: [(String, String)]) throws {
        let expected = [Label("__name__", "m")] + labels.map { Label($0.0, $0.1) }
        #expect(try series(line) == [.labels(expected)])
    }

    @Test(
        "a bad line costs only itself, and is named",
        arguments: [
            ("m{a=\"b\"} x", "the value is no number"), ("m", "a value was expected after the series"),
            ("m{a=\"b\"}", "a value was expected after the series"),
            ("m{a=\"b\" 1", "`,` or `}` was expected after the label value"),
            ("m{a=\"b", "the label value has no closing double quote"),
            ("m{a=\"b\\", "the label value has no closing double quote"),
            ("m{a=b} 1", "the label value must stand in double quotes"),
            ("m{a} 1", "`=` was expected after the label name"),
            ("m{1a=\"b\"} 1", "a label name was expected (letters, digits and _, no digit first)"),
            ("m{a=\"\\x\"} 1", "only \\\\, \\\" and \\n may follow a backslash in a label value"),
            ("9m 1", "a metric name was expected (letters, digits, _ and :, no digit first)"),
            ("m-x 1", "a metric name was expected (letters, digits, _ and :, no digit first)"),
            ("{a=\"b\"} 1", "a metric name was expected (letters, digits, _ and :, no digit first)"),
            ("m 1 2 3", "there is something behind the value and the timestamp"),
            ("m 1 2.5", "the timestamp is no whole number of milliseconds"),
            ("m 1 99999999999999999999", "the timestamp is no whole number of milliseconds"),
            ("m 0x1p3", "the value is no number"), ("m 1_000", "the value is no number"),
            ("m 1e999", "the value is no number"), ("m -", "the value is no number"),
            ("m nan(1)", "the value is no number"), ("m .", "the value is no number"),
            (
                "# TYPE m thing",
                "TYPE wants a metric name and one of counter, gauge, histogram, summary, untyped"
            ),
            ("# HELP", "HELP wants a metric name"),
        ])
    func badLine(line: String, what: String) throws {
        let page = try parse("good 1\n\(line)\ngood 2\n")
        #expect(page.request.samples.map(\.value) == [1, 2])
        #expect(page.errors == [LineError(line: 2, what: what)])
        #expect(page.badLines == 1)
    }

    @Test("only the first errors are kept, all are counted")
    func manyErrors() throws {
        let page = try parse(String(repeating: "?\n", count: 50))
        #expect(page.badLines == 50 && page.errors.count == ExpositionParser.errorsMax)
    }

    @Test(
        "numbers are rounded to the nearest",
        arguments: [
            "0", "-0", "1", "+1", "-17.25", ".5", "5.", "0.1", "0.3", "123456789012345",
            "1234567890123456789",
            "0.000000000000001", "9007199254740993", "1e22", "1.7976931348623157e308", "5e-324",
            "2.2250738585072011e-308",
            "8.5", "1755", "9223372036854775794", "3.141592653589793238",
        ])
    func numbers(text: String) throws {
        let value = try #require(try parse("m \(text)\n").request.samples.first?.value)
        #expect(value.bitPattern == Double(text)?.bitPattern)
    }

    @Test("what is no number has its own words", arguments: ["NaN", "nan", "Inf", "+Inf", "-Inf"])
    func words(text: String) throws {
        let value = try #require(try parse("m \(text)\n").request.samples.first?.value)
        #expect(text.lowercased() == "nan" ? value.isNaN : value.isInfinite)
        #expect((value < 0) == text.hasPrefix("-"))
    }

    @Test("the last line may lack its newline, and lines may end as on Windows")
    func lineEnds() throws {
        #expect(try parse("a 1\r\nb 2\r\nc 3").request.samples.map(\.value) == [1, 2, 3])
    }

    @Test("more samples than allowed are refused")
    func tooMany() {
        #expect(throws: WireError(.tooManySamples, at: 8)) { try parse("a 1\nb 2\nc 3\n", samplesMax: 2) }
    }

    @Test("random bytes never trap")
    func random() throws {
        var state: UInt64 = 99
        let alphabet = Array("m{a=\"b\\n\"} 1,#TYPEHELP \n\t\r\u{FF}é-+.eN".utf8)
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<60 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(alphabet[Int(state >> 33) % alphabet.count])
            }
            var page = ExpositionPage()
            try ExpositionParser.parse(
                bytes.span.bytes, arrivalMs: 1, hasher: hasher, salt: 0, samplesMax: 100, into: &page)
            for run in page.request.runs {
                _ = ExpositionParser.readLabels(bytes.span.bytes, run.labels, limits: LabelLimits())
            }
        }
    }
}
