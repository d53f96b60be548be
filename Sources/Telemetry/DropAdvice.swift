extension DropReason {
    /// What somebody can do about it, in a sentence; `nil` for what happens in good health (repeated deliveries, staleness
    /// markers, GPUs that have no such sensor).
    public var advice: String? {
        switch self {
        case .noEntity:
            "a series needs a node (label Hostname, hostname or instance) and a GPU: label gpu with a number from 0 to 255, "
                + "or a UUID that another series has told together with gpu; series about a part of a GPU (GPU_I_ID, nvlink) "
                + "do not count"
        case .unknownField: "metrics are known by their DCGM names, DCGM_FI_DEV_GPU_UTIL and so on"
        case .badLabels: "labels must be valid, sorted and within the limits: at most one value for each name"
        case .seriesLimit: "raise ingest.limits.series, or send fewer series"
        case .future: "the clock of the sender, or of this machine, is wrong: see windows.future_max"
        case .tooOld:
            "it belongs to windows that were closed long ago: longer than windows.revise_within, or before the process began"
        case .late:
            "it came after its window had closed: raise windows.lateness or windows.revise_within, or find out what delays "
                + "the sender"
        case .conflict: "two values of one series at one time: do two exporters share Hostname and gpu?"
        case .outOfOrder: "send the samples of a series in the order of their times"
        case .duplicate, .redundant, .blank, .notANumber, .stale: nil
        }
    }
}
