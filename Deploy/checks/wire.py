"""Reads what endpoints are sent, in plain Python, strictly: what is torn or has something after it is an error."""

import re
import struct


class Malformed(Exception):
    pass


def varint(data, at):
    """The number, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def snappy(data):
    """The block format, as remote write has it."""
    size, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(data[at:at + extra], "little")
                at += extra
            length += 1
            if at + length > len(data):
                raise Malformed("a literal is cut off")
            out += data[at:at + length]
            at += length
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            wide = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + wide], "little")
            at += wide
        if not 0 < offset <= len(out):
            raise Malformed("a copy from before the beginning")
        start = len(out) - offset
        if offset >= length:
            out += out[start:start + length]
        else:
            piece = bytes(out[start:])
            out += (piece * (length // offset + 1))[:length]
    if len(out) != size:
        raise Malformed(f"{len(out)} bytes, not {size}")
    return bytes(out)


def fields(data):
    """(number, value) of a protobuf message; of length-delimited ones the bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = data[at:at + 8], at + 8
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        elif kind == 5:
            value, at = data[at:at + 4], at + 4
        else:
            raise Malformed(f"wire type {kind}")
        if at > len(data):
            raise Malformed("a field is cut off")
        yield key >> 3, value


# Prometheus' stale marker, the one NaN with these bits.
STALE = struct.pack("<Q", 0x7FF0000000000002)


def is_stale(value):
    return struct.pack("<d", value) == STALE


def write_request(message):
    """(labels, value, milliseconds) of each sample of a remote write 1.0 message, which is not compressed any more."""
    for number, series in fields(message):
        if number != 1:
            continue
        labels, samples = {}, []
        for inner, value in fields(series):
            if inner == 1:
                pair = dict(fields(value))
                labels[pair[1].decode()] = pair.get(2, b"").decode()
            elif inner == 2:
                sample = dict(fields(value))
                at = sample.get(2, 0)
                samples.append((struct.unpack("<d", sample.get(1, bytes(8)))[0], at - (1 << 64) if at >> 63 else at))
        for value, at in samples:
            yield labels, value, at


def influx_lines(text):
    """(measurement, tags, fields, milliseconds) of each line; the last one ends with a line break, too."""
    if text and not text.endswith("\n"):
        raise Malformed("the last line is cut off")
    for line in text.splitlines():
        head, values, at = re.split(r"(?<!\\) ", line)
        measurement, *tags = (part for part in re.split(r"(?<!\\),", head))
        yield (_plain(measurement), dict(_pair(tag) for tag in tags),
               {name: float(value) for name, value in map(_pair, re.split(r"(?<!\\),", values))}, int(at))


def _pair(text):
    name, value = re.split(r"(?<!\\)=", text)
    return _plain(name), _plain(value)


def _plain(text):
    return re.sub(r"\\([,= ])", r"\1", text)
