import Settings
import Testing

@Suite("The cluster section")
struct ClusterSettingsTests {
    @Test("without it a daemon works alone")
    func alone() throws {
        #expect(try ConfigFolder(["c.yaml": "{}"]).load().cluster == nil)
    }

    @Test("it has defaults for all but the name and the brokers")
    func defaults() throws {
        let text = "cluster: {name: prod, servers: [\"nats://b1:4222\", \"tls://[::1]:4223\"]}"
        let cluster = try #require(try ConfigFolder(["c.yaml": text]).load().cluster)
        #expect(cluster.name == "prod" && cluster.servers.count == 2 && cluster.roles.count == 3)
        #expect(cluster.leaseMs == 10_000 && cluster.graceMs == 30_000 && cluster.replicas == 3)
        #expect(cluster.simulation == nil && cluster.nkey == nil && !cluster.sharesIngest)
    }

    @Test("a later file changes what an earlier one said")
    func laidOver() throws {
        let folder = try ConfigFolder([
            "c.yaml": "cluster: {name: prod, servers: [\"nats://b1:4222\"]}",
            "conf.d/10.yaml": "cluster: {roles: [worker], worker: w7, lease: 3s, share_ingest: true}",
        ])
        let cluster = try #require(try folder.load().cluster)
        #expect(cluster.name == "prod" && cluster.roles == [.worker] && cluster.worker == "w7")
        #expect(cluster.leaseMs == 3_000 && cluster.sharesIngest)
    }

    @Test(
        "what does not fit is refused, with its place",
        arguments: [
            ("servers: []", "c.yaml:1:32"), ("servers: [\"http://b:1\"]", "nats://host:4222"),
            ("servers: [\"nats://u:p@b:1\"]", "without user or password"),
            ("servers: [\"nats://b\"]", "nats://host:4222"),
            ("servers: [\"nats://b:1\"], name: a.b", "given twice"),
            ("servers: [\"nats://b:1\"], roles: [boss]", "boss"),
            ("servers: [\"nats://b:1\"], lease: 20s, grace: 20s", "lease + 5s"),
            ("servers: [\"nats://b:1\"], grace: 30s, partials_keep: 59s", "twice the grace"),
            ("servers: [\"nats://b:1\"], finals_keep: 23h", "c.yaml:1:61: a roll-up would"),
            ("servers: [\"nats://b:1\"], partials_keep: 25h", "finals_keep of partials_keep"),
            ("servers: [\"nats://b:1\"], nkey: {public: SUA, seed_file: s}", "the public key of a user"),
            ("servers: [\"nats://b:1\"], tls: {cert_file: c.yaml}", "belong together"),
            ("servers: [\"nats://b:1\"], credentials_file: nowhere", "cannot be read"),
            (
                "servers: [\"nats://b:1\"], roles: [rollup], share_ingest: true",
                "c.yaml:1:79: what a member ingests"
            ),
            ("servers: [\"nats://b:1\"], broker: x", "unknown key `broker`"),
            (
                "servers: [\"nats://b:1\"], simulation: {run: r, scenario: s, speed: max}",
                "a common pace"
            ),
        ])
    func refused(text: String, part: String) throws {
        let errors = try ConfigFolder(["c.yaml": "cluster: {name: prod, \(text)}"]).errors()
        #expect(errors.contains { $0.contains(part) }, "\(errors)")
    }
}
