// Made of Config/colossusd.yaml by Deploy/tools/embed-config; a test compares the two.
// swift-format-ignore-file

extension ConfigurationGuide {
    /// `Config/colossusd.yaml`: every key with its default and what it means.
    public static let text = ##"""
# The configuration of colossusd: every key, with its default. An empty mapping {} would say the same.
#
# Files conf.d/*.yaml beside this one are laid over it in the order of their names: what a later file says stands, lists
# are replaced, and simulations, endpoints and rules are merged by name. Relative paths start from the folder of the file
# that says them. Unknown keys are errors. `colossusctl config explain KEY` explains a key; `config diff` says what a
# reload would change. `colossusd --check-config` checks a configuration without starting;
# `systemctl reload colossusd` takes over endpoints, alerts, tokens, tls, the inventory's file and log at run time; the rest needs a restart.
#
# Durations: ms, s, m, h, d. Sizes: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.

# Real telemetry arrives here: POST /api/v1/write (Prometheus remote write), /api/v1/import (exposition text),
# /api/v1/events (JSON lines). An address that other machines reach needs tokens, or tls with client certificates that are
# required, or insecure: true. Without tls, tokens cross the network in clear text. The name or address by which senders call
# it belongs into hosts.
ingest:
  listen: 127.0.0.1:9480
  # Who may send: `Authorization: Bearer SECRET`, or a client certificate. Without tokens, whoever reaches the address. Each
  # token is a sender of its own, with its own limits. Files are read again by a reload; a credential of systemd is a copy
  # from the start of the service, so that a changed one takes a restart.
  tokens: []
  # tokens:
  #   - name: prometheus-a # in the sender's name: ingest/token:prometheus-a
  #     file: credential:prometheus-a # or a path; a secret a line, of 16 characters or more, all of them taken
  #     certificate: prometheus-a.example.org # in place of file, or beside it: a URI or DNS name in the client's certificate
  #     events: false # may post to /api/v1/events, too
  insecure: false # true: take from other machines without tokens, in a network where everybody may send
  # Without this section, plain HTTP. Files are in PEM, or credential:NAME; they are read again when they change.
  # tls:
  #   certificate: /etc/colossusd/ingest.pem # the listener's, then those between it and its authority
  #   key: credential:ingest-key # of the certificate, without a password
  #   # Authorities of clients' certificates. Whoever has one of them is a sender of its own, ingest/certificate:NAME, and may
  #   # send samples; where tokens name certificates, only those are taken. Events need `events: true` at a token.
  #   client_ca: /etc/colossusd/clients.pem
  #   client_certificate: required # or optional; only with client_ca
  #   client_crl: /etc/colossusd/clients.crl # lists of revoked certificates, 1 MiB at most, one of each authority in client_ca; else nobody looks
  #   min_version: "1.2" # or "1.3"
  # What is taken is written to a log in the state directory before it is acknowledged, and read again after a restart:
  # process survives the end of colossusd in any way, disk a power cut too (slower), none keeps nothing.
  durability: process
  limits:
    ingest_log_bytes: 10GB # then 503, until windows are closed and let go of it
    body_bytes: 32MiB # of a request as received; more gives 413
    decompressed_bytes: 32MiB # of a request after decompression; more gives 413
    connections: 512 # at a time
    idle: 2m # a connection without traffic, or a request that does not arrive, is closed
    series: 5_000_000 # known at a time; further ones are folded into __other__: colossusctl top series
    series_per_sender: 5_000_000
    senders: 10_000 # known at a time

# Read only: /metrics, /healthz, /readyz, /api/v1/.
web:
  listen: 127.0.0.1:9481
  # Who may read, as above; /healthz and /readyz are for everybody who gets through tls, and want no token.
  tokens: []
  # tokens:
  #   - name: prometheus
  #     file: credential:web-prometheus
  #     certificate: prometheus.example.org
  insecure: false # true: answer other machines without tokens
  # As above; a client certificate is good for reading.
  # tls:
  #   certificate: /etc/colossusd/web.pem
  #   key: credential:web-key
  #   client_ca: /etc/colossusd/clients.pem
  #   client_certificate: required
  #   client_crl: /etc/colossusd/clients.crl
  #   health_without_certificate: false # true: /healthz and /readyz are for probes, too, which have no certificate
  #   min_version: "1.2"

# Names that requests may give as Host, besides localhost, 127.0.0.1 and [::1].
hosts: []

# The measured fleet. Without a file, entities are placed by their labels alone.
inventory:
  # file: inventory.csv # node,rack,array,hall,model; no default
  site: site

# Event-time windows of the measured stream. A simulated stream's finest window is at least one of its ticks.
windows:
  finest: 10s
  rollups: [1m, 10m, 1h] # each a multiple of the one before
  lateness: 15s # how far the watermark stays behind the newest sample of a sender
  sender_silent: 30s # then a sender no longer holds the watermark back
  max_hold: 15m # how long windows wait after a start, or for a backlog, before they close incomplete
  revise_within: 5m # how long after its end a closed window is revised by what comes late; 0s: never
  future_max: 5m # samples further ahead of the clock are counted and dropped

aggregation:
  shards: 0 # 0: one a core
  levels:
    measured: [node, rack, array, hall, site, job]
    simulated: [rack, array, hall, site, job]

# SQLite in the state directory.
store:
  # By length of the window; other lengths are kept as the next shorter one.
  retention:
    10s: 6h
    1m: 7d
    10m: 90d
    1h: 730d
  events: 730d
  undelivered_keep: 3d # for so long windows wait for an endpoint that has not got them, beyond their time
  bytes_max: 10GB # then the oldest of the finest windows go before their time

# Simulations that the daemon knows of. Others are started with `colossusctl simulate start`.
simulations: []
# simulations:
#   - run: colossus # the stream is sim/colossus
#     scenario: scenarios/colossus.yaml
#     speed: 1 # simulated seconds a second, or max
#     seed: 1 # default: the scenario's own
#     autostart: true # with the daemon

# What is wrong is looked for in each window that closes, and in events: colossusctl alerts. Endpoints of the kind
# alertmanager get what fires; webhooks get events alert_firing and alert_resolved. A rack, array or hall of which all is
# silent, or down, is one alert. What is open survives a restart.
alerts:
  streams: measured # or simulated, all, none; times below are times of the stream
  open_max: 1000 # pending and firing; what is beyond is counted, and said in one AlertsSuppressed a rule
  open_per_rule_max: 100 # the same for a rule in a stream
  gpu_silent: # GPUSilent: expected, and not heard in a window; not of nodes that are down or in maintenance
    enabled: true
    for: 1m # so long it must be so
    severity: warning # info, warning or critical
  node_down: # NodeDown: between the events node_down and node_up
    enabled: true
    for: 0s
    severity: critical
  xid: # XID: by node and class of the XID
    enabled: true
    for: 0s
    severity: warning
    classes: [memory, link, bus, firmware] # also application, other
    hold: 15m # over when none of the class came for so long, or with node_up
  coverage_low: # CoverageLow: less of the expected senders was heard
    enabled: true
    for: 1m
    severity: warning
    below: 0.9
  endpoint_failing: # EndpointFailing: takes nothing; on the wall clock
    enabled: true
    for: 5m
    severity: warning
  # Rules of one's own: an alert for each entity of the level of which it is so.
  rules: []
  # rules:
  #   - name: HotRack # unique
  #     level: rack # node, rack, array, hall, site or job
  #     field: DCGM_FI_DEV_GPU_TEMP # or count
  #     count: silent # GPUs expected, reporting, silent, in_job, faulted; or coverage, of the window
  #     statistic: p99 # of a field: avg (default), min, max, count, sum, p50, p90, p99; of a count: share of the expected
  #     comparison: ">" # or >=, <, <=, ==, !=
  #     threshold: 85
  #     for: 2m # default 0s
  #     window: 1m # length of the windows; default: the finest
  #     severity: warning
  #     labels: {team: cooling}
  #     annotations: # {value}, {threshold}, {entity}, {level}, {rule} and {stream} are replaced
  #       summary: "{entity} is at {value} degrees"

# Where summaries are pushed. See conf.d.example for more. Each endpoint has a position of its own in the history: one that
# was down gets everything, in order (unless it takes any), when it is back. What it refuses for good is kept: `colossusctl deadletter`.
endpoints: []
# endpoints:
#   - name: archive # unique; the position in the history belongs to this name
#     kind: file # webhook, remote_write, otlp, influx, alertmanager, file or stdout
#     path: summaries.jsonl # file only; in the state directory, where relative paths start
#     url: http://127.0.0.1:8428/api/v1/write # all but file and stdout; redirections are not followed
#     # What it gets:
#     streams: measured # or simulated, all, or a list as [measured, sim/colossus]
#     levels: [] # of node, rack, array, hall, site, job; empty: all
#     resolutions: [] # of the windows, as [10s, 1m]; empty: all
#     coarser: refused # or accepted: longer windows come in place of those that it had not got when the history dropped them
#     fields: [] # as [DCGM_FI_DEV_GPU_UTIL]; empty: all
#     statistics: [] # of fields: avg, min, max, count, sum, p50, p90, p99; empty: all
#     gpu_counts: true # GPUs expected, reporting, silent, in a job, faulted
#     labels:
#       add: {cluster: colossus-1} # to everything; no default
#       rename: {node: instance} # our labels: site, hall, array, rack, node, job, colossus_stream, resolution
#     from_beginning: false # a new endpoint gets the history too
#     allow_future: false # push windows that end after the clock: only to receivers that are known to take them
#     # Of one request, before compression. windows and wait (remote_write, otlp and influx): up to so many windows go in
#     # one request, where all of them fit, and one that comes alone waits so long for others
#     batch: {samples: 5000, bytes: 1MiB, windows: 1, wait: 0s}
#     # file only:
#     rotate: {bytes: 100MB, files: 5} # a full file becomes PATH.1, and so on; not by default
#     fsync: false # each line is on the disk before it counts as delivered
#     # remote_write only:
#     version: "1.0" # or "2.0", with units and help texts; falls back to 1.0 where the receiver does not know it
#     stale_after: 90s # a series without a value for so long (its job is over) ends, with a stale marker; 0s: never
#     # remote_write 2.0 (native histograms, false) and otlp (exponential histograms, true): distributions
#     # `level:field:distribution`, of windows of a minute and more and of levels from the array up
#     histograms: true
#     # otlp only:
#     encoding: protobuf # or json
#     # influx only; precision=ms is added to the url, too:
#     org: research
#     bucket: gpus
#     # alertmanager only, which gets alerts and nothing else; url: http://127.0.0.1:9093/api/v2/alerts
#     resend: 1m # what fires is said again so often
#     generator_url: http://127.0.0.1:9481/ # where people find out more; no default
#     # webhook only:
#     format: binary # CloudEvents: binary, structured, or batch (an event a row)
#     signing_key_file: credential:webhook-key # adds the headers of Standard Webhooks (HMAC-SHA256)
#     events: [alert_firing, alert_resolved] # kinds of events, each in a request; or [all]; as NAME#events in lists
#     summaries: true # false: events alone
#     handshake_origin: colossus.example # asks with OPTIONS first whether events are welcome; no default
#     # remote_write, otlp, influx and webhook:
#     out_of_order: refused # accepted: after an outage new windows go out at once, and old ones beside them (Prometheus
#     # needs storage.tsdb.out_of_order_time_window for that)
#     max_in_flight: 4 # accepted only: requests at once; one more with each success, half with each failure
#     # All but file and stdout:
#     timeout: 30s # of a request, to the last byte of the response
#     compression: snappy # or zstd, gzip (remote_write); gzip or none (otlp, influx: gzip; webhook: none). 415: simpler
#     retry: {min: 1s, max: 1m}
#     headers: {X-Scope-OrgID: colossus} # no secrets
#     # Secrets are in files, which are read again every 10 s and after a refusal; credential:NAME is a credential of
#     # systemd (LoadCredential= of the unit). They are shown nowhere.
#     bearer_token_file: /etc/colossusd/token # of influx: Authorization: Token
#     basic: {user: colossus, password_file: credential:password}
#     header_files: {X-Api-Key: credential:api-key}
#     tls: # the peer is always verified
#       ca_file: /etc/colossusd/ca.pem # instead of the system's certificates
#       cert_file: /etc/colossusd/client.pem # a client certificate, and its key
#       key_file: credential:client-key
#       min_version: "1.2" # or "1.3"

# Several daemons that share what they simulate and ingest over the brokers of a NATS cluster (2.11 or later, with JetStream). Without this
# section a daemon works alone, and nothing of it costs anything. See CLUSTER in colossusd.yaml(5).
# cluster:
#   name: prod # part of subjects and streams; the accounts of Deploy/nats are for this name
#   servers: ["nats://broker-1:4222", "nats://broker-2:4222", "nats://broker-3:4222"] # or tls://, all of them
#   # worker: simulates slices, ingests, and publishes its shares of each window; rollup: closes the windows; reporter:
#   # keeps the summaries in its own store, for its own endpoints
#   roles: [worker, rollup, reporter]
#   worker: gpu-ops-1 # this member's name, unique in the cluster; default: the host's name
#   lease: 10s # then what a dead member had is taken over; 3s with a single broker
#   grace: 30s # how long a window waits for slices that are missing; lease + 5s at least
#   replicas: 3 # copies of each stream; 1 with a single broker
#   slices: 64 # shares of the fleet, at most; each is one array at least. The same on all members, as all below
#   partitions: 0 # of the roll-up; 0: as many as the fleet needs
#   windows_max: 64 # that a worker keeps while the brokers stand still; then the simulation waits for them
#   partials_bytes: 4GB # of the stream of partials on each broker; those that are in closed windows go at once
#   partials_keep: 24h # how long the brokers keep partials for roll-ups that are away; twice the grace at least
#   finals_keep: 24h # how long the brokers keep closed windows for reporters and roll-ups that are away; partials_keep at least
#   share_ingest: false # true, on all members: what workers ingest becomes one stream, measured, of all of them
#   allow_old_servers: false # brokers before 2.11 may disagree about who has what
#   # As whom, one of the two: secrets are in files; credential:NAME is a credential of systemd
#   credentials_file: credential:colossus.creds
#   nkey: {public: UA..., seed_file: credential:nkey-seed}
#   tls: # the brokers are always verified; any of these, or tls:// in servers, means TLS
#     ca_file: /etc/colossusd/ca.pem # instead of the system's certificates
#     cert_file: /etc/colossusd/client.pem # a client certificate, and its key
#     key_file: /etc/colossusd/client.key
#   simulation: # the fleet that the workers simulate together; the stream is sim/RUN. Without it, and later: simulate start --shared
#     run: colossus
#     scenario: scenarios/colossus.yaml
#     speed: 1 # simulated seconds a second, as it begins; not max
#     seed: 1 # default: the scenario's own

log:
  level: info # trace, debug, info, notice, warning, error, critical
"""## + "\n"
}
