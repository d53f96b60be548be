"""As much of a NATS client as checks need: one request, one answer."""

import base64
import json
import socket


def request(port, subject, body, seconds=5):
    """What the broker answers on a subject, read as JSON."""
    return exchange(port, subject, json.dumps(body).encode() if body is not None else b"", b"", seconds)


def exchange(port, subject, data, headers, seconds=5):
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as broker:
        stream = broker.makefile("rwb")
        stream.readline()
        stream.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"lang":"check","version":"1"}\r\n')
        stream.write(b"SUB _INBOX.check 1\r\n")
        if headers:
            stream.write(f"HPUB {subject} _INBOX.check {len(headers)} {len(headers) + len(data)}\r\n".encode())
        else:
            stream.write(f"PUB {subject} _INBOX.check {len(data)}\r\n".encode())
        stream.write(headers + data + b"\r\n")
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


def last(port, name, subject):
    """The last message of a subject: its sequence and text."""
    message = request(port, f"$JS.API.STREAM.MSG.GET.{name}", {"last_by_subj": subject})["message"]
    return message["seq"], base64.b64decode(message["data"]).decode()


def replace(port, subject, text, sequence):
    """Stores it behind the last message of that sequence; OSError where there is another one."""
    headers = f"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {sequence}\r\n\r\n".encode()
    return exchange(port, subject, text.encode(), headers)
