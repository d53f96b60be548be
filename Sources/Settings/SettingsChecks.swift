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
        errors += SettingsAccess(settings.ingest, draft.places, whole).errors
        errors += SettingsAccess(settings.web, draft.places, whole).errors
        errors += windows(settings.windows, place("windows"))
        if let file = settings.inventory.file, let problem = SettingsFiles.problem(file) {
            errors.append(
                place("inventory.file").error(
                    "\(file) cannot be read: \(problem)", expected: "a CSV file node,rack,array,hall,model"))
        }
        for run in settings.simulations {
            errors += scenario(run, place("simulation.\(run.run)"))
        }
        if let cluster = settings.cluster { errors += check(cluster, settings, place) }
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

    /// A scenario that is there is checked, too: its errors have places in its own file.
    static func scenario(_ run: DaemonSettings.SimulationRun, _ place: YAMLPlace) -> [SettingsError] {
        if let problem = SettingsFiles.problem(run.scenario) {
            return [place.error("\(run.scenario) cannot be read: \(problem)", expected: "a scenario file")]
        }
        do throws(SettingsFailure) {
            _ = try loadScenario(path: run.scenario, seed: run.seed)
            return []
        } catch {
            return error.errors
        }
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
        for (key, file) in secretFiles(endpoint) {
            guard let problem = SettingsFiles.problem(file) else { continue }
            let expected =
                key == "bearer_token_file" ? "a file that holds a token" : "a file that can be read"
            errors.append(place("." + key).error("\(file) cannot be read: \(problem)", expected: expected))
        }
        return errors
    }

    /// Credentials of systemd are not there when a configuration is checked from outside of the service.
    private static func secretFiles(_ endpoint: DaemonSettings.Endpoint) -> [(key: String, file: String)] {
        let tls = endpoint.tls
        var files: [(String, String?)] = [
            ("bearer_token_file", endpoint.bearerTokenFile), ("basic", endpoint.basicPasswordFile),
            ("signing_key_file", endpoint.signingKeyFile), ("tls", tls.caFile), ("tls", tls.certificateFile),
            ("tls", tls.keyFile),
        ]
        files += endpoint.headerFiles.sorted { $0.key < $1.key }.map { ("header_files", $0.value) }
        return files.compactMap { entry in
            guard let file = entry.1, !file.hasPrefix("credential:") else { return nil }
            return (entry.0, file)
        }
    }
}
