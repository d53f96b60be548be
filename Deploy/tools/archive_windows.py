#!/usr/bin/env python3
"""Reads the lines of a file endpoint from standard input and prints the windows that they hold, in order.

Output: one word a 10 s window of the measured stream, its end; the word "twice" for a line whose id, or a window part
that, was there before. An unfinished last line (the process was killed) is no line.
"""
import json
import sys

seen, ids, words = set(), set(), []
for line in sys.stdin:
    if not line.endswith("\n"):
        break
    summary = json.loads(line)
    key = (summary.get("stream"), summary.get("resolution"), summary.get("end"), summary.get("part"),
           summary.get("revision"))
    if summary.get("id") in ids or key in seen:
        words.append("twice")
        continue
    ids.add(summary.get("id"))
    seen.add(key)
    if summary.get("stream") == "measured" and summary.get("resolution") == "10s":
        words.append(str(summary.get("end")))
print(" ".join(words))
