import Settings
import Telemetry
import Testing

/// What the configuration may say of alerts.
@Suite struct AlertSettingsTests {
    private func alerts(_ text: String) throws -> DaemonSettings.Alerts {
        try ConfigFolder(["c.yaml": "alerts:\n" + text]).load().alerts
    }

    @Test("every key is read, and rules of a later file are merged by name")
    func keys() throws {
        let folder = try ConfigFolder([
            "c.yaml": """
            alerts:
              streams: all
              open_max: 10
              open_per_rule_max: 5
              gpu_silent: {for: 2m, severity: info}
              node_down: {enabled: false}
              xid: {classes: [memory, application], hold: 1h}
              coverage_low: {below: 0.5}
              endpoint_failing: {for: 1m}
              rules:
                - {name: Hot, level: rack, field: DCGM_FI_DEV_GPU_TEMP, statistic: p99, comparison: ">", threshold: 85,
                   for: 2m, window: 1m, severity: critical, labels: {team: cooling}, annotations: {summary: "{entity}"}}
                - {name: Dark, level: hall, count: silent, statistic: share, comparison: ">=", threshold: 0.2}
                - {name: Heard, count: coverage, comparison: "<", threshold: 1}
            """,
            "conf.d/1.yaml": "alerts: {rules: [{name: Hot, threshold: 90}]}",
        ])
        let alerts = try folder.load().alerts
        #expect(alerts.streams == .all && alerts.openMax == 10 && alerts.openPerRuleMax == 5)
        #expect(alerts.gpuSilent == .init(forMs: 120_000, severity: .info) && !alerts.nodeDown.isOn)
        #expect(alerts.xidClasses == [.memory, .application] && alerts.xidHoldMs == 3_600_000)
        #expect(alerts.coverageMin == 0.5 && alerts.endpointFailing.forMs == 60_000)
        let hot = alerts.rules[0]
        #expect(hot.level == .rack && hot.subject == .field(.gpuTemp, .p99) && hot.comparison == .above)
        #expect(hot.threshold == 90 && hot.forMs == 120_000 && hot.windowMs == 60_000)
        #expect(hot.severity == .critical && hot.labels == ["team": "cooling"])
        #expect(alerts.rules[1].subject == .share(.silent) && alerts.rules[2].subject == .coverage)
    }

    @Test(
        "what makes no sense is refused, with what was expected",
        arguments: [
            ("{name: A, level: rack, comparison: \">\", threshold: 1}", "`field` or `count` is missing"),
            (
                "{name: A, level: rack, count: silent, field: DCGM_FI_DEV_GPU_TEMP, comparison: \">\", threshold: 1}",
                "a field or a count"
            ),
            ("{name: A, count: silent, comparison: \">\", threshold: 1}", "`level` is missing"),
            ("{name: A, level: rack, count: silent, threshold: 1}", "`comparison` is missing"),
            ("{name: A, level: rack, count: silent, comparison: \">\"}", "`threshold` is missing"),
            (
                "{name: A, level: rack, count: silent, statistic: p99, comparison: \">\", threshold: 1}",
                "counts have no such statistic"
            ),
            (
                "{name: A, level: node, field: DCGM_FI_DEV_GPU_TEMP, statistic: p99, comparison: \">\", threshold: 1}",
                "nodes have no quantiles"
            ),
            ("{name: XID, level: rack, count: silent, comparison: \">\", threshold: 1}", "built-in"),
            (
                "{name: A, level: rack, count: silent, comparison: \">\", threshold: 1, labels: {rack: x}}",
                "cannot be added"
            ),
        ])
    func refused(rule: String, error: String) throws {
        let errors = try ConfigFolder(["c.yaml": "alerts: {rules: [\(rule)]}"]).errors()
        #expect(errors.count == 1 && errors[0].contains(error), "\(errors)")
    }

    @Test("an alertmanager has no levels; a webhook can have events alone")
    func endpoints() throws {
        let settings = try ConfigFolder([
            "c.yaml": """
            endpoints:
              - {name: am, kind: alertmanager, url: "http://a/api/v2/alerts", resend: 30s, streams: all,
                 generator_url: "http://b/", labels: {add: {cluster: c}}}
              - {name: hook, kind: webhook, url: http://a, events: [alert_firing, xid], summaries: false}
            """
        ]).load()
        #expect(settings.endpoints[0].destination == .alertmanager(url: "http://a/api/v2/alerts"))
        #expect(settings.endpoints[0].resendMs == 30_000 && settings.endpoints[0].streams == .all)
        #expect(settings.endpoints[0].generatorURL == "http://b/")
        #expect(settings.endpoints[1].eventKinds == [.alertFiring, .xid] && !settings.endpoints[1].summaries)
        for text in [
            "kind: alertmanager, url: http://a, levels: [rack]", "kind: file, path: x, events: [xid]",
            "kind: webhook, url: http://a, resend: 1m", "kind: webhook, url: http://a, summaries: false",
        ] {
            #expect(
                try ConfigFolder(["c.yaml": "endpoints: [{name: a, \(text)}]"]).errors().count == 1, "\(text)"
            )
        }
    }
}
