import Telemetry

/// The lists whose entries are merged by name: a later file changes what it says of an entry, and adds new ones.
extension SettingsDraft {
    func simulations(_ m: YAMLMapping) {
        var seen: [String: YAMLPlace] = [:]
        m.each("simulations", "a simulation: run, scenario, speed, seed, autostart", max: 100) {
            simulation($0, &seen)
        }
    }

    private func simulation(_ m: YAMLMapping, _ seen: inout [String: YAMLPlace]) {
        let run = m.required("run", .name)
        let known = settings.simulations.firstIndex { $0.run == run }
        var new = known.map { settings.simulations[$0] } ?? .init(run: run ?? "", scenario: "")
        if let file = known == nil ? m.required("scenario", .text()) : m.optional("scenario", .text()) {
            new.scenario = path(file)
        }
        new.speed = m.optional("speed", .speed, default: new.speed)
        new.seed = m.optional("seed", .int()).map { UInt64($0) } ?? new.seed
        new.autostart = m.optional("autostart", .bool, default: new.autostart)
        guard let run, unique(run, m, "run", &seen) else { return }
        if m.keys.contains("scenario") { places["simulation.\(run)"] = m.place("scenario") }
        if let known { settings.simulations[known] = new } else { settings.simulations.append(new) }
    }

    /// Within one file a name stands once; in a later file it changes the entry.
    func unique(_ name: String, _ m: YAMLMapping, _ key: String, _ seen: inout [String: YAMLPlace])
        -> Bool
    {
        if let first = seen[name] {
            m.fail(key, "`\(name)` is already in line \(first.line)", expected: "each name once in a file")
            return false
        }
        seen[name] = m.place(key)
        return true
    }
}
