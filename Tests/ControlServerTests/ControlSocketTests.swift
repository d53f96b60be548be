import ControlAPI
import ControlServer
import Glibc
import Logging
import Testing

@Suite struct ControlSocketTests {
    @Test("every verb arrives, and its answer comes back")
    func verbs() async throws {
        try await ServerUnderTest.run { (server) async throws in
            var summary = SummaryRequest()
            summary.stream = "sim/a"
            summary.entity = "hall 1/ü"
            let request = summary
            var start = SimulationStart()
            start.run = "b"
            start.scenarioText = String(repeating: "# é\n", count: 1000)
            let newRun = start
            #expect(try await server.ask { try $0.status() }.simulations.count == 1)
            #expect(try await server.ask { try $0.ready() }.ready)
            #expect(
                try await server.ask { try $0.summary(request) }.stream == "sim/a")
            #expect(
                try await server.ask { try $0.timeline(TimelineRequest()) }.points
                    .count == 1)
            #expect(
                try await server.ask { try $0.events(EventsRequest()) }.next == 0)
            #expect(
                try await server.ask { try $0.simulations() }.simulations.count == 1)
            let top = try await server.ask { c throws(ControlError) in
                var request = TopSeriesRequest()
                request.by = .sender
                return try c.topSeries(request)
            }
            #expect(top.rows.map(\.name) == ["ingest/10.0.0.7"] && top.seriesMax == 10)
            #expect(
                try await server.ask { try $0.simulation(run: "a/b") }.simulation.run
                    == "a/b")
            #expect(
                try await server.ask { try $0.startSimulation(newRun) }.simulation
                    .run == "b")
            for action in [SimulationAction.pause, .resume, .speed("max"), .stop] {
                let reply = try await server.ask { c throws(ControlError) in
                    try c.changeSimulation(run: "colossus", action)
                }
                #expect(reply.simulation.run == "colossus")
            }
            #expect(try await server.ask { try $0.endpoints() }.endpoints.count == 1)
            let fleet = try await server.ask { c throws(ControlError) in
                var request = InventoryRequest()
                request.entity = "r1"
                request.removed = true
                return try c.inventory(request)
            }
            #expect(fleet.nodes.map(\.node) == ["n1"] && fleet.gpusInAll == 8)
            #expect(try await server.ask { try $0.testEndpoint(name: "file") }.ok)
            let replay = EndpointReplay(from: UTCTime(ms: 0), to: UTCTime(ms: 60_000))
            for action in [EndpointAction.pause, .resume, .drain, .replay(replay)] {
                let reply = try await server.ask { c throws(ControlError) in
                    try c.changeEndpoint(name: "file", action)
                }
                #expect(reply.done && reply.endpoint.name == "file")
            }
            try await askForDeadLetters(server)
            let check = try await server.ask { c throws(ControlError) in
                try c.checkConfiguration(ConfigCheckRequest())
            }
            #expect(check.ok)
            #expect(try await server.ask { try $0.configuration() }.entries.first?.value == "info")
            #expect(try await server.ask { try $0.logLevel() }.level == "info")
            let change = LogLevelChange(level: "debug", subsystem: "store")
            #expect(try await server.ask { try $0.setLogLevel(change) }.level == "debug")
            #expect(
                try await server.ask { try $0.reload() }.changed == [
                    "windows.lateness"
                ])
            #expect(
                server.plane.asked == [
                    "status", "ready",
                    "summary ?stream=sim%2Fa&level=site&entity=hall%201%2F%C3%BC&limit=1000",
                    "timeline ?limit=1000", "events ?limit=100", "simulations",
                    "top series ?by=sender&limit=10", "simulation a/b",
                    "start b 5000 bytes",
                    "pause colossus", "resume colossus", "speed(\"max\") colossus", "stop colossus",
                    "endpoints", "inventory of r1, removed",
                    "test file", "pause file", "resume file", "drain file",
                    "replay file 1970-01-01T00:00:00Z 1970-01-01T00:01:00Z",
                    "deadletters ?endpoint=a%20b&after=3&limit=100", "deadletter 17",
                    "replay [17, 18] ", "drop [] file", "check ", "config", "log-level",
                    "log-level debug store", "reload",
                ])
        }
    }

    @Test("alerts and rules reach the plane")
    func alerts() async throws {
        try await ServerUnderTest.run { (server) async throws in
            var request = AlertsRequest()
            request.severity = "critical"
            request.all = true
            let asked = request
            #expect(try await server.ask { try $0.alerts(asked) }.alerts.isEmpty)
            #expect(try await server.ask { try $0.alertRules() }.streams == "measured")
            #expect(
                server.plane.asked == ["alerts ?severity=critical&all=true&limit=1000", "alert rules"])
        }
    }

    @Test("faults on purpose, truth, removal and exports reach the plane")
    func faultsAndExports() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let injection = InjectionRequest(kind: "memory", at: "r0001-n1/3", for: "10m")
            let reply = try await server.ask { c throws(ControlError) in
                try c.inject(run: "colossus", injection)
            }
            #expect(reply.kind == "memory" && reply.time == UTCTime(ms: 1))
            var wanted = TruthRequest()
            (wanted.injected, wanted.limit) = (true, 7)
            let request = wanted
            let truth = try await server.ask { c throws(ControlError) in
                try c.truth(run: "colossus", request)
            }
            #expect(truth.faults.map(\.detection) == [.hidden])
            var export = ExportStart(run: "colossus")
            (export.nodes, export.url) = (3, "http://h/w")
            let start = export
            let started = try await server.ask { c throws(ControlError) in try c.startExport(start) }
            #expect(started.export.targets.map(\.node) == ["r0001-n1"])
            #expect(try await server.ask { try $0.exports() }.exports.count == 1)
            #expect(try await server.ask { try $0.export(name: "a/b") }.export.name == "a/b")
            #expect(try await server.ask { try $0.stopExport(name: "x") }.export.name == "x")
            #expect(try await server.ask { try $0.removeSimulation(run: "old") }.simulation.run == "old")
            #expect(
                server.plane.asked == [
                    "inject memory at r0001-n1/3 for 10m into colossus", "truth colossus true 7",
                    "export colossus 3 nodes to http://h/w", "exports", "export a/b", "stop export x",
                    "remove old",
                ])
        }
    }

    private func askForDeadLetters(_ server: ServerUnderTest) async throws {
        var request = DeadLettersRequest()
        request.endpoint = "a b"
        request.after = 3
        let list = request
        #expect(try await server.ask { try $0.deadLetters(list) }.deadLetters.map(\.number) == [17])
        #expect(try await server.ask { try $0.deadLetter(number: 17) }.deadLetter.status == 400)
        var some = DeadLetterSelection()
        some.numbers = [17, 18]
        var whole = DeadLetterSelection()
        whole.endpoint = "file"
        let (replayed, dropped) = (some, whole)
        #expect(try await server.ask { try $0.replayDeadLetters(replayed) }.delivered == 2)
        #expect(try await server.ask { try $0.dropDeadLetters(dropped) }.dropped == 1)
        // A body that was forgotten does not mean everything.
        let error = await #expect(throws: ControlError.self) {
            try await server.ask { try $0.dropDeadLetters(DeadLetterSelection()) }
        }
        #expect(error?.code == .badRequest)
    }

    @Test("all dead letters are replayed, however many requests it takes and whatever is refused")
    func manyDeadLetters() async throws {
        try await ServerUnderTest.run { (server) async throws in
            for (endpoint, rounds) in [("many", 3), ("down", 2)] {
                var selection = DeadLetterSelection()
                selection.endpoint = endpoint
                let all = selection
                let (sum, seen) = try await server.ask {
                    (client) throws -> (DeadLettersDoneReply, [Int]) in
                    var seen: [Int] = []
                    let sum = try client.replayAllDeadLetters(all) { seen.append($0.delivered) }
                    return (sum, seen)
                }
                #expect(sum.delivered == 2 * rounds && sum.refused == rounds && sum.problems.count <= 10)
                #expect(sum.truncated == (endpoint == "down") && sum.next == nil)
                #expect(seen == Array([2, 4].prefix(rounds - 1)))
            }
            #expect(
                server.plane.asked == [
                    "replay [] many", "replay [] many after 1000", "replay [] many after 2000",
                    "replay [] down", "replay [] down after 1000",
                ])
        }
    }

    @Test("who may only read cannot change anything")
    func readers() async throws {
        try await ServerUnderTest.run(writers: []) { (server) async throws in
            #expect(try await server.ask { try $0.ready() }.ready)
            let error = await #expect(throws: ControlError.self) {
                try await server.ask { try $0.reload() }
            }
            #expect(error?.exitReason == .notPermitted)
            #expect(error?.message == "User \(geteuid()) may read, but not change anything.")
            #expect(server.plane.asked == ["ready"])
        }
    }

    @Test("the caller's user id decides")
    func writers() async throws {
        try await ServerUnderTest.run(writers: [geteuid()]) { (server) async throws in
            #expect(try await server.ask { try $0.reload() }.files == ["a.yaml"])
        }
    }

    @Test("errors of the plane arrive with code, message and hint")
    func errors() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let absent = await #expect(throws: ControlError.self) {
                try await server.ask { try $0.simulation(run: "none") }
            }
            #expect(absent?.exitReason == .notFound)
            #expect(absent?.hint == "`colossusctl simulate status` lists them.")

            let bad = ControlError(.badConfiguration, "a.yaml:3:7: no such key", hint: "Remove it.")
            server.plane.set { $0.error = bad }
            let reload = await #expect(throws: ControlError.self) {
                try await server.ask { try $0.reload() }
            }
            #expect(reload == bad)
            #expect(reload?.exitReason == .badConfiguration)

            struct Odd: Error {}
            server.plane.set { $0.error = Odd() }
            let odd = await #expect(throws: ControlError.self) {
                try await server.ask { try $0.status() }
            }
            #expect(odd?.code == .failed)
        }
    }

    @Test(
        "what is no request of ours is refused with a sentence",
        arguments: [
            ("GET", "/v1/nothing", nil, 404), ("GET", "/", nil, 404), ("GET", "/v1/reload", nil, 405),
            ("POST", "/v1/status", "{}", 405), ("DELETE", "/v1/simulations/a", nil, 405),
            ("GET", "/v1/summary?limit=x", nil, 400), ("GET", "/v1/simulations/%ff", nil, 400),
            ("POST", "/v1/simulations", "{\"seed\":\"x\"}", 400),
            ("POST", "/v1/simulations", "nonsense", 400),
            ("POST", "/v1/simulations/a/speed", "", 400), ("POST", "/v1/simulations", "[]", 400),
        ] as [(String, String, String?, Int)])
    func refused(method: String, target: String, body: String?, status: Int) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reply = try await server.ask { client throws(ControlError) in
                try client.exchange(method, target, body: body.map { Array($0.utf8) })
            }
            #expect(reply.status == status, "\(reply.text)")
            #expect(reply.text.contains("\"schema\":\"colossus.error/v1\""))
            #expect(server.plane.asked == [])
        }
    }

    @Test("a body beyond the limit is refused, and the server goes on")
    func largeBody() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let body = Array(repeating: UInt8(ascii: "x"), count: ControlLimits.requestBytesMax + 1)
            let reply = try await server.ask { client throws(ControlError) in
                try client.exchange("POST", "/v1/config/check", body: body)
            }
            #expect(reply.status == 413)
            #expect(try await server.ask { try $0.ready() }.ready)
        }
    }

    @Test("the socket has its mode, replaces a dead one, and not a live one")
    func socketFile() async throws {
        try await ServerUnderTest.run { (server) async throws in
            var info = stat()
            #expect(lstat(server.socketPath, &info) == 0)
            #expect(info.st_mode & 0o7777 == 0o660)
            let second = Self.server(server.socketPath)
            let error = await #expect(throws: ControlError.self) { try await second.start() }
            #expect(error?.message == "Another colossusd answers on \(server.socketPath).")
            #expect(try await server.ask { try $0.ready() }.ready)
        }

        let folder = try ServerUnderTest.temporaryFolder()
        let path = folder + "/control.sock"
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        let replacing = Self.server(path)
        #expect(try await replacing.start() == 0)
        let ready = try await blocking { try ControlClient(socketPath: path, timeout: .seconds(120)).ready() }
        #expect(ready.ready)
        await replacing.stop()
        #expect(rmdir(folder) == 0)
    }

    @Test(
        "a place where no socket can be is said plainly",
        arguments: [
            "/no/such/folder/control.sock", "/tmp/" + String(repeating: "x", count: 120),
        ])
    func noPlace(path: String) async throws {
        let error = await #expect(throws: ControlError.self) { try await Self.server(path).start() }
        #expect(error?.message.contains(path) == true)
    }

    @Test("a socket that systemd holds is served, and waits while nobody serves it")
    func passed() async throws {
        let folder = try ServerUnderTest.temporaryFolder()
        let path = folder + "/control.sock"
        let held = try Self.listeningSocket(path)
        for round in 0..<2 {
            var configuration = ControlServer.Configuration(socketPath: path)
            configuration.passedSocket = dup(held)
            let plane = FakeControlPlane()
            let server = ControlServer(
                configuration: configuration, plane: plane, metricsText: { "" },
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            // The second time somebody has asked while no server was there.
            async let early =
                round == 0
                ? true
                : blocking { try ControlClient(socketPath: path, timeout: .seconds(120)).ready() }.ready
            #expect(try await server.start() == 0)
            #expect(
                try await blocking { try ControlClient(socketPath: path, timeout: .seconds(120)).ready() }
                    .ready)
            #expect(try await early)
            let reload = try await blocking {
                try ControlClient(socketPath: path, timeout: .seconds(120)).reload()
            }
            #expect(reload.files == ["a.yaml"])
            await server.stop()
            #expect(access(path, F_OK) == 0, "the socket is systemd's to remove")
        }
        close(held)
        unlink(path)
        rmdir(folder)
    }

    @Test("whoever reaches the operators' socket may change things")
    func operators() async throws {
        let folder = try ServerUnderTest.temporaryFolder()
        let path = folder + "/operator.sock"
        var configuration = ControlServer.Configuration(socketPath: folder + "/control.sock")
        configuration.writers = []
        configuration.passedOperatorSocket = try Self.listeningSocket(path)
        let server = ControlServer(
            configuration: configuration, plane: FakeControlPlane(), metricsText: { "" },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        #expect(try await server.start() == 0)
        let reload = try await blocking {
            try ControlClient(socketPath: path, timeout: .seconds(120)).reload()
        }
        #expect(reload.files == ["a.yaml"])
        let control = configuration.socketPath
        let refused = await #expect(throws: ControlError.self) {
            try await blocking { try ControlClient(socketPath: control, timeout: .seconds(120)).reload() }
        }
        #expect(refused?.exitReason == .notPermitted)
        await server.stop()
        unlink(path)
        rmdir(folder)
    }

    private static func listeningSocket(_ path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8) + [0]) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(descriptor, 16) == 0)
        return descriptor
    }

    private static func server(_ path: String) -> ControlServer {
        ControlServer(
            configuration: .init(socketPath: path), plane: FakeControlPlane(), metricsText: { "" },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
}
