"""Stage `controlled` of Deploy/cluster-daemon-test: what is asked of a shared run at any member is done by all of them.

Two workers and a reporter; the speed is changed at one, a fault injected at the other, the run is paused and goes on. A third worker
comes late and plays from the beginning, and takes everything over when the first two are gone by SIGKILL; one of those comes back, and
the run is stopped there. A second run is started behind it, with another seed; the worker that was killed in the first one takes part.
Then a run is started for a cluster whose configuration has none. At each step all members say the same. What the reporter has stored is, byte for byte, what a daemon without any
cluster stores that has the same fault in the same simulated millisecond.
"""

import contextlib
import datetime
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request

from daemon import BINARIES, CheckFailed, Daemon, expect, wait_for
from nats_client import last, replace, request

RUN, SECOND = "shared", "second"


def said(daemon):
    """What was asked of the run last, as a member knows it; None before it has joined."""
    try:
        return daemon.json("cluster", "status").get("control")
    except CheckFailed:
        return None


def words(daemon):
    control = said(daemon)
    return control and {key: control.get(key) for key in ("entries", "last", "member", "asked", "after")}


def agree(members, entries, last):
    """Waits until all say the same, and all workers play by it."""
    def same():
        known = [words(one) for one in members]
        return all(known) and known[0]["entries"] == entries and all(one == known[0] for one in known) and known[0]

    found = wait_for(f"all members to say {last}", 20, same)
    expect(found["last"] == last, f"all members say {found}")
    wait_for("all workers to play by it", 20, lambda: all(said(one)["is_known"] for one in members))


def states(members):
    return {one.run_status(RUN)["state"] for one in members}


def metric(daemon, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.web}/metrics", timeout=5) as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
    return None


def problem(daemon, text):
    """Waits until a member that has not joined says why."""
    wait_for(f"'{text}'", 20, lambda: text in (daemon.json("cluster", "status").get("problem") or ""))
    expect(True, f"a member says that {text}")


def milliseconds(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def struck(alone, faults):
    """A daemon without a cluster: it is paused at once, gets the faults by hand, and goes on with four times the speed."""
    alone.start()
    alone.ctl("simulate", "pause", RUN)
    alone.stop()
    with contextlib.closing(sqlite3.connect(alone.state + "/history.sqlite")) as history, history:
        for kind, entity, at, length in faults:
            history.execute("INSERT INTO injections (run, time_ms, kind, entity, for_ms) VALUES (?, ?, ?, ?, ?)",
                            (RUN, at, kind, entity, length))
    alone.start()
    status = alone.run_status(RUN)
    expect(milliseconds(status["now"]["time"]) < min(fault[2] for fault in faults), "the daemon that works alone is before the first fault")
    # The tick stays one of 10 s up to 240.
    alone.ctl("simulate", "speed", RUN, "240")
    alone.ctl("simulate", "resume", RUN)


def inject(daemon, kind, entity, *more):
    reply = json.loads(daemon.ctl("--output", "json", "simulate", "inject", kind, "--at", entity, "--run", RUN, *more))
    return reply


def steady(brokers, daemon, name, *words):
    """Orders that wait for a broker hold up nothing else of the member that was asked."""
    def pause():
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.web}/metrics", timeout=5) as reply:
            found = [line for line in reply.read().decode().splitlines() if line.startswith("colossus_cluster_tick_pause_seconds ")]
        return float(found[0].split()[1]) if found else None

    # The one that it is connected to answers, but has no quorum.
    stopped = [one for one in brokers if f"colossusd {name}" not in [
        client.get("name") for client in one.ask("/connz").get("connections") or []]]
    expect(len(stopped) == 2, "the member is connected to one of three brokers")
    for broker in stopped:
        broker.process.send_signal(signal.SIGSTOP)
    asked = [subprocess.Popen([os.path.join(BINARIES, "colossusctl"), "--socket", os.path.join(daemon.run, "control.sock"),
                               *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
             for _ in range(4)]
    pauses, since = [], time.monotonic()
    # A tick that is late tells of it when it comes.
    while time.monotonic() - since < 12:
        if time.monotonic() - since > 7:
            for broker in stopped:
                broker.process.send_signal(signal.SIGCONT)
        pauses.append(pause())
        time.sleep(0.3)
    codes = [one.wait(40) for one in asked]
    expect(max(pauses) < 1.5, f"four orders while two of three brokers stood still for 7 s (exits {codes}): ticks were {max(pauses):.2f} s apart at most")


class Old(threading.Thread):
    """A member of a version that knows but one run of a cluster, as the others hear of it."""

    def __init__(self, port, cluster):
        super().__init__(daemon=True)
        self.port, self.subject, self.isOver = port, f"clsd.v1.{cluster}.lease.note.old", False

    def run(self):
        note = {"v": 1, "fleet": "abc", "member": "old", "incarnation": 1, "roles": ["worker"], "version": "0.9.0", "isDraining": False,
                "hasLeft": False, "slices": [], "epochs": [], "share": 0, "ready": -1, "kept": 0, "published": 0, "retried": 0,
                "leaseLosses": 0, "partitions": [], "closed": 0, "incomplete": 0, "lagMs": 0}
        while not self.isOver:
            request(self.port, self.subject, note)
            time.sleep(0.5)


def ended(path, r1, w2):
    """A reporter that was gone when the next run was started knows of the one before."""
    wait_for("the end of the run in a file", 10, lambda: os.path.exists(r1.state + "/cluster.ended"))
    r1.kill()

    def asked():
        try:
            return w2.json("simulate", "start", path, "--run", "after", "--speed", "60", "--shared")
        except CheckFailed:
            # Its last windows are not closed yet.
            return None

    wait_for("the next run", 30, asked, every=0.5)
    r1.start()
    wait_for("the next run at the reporter", 30, lambda: "after" in [one["run"] for one in r1.json("simulate", "status")["simulations"]])
    expect(r1.run_status(RUN)["state"] == "stopped" and not os.path.exists(r1.state + "/cluster.ended"),
           "a reporter that was killed before the next run was started knows that the one before was stopped")


def closed_minutes(daemon):
    status = daemon.json("cluster", "status")
    through = status.get("closed_through")
    return (milliseconds(through) - milliseconds("2024-05-03T00:00:00Z")) // 60_000 if through else 0


def whole(r1, through):
    """Waits until the reporter has all windows up to the stop; each within 30 s."""
    minutes = (milliseconds(said(r1)["after"]) - milliseconds("2024-05-03T00:00:00Z")) // 60_000
    while through(r1) < minutes:
        before = through(r1)
        wait_for(f"a window behind {before} of {minutes}", 30, lambda: through(r1) > before)


def unplayed(brokers, path, r1):
    """Runs that were started and that nobody can play: each can be stopped, and another one follows."""
    start = ("simulate", "start", path, "--speed", "60", "--shared", "--run")
    port = brokers.brokers[0].port
    broken = {"v": 1, "run": "broken", "scenario": "of_a_later_version: true\n", "path": "later.yaml", "seed": 1, "speed": 60,
              "member": "w9", "askedMs": int(time.time() * 1000)}
    replace(port, "clsd.v1.begun.lease.run", json.dumps(broken), 0)
    problem(r1, "of_a_later_version")
    r1.ctl(*start, "unplayed", ok=(1,))
    r1.ctl("simulate", "stop", "other", ok=(4,))
    reply = r1.json("simulate", "stop", "broken")["simulation"]
    expect(reply["state"] == "stopped", "a run whose scenario no member can read is stopped at one that cannot join for it")
    old = Old(port, "begun")
    old.start()
    time.sleep(1)
    r1.ctl(*start, "unplayed", ok=(1,))
    expect(True, "a member that has not joined hears of one of a version that knows one run only, and refuses")
    old.isOver = True
    old.join()
    reply = r1.json(*start, "unplayed")["simulation"]
    expect((reply["run"], reply["state"]) == ("unplayed", "starting"), "once that is gone, another run is started, which no worker is there to play")
    r1.ctl(*start, "other", ok=(1,))
    expect(r1.json("simulate", "stop", "unplayed")["simulation"]["state"] == "stopped", "it is stopped, too")
    wait_for("its end", 10, lambda: r1.run_status("unplayed")["state"] == "stopped")
    r1.ctl("simulate", "stop", "unplayed", ok=(1,))


def begun(brokers, path, member, holders, through, content, before):
    """A cluster whose configuration has no run: one is started at one member, and all take part."""
    def idle(name, roles):
        daemon = member(brokers, path, name, roles)
        with open(daemon.config) as file:
            lines = [line for line in file.read().replace("name: check", "name: begun").splitlines() if "simulation:" not in line]
        with open(daemon.config, "w") as file:
            file.write("\n".join(lines) + "\nalerts: {streams: all}\n")
        return daemon

    def down():
        rows = r1.json("alerts")["alerts"]
        return [(row["since"], row["state"]) for row in rows if row["entity"] == "r0003-n2" and row["state"] == "firing"]

    started = [idle("r1", "reporter"), idle("w1", "worker, rollup"), idle("w2", "worker")]
    r1, w1, w2 = started
    try:
        r1.start()
        wait_for("a word of a run", 20, lambda: "--shared" in (r1.json("cluster", "status").get("problem") or ""))
        expect(True, "a member without a run says how to start one")
        unplayed(brokers, path, r1)
        w1.start()
        w2.start()
        wait_for("members in the run that nobody has played", 20, lambda: len(r1.json("cluster", "status")["members"]) == 3)
        r1.ctl("simulate", "start", path, "--run", RUN)
        reply = json.loads(w2.ctl("--output", "json", "simulate", "start", path, "--run", RUN, "--speed", "60", "--shared"))
        expect(reply["simulation"]["run"] == RUN, f"it is started at one: {reply['simulation']['state']}")
        wait_for("shares for both workers", 40, lambda: holders(w1) == {"w1": 4, "w2": 4})
        problem(r1, "plays on this member already")
        r1.ctl("simulate", "stop", RUN)
        problem(r1, "the history has another run named")
        expect(states([w1, w2]) == {"running"}, "what that member plays alone is stopped, and not the cluster's run")
        r1.ctl("simulate", "remove", RUN)
        wait_for("its place", 20, lambda: said(r1))
        expect(True, "and once it is removed, the member joins")
        again = json.loads(w1.ctl("--output", "json", "simulate", "start", path, "--run", RUN, "--speed", "60", "--shared"))
        expect(again["simulation"]["run"] == RUN, "who asks for the same once more has it")
        w1.ctl("simulate", "start", path, "--run", "other", "--shared", ok=(1,))
        for one in started:
            one.ctl("simulate", "start", path, "--run", RUN, ok=(1,))
        expect(True, "there is no second one, and no run of a member alone with its name")
        steady(brokers.brokers, w2, "w2", "simulate", "start", path, "--run", RUN, "--speed", "60", "--shared")
        w1.kill()
        w1.start()
        wait_for("shares for both workers", 40, lambda: holders(w1) == {"w1": 4, "w2": 4})
        wait_for("windows", 60, lambda: through(r1) >= 8)
        # Behind the windows that are compared.
        wait_for("more windows", 60, lambda: through(r1) >= 14)
        inject(w1, "node_down", "r0003-n2")
        known = wait_for("an alert", 40, down)
        r1.kill()
        r1.start()
        agree(started, 1, "inject node_down r0003-n2 -")
        time.sleep(5)
        expect(down() == known, f"an alert of the cluster's run outlives a restart of the reporter: {known}")
        w2.ctl("simulate", "speed", RUN, "1000000000")
        agree(started, 2, "speed 1000000000.0")
        # A reporter may be behind by hours of such a run: by what is closed it is not at its end yet.
        wait_for("a run that is as fast as it can be", 60, lambda: closed_minutes(w1) >= 100)
        r1.ctl("simulate", "stop", RUN)
        agree(started, 3, "stop")
        wait_for("the end everywhere", 30, lambda: states(started) == {"stopped"})
        whole(r1, through)
        wait_for("the end of its alerts", 30, lambda: r1.json("alerts")["firing"] == 0)
        expect(True, "one that should go faster than it can is stopped, and its alerts end")
        ended(path, r1, w2)
        windows, (expected, end) = content(r1)[0], before
        common = [name for name in windows if name in expected and name[0] == 60_000 and name[1] + 60_000 <= end]
        expect(len(common) >= 5 and all(windows[name] == expected[name] for name in common),
               f"its first {len(common)} windows are those of the run of before")
        for daemon in started:
            daemon.stop()
    except BaseException:
        for daemon in started:
            if os.path.exists(daemon.log):
                print(f"--- {daemon.folder}\n{open(daemon.log).read()[-2500:]}")
        raise
    finally:
        for daemon in started:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            shutil.rmtree(daemon.folder, ignore_errors=True)


def play(brokers, scenario, member, holders, through, compare, content, keep):
    folder = tempfile.mkdtemp(prefix="colossus-controlled-")
    path = scenario(folder)
    alone = Daemon(f"simulations: [{{run: {RUN}, scenario: {path}, speed: 60}}]\n", name="alone")
    w1, w2 = member(brokers, path, "w1", "worker, rollup"), member(brokers, path, "w2", "worker")
    w3, r1 = member(brokers, path, "w3", "worker, rollup"), member(brokers, path, "r1", "reporter")
    everybody = [alone, r1, w1, w2, w3]
    try:
        for daemon in (r1, w1, w2):
            daemon.start()
        first_fault = steps(alone, r1, w1, w2, w3, holders, through, compare)
        alone.ctl("simulate", "start", path, "--run", "other", "--shared", ok=(4,))
        print("  a second run", flush=True)
        followed(brokers, path, alone, r1, w1, w2, w3, holders, through, compare, content)
        print("  a cluster whose configuration has no run", flush=True)
        begun(brokers, path, member, holders, through, content, (content(alone)[0], first_fault))
        for daemon in everybody:
            daemon.stop()
    except BaseException:
        for daemon in everybody:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            if os.path.exists(daemon.log):
                print(f"--- {daemon.folder}\n{open(daemon.log).read()[-2500:]}")
        raise
    finally:
        brokers.end()
        if not keep:
            for daemon in everybody:
                shutil.rmtree(daemon.folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


def former(brokers):
    """Once all have gone over, nothing is left of the leases of the first run."""
    def left():
        state = request(brokers.brokers[0].port, "$JS.API.STREAM.INFO.CLSD_LEASE_check", {"subjects_filter": ">"})["state"]
        return [name for name in state["subjects"] if len(name.split(".")) == 6 and
                name.split(".")[4] in ("slice", "roll", "worker", "rollup")]

    wait_for(f"the end of the leases of the first run: {left()}", 30, lambda: not left())
    last(brokers.brokers[0].port, "CLSD_LEASE_check", "clsd.v1.check.lease.control")
    expect(True, "the leases of the run before are gone from the brokers, and what was asked of it is there")


def unknown(brokers, members):
    """An entry that no member of this version writes: a fault of an entity that the fleet does not have."""
    port, subject = brokers.brokers[0].port, "clsd.v1.check.lease.control.r2"

    def written():
        sequence, text = last(port, "CLSD_LEASE_check", subject)
        try:
            replace(port, subject, text + f"1 {text.split()[3]} 0 0 nobody a1 inject node_down nowhere -\n", sequence)
            return True
        except OSError:
            # A worker has moved the horizon on meanwhile.
            return False

    wait_for("a fault that nobody knows", 10, written)
    agree(members, 1, "inject node_down nowhere -")
    for one in members:
        wait_for("a word of it", 5, lambda: "all members leave it out" in open(one.log).read())
    expect(True, "a fault of an entity that no member knows is left out by all, and they say so")


class Watched(threading.Thread):
    """Asks all members how the cluster is, again and again, while they go over from one run to the next."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members, self.isOver, self.count, self.wrong = members, False, 0, []

    def run(self):
        names = {"w1", "w3", "r1"}
        while not self.isOver:
            for daemon in self.members:
                since = time.monotonic()
                try:
                    status, workers = daemon.json("cluster", "status"), daemon.json("cluster", "workers")
                except CheckFailed as failure:
                    self.wrong.append(str(failure))
                    continue
                self.count += 1
                known = {one["name"]: one["state"] for one in status["members"]}
                lost = {name for name in names if known.get(name) not in ("active", "draining")}
                if not status["connected"] or lost or not workers["members"] or time.monotonic() - since > 5:
                    self.wrong.append(f"{status['member']} after {time.monotonic() - since:.1f} s: {known} {status.get('problem')}")
            time.sleep(0.02)


def followed(brokers, path, alone, r1, w1, w2, w3, holders, through, compare, content):
    """Behind the run of the configuration, which was stopped, another one: of w2 too, which was killed in the first."""
    seconds = time.monotonic()
    first, kept = content(r1), last_end(r1)
    start = ("simulate", "start", path, "--seed", "7", "--speed", "60", "--run")
    w3.ctl(*start, RUN, "--shared", ok=(1,))
    expect(True, "the name of the run that was stopped is not given again")
    r1.json("cluster", "drain", "w1")
    watched = Watched([r1, w1, w3])
    watched.start()
    reply = json.loads(w3.ctl("--output", "json", *start, SECOND, "--shared"))["simulation"]
    expect((reply["run"], reply["seed"]) == (SECOND, 7), f"run {SECOND} is started behind it at one of three: {reply['state']}")
    alone.ctl(*start, SECOND)
    wait_for("all slices at w3", 30, lambda: holders(r1) == {"w3": 8})
    time.sleep(2)
    watched.isOver = True
    watched.join()
    expect(not watched.wrong and watched.count > 10,
           f"meanwhile all have told {watched.count} times who is there: {len(watched.wrong)} times not {watched.wrong[:3]}")
    known = {one["name"]: one["state"] for one in w3.json("cluster", "workers")["members"]}
    expect(holders(r1) == {"w3": 8} and known["w1"] == "draining", "a worker that was drained in the first run is so in the second")
    r1.ctl("cluster", "rebalance")
    wait_for("shares for both workers", 30, lambda: holders(r1) == {"w1": 4, "w3": 4})
    former(brokers)
    w2.start()
    wait_for("shares for three workers", 40, lambda: sorted(holders(r1).values()) == [2, 3, 3])
    expect(True, "a worker that was killed in the first run and comes back plays the second one")
    w1.ctl(*start, "third", "--shared", ok=(1,))
    expect({one.run_status(SECOND)["state"] for one in (r1, w1, w2, w3)} == {"running"}, "a third one is refused while it goes on")
    unknown(brokers, [r1, w1, w2, w3])
    w3.kill()
    wait_for("take-over", 20, lambda: holders(r1) == {"w1": 4, "w2": 4})
    before = through(r1, SECOND)
    wait_for("windows of both", 40, lambda: through(r1, SECOND) >= max(before + 4, 14) and through(alone, SECOND) >= 14)
    w2.ctl("simulate", "stop", SECOND)
    wait_for("the end everywhere", 20, lambda: {one.run_status(SECOND)["state"] for one in (r1, w1, w2)} == {"stopped"})
    windows = wait_for("the last window", 30, lambda: settled(r1, lambda daemon: through(daemon, SECOND)))
    wait_for("as many windows of the one that works alone", 60, lambda: through(alone, SECOND) >= windows)
    compare(alone, r1, windows, run=SECOND)
    expect(content(r1) == first and last_end(r1) == kept, "of the first run nothing has changed")
    expect(r1.run_status(RUN)["state"] == "stopped", "it is a run that was stopped, as others are")
    second = content(r1, SECOND)[0]
    common = [name for name in second if name in first[0]]
    expect(len(common) >= windows and all(second[name] != first[0][name] for name in common),
           f"the two runs differ in each of {len(common)} windows; this took {time.monotonic() - seconds:.0f} s")
    # Of its name there is another one in the next cluster.
    w2.stop()


def steps(alone, r1, w1, w2, w3, holders, through, compare):
    wait_for("shares for both workers", 30, lambda: holders(w2) == {"w1": 4, "w2": 4})
    wait_for("five windows", 40, lambda: through(r1) >= 5)
    expect(words(r1)["entries"] == 0, "nothing was asked of the run yet")

    w1.ctl("simulate", "speed", RUN, "120")
    agree([r1, w1, w2], 1, "speed 120.0")
    expect({one.run_status(RUN)["speed"] for one in (r1, w1, w2)} == {"120x"}, "all play at 120x")

    first = inject(w2, "node_down", "r0003-n2", "--for", "10m")
    agree([r1, w1, w2], 2, "inject node_down r0003-n2 600000")
    second = inject(r1, "gpu_lost", "r0005-n1/3")
    agree([r1, w1, w2], 3, "inject gpu_lost r0005-n1/3 -")
    faults = [("node_down", "r0003-n2", milliseconds(first["time"]), 600_000),
              ("gpu_lost", "r0005-n1/3", milliseconds(second["time"]), None)]
    w1.ctl("simulate", "inject", "nothing", "--at", "r0003-n2", "--run", RUN, ok=(2,))
    w1.ctl("simulate", "inject", "node_down", "--at", "nowhere", "--run", RUN, ok=(4,))
    w1.ctl("simulate", "speed", RUN, "max", ok=(2,))
    w1.ctl("simulate", "resume", RUN, ok=(1,))
    expect(words(w1)["entries"] == 3, "what cannot be is refused, and nobody is asked for it")
    struck(alone, faults)

    w2.ctl("simulate", "pause", RUN)
    agree([r1, w1, w2], 4, "pause")
    wait_for("all to stand", 10, lambda: states([r1, w1, w2]) == {"paused"})
    stands = wait_for("the last window before the pause", 30, lambda: settled(r1, through))
    w3.start()
    agree([r1, w1, w2, w3], 4, "pause")
    expect(through(r1) == stands, f"all stand behind {stands} windows, also one that comes late")
    w3.ctl("simulate", "resume", RUN)
    agree([r1, w1, w2, w3], 5, "resume")
    wait_for("windows after it", 30, lambda: through(r1) >= stands + 3)
    wait_for("shares for three workers", 30, lambda: sorted(holders(w2).values()) == [2, 3, 3])
    expect(True, "it goes on, with a worker that has played it from the beginning")

    print("  SIGKILL of both workers that were there from the beginning", flush=True)
    w1.kill()
    w2.kill()
    wait_for("take-over", 20, lambda: holders(w3) == {"w3": 8})
    w3.ctl("simulate", "speed", RUN, "90")
    agree([r1, w3], 6, "speed 90.0")
    before = through(r1)
    wait_for("windows after it", 30, lambda: through(r1) >= before + 10)
    w1.start()
    agree([r1, w1, w3], 6, "speed 90.0")
    wait_for("its share", 40, lambda: holders(w3) == {"w1": 4, "w3": 4})
    before = through(r1)
    wait_for("windows of both", 30, lambda: through(r1) >= before + 6)
    expect(True, "one of them is back, and plays by all that was asked")

    for one in (r1, w1, w3):
        expect(metric(one, "colossus_cluster_control_missed") == 0, "nothing was known too late")
    w1.ctl("simulate", "stop", RUN)
    agree([r1, w1, w3], 7, "stop")
    wait_for("the end everywhere", 10, lambda: states([r1, w1, w3]) == {"stopped"})
    w3.ctl("simulate", "speed", RUN, "60", ok=(1,))
    windows = wait_for("the last window", 30, lambda: settled(r1, through))
    after = milliseconds(said(r1)["after"])
    expect(last_end(r1) == after - after % 60_000, f"{windows} windows are stored, up to the stop")
    wait_for("as many windows of the one that works alone", 120, lambda: last_end(alone) >= after, every=0.5)
    # Each checkpoint is an event at 60 and below, and they were not at 60 for the same time.
    compare(alone, r1, windows, without="checkpoint")
    names = [message for (message,) in rows(r1, "SELECT entity FROM events WHERE time_ms BETWEEN ? AND ?",
                                            faults[0][2], faults[0][2] + 600_000)]
    expect("r0003-n2" in names, "the injected fault is among the events")
    return faults[0][2]


def settled(r1, through):
    """How many windows there are once no more come; None before."""
    count = through(r1)
    time.sleep(2.5)
    return count if through(r1) == count else None


def rows(daemon, text, *arguments):
    path = f"file:{daemon.state}/history.sqlite?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True, timeout=10)) as found:
        return found.execute(text, arguments).fetchall()


def last_end(daemon):
    return rows(daemon, "SELECT max(w.start_ms) + 60000 FROM windows w JOIN streams s ON s.id = w.stream"
                        " WHERE s.name = 'sim/shared' AND w.resolution_ms = 60000")[0][0] or 0
