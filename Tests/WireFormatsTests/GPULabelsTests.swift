import Telemetry
import TestSupport
import Testing
import WireFormats

private func read(_ labels: KeyValuePairs<String, String>) -> GPULabels {
    GPULabels(labels.map { Label($0.key, $0.value) })
}

@Suite(.computing) struct GPULabelsTests {
    @Test("a line of dcgm-exporter names its GPU")
    func exporter() {
        let found = read([
            "__name__": "DCGM_FI_DEV_SM_CLOCK", "gpu": "7", "UUID": "GPU-3aa2",
            "pci_bus_id": "00000000:DB:00.0",
            "device": "nvidia7", "modelName": "NVIDIA H100 80GB HBM3", "hostname": "r07-n21.pod3.example",
            "DCGM_FI_DRIVER_VERSION": "560.35.05", "instance": "10.0.0.5:9400", "job": "dcgm",
            "hpc_job": "417",
        ])
        #expect(found.metric == "DCGM_FI_DEV_SM_CLOCK" && found.node == "r07-n21.pod3.example")
        #expect(found.ordinal == 7 && found.uuid == "GPU-3aa2" && found.job == "417")
        #expect(found.placement == Placement(model: "NVIDIA H100 80GB HBM3"))
        #expect(found.source == "job=dcgm\n" && !found.isPart)
    }

    @Test(
        "the node is Hostname, else hostname, else the host of the instance",
        arguments: [
            (["Hostname": "a", "hostname": "b", "instance": "c:1"], "a"),
            (["hostname": "b", "instance": "c:1"], "b"), (["instance": "c:9400"], "c"),
            (["instance": "c"], "c"), (["instance": "[2001:db8::1]:9400"], "2001:db8::1"),
            (["instance": "2001:db8::1"], "2001:db8::1"),
            (["Hostname": "localhost", "instance": "c:1"], "c"),
            (["Hostname": "localhost", "instance": "localhost:1"], "localhost"),
            (["Hostname": "", "hostname": "b"], "b"), (["gpu": "0"], ""),
        ] as [([String: String], String)])
    func node(labels: [String: String], expected: String) {
        #expect(GPULabels(labels.map { Label($0.key, $0.value) }).node == expected)
    }

    @Test(
        "pod is the array, unless it is the pod of Kubernetes",
        arguments: [
            (["pod": "p3"], "p3"), (["pod": "p3", "array": "a1"], "a1"), (["array": "a1"], "a1"),
            (
                ["pod": "run-0417-worker-0", "namespace": "pretrain", "container": "trainer"],
                Placement.unassigned
            ),
            (["pod": "run-0417-worker-0", "namespace": ""], Placement.unassigned),
            (["pod": "x", "pod_uid": "1"], Placement.unassigned), (["pod": ""], Placement.unassigned),
            (["pod": "x", "namespace": "n", "array": "a1"], "a1"),
        ] as [([String: String], String)])
    func array(labels: [String: String], expected: String) {
        #expect(GPULabels(labels.map { Label($0.key, $0.value) }).placement.array == expected)
    }

    @Test(
        "the ordinal is a number from 0 to 255",
        arguments: [("0", 0), ("255", 255), ("256", nil), ("-1", nil), ("+1", nil), ("a", nil), ("", nil)]
            as [(String, UInt8?)])
    func ordinal(text: String, expected: UInt8?) {
        #expect(read(["gpu": text]).ordinal == expected)
    }

    @Test("parts of a GPU are no GPU", arguments: ["GPU_I_ID", "nvlink", "nvswitch", "cpu"])
    func parts(label: String) {
        #expect(GPULabels([Label("gpu", "0"), Label("hostname", "n"), Label(label, "1")]).isPart)
        #expect(!GPULabels([Label("gpu", "0"), Label("hostname", "n"), Label(label, "")]).isPart)
    }

    @Test("what changes with the value is no other source, another replica is")
    func sources() {
        let plain = read(["gpu": "0", "job": "dcgm", "err_code": "0"])
        #expect(plain.source == read(["gpu": "0", "job": "dcgm", "err_code": "79", "err_msg": "x"]).source)
        #expect(plain.source == read(["gpu": "0", "job": "dcgm", "instance": "other:1", "pod": "x"]).source)
        #expect(plain.source != read(["gpu": "0", "job": "dcgm", "prometheus_replica": "b"]).source)
        #expect(plain.source != read(["gpu": "0", "job": "other"]).source)
    }
}

@Suite(.computing) struct InventoryTests {
    @Test("a file is read, quotes, comments, blank lines and Windows included")
    func good() throws {
        let inventory = try Inventory(
            csv: "\u{FEFF}node,rack,array,hall,model\r\n# all of hall 1\r\n"
                + "n1,r1,a1,h1,\"NVIDIA H100, 80GB \"\"HBM3\"\"\"\r\n\r\n  n2 , r1 ,,h1,\r\n")
        #expect(inventory.nodes == ["n1", "n2"])
        let first = Placement(rack: "r1", array: "a1", hall: "h1", model: "NVIDIA H100, 80GB \"HBM3\"")
        #expect(inventory.placements["n1"] == first)
        #expect(inventory.placements["n2"] == Placement(rack: "r1", hall: "h1"))
    }

    @Test("the columns may come in any order, and only node must be there")
    func columns() throws {
        let inventory = try Inventory(csv: "hall,node\nh1,n1\n")
        #expect(inventory.placements == ["n1": Placement(hall: "h1")])
    }

    @Test(
        "an error tells the line",
        arguments: [
            ("", "line 1: the header is missing; expected node,rack,array,hall,model"),
            ("node,rak\n", "line 1: unknown column `rak`; the header is node,rack,array,hall,model"),
            ("node,node\n", "line 1: column `node` is there twice"),
            ("rack\n", "line 1: the header has no column `node`"),
            ("node,rack\nn1\n", "line 2: 1 fields, and the header has 2"),
            ("node,rack\nn1,r1\n\nn1,r2\n", "line 4: node `n1` is in line 2 already"),
            ("node,rack\n,r1\n", "line 2: the node has no name"),
            ("node,rack\n\"n1,r1\n", "line 2: a field has no closing double quote"),
            ("node,rack\n\"n1\"x,r1\n", "line 2: a comma was expected after the closing double quote"),
            ("node,rack\nn\"1,r1\n", "line 2: a double quote inside of a field that does not start with one"),
        ])
    func errors(csv: String, expected: String) {
        let error = #expect(throws: LineError.self) { try Inventory(csv: csv) }
        #expect(error?.description == expected)
    }

    @Test("the file's word counts, and the labels' where it says nothing")
    func precedence() throws {
        let inventory = try Inventory(csv: "node,rack,array,hall,model\nn1,r1,,h1,\n")
        let labels = Placement(rack: "other", array: "a9", hall: "other", model: "H200")
        #expect(
            inventory.placement(of: "n1", labels: labels)
                == Placement(rack: "r1", array: "a9", hall: "h1", model: "H200"))
        #expect(inventory.placement(of: "n2", labels: labels) == labels)
    }
}
