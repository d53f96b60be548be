import Telemetry
import Testing

@Suite("Streams")
struct StreamTests {
    @Test("names read as they print", arguments: ["measured", "sim/colossus", "sim/a.b_c-1"])
    func roundTrip(name: String) { #expect(StreamID(name)?.name == name) }

    @Test("other names are refused", arguments: ["", "sim/", "sim/a b", "sim/a/b", "Measured", "x"])
    func refused(name: String) { #expect(StreamID(name) == nil) }

    @Test("a stream that is opened twice keeps its number and topology")
    func reopening() {
        let streams = Streams()
        let first = streams.open(.measured, site: "one")
        #expect(streams.open(.measured, site: "two") == first)
        #expect(streams.topology(first).snapshot().site == "one")
    }
}

@Suite("Fields")
struct FieldTests {
    @Test("the default set is dcgm-exporter's: 25 metrics, in the order of the ids")
    func defaults() {
        #expect(FieldCatalog.defaults.count == 25)
        #expect(FieldCatalog.defaults.map(\.field.id) == FieldCatalog.defaults.map(\.field.id).sorted())
    }

    @Test("both spellings of a renamed field are one field")
    func renames() {
        let old = FieldCatalog.find(name: "DCGM_FI_DEV_POWER_USAGE")
        #expect(old == FieldCatalog.find(name: "DCGM_FI_DEV_BOARD_POWER_WATTS"))
        #expect(old == .powerUsage)
    }

    @Test("ids and names are unique")
    func unique() {
        #expect(Set(FieldCatalog.all.map(\.id)).count == FieldCatalog.all.count)
        #expect(Set(FieldCatalog.all.map(\.name)).count == FieldCatalog.all.count)
    }

    @Test("XID texts are DCGM's", arguments: [(79, "GPU has fallen off the bus")])
    func xid(code: Int, text: String) { #expect(XID.text(code)?.contains(text) == true) }
}

@Suite("Topology")
struct TopologyTests {
    @Test("a known node keeps its place, and the version grows only when something is new")
    func places() {
        let topology = Topology(site: "memphis")
        let node = topology.node("n1", at: Placement(rack: "r1", array: "a1", hall: "h1"))
        let version = topology.version
        #expect(topology.node("n1", at: Placement(rack: "r2")) == node)
        #expect(topology.version == version)
        #expect(topology.snapshot().rackNames == ["r1"])
    }

    @Test("racks of the same name in two halls are two racks")
    func sameNames() {
        let topology = Topology(site: "memphis")
        topology.node("n1", at: Placement(rack: "r1", array: "a1", hall: "h1"))
        topology.node("n2", at: Placement(rack: "r1", array: "a1", hall: "h2"))
        #expect(topology.snapshot().rackNames == ["r1", "r1"])
        #expect(topology.snapshot().rackArray == [0, 1])
    }

    @Test("what is not known is unassigned")
    func unassigned() {
        let topology = Topology(site: "memphis")
        topology.node("n1", at: Placement())
        #expect(topology.snapshot().hallNames == ["unassigned"])
    }
}

@Suite("Ledger")
struct LedgerTests {
    @Test("in flight is what nobody has accounted for")
    func balance() {
        var ledger = Ledger()
        ledger.received = 10
        ledger.aggregated = 6
        ledger[.late] = 3
        #expect(ledger.inFlight == 1)
        var twice = ledger
        twice.add(ledger)
        #expect(twice.inFlight == 2)
        #expect(twice[.late] == 6)
    }
}

@Suite("Metrics")
struct MetricsTests {
    @Test("the exposition is escaped, sorted and typed")
    func exposition() {
        let metrics = Metrics()
        metrics.counter("colossus_b_total", "B.", ["reason": "a\"b\\c\nd"]).add(3)
        metrics.gauge("colossus_a", "A.").set(1.5)
        let text = metrics.exposition()
        #expect(
            text == """
                # HELP colossus_a A.
                # TYPE colossus_a gauge
                colossus_a 1.5
                # HELP colossus_b_total B.
                # TYPE colossus_b_total counter
                colossus_b_total{reason="a\\"b\\\\c\\nd"} 3

                """
        )
    }

    @Test("series of things that went away are forgotten")
    func removal() {
        let metrics = Metrics()
        metrics.counter("colossus_x_total", "X.", ["endpoint": "a"]).add()
        metrics.counter("colossus_x_total", "X.", ["endpoint": "b"]).add()
        metrics.remove(label: "endpoint", value: "a")
        #expect(!metrics.exposition().contains("\"a\""))
        #expect(metrics.exposition().contains("\"b\""))
    }
}
