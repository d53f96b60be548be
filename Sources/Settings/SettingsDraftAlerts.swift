import Telemetry

/// Alerts: the built-in ones by their keys, rules merged by name.
extension SettingsDraft {
    func alerts(_ m: YAMLMapping) {
        var new = settings.alerts
        new.streams = m.optional("streams", .oneOf(DaemonSettings.Alerts.Streams.self), default: new.streams)
        new.openMax = m.optional("open_max", .int(in: 1...10_000), default: new.openMax)
        new.openPerRuleMax = m.optional(
            "open_per_rule_max", .int(in: 1...10_000), default: new.openPerRuleMax)
        m.section("gpu_silent") { builtin($0, &new.gpuSilent) }
        m.section("node_down") { builtin($0, &new.nodeDown) }
        m.section("xid") { xid in
            builtin(xid, &new.xid)
            new.xidClasses = xid.optional(
                "classes", .list(of: .oneOf(XID.Class.self)), default: new.xidClasses)
            new.xidHoldMs = xid.optional(
                "hold", .duration(in: 1_000...(7 * UTC.dayMs)), default: new.xidHoldMs)
        }
        m.section("coverage_low") { coverage in
            builtin(coverage, &new.coverageLow)
            new.coverageMin = coverage.optional("below", .double(in: 0...1), default: new.coverageMin)
        }
        m.section("endpoint_failing") { builtin($0, &new.endpointFailing) }
        settings.alerts = new
        var seen: [String: YAMLPlace] = [:]
        m.each("rules", "a rule: name, level, field or count, comparison, threshold", max: 200) {
            rule($0, &seen)
        }
    }

    private func builtin(_ m: YAMLMapping, _ new: inout DaemonSettings.Alerts.Builtin) {
        new.isOn = m.optional("enabled", .bool, default: new.isOn)
        new.forMs = m.optional("for", .duration(in: 0...(7 * UTC.dayMs)), default: new.forMs)
        new.severity = m.optional("severity", .oneOf(AlertSeverity.self), default: new.severity)
    }

    private func rule(_ m: YAMLMapping, _ seen: inout [String: YAMLPlace]) {
        let name = m.required("name", .name)
        let known = settings.alerts.rules.firstIndex { $0.name == name }
        var new = known.map { settings.alerts.rules[$0] } ?? .init(name: name ?? "")
        let isNew = known == nil
        if let subject = subject(m, isNew: isNew) { new.subject = subject }
        if isNew, new.subject != .coverage {
            new.level = m.required("level", .oneOf(Level.self), placeholder: .site)
        } else {
            new.level = m.optional("level", .oneOf(Level.self), default: new.level)
        }
        let comparison = YAMLType<DaemonSettings.Alerts.Rule.Comparison>.oneOf()
        let threshold = YAMLType<Double>.double(in: -1e15...1e15)
        if isNew {
            new.comparison = m.required("comparison", comparison, placeholder: .above)
            new.threshold = m.required("threshold", threshold, placeholder: 0)
        } else {
            new.comparison = m.optional("comparison", comparison, default: new.comparison)
            new.threshold = m.optional("threshold", threshold, default: new.threshold)
        }
        new.forMs = m.optional("for", .duration(in: 0...(7 * UTC.dayMs)), default: new.forMs)
        new.windowMs = m.optional("window", .duration(in: 1_000...(366 * UTC.dayMs))) ?? new.windowMs
        new.severity = m.optional("severity", .oneOf(AlertSeverity.self), default: new.severity)
        new.labels = m.optional("labels", .alertLabels, default: new.labels)
        new.annotations = m.optional("annotations", .alertTexts, default: new.annotations)
        if case .field(_, let statistic) = new.subject, new.level == .node,
            [.p50, .p90, .p99].contains(statistic)
        {
            m.fail("statistic", "nodes have no quantiles", expected: "avg, min, max, count or sum")
        }
        guard let name, unique(name, m, "name", &seen) else { return }
        if DaemonSettings.Alerts.builtinNames.contains(name) {
            m.fail("name", "`\(name)` is a built-in alert", expected: "another name")
        }
        if let known { settings.alerts.rules[known] = new } else { settings.alerts.rules.append(new) }
    }

    private enum CountWord: Equatable { case gpus(DaemonSettings.Alerts.Rule.Count), coverage }
    private enum StatisticWord: Equatable { case statistic(FieldStatistic), share }

    private static let countWords: [(String, CountWord)] =
        DaemonSettings.Alerts.Rule.Count.allCases.map { ($0.rawValue, .gpus($0)) } + [("coverage", .coverage)]
    private static let statisticWords: [(String, StatisticWord)] =
        FieldStatistic.allCases.map { ($0.rawValue, .statistic($0)) } + [("share", .share)]

    /// What is looked at: a field with a statistic, a count of GPUs (or its share), or the coverage.
    private func subject(_ m: YAMLMapping, isNew: Bool) -> DaemonSettings.Alerts.Rule.Subject? {
        let field = m.optional("field", .field)
        let count = m.optional("count", .oneOf(Self.countWords))
        let statistic = m.optional("statistic", .oneOf(Self.statisticWords))
        switch (field, count, statistic) {
        case (.some, .some, _):
            m.fail("count", "a rule has a field or a count", expected: "one of the two")
        case (let field?, nil, nil): return .field(field, .avg)
        case (let field?, nil, .statistic(let statistic)): return .field(field, statistic)
        case (.some, nil, .share):
            m.fail("statistic", "share is of counts", expected: "a statistic of fields")
        case (nil, .coverage, nil): return .coverage
        case (nil, .gpus(let count), nil): return .gpus(count)
        case (nil, .gpus(let count), .share): return .share(count)
        case (nil, .some, _):
            m.fail("statistic", "counts have no such statistic", expected: "share, or nothing")
        case (nil, nil, let statistic):
            // A field or count that is wrong was reported.
            guard !m.keys.contains("field"), !m.keys.contains("count") else { return nil }
            if isNew { m.fail("field", "`field` or `count` is missing", expected: "what the rule looks at") }
            if statistic != nil, !isNew {
                m.fail("statistic", "it stands without its field", expected: "field and statistic together")
            }
        }
        return nil
    }
}

extension YAMLType<[String: String]> {
    /// Labels that a rule adds: names as Prometheus has them, none of those that alerts have anyway.
    fileprivate static var alertLabels: YAMLType<[String: String]> {
        .mapping("a mapping from labels to texts") { m in
            let read = m.all(.text(max: 256))
            for entry in read where !isLabel(entry.key) || DaemonSettings.Alerts.ownLabels.contains(entry.key)
            {
                m.fail(
                    entry.key, "`\(entry.key)` cannot be added",
                    expected: "a label that alerts do not have, of letters, digits and _")
            }
            return Dictionary(read.map { ($0.key, $0.value) }) { _, last in last }
        }
    }

    fileprivate static var alertTexts: YAMLType<[String: String]> {
        .mapping("a mapping from annotations to texts") { m in
            Dictionary(m.all(.text(max: 1_024)).map { ($0.key, $0.value) }) { _, last in last }
        }
    }

    private static func isLabel(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= 64, !(48...57).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
        }
    }
}
