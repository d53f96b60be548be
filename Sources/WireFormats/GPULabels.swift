public import Telemetry

/// Which GPU a series is about, read from the labels that dcgm-exporter and Prometheus put on it.
///
/// | what | from |
/// |---|---|
/// | field | `__name__` |
/// | node | `Hostname` (exporters before 2026-05), `hostname` (since), else the host in `instance`. A name that is `localhost` (exporters that ask a remote host engine) counts only when there is no other |
/// | GPU | `gpu`, a number from 0 to 255; `UUID` or `uuid` is kept for series without it |
/// | rack, hall | `rack`, `hall` |
/// | array | `array`, else `pod`; but `pod` is the Kubernetes pod, and no array, when one of `namespace`, `container`, `pod_uid` is there too, be it empty |
/// | model | `modelName` |
/// | job | `hpc_job` |
///
/// A series about a part of a GPU is none about the GPU: MIG instances (`GPU_I_ID`), NVLinks (`nvlink`), and the
/// likes of NVSwitches and CPUs (`nvswitch`, `cpu`, `cpucore`).
public struct GPULabels: Sendable, Hashable {
    public var metric = ""
    public var node = ""
    /// Position of the GPU in its node.
    public var ordinal: UInt8?
    public var uuid = ""
    public var rack = ""
    public var array = ""
    public var hall = ""
    public var model = ""
    /// Empty: no job.
    public var job = ""
    /// Who scraped it (`job`, and what tells replicas of a Prometheus apart): two series of one GPU and field with
    /// different sources are two measurements of the same thing; with one source they are one series whose other
    /// labels changed (an XID text, a Kubernetes pod, a job).
    public var source = ""
    /// Whether it is about a part of a GPU, or about something else.
    public var isPart = false

    public init(_ labels: [Label]) {
        var hints = Hints()
        for label in labels where !label.value.isEmpty || Self.marksKubernetes(label.name) {
            take(label, &hints)
        }
        let names = [hints.upperHostname, hints.hostname, Self.host(ofInstance: hints.instance)]
        let known = names.filter { !$0.isEmpty }
        node = known.first { $0 != "localhost" } ?? known.first ?? ""
        if array.isEmpty, !hints.isKubernetes { array = hints.pod }
    }

    /// Where the labels say that the node stands.
    public var placement: Placement { Placement(rack: rack, array: array, hall: hall, model: model) }

    private struct Hints {
        var upperHostname = ""
        var hostname = ""
        var instance = ""
        var pod = ""
        var isKubernetes = false
    }

    private mutating func take(_ label: Label, _ hints: inout Hints) {
        switch label.name {
        case Label.metricName: metric = label.value
        case "Hostname": hints.upperHostname = label.value
        case "hostname": hints.hostname = label.value
        case "instance": hints.instance = label.value
        case "gpu": ordinal = Self.ordinal(label.value)
        case "UUID", "uuid": uuid = label.value
        case "rack": rack = label.value
        case "array": array = label.value
        case "pod": hints.pod = label.value
        case "hall": hall = label.value
        case "modelName": model = label.value
        case "hpc_job": job = label.value
        case "job", "prometheus", "prometheus_replica", "replica", "__replica__":
            source += label.name + "=" + label.value + "\n"
        case "GPU_I_ID", "nvlink", "nvswitch", "cpu", "cpucore": isPart = true
        default: if Self.marksKubernetes(label.name) { hints.isKubernetes = true }
        }
    }

    private static func marksKubernetes(_ name: String) -> Bool {
        name == "namespace" || name == "container" || name == "pod_uid"
    }

    private static func ordinal(_ text: String) -> UInt8? {
        guard text.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        return UInt8(text)
    }

    /// `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    static func host(ofInstance instance: String) -> String {
        if instance.hasPrefix("["), let end = instance.firstIndex(of: "]") {
            return String(instance[instance.index(after: instance.startIndex)..<end])
        }
        let pieces = instance.split(separator: ":", omittingEmptySubsequences: false)
        return pieces.count == 2 ? String(pieces[0]) : instance
    }
}
