"""A receiver that loses nothing that it has acknowledged, in a process of its own that can be killed at any moment, and
a proxy before it that can cut a connection in the middle of a body."""

import base64
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from daemon import CheckFailed, free_port, wait_for


class Receiver:
    """Appends each request to a file, as a line of JSON, and answers when it is on the disk."""

    def __init__(self, name, folder):
        self.name, self.path, self.port, self.process = name, os.path.join(folder, name + ".requests"), free_port(), None

    def start(self):
        # It ends with this process: its input does.
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(self.port), self.path],
                                        stdin=subprocess.PIPE)
        wait_for(f"receiver {self.name}", 20, self.listens, every=0.02)

    def listens(self):
        if self.process.poll() is not None:
            raise CheckFailed(f"the receiver {self.name} ended with {self.process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None

    def requests(self):
        """(id, content encoding, body) of each, as they came."""
        with open(self.path) as file:
            for line in file:
                one = json.loads(line)
                yield one["id"], one["encoding"], base64.b64decode(one["body"])


def serve(port, path):
    """The receiver's process."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    # What was being written when it was killed was not acknowledged.
    with open(path, "rb") as found:
        os.ftruncate(file, found.read().rfind(b"\n") + 1)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise the end of an answer may wait for the acknowledgement of its beginning.
        disable_nagle_algorithm = True

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            line = json.dumps({"id": self.headers["Idempotency-Key"], "encoding": self.headers["Content-Encoding"],
                               "body": base64.b64encode(body).decode()}) + "\n"
            with lock:
                os.write(file, line.encode())
                os.fsync(file)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, address):
            pass  # The other side has gone.

    def end():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    Server(("127.0.0.1", port), Handler).serve_forever()


class Cut:
    """One cut to come: of the request's body or of the answer, after this share of it."""

    def __init__(self, of_request, share):
        self.of_request, self.share, self.struck = of_request, share, threading.Event()


class Gone(Exception):
    """The other side has closed."""


class Proxy:
    """Hands requests on, one after the other, and answers back."""

    def __init__(self, target):
        self.target, self.cuts, self.lock = target, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, cut):
        with self.lock:
            self.cuts.append(cut)

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        sides, cut = [client], None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head, rest, length = read_head(client)
                if len(sides) == 1:
                    sides.append(socket.create_connection(("127.0.0.1", self.target), timeout=30))
                    sides[1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.lock:
                    cut = self.cuts.pop(0) if self.cuts and length > 0 else None
                if cut and cut.of_request:
                    body = read(client, rest, int(cut.share * length))
                    sides[1].sendall(head + body)
                    time.sleep(0.01)
                    return cut.struck.set()
                sides[1].sendall(head + read(client, rest, length))
                head, rest, length = read_head(sides[1])
                answer = head + read(sides[1], rest, length)
                if cut:
                    client.sendall(answer[:int(cut.share * len(answer))])
                    return cut.struck.set()
                client.sendall(answer)
        except (OSError, Gone):
            # Somebody else was faster; the next request then.
            if cut:
                self.arm(cut)
        finally:
            for side in sides:
                # A reset, as of a cable that is pulled and a peer that knows nothing of the connection.
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side.close()


def read_head(side):
    """The head of a request or answer, what came behind it, and how long its body is."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = side.recv(65_536)
        if not more:
            raise Gone
        data += more
    head = data[:end + 4]
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head, data[end + 4:], length


def read(side, rest, length):
    """So many bytes of a body, the first of which are there already."""
    data = rest
    while len(data) < length:
        more = side.recv(65_536)
        if not more:
            raise Gone
        data += more
    return data[:length]


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
