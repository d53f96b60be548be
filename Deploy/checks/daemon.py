"""Starts a colossusd of its own in a temporary folder, for checks of the whole program."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARIES = os.environ.get("COLOSSUS_BIN", os.path.join(ROOT, ".build", "release"))


class CheckFailed(Exception):
    pass


def expect(condition, text):
    """Prints what was seen; ends the check when it is not so."""
    print(("  ok   " if condition else "  FAIL ") + text, flush=True)
    if not condition:
        raise CheckFailed(text)


PORTS_GIVEN = set()


def free_port():
    """A port below the range that the kernel gives to outgoing connections, so that it is still free after a restart. None
    is given twice: whoever asks for several listens on them later."""
    for _ in range(1000):
        port = random.randrange(20_000, 30_000)
        if port in PORTS_GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                PORTS_GIVEN.add(port)
                return port
            except OSError:
                continue
    raise CheckFailed("there is no free port")


def wait_for(what, seconds, condition, every=0.1):
    """Asks until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise CheckFailed(f"{what} did not happen within {seconds} s")


class Daemon:
    """One daemon with a state folder that survives kill and restart."""

    def __init__(self, configuration="", name="daemon"):
        self.folder = tempfile.mkdtemp(prefix=f"colossus-{name}-")
        self.state = os.path.join(self.folder, "state")
        self.run = os.path.join(self.folder, "run")
        self.config = os.path.join(self.folder, "colossusd.yaml")
        self.log = os.path.join(self.folder, "log")
        os.mkdir(self.state)
        os.mkdir(self.run)
        self.ingest, self.web = free_port(), free_port()
        self.configure(configuration)
        # Of the daemon alone; None: as of this check.
        self.environment = None
        self.process = None

    def configure(self, configuration):
        listens = f"ingest: {{listen: '127.0.0.1:{self.ingest}'}}\nweb: {{listen: '127.0.0.1:{self.web}'}}\n"
        with open(self.config, "w") as file:
            file.write(listens + configuration)

    def start(self):
        log = open(self.log, "a")
        self.process = subprocess.Popen(
            [os.path.join(BINARIES, "colossusd"), "--config", self.config, "--state-dir", self.state,
             "--runtime-dir", self.run],
            stdout=log, stderr=log, env=self.environment)
        wait_for("READY", 60, self.is_ready, every=0.05)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise CheckFailed(f"the daemon ended with {self.process.returncode} while it started")
        try:
            self.ctl("wait", "ready", "--timeout", "1s")
            return True
        except CheckFailed:
            return False

    def ctl(self, *words, ok=(0,)):
        """Runs colossusctl; what it printed."""
        done = subprocess.run(
            [os.path.join(BINARIES, "colossusctl"), "--socket", os.path.join(self.run, "control.sock"), *words],
            capture_output=True, text=True)
        if done.returncode not in ok:
            raise CheckFailed(f"colossusctl {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *words):
        # 3: done, with warnings
        return json.loads(self.ctl("--output", "json", *words, ok=(0, 3)))

    def kill(self):
        """As a power failure of the process: nothing is said, nothing is saved."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise CheckFailed("SIGTERM did not end the daemon within 30 s")
            if status != 0:
                raise CheckFailed(f"the daemon ended with {status}:\n" + open(self.log).read()[-2000:])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        failed = kind is not None
        try:
            if self.process and self.process.poll() is None:
                self.kill() if failed else self.stop()
        finally:
            if failed and os.path.exists(self.log):
                print(f"  the daemon's last lines:\n{open(self.log).read()[-3000:]}")
            shutil.rmtree(self.folder, ignore_errors=True)

    def simulate(self, scenario, run, *options):
        return self.ctl("simulate", "start", scenario, "--run", run, *options)

    def finished(self, run, seconds=300):
        """Waits for the end of a run; its status."""

        def look():
            status = self.run_status(run)
            if status["state"] in ("failed", "stopped"):
                raise CheckFailed(f"run {run}: {status}")
            return status if status["state"] == "finished" else None

        return wait_for(f"the end of run {run}", seconds, look, every=0.25)

    def run_status(self, run):
        reply = self.json("simulate", "status", run)
        return reply["simulation"]
