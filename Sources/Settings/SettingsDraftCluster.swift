import Telemetry

extension SettingsDraft {
    /// The section stands in one file mostly; a later one changes what it says.
    func cluster(_ m: YAMLMapping) {
        let known = settings.cluster
        let servers = YAMLType<[String]>.list(of: .broker, min: 1, max: 64)
        let name = known == nil ? m.required("name", .clusterName) : m.optional("name", .clusterName)
        let brokers = known == nil ? m.required("servers", servers) : m.optional("servers", servers)
        var new = known ?? .init(name: name ?? "", servers: brokers ?? [])
        new.name = name ?? new.name
        new.servers = brokers ?? new.servers
        new.roles = m.optional(
            "roles", .list(of: .oneOf(DaemonSettings.Cluster.Role.self), min: 1), default: new.roles)
        new.worker = m.optional("worker", .memberName) ?? new.worker
        new.leaseMs = m.optional("lease", .duration(in: 1_000...300_000), default: new.leaseMs)
        new.graceMs = m.optional("grace", .duration(in: 2_000...3_600_000), default: new.graceMs)
        new.replicas = m.optional("replicas", .int(in: 1...5), default: new.replicas)
        new.slices = m.optional("slices", .int(in: 1...4_096), default: new.slices)
        new.partitions = m.optional("partitions", .int(in: 0...4_096), default: new.partitions)
        new.windowsMax = m.optional("windows_max", .int(in: 4...1_024), default: new.windowsMax)
        new.partialsBytes = m.optional(
            "partials_bytes", .bytes(in: (16 << 20)...(1 << 42)), default: new.partialsBytes)
        new.partialsKeepMs = m.optional(
            "partials_keep", .duration(in: 10_000...(30 * UTC.dayMs)), default: new.partialsKeepMs)
        new.finalsKeepMs = m.optional(
            "finals_keep", .duration(in: 600_000...(30 * UTC.dayMs)), default: new.finalsKeepMs)
        new.allowsOldServers = m.optional("allow_old_servers", .bool, default: new.allowsOldServers)
        new.sharesIngest = m.optional("share_ingest", .bool, default: new.sharesIngest)
        security(m, &new)
        m.section("simulation") { run in
            new.simulation = simulation(run, new.simulation)
        }
        for key in [
            "servers", "grace", "partials_keep", "finals_keep", "credentials_file", "nkey", "tls",
            "simulation", "share_ingest",
        ] {
            note("cluster.\(key)", m, key)
        }
        places["cluster"] = m.place
        settings.cluster = new
    }

    private func security(_ m: YAMLMapping, _ new: inout DaemonSettings.Cluster) {
        if let file = m.optional("credentials_file", .text()) { new.credentialsFile = path(file) }
        m.section("nkey") { nkey in
            let key = nkey.required("public", .publicNKey)
            let seed = nkey.required("seed_file", .text())
            new.nkey = .init(publicKey: key ?? "", seedFile: path(seed ?? ""))
        }
        m.section("tls") { tls in
            if let file = tls.optional("ca_file", .text()) { new.tls.caFile = path(file) }
            if let file = tls.optional("cert_file", .text()) { new.tls.certificateFile = path(file) }
            if let file = tls.optional("key_file", .text()) { new.tls.keyFile = path(file) }
        }
    }

    private func simulation(
        _ m: YAMLMapping, _ known: DaemonSettings.SimulationRun?
    ) -> DaemonSettings.SimulationRun? {
        let run = known == nil ? m.required("run", .name) : m.optional("run", .name)
        let file = known == nil ? m.required("scenario", .text()) : m.optional("scenario", .text())
        var new = known ?? .init(run: "", scenario: "")
        new.run = run ?? new.run
        if let file { new.scenario = path(file) }
        new.speed = m.optional("speed", .speed, default: new.speed)
        new.seed = m.optional("seed", .int()).map { UInt64($0) } ?? new.seed
        note("cluster.simulation.speed", m, "speed")
        note("cluster.simulation.scenario", m, "scenario")
        return new
    }
}

extension SettingsChecks {
    static func check(
        _ cluster: DaemonSettings.Cluster, _ settings: DaemonSettings, _ place: (String) -> YAMLPlace
    ) -> [SettingsError] {
        var errors: [SettingsError] = []
        if cluster.graceMs < cluster.leaseMs + 5_000 {
            errors.append(
                place("cluster.grace").error(
                    "a window would close before a dead member's share is taken over",
                    expected: "grace of lease + 5s at least"))
        }
        if cluster.partialsKeepMs < 2 * cluster.graceMs {
            errors.append(
                place("cluster.partials_keep").error(
                    "partials would go before their windows are closed",
                    expected: "partials_keep of twice the grace at least"))
        }
        if cluster.finalsKeepMs < cluster.partialsKeepMs {
            errors.append(
                place("cluster.finals_keep").error(
                    "a roll-up would still find partials, and no final that says where to go on",
                    expected: "finals_keep of partials_keep at least"))
        }
        if cluster.credentialsFile != nil, cluster.nkey != nil {
            errors.append(
                place("cluster.nkey").error(
                    "credentials_file and nkey are both given", expected: "one of them"))
        }
        if cluster.sharesIngest, !cluster.roles.contains(.worker) {
            errors.append(
                place("cluster.share_ingest").error(
                    "what a member ingests is shared by workers, and this one is none",
                    expected: "`worker` in cluster.roles, or false"))
        }
        if (cluster.tls.certificateFile == nil) != (cluster.tls.keyFile == nil) {
            errors.append(
                place("cluster.tls").error(
                    "cert_file and key_file belong together", expected: "both of them, or none"))
        }
        let files = [
            ("credentials_file", cluster.credentialsFile), ("nkey", cluster.nkey?.seedFile),
            ("tls", cluster.tls.caFile), ("tls", cluster.tls.certificateFile), ("tls", cluster.tls.keyFile),
        ]
        for (key, file) in files {
            guard let file, !file.hasPrefix("credential:"), let problem = SettingsFiles.problem(file) else {
                continue
            }
            errors.append(
                place("cluster.\(key)").error(
                    "\(file) cannot be read: \(problem)", expected: "a file that can be read"))
        }
        if let run = cluster.simulation { errors += check(run, settings, place) }
        return errors
    }

    private static func check(
        _ run: DaemonSettings.SimulationRun, _ settings: DaemonSettings, _ place: (String) -> YAMLPlace
    ) -> [SettingsError] {
        var errors = scenario(run, place("cluster.simulation.scenario"))
        if run.speed == .max {
            errors.append(
                place("cluster.simulation.speed").error(
                    "members that share a run need a common pace", expected: "a number: 1, 60, 86400"))
        }
        if settings.simulations.contains(where: { $0.run == run.run }) {
            errors.append(
                place("cluster.simulation").error(
                    "`\(run.run)` is in simulations, too", expected: "a name of its own"))
        }
        return errors
    }
}

extension YAMLType<String> {
    /// Part of NATS subjects.
    fileprivate static var clusterName: YAMLType<String> {
        token("a name of 1 to 32 characters out of a-z A-Z 0-9 _ -", max: 32)
    }

    fileprivate static var memberName: YAMLType<String> {
        token("a name of 1 to 64 characters out of a-z A-Z 0-9 _ -", max: 64)
    }

    private static func token(_ expected: String, max: Int) -> YAMLType<String> {
        text(max: max).checked(expected) { text in
            StreamID.isRunName(text) && !text.contains(".") ? text : nil
        }
    }

    fileprivate static var broker: YAMLType<String> {
        let expected = "a broker as nats://host:4222 or tls://host:4222, without user or password"
        return text(max: 512).checked(expected) { text in
            guard let scheme = ["nats://", "tls://"].first(where: { text.hasPrefix($0) }) else { return nil }
            let authority = text.dropFirst(scheme.count)
            guard let colon = authority.lastIndex(of: ":"), colon != authority.startIndex,
                UInt16(authority[authority.index(after: colon)...]).map({ $0 > 0 }) == true,
                authority.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"/?#@,".utf8.contains($0) })
            else { return nil }
            return text
        }
    }

    fileprivate static var publicNKey: YAMLType<String> {
        let expected = "the public key of a user: U and 55 characters out of A-Z 2-7"
        return text(max: 56).checked(expected) { text in
            let base32 = text.utf8.allSatisfy { (65...90).contains($0) || (50...55).contains($0) }
            return text.utf8.count == 56 && text.hasPrefix("U") && base32 ? text : nil
        }
    }
}
