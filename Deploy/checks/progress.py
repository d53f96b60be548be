"""How far a long check has come, in a file, for the same check of the same programs."""

import contextlib
import hashlib
import json
import os

from daemon import BINARIES


class Progress:
    """What is done, as a dictionary that JSON can hold. It begins anew where the file is of other programs or choices.

    path: `None` keeps nothing. choices: what has to be the same for what is done to count.
    """

    def __init__(self, path, choices, fresh):
        digest = hashlib.sha256()
        for name in ("colossusd", "colossusctl"):
            with open(os.path.join(BINARIES, name), "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self.path, self.key, self.state = path, f"{choices} {digest.hexdigest()}", fresh
        if path and os.path.exists(path):
            with open(path) as file, contextlib.suppress(ValueError):
                kept = json.load(file)
                if kept["of"] == self.key:
                    self.state = kept["state"]
                    return
            print(f"{path} is of other programs or choices: everything from the beginning", flush=True)

    def keep(self):
        if self.path:
            with open(self.path + ".new", "w") as file:
                json.dump({"of": self.key, "state": self.state}, file)
            os.replace(self.path + ".new", self.path)

    def finish(self):
        """All is done: the next time begins anew."""
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)
