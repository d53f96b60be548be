"""Stage `full` of Deploy/cluster-daemon-test: streams of the brokers that take no more.

Three brokers, two workers, a roll-up and a reporter. The stream of partials gets less room than one window needs, for longer than the
grace, so that some slices of a window are stored and others are refused; the roll-up is killed meanwhile, and a worker stopped. Then
there is room again, and the stream of finals has none. No window is lost or lacks a slice; status, journal and metrics say which stream
is full and what to do; all goes on by itself. What is stored in the end is what a daemon alone has, byte for byte.
"""

import os
import shutil
import signal
import tempfile
import time
import urllib.request

from daemon import CheckFailed, Daemon, expect, wait_for
from nats_client import limit, stream

PARTIALS, FINALS = "CLSD_PART_check", "CLSD_FIN_check"
# Less than the eight slices of a window take, and more than one of them.
ROOM = 24_000


def gauge(daemon, name, stream_name):
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.web}/metrics", timeout=5) as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith(f'{name}{{bus_stream="{stream_name}"}} '):
                return float(line.split()[-1])
    return None


def problems(daemon):
    """What members say, as this one hears them."""
    try:
        reply = daemon.json("cluster", "status")
    except CheckFailed:
        return {}
    return {one["name"]: one["problem"] for one in reply["members"] if one.get("problem")}


def journal(daemon, text):
    with open(daemon.log) as file:
        return text in file.read()


def play(brokers, scenario, member, holders, through, compare, keep, finals_s):
    compared(brokers, scenario, member, keep, lambda *five: steps(brokers.brokers[0].port, *five, holders, through, compare, finals_s))


def away(broker, scenario, member, holders, through, compare, keep):
    """Stage `away`: the roll-up is gone for longer than the brokers keep partials."""
    def short(*words):
        daemon = member(*words)
        with open(daemon.config) as file:
            text = file.read().replace("grace: 30s", "grace: 8s\n  replicas: 1\n  partials_keep: 16s")
        with open(daemon.config, "w") as file:
            file.write(text)
        return daemon

    compared(broker, scenario, short, keep, lambda *five: away_steps(broker.port, *five, holders, through, compare))


def compared(brokers, scenario, member, keep, steps):
    folder = tempfile.mkdtemp(prefix="colossus-full-")
    path = scenario(folder)
    alone = Daemon(f"simulations: [{{run: shared, scenario: {path}, speed: 60}}]\n", name="alone")
    w1, w2 = member(brokers, path, "w1", "worker"), member(brokers, path, "w2", "worker")
    u1, r1 = member(brokers, path, "u1", "rollup"), member(brokers, path, "r1", "reporter")
    everybody = [alone, r1, u1, w1, w2]
    try:
        for daemon in everybody:
            daemon.start()
        steps(alone, w1, w2, u1, r1)
        for daemon in everybody:
            daemon.stop()
    except BaseException:
        for daemon in everybody:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            if os.path.exists(daemon.log):
                print(f"--- {daemon.folder}\n{open(daemon.log).read()[-1500:]}")
        raise
    finally:
        brokers.end()
        if not keep:
            for one in [folder] + [daemon.folder for daemon in everybody]:
                shutil.rmtree(one, ignore_errors=True)


def steps(port, alone, w1, w2, u1, r1, holders, through, compare, finals_s):
    wait_for("shares for both workers", 30, lambda: holders(w2) == {"w1": 4, "w2": 4})
    wait_for("three windows", 30, lambda: through(r1) >= 3)
    made = stream(port, PARTIALS)["config"]
    expect(made["discard"] == "new" and made["max_bytes"] == 256_000_000 and made["num_replicas"] == 3,
           "the stream of partials is of three copies, has 256 MB, and refuses what is beyond")

    print(f"  the stream of partials has {ROOM:,} bytes for 62 s, of which a window needs more", flush=True)
    since = time.monotonic()
    limit(port, PARTIALS, ROOM)
    said = wait_for("both workers to say so", 20, lambda: len([
        text for name, text in problems(r1).items() if name in ("w1", "w2") and "partials is full" in text]) == 2)
    expect(said, f"the status of the reporter says of both: {problems(r1)['w1']}")
    wait_for("a word in metrics and journal", 10, lambda: all(
        gauge(one, "colossus_cluster_stream_full", "partials") == 1 and journal(one, "partials is full") for one in (w1, w2)))
    expect(True, "so do their metrics and journals")
    before = through(r1)
    time.sleep(max(0.0, since + 20 - time.monotonic()))
    print("  SIGKILL of the roll-up, and SIGSTOP of a worker for 6 s", flush=True)
    u1.kill()
    w1.process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    w1.process.send_signal(signal.SIGCONT)
    u1.start()
    time.sleep(max(0.0, since + 60 - time.monotonic()))
    expect(through(r1) <= before + 2, f"windows wait: {through(r1) - before} more were stored")
    limit(port, FINALS, 1)
    time.sleep(max(0.0, since + 62 - time.monotonic()))

    print(f"  now it has room again, and the stream of finals has none for {finals_s} s", flush=True)
    limit(port, PARTIALS, 256_000_000)
    since, before = time.monotonic(), through(r1)
    wait_for("the roll-up to say so", 20, lambda: "finals is full" in problems(r1).get("u1", ""))
    expect(True, f"the status of the reporter says of the roll-up: {problems(r1)['u1']}")
    wait_for("a word in metrics and journal", 10, lambda: gauge(u1, "colossus_cluster_stream_full", "finals") == 1
             and journal(u1, "finals is full"))
    expect(True, "so do its metrics and its journal")
    time.sleep(max(0.0, since + finals_s - time.monotonic()))
    expect(through(r1) <= before + 1, "windows wait")
    limit(port, FINALS, -1)
    since = time.monotonic()
    windows = through(alone)
    wait_for(f"{windows} windows", 60, lambda: through(r1) >= windows, every=0.3)
    expect(True, f"there is room for all: after {time.monotonic() - since:.1f} s the reporter has caught up, with {windows} windows")
    wait_for("nobody to complain", 20, lambda: not problems(r1))
    wait_for("metrics that say so", 10, lambda: gauge(w1, "colossus_cluster_stream_full", "partials") == 0
             and gauge(u1, "colossus_cluster_stream_full", "finals") == 0)
    expect(True, "nobody complains any more")
    status = r1.json("cluster", "status")
    incomplete = sum(one["windows_incomplete"] for one in status["members"])
    expect(incomplete == 0, f"windows that lack a slice: {incomplete}")
    compare(alone, r1, windows)
    kept = wait_for("partials that are in finals to go", 25, lambda: (
        lambda found: found["state"]["messages"] if found["state"]["messages"] < 8 * 40 else None)(stream(port, PARTIALS)))
    expect(True, f"of {stream(port, PARTIALS)['state']['last_seq']} partials the brokers keep {kept}: the others are in finals")


def away_steps(port, alone, w1, w2, u1, r1, holders, through, compare):
    wait_for("shares for both workers", 30, lambda: holders(w2) == {"w1": 4, "w2": 4})
    wait_for("three windows", 30, lambda: through(r1) >= 3)
    expect(stream(port, PARTIALS)["config"]["max_age"] == 16_000_000_000, "the broker keeps partials for 16 s")
    print("  the roll-up is gone for 36 s", flush=True)
    u1.kill()
    since = time.monotonic()
    time.sleep(20)
    first = stream(port, PARTIALS)["state"]["first_seq"]
    time.sleep(16 - (time.monotonic() - since - 20))
    found = stream(port, PARTIALS)["state"]
    expect(found["first_seq"] > first, "the broker has let go of partials that are in no window yet")
    u1.start()
    windows = through(alone)
    wait_for(f"{windows} windows", 40, lambda: through(r1) >= windows, every=0.3)
    incomplete = sum(one["windows_incomplete"] for one in r1.json("cluster", "status")["members"])
    expect(incomplete == 0, f"{windows} windows are closed; of them lack a slice: {incomplete}")
    with urllib.request.urlopen(f"http://127.0.0.1:{w1.web}/metrics", timeout=5) as reply:
        lines = [line for line in reply.read().decode().splitlines() if line.startswith("colossus_cluster_partials_repeated ")]
    expect(float(lines[0].split()[1]) > 0, f"a worker has published windows of its slices again: {lines[0].split()[1]}")
    compare(alone, r1, windows)
