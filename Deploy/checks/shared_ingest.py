"""Stage `shared` of Deploy/cluster-daemon-test: two workers ingest two halves of one stream, a third daemon all of it.

Real remote write, one broker. A worker is killed for longer than the grace, so that windows close without it, and its
sender sends what it could not when it is back, as Prometheus does. At the end every window, at every level, is the same.

Stage `replicated`: the same at three brokers with streams of three copies, of which the leader and then two are killed, while a worker
that closes and reports is stopped beyond its lease, and the other one is killed.
"""

import json
import math
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from daemon import ROOT, CheckFailed, Daemon, expect, free_port, wait_for

WINDOWS = """
windows: {finest: 1s, rollups: [5s], lateness: 1s, sender_silent: 20s, max_hold: 1m, revise_within: 2m}
ingest: {listen: 'LISTEN'}
"""
SECTION = """
cluster:
  name: shared
  servers: [SERVERS]
  worker: NAME
  roles: [ROLES]
  lease: LEASE
  grace: GRACE
  replicas: REPLICAS
  partitions: 3
  partials_bytes: 256MB
  share_ingest: true
"""
LEVELS = ("node", "rack", "array", "hall", "site", "job")
FIELDS = ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION")
NODES, GPUS = 12, 4
HOLES = 13.0
# A lease, and what may pass across an election.
ELECTION = 2 + 15


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def snappy(message):
    """As literals only."""
    out = bytearray(varint(len(message)))
    for start in range(0, len(message), 65_536):
        part = message[start:start + 65_536]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part
    return bytes(out)


def series(node, gpu, name, value, at_ms):
    labels = {
        "__name__": name, "Hostname": f"node-{node:02}", "gpu": str(gpu), "UUID": f"GPU-{node}-{gpu}",
        "rack": f"rack-{node // 2}", "array": f"array-{node // 4}", "hall": "hall-1", "modelName": "H100",
    }
    if node % 4 != 3:
        labels["hpc_job"] = f"job-{node // 6}"
    told = b"".join(field(1, field(1, n.encode()) + field(2, t.encode())) for n, t in sorted(labels.items()))
    return field(1, told + field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at_ms)))


class Sender(threading.Thread):
    """Sends its share of all GPUs to one daemon, in order, each request until it is taken."""

    def __init__(self, target, queue):
        super().__init__(daemon=True)
        self.target, self.queue, self.isOver = target, queue, False
        self.refused = 0

    def run(self):
        while self.queue or not self.isOver:
            if not self.queue:
                time.sleep(0.02)
                continue
            if self.post(self.queue[0]):
                self.queue.pop(0)
            else:
                self.refused += 1
                time.sleep(0.2)

    def post(self, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.target.ingest}/api/v1/write", body, {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status < 300
        except urllib.error.HTTPError as error:
            expect(error.code in (429, 503), f"a refusal is one to try again: {error.code} {error.read()[:200]}")
            return False
        except OSError:
            return False


class Exporters(threading.Thread):
    """Twelve nodes; the sixth has two of its GPUs scraped for one worker and two for the other."""

    def __init__(self, alone, left, right):
        super().__init__(daemon=True)
        self.random, self.energy, self.isOver = random.Random(7), {}, False
        self.senders = [Sender(alone, []), Sender(left, []), Sender(right, [])]

    def run(self):
        for sender in self.senders:
            sender.start()
        while not self.isOver:
            at_ms = int(time.time() * 1000)
            shares = [[], []]
            for node in range(NODES):
                for gpu in range(GPUS):
                    energy = self.energy.get((node, gpu), 1e6) + self.random.uniform(100, 900)
                    self.energy[(node, gpu)] = energy
                    values = (self.random.uniform(30, 80), self.random.uniform(80, 700), energy)
                    isRight = node % 2 == 1 if node != 5 else gpu >= 2
                    shares[isRight] += [series(node, gpu, n, v, at_ms) for n, v in zip(FIELDS, values)]
            self.senders[0].queue.append(snappy(b"".join(shares[0] + shares[1])))
            for sender, share in zip(self.senders[1:], shares):
                sender.queue.append(snappy(b"".join(share)))
            time.sleep(max(0.0, at_ms / 1000 + 0.25 - time.time()))
        for sender in self.senders:
            sender.isOver = True
            sender.join(90)
            expect(not sender.queue, f"everything was taken, after {sender.refused} tries that were not")


def windows(daemon, resolution):
    """Newest revision and coverage of each window, by its start."""
    if not os.path.exists(daemon.state + "/history.sqlite"):
        return {}
    with sqlite3.connect(f"file:{daemon.state}/history.sqlite?mode=ro", uri=True, timeout=10) as rows:
        return {start: (revision, coverage, sequence) for start, revision, coverage, sequence in rows.execute(
            "SELECT w.start_ms, w.revision, w.coverage, w.sequence FROM windows w JOIN streams s ON s.id = w.stream"
            " WHERE s.name = 'measured' AND w.resolution_ms = ? ORDER BY w.revision", (resolution,))}


def lacking(daemon):
    """Windows that say that something is missing; of the first one the senders did not tell the beginning."""
    known = windows(daemon, 1_000)
    return [start for start, (_, coverage, _) in known.items() if coverage < 1 and start > min(known)]


def site_sketches(daemon, sequence):
    with sqlite3.connect(f"file:{daemon.state}/history.sqlite?mode=ro", uri=True, timeout=10) as rows:
        return rows.execute("SELECT level, field, data FROM sketches WHERE window = ? AND level IN ('site', 'hall')"
                            " ORDER BY 1, 2", (sequence,)).fetchall()


def summary(daemon, level, resolution, start):
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((start + resolution) / 1000))
    url = (f"http://127.0.0.1:{daemon.web}/api/v1/summary?stream=measured&level={level}"
           f"&resolution={resolution // 1000}s&at={end}&limit=10000")
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)


def difference(left, right):
    """The first thing that two summaries do not have in common; sums to 1e-9, all else exactly."""
    rows = [{(row["entity"], row["field"]): row for row in one["rows"]} for one in (left, right)]
    if rows[0].keys() != rows[1].keys():
        return sorted(rows[0].keys() ^ rows[1].keys())[:3]
    for key, row in rows[0].items():
        other = rows[1][key]
        for name in row.keys() | other.keys():
            mine, theirs = row.get(name), other.get(name)
            if name == "mean" and mine is not None and theirs is not None:
                if not math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=0):
                    return key, name, mine, theirs
            elif mine != theirs:
                return key, name, mine, theirs
    gpus = [sorted(one["gpus"], key=lambda row: row["entity"]) for one in (left, right)]
    return None if gpus[0] == gpus[1] else [pair for pair in zip(*gpus) if pair[0] != pair[1]][:2] or gpus


def compare(alone, shared, seconds):
    compared = rows = 0
    for resolution in (1_000, 5_000):
        mine, theirs = windows(alone, resolution), windows(shared, resolution)
        common = sorted(set(mine) & set(theirs))
        first, last = max(min(mine), min(theirs)), min(max(mine), max(theirs))
        gaps = [start for start in range(first, last, resolution) if start not in mine or start not in theirs]
        expect(not gaps and len(common) * resolution >= seconds * 1_000,
               f"{len(common)} windows of {resolution // 1000} s in both, without a gap")
        for start in common:
            for level in LEVELS:
                left, right = (summary(one, level, resolution, start) for one in (alone, shared))
                wrong = difference(left, right)
                if wrong:
                    expect(False, f"window {start} of {resolution} ms at {level}, revision {theirs[start][0]}: {wrong}")
                rows += len(left["rows"])
                compared += 1
            if site_sketches(alone, mine[start][2]) != site_sketches(shared, theirs[start][2]):
                expect(False, f"the sketches of window {start}, revision {theirs[start][0]}, differ")
        began = min(windows(alone, 1_000))
        other = [(start, mine[start], theirs[start]) for start in common if start >= began and not math.isclose(mine[start][1], theirs[start][1], abs_tol=1e-6)]
        expect(not other, f"their coverage is the same {other[:3]}")
    expect(rows > 1_000, f"{rows} rows of {compared} summaries at {len(LEVELS)} levels are the same, sketches byte for byte")


class Broker:
    def __init__(self):
        self.folder, self.port = tempfile.mkdtemp(prefix="colossus-broker-"), free_port()
        program = subprocess.run([os.path.join(ROOT, "Deploy", "tools", "nats-server")], check=True, capture_output=True,
                                 text=True).stdout.strip()
        log = open(self.folder + "/log", "w")
        self.process = subprocess.Popen(
            [program, "-js", "-sd", self.folder + "/js", "-a", "127.0.0.1", "-p", str(self.port)],
            stdout=log, stderr=log)

    def end(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def servers(self):
        return f'"nats://127.0.0.1:{self.port}"'


def member(brokers, name, roles, lease="1s", grace="6s", replicas=1):
    section = SECTION.replace("SERVERS", brokers.servers).replace("NAME", name).replace("ROLES", roles)
    section = section.replace("LEASE", lease).replace("GRACE", grace).replace("REPLICAS", str(replicas))
    return windowed(Daemon(section, name=name), section)


def windowed(daemon, section=""):
    with open(daemon.config, "w") as file:
        file.write(f"web: {{listen: '127.0.0.1:{daemon.web}'}}\n")
        file.write(WINDOWS.replace("LISTEN", f"127.0.0.1:{daemon.ingest}") + section)
    return daemon


def play(keep):
    broker = Broker()
    w1, w2 = member(broker, "w1", "worker"), member(broker, "w2", "worker, rollup, reporter")
    compared(keep, broker, w1, w2, steps)


def replicated(keep, brokers, leading):
    both = {"lease": "2s", "grace": "8s", "replicas": 3}
    w1 = member(brokers, "w1", "worker, rollup", **both)
    w2 = member(brokers, "w2", "worker, rollup, reporter", **both)
    compared(keep, brokers, w1, w2, lambda *four: replicated_steps(brokers, leading, *four))


def compared(keep, broker, w1, w2, steps):
    alone = windowed(Daemon(name="all"))
    everybody = [alone, w1, w2]
    exporters = Exporters(alone, w1, w2)
    try:
        for daemon in everybody:
            daemon.start()
        wait_for("members", 60, lambda: {m["name"] for m in w2.json("cluster", "status")["members"]} == {"w1", "w2"})
        exporters.start()
        steps(exporters, alone, w1, w2)
        for daemon in (w1, w2, alone):
            since = time.monotonic()
            daemon.stop()
            expect(time.monotonic() - since < 60, f"SIGTERM ends it within {time.monotonic() - since:.1f} s")
    except BaseException:
        exporters.isOver = True
        for daemon in everybody:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            if os.path.exists(daemon.log):
                print(f"--- {daemon.folder}\n{open(daemon.log).read()[-1500:]}")
        raise
    finally:
        broker.end()
        if not keep:
            for daemon in everybody:
                shutil.rmtree(daemon.folder, ignore_errors=True)


def steps(exporters, alone, w1, w2):
    wait_for("windows of both halves", 60, lambda: len(windows(w2, 1_000)) >= 6)
    expect(not lacking(w2), f"{len(windows(w2, 1_000))} windows, all covered")
    expect(not windows(w1, 1_000), "who is no reporter has none of its own")
    print("  SIGKILL of worker w1 for longer than the grace", flush=True)
    w1.kill()
    killedMs, since = int(time.time() * 1000), time.monotonic()
    first = min(wait_for("windows without it", 75, lambda: lacking(w2)))
    expect(first >= killedMs - 5_000, "windows since then say that half of the fleet is missing, the first "
           f"{(first - killedMs) / 1000:+.1f} s from the kill")
    time.sleep(max(0.0, HOLES - (time.monotonic() - since)))
    w1.start()
    wait_for("revisions", 90, lambda: not lacking(w2))
    wait_for("a status of both", 60, lambda: len(w2.json("cluster", "status")["members"]) == 2)
    late = [m["partials_late"] for m in w2.json("cluster", "status")["members"]]
    expect(sum(late) == 0, "nothing came too late for its window")
    revised = sum(1 for revision, _, _ in windows(w2, 1_000).values() if revision > 0)
    expect(revised > 2, f"it is back: {revised} windows are revised, all are covered")
    print("  SIGKILL of w2, which is roll-up and reporter, too", flush=True)
    w2.kill()
    time.sleep(2)
    w2.start()
    before = len(windows(w2, 1_000))
    wait_for("windows after it", 90, lambda: len(windows(w2, 1_000)) >= before + 6 and not lacking(w2))
    expect(True, "windows go on, all covered")
    runs(w1, w2)
    ended(exporters, alone, w2, 20, "sim/second")


def runs(w1, w2):
    """Simulated runs are started beside it, one behind the other: what is ingested goes on all the time."""
    def stored(run):
        with sqlite3.connect(f"file:{w2.state}/history.sqlite?mode=ro", uri=True, timeout=10) as rows:
            return rows.execute("SELECT count(*) FROM windows w JOIN streams s ON s.id = w.stream WHERE s.name = ?",
                                (f"sim/{run}",)).fetchone()[0]

    def begun(run):
        def asked():
            try:
                return w1.json("simulate", "start", os.path.join(ROOT, "Config", "scenarios", "small-512.yaml"),
                               "--run", run, "--speed", "60", "--shared")
            except CheckFailed:
                return None

        wait_for(f"run {run}", 60, asked, every=0.5)
        wait_for(f"windows of run {run}", 60, lambda: stored(run) >= 3)

    newest, pauses, isOver = [time.monotonic()], [0.0], threading.Event()

    def watch():
        count = len(windows(w2, 1_000))
        while not isOver.wait(0.2):
            now = len(windows(w2, 1_000))
            pauses.append(time.monotonic() - newest[0])
            if now > count:
                count, newest[0] = now, time.monotonic()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    begun("first")
    w2.ctl("simulate", "stop", "first")
    begun("second")
    # What was held up shows by what does not come then.
    go_on(w2, "windows of what is ingested in the second run", 30)
    isOver.set()
    watching.join()
    expect(max(pauses) < 6 and not lacking(w2),
           f"while members went over from one simulated run to the next, windows came all the time, {max(pauses):.1f} s apart at most")


def ended(exporters, alone, w2, seconds, stream="measured"):
    exporters.isOver = True
    exporters.join(120)
    time.sleep(3)
    compare(alone, w2, seconds)
    expect(w2.json("cluster", "status")["stream"] == stream, "the status tells of the shared stream")


def go_on(daemon, what, seconds=60):
    """Waits for six more windows, with nothing missing; how long that took."""
    before, since = len(windows(daemon, 1_000)), time.monotonic()
    wait_for(what, seconds, lambda: len(windows(daemon, 1_000)) >= before + 6 and not lacking(daemon))
    return time.monotonic() - since


def heard(daemon, start):
    """Nodes of which a window has values."""
    return {row["entity"] for row in summary(daemon, "node", 1_000, start)["rows"] if row.get("mean") is not None}


def replicated_steps(brokers, leading, exporters, alone, w1, w2):
    wait_for("windows of both halves", 60, lambda: len(windows(w2, 1_000)) >= 6)
    expect(not lacking(w2), f"{len(windows(w2, 1_000))} windows, all covered")

    print("  SIGKILL of the broker that leads, and SIGSTOP of w2 (roll-up and reporter, too) for 5 s", flush=True)
    leader = wait_for("a leader", 10, lambda: leading(brokers, "CLSD_PART_shared"))
    leader.process.kill()
    leader.process.wait()
    w2.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    w2.process.send_signal(signal.SIGCONT)
    seconds = go_on(w2, "windows after it")
    leader.start()
    expect(seconds < ELECTION + 6, f"windows go on after {seconds:.1f} s more, all covered")

    print("  SIGKILL of worker w1 for longer than the grace", flush=True)
    w1.kill()
    killedMs, since = int(time.time() * 1000), time.monotonic()
    wait_for("windows without it", 60, lambda: len(lacking(w2)) >= 3)
    time.sleep(max(0.0, 13 - (time.monotonic() - since)))
    known, holes = windows(w2, 1_000), lacking(w2)
    expect(min(holes) >= killedMs - 5_000 and holes == sorted(start for start in known if start >= min(holes)),
           f"{len(holes)} windows say that something is missing: all since {(min(holes) - killedMs) / 1000:+.1f} s from the kill, and no other")
    # What both hear of has a half of each.
    mine = {f"node-{node:02}" for node in range(NODES) if node % 2 == 1}
    theirs = heard(w2, holes[1])
    expect(theirs == mine, f"they have what w2 hears, and nothing else: {sorted(theirs ^ mine)}")
    w1.start()
    wait_for("revisions", 60, lambda: not lacking(w2))
    revised = sum(1 for revision, _, _ in windows(w2, 1_000).values() if revision > 0)
    expect(revised >= len(holes), f"it is back: {revised} windows are revised, all are covered")

    print("  SIGKILL of two of the three brokers for 15 s", flush=True)
    leader = wait_for("a leader", 10, lambda: leading(brokers, "CLSD_PART_shared"))
    two = [leader, next(one for one in brokers.brokers if one is not leader)]
    for one in two:
        one.process.kill()
        one.process.wait()
    time.sleep(15)
    for one in two:
        one.start()
    seconds = go_on(w2, "windows after it", 90)
    expect(seconds < ELECTION + 6, f"they are back: windows go on after {seconds:.1f} s, all covered")
    late = [one["partials_late"] for one in w2.json("cluster", "status")["members"]]
    expect(sum(late) == 0, "nothing came too late for its window")
    ended(exporters, alone, w2, 40)
