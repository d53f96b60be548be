import ControlAPI
import FoundationEssentials
import Testing

@Suite struct TableTests {
    private let table = Table(
        [
            .text("name", "NAME", shrinks: true), .number("gpus", "GPUS"), .number("watts", "W", rank: 2),
            .text("note", "NOTE", rank: 1, shrinks: true),
        ],
        rows: [
            [.text("a rather long name"), .integer(100_000), .real(412.34, decimals: 1), .text("")],
            [.text("b"), .missing, .statistic(nil), .text("x, \"y\"\nz")],
        ])

    @Test("text is left, numbers are right, nothing trails")
    func aligned() {
        #expect(
            table.lines() == [
                "NAME                   GPUS      W  NOTE",
                "a rather long name  100,000  412.3  -",
                "b                         -      -  x, \"y\"\u{FFFD}z",
            ])
    }

    @Test("a narrow terminal costs letters first, then the columns that matter least", arguments: 20...60)
    func narrow(width: Int) {
        let lines = table.lines(width: width)
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { $0.count <= max(width, 21) })
        #expect(lines[0].hasPrefix("NAME") && lines[0].contains("GPUS"))
    }

    @Test("columns of one rank go together, however little room is missing")
    func together() {
        let pair = Table(
            [
                .text("a", "AAAA"), .number("b", "BBBB", rank: 1), .text("c", "CCCC"),
                .number("d", "DDDD", rank: 1),
            ],
            rows: [])
        #expect(pair.lines(width: 22) == ["AAAA  BBBB  CCCC  DDDD"])
        #expect(pair.lines(width: 21) == ["AAAA  CCCC"])
    }

    @Test("a timeline says how far its points lie apart, or how far they would")
    func resolution() {
        let (minute, hour): (Int64, Int64) = (60_000, 3_600_000)
        func text(_ times: [Int64], _ step: Int64?) -> Int64 {
            TimelineReply.resolutionMs(times, stepMs: step, windowMs: minute)
        }
        // Thinned out; windows that are longer than the step; a step that gathers; a last group that is not full.
        #expect(
            text([hour, 2 * hour, 3 * hour], nil) == hour && text([hour, 2 * hour], 10 * minute) == hour)
        #expect(text([minute, 2 * minute], 1_000) == minute && text([hour, 2 * hour], hour) == hour)
        #expect(text([hour, hour + minute], hour) == hour)
        // Fewer than two.
        #expect(text([], nil) == minute && text([hour], 1_000) == minute && text([hour], hour) == hour)
    }

    @Test("CSV has keys, whole numbers, and quotes where they are needed")
    func csv() {
        #expect(
            table.csv == [
                "name,gpus,watts,note", "a rather long name,100000,412.34,", "b,,,\"x, \"\"y\"\"\nz\"",
            ])
    }

    @Test("text from outside cannot steer the terminal")
    func printable() {
        let cell = Cell.text("\u{1B}[31mred\r\u{202E}\u{7}")
        #expect(cell.display == "\u{FFFD}[31mred\u{FFFD}\u{FFFD}\u{FFFD}")
        #expect(cell.raw == "\u{1B}[31mred\r\u{202E}\u{7}")
    }

    @Test(
        "numbers",
        arguments: [
            (Number.grouped(0), "0"), (Number.grouped(-1_234_567), "-1,234,567"),
            (Number.grouped(Int64.min), "-9,223,372,036,854,775,808"),
            (Number.fixed(0.05, 1), "0.1"), (Number.fixed(-0.04, 1), "0.0"), (Number.fixed(1.995, 2), "2.00"),
            (Number.fixed(1234.5, 0, grouping: true), "1,235"), (Number.fixed(.nan, 2), "NaN"),
            (Number.compact(0.01234), "0.01234"), (Number.compact(0.001234), "0.001234"),
            (Number.compact(1e-5), "1.000e-05"), (Number.compact(-1.23456e-7), "-1.235e-07"),
            (Number.compact(9.99996e-5), "1.000e-04"), (Number.compact(3e-12), "3.000e-12"),
            (Cell.real(1e-5, decimals: 3).display, "1.000e-05"),
            (Cell.real(0.0005, decimals: 3).display, "0.001"),
            (Cell.real(0, decimals: 3).display, "0.000"), (Cell.real(0.2, decimals: 0).display, "0"),
            (Number.compact(412.34), "412.3"), (Number.compact(1_234_567.8), "1,234,568"),
            (Number.bytes(999), "999 B"),
            (Number.bytes(1_250_000_000), "1.3 GB"), (Number.percent(0.9125), "91.3%"),
        ])
    func numbers(made: String, expected: String) { #expect(made == expected) }
}

@Suite struct OutputTests {
    @Test("status for people says what matters")
    func status() throws {
        let text = try Samples.status.output(.table).joined(separator: "\n")
        for part in [
            "colossusd 0.1.0  running, ready  pid 42  up 3h 5m", "keeping up", "1,234,567",
            "dropped in measured: late 500, out_of_order 7",
            "store   1.2 GB of 10 GB  /var/lib",
            "log     120 MB of 10 GB, repeating 45.0%, 1,200 requests so far", "credit free 60/64",
            "warning: endpoint victoria",
            "HTTP status 500",
        ] { #expect(text.contains(part), "\(part) is not in\n\(text)") }
    }

    @Test("drained waits for samples and for endpoints, but not for those that are paused or disabled")
    func undrained() {
        var status = Samples.status
        #expect(status.undrained?.contains("60 samples of measured") == true)
        status.streams[0].samples.inFlight = 0
        #expect(status.undrained?.contains("12 windows wait for endpoint victoria") == true)
        for state in [EndpointStatus.State.paused, .disabled] {
            status.endpoints[0].state = state
            #expect(status.undrained == nil)
        }
        status.endpoints[0].state = .ok
        status.endpoints[0].pending = 0
        #expect(status.undrained == nil)
    }

    @Test("the series of each kind have a table, and folded ones show where there are any")
    func topSeries() throws {
        let lines = try Samples.topSeries.output(.table)
        #expect(
            lines == [
                "series  4,000,000 of 5,000,000, a sender at most 1,000,000",
                "folded  12,345 series beyond a limit into __other__, 1,000,000 samples", "",
                "SENDER              SERIES  FOLDED", "ingest/10.0.0.7  1,000,000  12,345",
                "ingest/10.0.0.8        160       0", "", "FIELD                  SERIES",
                "DCGM_FI_DEV_GPU_TEMP  200,000", "", "LABEL   VALUES", "UUID   200,000",
            ])
        #expect(
            try Samples.topSeries.output(.csv).prefix(2) == [
                "by,name,series,folded", "sender,ingest/10.0.0.7,1000000,12345",
            ])
        #expect(
            try Samples.topSeries.output(.jsonl)[0]
                == #"{"by":"sender","folded":12345,"name":"ingest/10.0.0.7","schema":"colossus.top_series/v1","series":1000000}"#
        )
        let json = try Samples.topSeries.output(.json).joined()
        #expect(json.contains("\"series_per_sender_max\" : 1000000"))
    }

    @Test("no table is wider than the terminal", arguments: [80, 100, 132])
    func widths(width: Int) throws {
        for lines in [
            try Samples.status.output(.table, width: width), try Samples.summary.output(.table, width: width),
            try Samples.events.output(.table, width: width),
            try TimelineReply(stream: "s", resolution: "1h", points: [Samples.timelineRow]).output(
                .table, width: width),
            try SimulationsReply([Samples.simulation]).output(.table, width: width),
        ] { #expect(lines.filter { $0.count > width } == []) }
    }

    @Test("every JSON line is one object with its schema and its row")
    func jsonLines() throws {
        let lines = try Samples.summary.output(.jsonl)
        #expect(lines.count == 2)
        let first = try #require(lines.first)
        #expect(first.hasPrefix("{") && !first.contains("\n"))
        for part in [
            "\"schema\":\"colossus.summary/v1\"", "\"entity\":\"rack-1\"",
            "\"window_end\":\"2024-09-03T03:04:50Z\"", "\"mean\":512.345",
        ] {
            #expect(first.contains(part), "\(part) is not in \(first)")
        }
        #expect(try Samples.events.output(.jsonl).first?.contains("\"sequence\":9") == true)
        #expect(try Samples.status.output(.jsonl).count == 1)
    }

    @Test("CSV of a summary repeats the window and escapes names")
    func csv() throws {
        let lines = try Samples.summary.output(.csv)
        #expect(
            lines[1]
                == "measured,10s,2024-09-03T03:04:40Z,2024-09-03T03:04:50Z,rack,rack-1,DCGM_FI_DEV_POWER_USAGE,W,64,512.345,85,700.25,600,690,700"
        )
        #expect(lines[2].contains("\"rack,\"\"2\"\"\",DCGM_FI_DEV_GPU_TEMP,C,0,,,,,,"))
        #expect(try Samples.summary.gpuOutput(.csv)[1] == "rack-1,64,63,1,56,2,0")
    }

    @Test("GPU counts alone are alone in every format")
    func gpuCounts() throws {
        let json = Data(try Samples.summary.gpuOutput(.json).joined().utf8)
        let counts = try ControlJSON.decode(SummaryReply.self, from: json)
        #expect(counts.rows.isEmpty && counts.gpus == Samples.summary.gpus && !counts.gpus.isEmpty)
        #expect(try Samples.summary.output(.json).joined().contains("\"mean\" : 512.345"))
    }

    @Test("where there is no job, there is no training time ratio: `-` for people, nothing for programs")
    func noRatio() throws {
        var row = Samples.timelineRow
        row.ettr = nil
        let reply = TimelineReply(stream: "measured", resolution: "10s", points: [row])
        #expect(try reply.output(.table).last?.hasSuffix(" -") == true)
        #expect(try reply.output(.csv).last?.hasSuffix(",37,") == true)
        #expect(try !reply.output(.json).joined().contains("ettr"))
    }

    @Test("the power of a small fleet is in kilowatts for people, and in megawatts for programs")
    func smallPower() throws {
        var row = Samples.timelineRow
        row.megawatts = 0.0523
        let reply = TimelineReply(stream: "sim/a", resolution: "1h", points: [row])
        let text = try reply.output(.table).joined(separator: "\n")
        #expect(text.contains("kW") && text.contains("52.3") && !text.contains("MW"))
        #expect(try reply.output(.csv).joined().contains("0.0523"))
        #expect(Number.power(megawatts: 0.0523) == "52.3 kW" && Number.power(megawatts: 43.06) == "43.1 MW")
    }

    @Test("what can be done about dropped samples stands below them")
    func hints() throws {
        var status = Samples.status
        status.streams[0].samples.hints = ["late": "raise windows.lateness"]
        let lines = try status.output(.table)
        let place = try #require(lines.firstIndex { $0.hasPrefix("dropped in measured") })
        #expect(lines[place + 1] == "  late: raise windows.lateness")
    }

    @Test("events that follow have one header")
    func follow() throws {
        var csv = EventFollower(format: .csv)
        let pages = [try csv.lines(Samples.events), try csv.lines(Samples.events)]
        #expect(pages.map(\.count) == [2, 1])
        var plain = EventFollower(format: .table)
        let lines = try plain.lines(Samples.events)
        #expect(
            lines == [
                "2024-09-03 03:04:40  measured  xid  node-1  gpu 3  XID 79: the GPU has fallen off the bus"
            ])
    }

    @Test("speeds and ticks in words")
    func pace() {
        #expect(PaceText.speed("1d/s") == "a day a second")
        #expect(PaceText.speed("86400") == "a day a second")
        #expect(PaceText.speed("86400.0") == "a day a second")
        #expect(PaceText.speed("0.5") == "500ms a second")
        #expect(PaceText.speed("1") == "in real time")
        #expect(PaceText.speed("max") == "as fast as possible")
        #expect(PaceText.speed("10x") == "10s a second")
        #expect(PaceText.speed("odd") == "at speed odd")
        #expect(PaceText.tick(seconds: 3600) == "one tick an hour")
        #expect(PaceText.tick(seconds: 10) == "one tick every 10s")
    }
}

@Suite struct WatchViewTests {
    private let view = WatchView(usesUnicode: false, isStyled: false)

    @Test("the block says where the build stands")
    func block() {
        let lines = view.lines(Samples.simulation, width: 80)
        let text = lines.joined(separator: "\n")
        for part in [
            "sim/colossus  running", "a day a second, one tick an hour", "2024-07-22  phase 1  day 80 of 122",
            "65.6%",
            "100,000", "61,440", "32,000", "28,416", "91.2%", "power 43.1 MW", "interruptions 37",
            "ETTR 0.942",
            "next: 2024-09-02  first phase done (100,000 in training)",
        ] { #expect(text.contains(part), "\(part) is not in\n\(text)") }
        #expect(lines[4] == "  announced    " + String(repeating: "#", count: 56) + "  100,000")
        #expect(lines[6].filter { $0 == "#" }.count == 18)
    }

    @Test("it fits every terminal, and is as high however wide", arguments: [20, 40, 60, 80, 120, 300])
    func widths(width: Int) {
        let lines = view.lines(Samples.simulation, width: width)
        #expect(lines.count == view.lines(Samples.simulation, width: 80).count)
        #expect(lines.allSatisfy { $0.count <= max(48, width) })
    }

    @Test("values out of range do no harm")
    func odd() {
        var run = Samples.simulation
        run.now.utilization = .nan
        run.now.installed = -5
        run.now.announced = 0
        run.now.phaseDays = 0
        run.progress = 7
        run.milestones = []
        #expect(view.lines(run, width: 80).count == 11)
    }

    @Test("styles change nothing but the look")
    func styled() {
        let styled = WatchView(usesUnicode: false, isStyled: true).lines(Samples.simulation, width: 80)
        let bare = styled.map { line in
            line.split(separator: "\u{1B}", omittingEmptySubsequences: false).enumerated()
                .map { $0 == 0 ? $1 : $1.drop { $0 != "m" }.dropFirst() }.joined()
        }
        #expect(bare == view.lines(Samples.simulation, width: 80))
    }

    @Test("without a terminal it is a line a simulated day, and at most one a second")
    func log() {
        var log = WatchLog()
        var run = Samples.simulation
        var printed: [Double] = []
        for (day, seconds) in [(80, 100), (80, 105), (81, 105), (82, 105.9), (82, 106), (82, 120)] {
            run.now.day = day
            if log.isDue(run, seconds: seconds) { printed.append(seconds) }
        }
        run.state = .finished
        if log.isDue(run, seconds: 120) { printed.append(120) }
        #expect(printed == [100, 105, 106, 120])
        #expect(
            WatchLog.text(Samples.simulation)
                == "2024-07-22  phase 1  day 80 of 122  announced 100,000  installed 61,440  powered 32,000  in training 28,416"
                + "  utilization 91.2%  43.1 MW  interruptions 37  ETTR 0.942")
    }

    @Test("a milestone that is passed shows the claim and what was simulated")
    func passed() {
        #expect(
            view.passed(Samples.simulation.milestones[0], width: 120)
                == "  2024-07-22  training started (100,000 announced)  simulated: installed 61,440, powered 32,000, in training 28,416"
        )
        #expect(
            Samples.simulation.milestoneTable.lines().last
                == "2024-09-02  first phase done  100,000  in training          -        -            -")
    }
}

@Suite struct TopViewTests {
    private let lines = [
        "colossusd 0.1.0", "", "STREAM    VERDICT", "measured  ok", "warning: Endpoint x takes nothing.",
    ]

    @Test("a frame overwrites each line and clears what is left")
    func frame() {
        let text = TopView(isStyled: false).frame(lines, width: 80, height: 24)
        #expect(text.hasPrefix("\u{1B}[Hcolossusd 0.1.0\u{1B}[K\r\n") && text.hasSuffix("\u{1B}[K\u{1B}[J"))
        #expect(text.split(separator: "\r\n", omittingEmptySubsequences: false).count == 5)
        #expect(!text.contains("m" + "STREAM"))
    }

    @Test("it fits every terminal", arguments: [(1, 1), (10, 3), (80, 5), (80, 4)])
    func fits(width: Int, height: Int) {
        let text = TopView(isStyled: false).frame(lines, width: width, height: height)
        let rows = text.dropFirst(3).split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(rows.count <= max(2, height))
        #expect(
            rows.allSatisfy {
                $0.split(separator: "\u{1B}", omittingEmptySubsequences: false)[0].count <= width
            })
    }

    @Test("titles are bold and warnings are yellow, unless nobody wants that")
    func styles() {
        let text = TopView(isStyled: true).frame(lines, width: 80, height: 24)
        #expect(text.contains("\u{1B}[1mSTREAM    VERDICT\u{1B}[0m"))
        #expect(text.contains("\u{1B}[33mwarning: "))
        #expect(text.contains("measured  ok\u{1B}[K"))
    }
}
