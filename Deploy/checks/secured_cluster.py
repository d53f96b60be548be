"""Stage `secured` of Deploy/cluster-daemon-test: daemons at a broker with TLS, client certificates and the accounts of Deploy/nats.

Each role has its own nkey with the least permissions that suffice; a stranger, a worker with a reader's key, and one that does not
know the broker's authority are refused, and say so.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

from daemon import ROOT, CheckFailed, Daemon, expect, free_port, wait_for

SECTION = """
cluster:
  name: prod
  servers: ["tls://127.0.0.1:PORT"]
  worker: NAME
  roles: [ROLES]
  lease: 3s
  grace: 15s
  replicas: 1
  partitions: 2
  partials_bytes: 256MB
  nkey: {public: KEY, seed_file: FOLDER/SEED.seed}
  TLS
  simulation: {run: shared, scenario: SCENARIO, speed: 60}
"""
TLS = "tls: {ca_file: FOLDER/ca.pem, cert_file: FOLDER/client.pem, key_file: FOLDER/client.key}"
BROKER = """
listen: "127.0.0.1:PORT"
max_payload: 1MB
jetstream { store_dir: "FOLDER/js", max_mem: 64MB, max_file: 1GB }
tls { cert_file: "FOLDER/broker.pem", key_file: "FOLDER/broker.key", ca_file: "FOLDER/ca.pem", verify: true }
include "accounts.conf"
"""


def certificates(folder):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    for name in ("broker", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
                "-addext", "subjectAltName=IP:127.0.0.1")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-copy_extensions", "copy",
                "-CAcreateserial", "-out", f"{name}.pem")


class Broker:
    def __init__(self, nkey):
        self.folder, self.port = tempfile.mkdtemp(prefix="colossus-secured-"), free_port()
        certificates(self.folder)
        roles = ("admin", "worker", "rollup", "reader", "stranger")
        self.keys = {role: nkey(self.folder, role) for role in roles}
        shutil.copy(os.path.join(ROOT, "Deploy", "nats", "accounts.conf"), self.folder)
        with open(os.path.join(self.folder, "conf"), "w") as file:
            file.write(self.filled(BROKER))
        program = subprocess.run(
            [os.path.join(ROOT, "Deploy", "tools", "nats-server")], check=True, capture_output=True, text=True).stdout.strip()
        names = {f"COLOSSUS_{role.upper()}_NKEY": key for role, key in self.keys.items() if role != "stranger"}
        with open(os.path.join(self.folder, "log"), "w") as log:
            self.process = subprocess.Popen([program, "-c", os.path.join(self.folder, "conf")], stdout=log, stderr=log,
                                            env={**os.environ, **names})

    def filled(self, text):
        return text.replace("PORT", str(self.port)).replace("FOLDER", self.folder)

    def member(self, path, name, roles, key, tls=TLS):
        section = SECTION.replace("TLS", tls).replace("SCENARIO", path).replace("NAME", name).replace("ROLES", roles)
        section = section.replace("KEY", self.keys[key]).replace("SEED", key)
        return Daemon(self.filled(section), name=name)

    def allow(self, name, without=""):
        """Gives it the accounts of Deploy/nats, or less."""
        with open(os.path.join(ROOT, "Deploy", "nats", name)) as file:
            text = file.read()
        expect(without in text, f"the accounts have {without or 'all that is needed'}")
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text.replace(without, "") if without else text)
        self.process.send_signal(signal.SIGHUP)
        time.sleep(1)

    def end(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def status(daemon):
    return daemon.json("cluster", "status")


def problem(daemon, *words, seconds=30):
    """What a member says that it cannot do, once all of the words are in it."""
    def said():
        text = status(daemon).get("problem") or ""
        return text if all(word in text for word in words) else None

    return wait_for(f"a word of {' and '.join(words)}: {status(daemon)}", seconds, said, every=0.3)


def play(keep, scenario, nkey):
    broker = Broker(nkey)
    path = scenario(broker.folder)
    started = []

    def start(*words, **more):
        daemon = broker.member(path, *words, **more)
        started.append(daemon)
        return daemon.start()

    try:
        admin = start("admin", "reporter", "admin")
        wait_for("the streams", 30, lambda: "problem" not in status(admin))
        admin.stop()
        expect(True, "the admin has made the streams over TLS, with a client certificate and an nkey")

        r1, u1, w1 = start("r1", "reporter", "reader"), start("u1", "rollup", "rollup"), start("w1", "worker", "worker")
        wait_for("windows at the reporter", 60, lambda: windows(r1) >= 3, every=0.5)
        members = {one["name"]: one.get("problem") for one in status(u1)["members"] if one["state"] == "active"}
        expect(members == {"r1": None, "u1": None, "w1": None}, f"the permissions of each role suffice: {members}")

        stranger = start("w2", "worker", "stranger")
        expect(True, f"an unknown key: {problem(stranger, 'refuse', 'nkey')}")
        reader = start("w3", "worker", "reader")
        expect(True, f"a worker with a reader's key: {problem(reader, 'clsd.v1.prod.')}")
        blind = start("w4", "worker", "worker", tls="tls: {cert_file: FOLDER/client.pem, key_file: FOLDER/client.key}")
        expect(True, f"a broker whose authority is not known: {problem(blind, 'certificate')}")
        bare = start("w5", "worker", "worker", tls="tls: {ca_file: FOLDER/ca.pem}")
        expect(True, f"without a client certificate: {problem(bare, 'certificate')}")

        before = windows(r1)
        wait_for("windows meanwhile", 30, lambda: windows(r1) >= before + 2, every=0.5)
        second_run(broker, path, r1, u1)
        seeds = [open(os.path.join(broker.folder, role + ".seed")).read().strip() for role in broker.keys]
        for daemon in started:
            text = open(daemon.log).read()
            shown = daemon.ctl("config", "show", os.path.join(daemon.folder, "colossusd.yaml"))
            if any(seed in text or seed in shown for seed in seeds):
                expect(False, f"{daemon.log} or the configuration that is shown has a seed")
        expect(True, "no seed is in a journal, or in the configuration that is shown")
    except BaseException:
        for daemon in started:
            if os.path.exists(daemon.log):
                print(f"--- {daemon.log}\n{open(daemon.log).read()[-1500:]}")
        raise
    finally:
        for daemon in started:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            if not keep:
                shutil.rmtree(daemon.folder, ignore_errors=True)
        broker.end()


def second_run(broker, path, r1, u1):
    """Each run has subjects of its own."""
    def begun():
        try:
            return r1.json("simulate", "start", path, "--run", "second", "--speed", "60", "--shared")
        except CheckFailed:
            # The last windows of the first one are not closed yet.
            return None

    # The accounts of before several runs.
    broker.allow("accounts.conf", without='"clsd.v1.prod.lease.agreement.*",')
    r1.ctl("simulate", "stop", "shared")
    asked = threading.Thread(target=lambda: wait_for("a second run", 90, begun, every=0.5), daemon=True)
    asked.start()
    for one in (r1, u1):
        text = problem(one, "the brokers refuse", "clsd.v1.prod.lease.agreement.r2", seconds=60)
        expect("no broker can be reached" not in text, f"a member that may not write down what is agreed upon says so: {text}")
    broker.allow("accounts.conf")
    asked.join(90)
    expect(not asked.is_alive(), "once it may, the second run is there")
    wait_for("its windows at the reporter", 40, lambda: windows(r1, "second") >= 3, every=0.5)
    # The worker with a reader's key tells of itself, too.
    def told():
        return {one["name"]: one.get("problem") for one in status(u1)["members"] if one["name"] != "w3"}

    # What was refused is told for half a minute.
    wait_for("an end of what was refused", 45, lambda: told() == {"r1": None, "u1": None, "w1": None}, every=0.5)
    expect(True, f"they suffice for a second run: {told()}")


def windows(daemon, run="shared"):
    """How many of the finest windows are stored."""
    path = os.path.join(daemon.state, "history.sqlite")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as rows:
        return rows.execute(
            "SELECT count(*) FROM windows w JOIN streams s ON s.id = w.stream WHERE s.name = ? AND w.resolution_ms = 60000",
            (f"sim/{run}",)).fetchone()[0]
