extension ScenarioKey {
    /// Keys within entries of `all`: `--set` takes them too.
    public static let leaves: [ScenarioKey] = groups + repairs + loads

    private static let groups: [ScenarioKey] = [
        ScenarioKey("phases.groups.model", "a key of gpu_models", "", "kind of these GPUs"),
        ScenarioKey("phases.groups.gpus", "GPUs", "", "how many, a multiple of 8"),
        ScenarioKey("phases.curve.steps.day", "d", "", "of the phase, from which the share stands"),
        ScenarioKey("phases.curve.steps.share", "0-1", "", "of the phase's GPUs; the last is 1"),
        ScenarioKey("power.curve.at", "time", "", "when the site can draw so much"),
        ScenarioKey("power.curve.mw", "MW", "", "what the site can draw then"),
        ScenarioKey("job.mfu.gpus", "GPUs", "", "size of the job; more than in the entry before"),
        ScenarioKey("job.mfu.mfu", "0.001-1", "", "model FLOP utilisation at that size"),
        ScenarioKey("job.workload.at", "time", "", "from when on"),
        ScenarioKey("job.workload.training", "0-1", "", "share of the nodes in the job"),
        ScenarioKey("job.workload.reinforcement", "0-1", "0", "share in reinforcement learning"),
        ScenarioKey("job.workload.inference", "0-1", "0", "share that serves"),
    ]

    private static let repairs: [ScenarioKey] = ["failures.repair", "failures.causes.repair"].flatMap {
        path -> [ScenarioKey] in
        [
            ScenarioKey(path + ".median_h", "h", "", "half of the repairs take less; log-normal"),
            ScenarioKey(path + ".sigma", "0-10", "0", "standard deviation of the logarithm"),
            ScenarioKey(path + ".min_h", "h", "0", "none takes less"),
            ScenarioKey(path + ".max_h", "h", "87600", "none takes more"),
        ]
    }

    private static let loads: [ScenarioKey] = all.filter { $0.unit == "load" }.flatMap {
        load -> [ScenarioKey] in
        let path = load.path
        return [
            ScenarioKey(path + ".engine", "0-1", "", "share of time of the graphics engine"),
            ScenarioKey(path + ".tensor", "0-1", "", "share of time of the tensor pipe"),
            ScenarioKey(path + ".dram", "0-1", "", "share of time of the memory interface"),
            ScenarioKey(path + ".nvlink_mbps", "MB/s", "", "over all NVLinks, both ways"),
            ScenarioKey(path + ".pcie_bps", "B/s", "", "over PCIe, each way"),
            ScenarioKey(path + ".memory", "0-1", "", "share of the framebuffer in use"),
            ScenarioKey(
                path + ".power", path.hasSuffix(".idle") ? "0" : "0-2000", "",
                "above idle, in thousandths of that of training"),
        ]
    }

    /// The keys that a person means: one of them, what is below it, or its last words; all for none. Entries of lists may be named as
    /// `--set` has them, for example `phases.0.days` or `gpu_models.H100.tdp_w`.
    public static func find(_ key: String) -> [ScenarioKey] {
        if key.isEmpty { return all }
        let known = all + leaves
        let found = known.filter {
            $0.path == key || $0.path.hasPrefix(key + ".") || $0.path.hasSuffix("." + key)
        }
        if !found.isEmpty { return found }
        let walk = Walk(key)
        guard walk.unknown == nil else { return [] }
        return known.filter { $0.path == walk.path || $0.path.hasPrefix(walk.path + ".") }
    }

    /// What may have been meant by a key that is not found.
    public static func nearest(to key: String) -> String? {
        let walk = Walk(key)
        let below = walk.unknown.flatMap { walk.path.isEmpty ? nil : nearest(to: $0, below: walk.path) }
        return below ?? Suggestion.nearest(to: key, in: paths)
    }

    /// A key of that section or list that is written much like the word, or the one deeper in it that is called so.
    private static func nearest(to word: String, below path: String) -> String? {
        let within = paths.filter { $0.hasPrefix(path + ".") }
        let words = within.map { String($0.dropFirst(path.count + 1)) }
        let near =
            Suggestion.nearest(to: word, in: words.filter { !$0.contains(".") })
            ?? words.first { word.count >= 3 && !$0.contains(".") && $0.hasPrefix(word) }
        return near.map { path + "." + $0 } ?? within.first { $0.hasSuffix("." + word) }
    }

    private static let paths = (all + leaves).map(\.path)
    private static let lists = Set(all.filter { $0.unit.hasPrefix("list") }.map(\.path))
    /// Lists whose entries `--set` also finds by what they are called.
    private static let named: Set = ["gpu_models", "phases", "failures.causes"]

    /// Where a key leads, part by part.
    private struct Walk {
        /// As far as it is known, without entries of lists.
        var path = ""
        /// The first part that leads nowhere.
        var unknown: String?

        init(_ key: String) {
            let parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            var isInEntry = false
            for (position, part) in parts.enumerated() {
                let longer = path.isEmpty ? part : path + "." + part
                if ScenarioKey.paths.contains(where: { $0 == longer || $0.hasPrefix(longer + ".") }) {
                    (path, isInEntry) = (longer, false)
                } else if !isInEntry, isEntry(part, isLast: position == parts.count - 1) {
                    isInEntry = true
                } else {
                    unknown = part
                    return
                }
            }
        }

        /// At the end a mistyped key is likelier than an entry with such a name.
        private func isEntry(_ part: String, isLast: Bool) -> Bool {
            guard ScenarioKey.lists.contains(path), !part.isEmpty else { return false }
            if let position = Int(part) { return position >= 0 }
            guard ScenarioKey.named.contains(path) else { return false }
            return !isLast || ScenarioKey.nearest(to: part, below: path) == nil
        }
    }
}
