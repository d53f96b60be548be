import ControlAPI
import FoundationEssentials
import Testing

@Suite struct RepliesTests {
    private func expectRoundTrip<R: Reply & Equatable>(_ reply: R, _ schema: String) throws {
        let data = try ControlJSON.encode(reply)
        #expect(try ControlJSON.decode(R.self, from: data) == reply)
        #expect(String(decoding: data, as: UTF8.self).contains("\"schema\":\"\(schema)\""))
    }

    @Test("of the history's keys a reload takes over how long windows wait for endpoints, and no other")
    func takenOver() {
        func entries(_ keep: String, _ bytes: String) -> [ConfigEntry] {
            [
                ConfigEntry(key: "store.bytes_max", value: bytes),
                ConfigEntry(key: "store.undelivered_keep", value: keep),
            ]
        }
        let reply = ConfigDiffReply(path: "c", running: entries("3d", "10GB"), file: entries("5d", "20GB"))
        #expect(reply.differences.map(\.needs) == ["restart", "reload"])
    }

    @Test("every reply survives JSON and says what it is")
    func roundTrips() throws {
        try expectRoundTrip(Samples.status, "colossus.status/v1")
        try expectRoundTrip(Samples.summary, "colossus.summary/v1")
        try expectRoundTrip(
            TimelineReply(stream: "sim/a", resolution: "1h", points: [Samples.timelineRow]),
            "colossus.timeline/v1")
        try expectRoundTrip(Samples.events, "colossus.events/v1")
        try expectRoundTrip(SimulationReply(Samples.simulation), "colossus.simulation/v1")
        try expectRoundTrip(SimulationsReply([Samples.simulation]), "colossus.simulations/v1")
        try expectRoundTrip(EndpointsReply(Samples.status.endpoints), "colossus.endpoints/v1")
        try expectRoundTrip(
            EndpointTestReply(name: "a", ok: false, status: 500, milliseconds: 1.5, message: "no"),
            "colossus.endpoint_test/v1")
        try expectRoundTrip(ConfigCheckReply(path: "a", problems: ["a:1:1: b"]), "colossus.config_check/v1")
        try expectRoundTrip(ReloadReply(changed: ["windows.lateness"]), "colossus.reload/v1")
        try expectRoundTrip(
            InventoryReply(
                stream: "measured", version: 3, site: "s",
                nodes: [
                    InventoryRow(node: "n1", rack: "r1", array: "a", hall: "h", gpus: 8, standing: .removed)
                ]), "colossus.inventory/v1")
        try expectRoundTrip(ReadyReply(ready: true, state: .running), "colossus.ready/v1")
        try expectRoundTrip(ControlError(.conflict, "a", hint: "b"), "colossus.error/v1")
    }

    @Test("keys are snake_case, names of reasons stay as they are, and what is absent is left out")
    func keys() throws {
        let text = try ControlJSON.text(Samples.status)
        for part in [
            "\"closed_through\":\"2024-09-03T03:04:50Z\"", "\"gpus_expected\":8", "\"keeping_up\":true",
            "\"dropped\":{\"late\":500,\"out_of_order\":7}", "\"in_training\":28416", "\"tick_seconds\":3600",
            "\"credit_free\":60", "\"uptime_seconds\":11110",
        ] { #expect(text.contains(part), "\(part) is not in \(text)") }
        #expect(!text.contains("retry_at"))
        #expect(!text.contains("null"))
    }

    @Test("keys and codes of a newer daemon do no harm")
    func newer() throws {
        let text = #"{"schema":"colossus.error/v1","code":"on_fire","message":"m","smoke":[1]}"#
        let error = try ControlJSON.decode(ControlError.self, from: Data(text.utf8))
        #expect(error.code == .failed)
        #expect(error.message == "m")
    }

    @Test("a number that JSON cannot hold does not cost the reply")
    func notFinite() throws {
        var row = Samples.timelineRow
        row.utilization = .nan
        row.megawatts = .infinity
        let text = try ControlJSON.text(row)
        #expect(text.contains("\"utilization\":\"NaN\"") && text.contains("\"megawatts\":\"+Inf\""))
        #expect(try ControlJSON.decode(TimelineRow.self, from: Data(text.utf8)).megawatts == .infinity)
    }
}
