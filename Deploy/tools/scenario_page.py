"""Puts the keys that `colossusctl scenario explain --output json` names into a manual page: PAGE.in < JSON > PAGE."""

import json
import sys


def escaped(text):
    """As mdoc(7) text: nothing in it is a macro or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(c if ord(c) < 128 else "\\[u%04X]" % ord(c) for c in text)
    return "\\&" + text if text[:1] in ".'" else text


reply = json.load(sys.stdin)
lines = []
for key in reply["keys"]:
    about = ", ".join(part for part in [
        key.get("unit", ""), f"default: {key['standard']}" if key.get("standard") else "must be given"] if part)
    lines += [f".It Ic {escaped(key['path'])} No ({escaped(about)})", escaped(key["meaning"]) + "."]
with open(sys.argv[1]) as file:
    sys.stdout.write(file.read().replace("@KEYS@", "\n".join(lines)))
