"""As much of a NATS client as checks need: one request, one answer."""

import json
import socket


def request(port, subject, body, seconds=5):
    """What the broker answers on a subject, read as JSON."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as broker:
        stream = broker.makefile("rwb")
        stream.readline()
        data = json.dumps(body).encode() if body is not None else b""
        stream.write(b'CONNECT {"verbose":false,"pedantic":false,"lang":"check","version":"1"}\r\n')
        stream.write(b"SUB _INBOX.check 1\r\n")
        stream.write(f"PUB {subject} _INBOX.check {len(data)}\r\n".encode() + data + b"\r\n")
        stream.flush()
        while True:
            line = stream.readline()
            if not line:
                raise OSError("the broker has hung up")
            if line.startswith(b"PING"):
                stream.write(b"PONG\r\n")
                stream.flush()
            elif line.startswith(b"-ERR"):
                raise OSError(line.decode())
            elif line.startswith(b"MSG"):
                answer = json.loads(stream.read(int(line.split()[-1])))
                if "error" in answer:
                    raise OSError(answer["error"])
                return answer


def stream(port, name):
    return request(port, f"$JS.API.STREAM.INFO.{name}", None)


def limit(port, name, size):
    """Gives a stream room for so many bytes."""
    configuration = stream(port, name)["config"]
    configuration["max_bytes"] = size
    return request(port, f"$JS.API.STREAM.UPDATE.{name}", configuration)["config"]["max_bytes"]
