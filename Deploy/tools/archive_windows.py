#!/usr/bin/env python3
"""Reads the lines of a file endpoint from standard input and looks at the 10 s windows of the measured stream.

Without arguments it prints their ends, in order; the word "twice" stands for a line whose id or place was there before,
"gap" for windows that are missing between two others.
With arguments, a command that is colossusctl, it asks for each window of the archive what the store has, and prints what
differs, or how many are equal. An unfinished last line (the process was killed) is no line.
"""
import json
import subprocess
import sys
from datetime import datetime

FIELD = "DCGM_FI_DEV_GPU_TEMP"


def archive(stream):
    """The summaries, with None for one that was there before."""
    places, ids = set(), set()
    for line in stream:
        if not line.endswith("\n"):
            return
        summary = json.loads(line)
        place = tuple(summary.get(key) for key in ("stream", "resolution", "end", "part", "revision"))
        known = place in places or summary["id"] in ids
        places.add(place)
        ids.add(summary["id"])
        if known:
            yield None
        elif summary["stream"] == "measured" and summary["resolution"] == "10s":
            yield summary


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ends(summaries):
    before = None
    for one in summaries:
        if one is None:
            yield "twice"
            continue
        if before is not None and seconds(one["end"]) != seconds(before) + 10:
            yield "gap"
        before = one["end"]
        yield before


def values(row):
    return tuple(row.get(key) for key in ("count", "min", "max"))


def stored(command, end):
    """What the store says of the site in the window that ends then."""
    done = subprocess.run(
        command + ["summary", "--stream", "measured", "--resolution", "10s", "--level", "site", "--field", FIELD,
                   "--at", end, "--output", "json"], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    reply = json.loads(done.stdout)
    if reply["window_end"] != end:
        return f"the window before it, {reply['window_end']}"
    return [values(row) for row in reply["rows"]]


def main():
    summaries = list(archive(sys.stdin))
    if len(sys.argv) == 1:
        print(" ".join(ends(summaries)))
        return
    equal, wrong = 0, []
    for one in filter(None, summaries):
        expected = [values(row["fields"][FIELD]) for row in one["rows"]
                    if row["level"] == "site" and FIELD in row["fields"]]
        found = stored(sys.argv[1:], one["end"])
        if found == expected:
            equal += 1
        else:
            wrong.append(f"{one['end']}: delivered {expected}, stored {found}")
    print("; ".join(wrong) if wrong else f"{equal} windows equal")


main()
