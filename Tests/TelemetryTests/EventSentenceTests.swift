import Telemetry
import Testing

@Suite struct EventSentenceTests {
    private func event(_ kind: EventKind, _ change: (inout Event) -> Void = { _ in }) -> String {
        var event = Event(stream: .measured, timeMs: 0, kind: kind, job: "run-417", source: .ingest)
        change(&event)
        return event.sentence
    }

    @Test("what somebody said stands")
    func told() {
        #expect(event(.jobStart) { $0.message = "here we go" } == "here we go")
    }

    @Test("a job that starts names its nodes, and no more than can be read")
    func nodes() {
        #expect(event(.jobStart) { $0.nodes = ["n1"] } == "job run-417 starts on 1 node: n1")
        #expect(
            event(.jobStart) { $0.nodes = (1...20).map { "n\($0)" } }
                == "job run-417 starts on 20 nodes: n1, n2, n3, n4, n5, n6, n7, n8 and 12 more")
    }

    @Test("the GPU, the node and the number are there")
    func places() {
        let xid = event(.xid) {
            $0.entity = "n1"
            $0.gpu = 3
            $0.value = 79
        }
        #expect(xid == "XID 79 on GPU 3 of n1")
        #expect(event(.nodeDown) { $0.entity = "n1" } == "n1 is down")
        #expect(event(.maintenanceStart) { $0.nodes = ["a", "b"] } == "maintenance of a, b begins")
        #expect(event(.powerChange) { $0.value = 1.5 } == "the power changes to 1.5 MW")
    }

    @Test("every kind has a sentence", arguments: EventKind.allCases)
    func all(kind: EventKind) { #expect(event(kind).count > 8) }

    @Test("advice is given for what somebody can mend, and for nothing that is healthy")
    func advice() {
        let without = DropReason.allCases.filter { $0.advice == nil }
        #expect(without == [.duplicate, .redundant, .blank, .notANumber, .stale])
        #expect(DropReason.noEntity.advice?.contains("label gpu with a number from 0 to 255") == true)
    }
}
