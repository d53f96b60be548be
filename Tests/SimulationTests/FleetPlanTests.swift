import Simulation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct FleetPlanTests {
    @Test("entities are registered in order, eight GPUs a node, racks without gaps")
    func topology() throws {
        let plan = try FleetPlan(.growing())
        let topology = Topology(site: "lab")
        plan.makeTopology(into: topology)
        let fleet = topology.snapshot()
        #expect(fleet.gpuNode == (0..<1_400).map { Int32($0 / 8) })
        #expect(fleet.gpuOrdinal == (0..<1_400).map { UInt8($0 % 8) })
        #expect(fleet.nodeRack == fleet.nodeRack.sorted())
        #expect(fleet.count(.node) == 175 && fleet.count(.node) == plan.nodeCount)
        // 1,000 GPUs are 15 racks and 5 nodes; 400 are 6 racks and 2 nodes, in arrays of their own.
        #expect(fleet.count(.rack) == 23 && fleet.count(.rack) == plan.rackCount)
        #expect(topology.nodes(ofRack: 15).count == 5)
        #expect(topology.nodes(ofRack: 22).count == 2)
        #expect(fleet.rackArray[15] == 7 && fleet.rackArray[16] == 8)
        #expect(fleet.nodeNames[0] == "r0001-n1" && fleet.nodeNames[174] == "r0023-n2")
        #expect(fleet.arrayNames.first == "a001" && fleet.hallNames == ["h1", "h2", "h3", "h4", "h5", "h6"])
        #expect(fleet.nodeModel[149] == "NVIDIA H100 80GB HBM3" && fleet.nodeModel[150] == "NVIDIA H200")
    }

    @Test("registering the same plan again changes nothing")
    func twice() throws {
        let plan = try FleetPlan(.fixture())
        let topology = Topology(site: "lab")
        plan.makeTopology(into: topology)
        let version = topology.version
        plan.makeTopology(into: topology)
        #expect(topology.version == version)
    }

    @Test("UUIDs have the form of version 4, differ, and come from the seed")
    func uuids() throws {
        let plan = try FleetPlan(.fixture())
        let all = (0..<512).map { plan.uuid(gpu: $0) }
        #expect(Set(all).count == 512)
        let form = /GPU-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
        for uuid in all { #expect(try form.wholeMatch(in: uuid) != nil, "\(uuid)") }
        #expect(all[7] == (try FleetPlan(.fixture()).uuid(gpu: 7)))
        #expect(all[7] != (try FleetPlan(.fixture(seed: 2)).uuid(gpu: 7)))
    }

    @Test("labels are those of dcgm-exporter, sorted, with the place in the fleet")
    func labels() throws {
        let plan = try FleetPlan(.fixture())
        let labels = plan.labels(gpu: 131)
        #expect(labels.map(\.0) == labels.map(\.0).sorted())
        let found = Dictionary(uniqueKeysWithValues: labels)
        #expect(found["gpu"] == "3" && found["device"] == "nvidia3")
        #expect(found["Hostname"] == "r0003-n1" && found["rack"] == "r0003" && found["pod"] == "a002")
        #expect(found["hall"] == "h1" && found["modelName"] == "NVIDIA H100 80GB HBM3")
        #expect(found["UUID"] == plan.uuid(gpu: 131))
        let member = plan.labels(gpu: 131, job: "pretrain")
        #expect(
            member.map(\.0) == member.map(\.0).sorted() && member.contains { $0 == ("hpc_job", "pretrain") })
    }
}
