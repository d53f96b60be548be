import Telemetry

/// What can only be judged when all files have been read.
enum SettingsChecks {
    static func errors(_ draft: SettingsDraft, _ path: String) -> [SettingsError] {
        let whole = YAMLPlace(file: path, line: 1, column: 1)
        func place(_ name: String) -> YAMLPlace { draft.places[name] ?? whole }
        let settings = draft.settings
        var errors: [SettingsError] = []

        let (ingest, web) = (settings.ingest.listen, settings.web.listen)
        if ingest == web, ingest.port != 0 {
            errors.append(
                place(draft.places["web.listen"] == nil ? "ingest.listen" : "web.listen").error(
                    "ingest and web both listen on \(web)", expected: "two addresses"))
        }
        errors += windows(settings.windows, place("windows"))
        if let file = settings.inventory.file, let problem = SettingsFiles.problem(file) {
            errors.append(
                place("inventory.file").error(
                    "\(file) cannot be read: \(problem)", expected: "a CSV file node,rack,array,hall,model"))
        }
        for run in settings.simulations {
            if let problem = SettingsFiles.problem(run.scenario) {
                errors.append(
                    place("simulation.\(run.run)").error(
                        "\(run.scenario) cannot be read: \(problem)", expected: "a scenario file"))
            }
        }
        var writers: [String: String] = [:]
        for endpoint in settings.endpoints {
            if case .file(let path) = endpoint.destination,
                let other = writers.updateValue(endpoint.name, forKey: path)
            {
                errors.append(
                    place("endpoint.\(endpoint.name)").error(
                        "`\(other)` writes to the same file", expected: "another path"))
            }
            errors += check(endpoint, settings) { place("endpoint.\(endpoint.name)" + $0) }
        }
        return errors
    }

    private static func windows(_ windows: DaemonSettings.Windows, _ place: YAMLPlace) -> [SettingsError] {
        zip(windows.resolutionsMs, windows.rollupsMs).compactMap { finer, coarser in
            guard coarser <= finer || coarser % finer != 0 else { return nil }
            let (low, high) = (Quantity.duration(finer), Quantity.duration(coarser))
            return place.error(
                "windows of \(high) cannot be made of windows of \(low)",
                expected: "each rollup a multiple of the one before, the first a multiple of finest")
        }
    }

    private static func check(
        _ endpoint: DaemonSettings.Endpoint, _ settings: DaemonSettings, _ place: (String) -> YAMLPlace
    ) -> [SettingsError] {
        var errors: [SettingsError] = []
        // Simulated streams have window lengths of their own, which only their pace decides.
        if endpoint.streams == .measured || endpoint.streams == .named([.measured]) {
            for resolution in endpoint.resolutionsMs
            where !settings.windows.resolutionsMs.contains(resolution) {
                let known = settings.windows.resolutionsMs.map(Quantity.duration).joined(separator: ", ")
                errors.append(
                    place(".resolutions").error(
                        "there are no windows of \(Quantity.duration(resolution))",
                        expected: "some of: \(known)"))
            }
        }
        if let file = endpoint.bearerTokenFile, let problem = SettingsFiles.problem(file) {
            errors.append(
                place(".bearer_token_file").error(
                    "\(file) cannot be read: \(problem)", expected: "a file that holds a token"))
        }
        return errors
    }
}

extension DaemonSettings {
    /// The parts that differ and that only a restart can change; a reload changes the rest.
    public func restartNeeded(for new: DaemonSettings) -> [String] {
        var parts: [String] = []
        if ingest != new.ingest { parts.append("ingest") }
        if web != new.web { parts.append("web") }
        if hosts != new.hosts { parts.append("hosts") }
        if inventory != new.inventory { parts.append("inventory") }
        if windows != new.windows { parts.append("windows") }
        if aggregation != new.aggregation { parts.append("aggregation") }
        if store != new.store { parts.append("store") }
        return parts
    }
}
