"""What the clients asked and were told: append-only, one JSON object a line.

A request is written before it is sent, its answer after it came. A request without an answer is `unknown`: the server may
have done it or not. Everything the checks believe about the clients comes from this file.
"""

import collections
import json
import os
import threading
import time

# What a request can end with.
#   ok       done, with what the server told
#   repeated it was done before, with what the server told
#   refused  definitely not done, with the reason
#   busy     503 or 429: not done, try again
#   odd      an answer that nobody should get; always a difference
#   unknown  no answer
#   unsent   nobody listened
OUTCOMES = ("ok", "repeated", "refused", "busy", "odd", "unknown", "unsent")


class Journal:
    def __init__(self, path):
        self.path = path
        self._file = open(path, "a", encoding="utf-8")
        self._lock = threading.Lock()
        self._last = 0
        self.counts = collections.Counter()

    def invoke(self, op, **facts):
        """Writes the request; returns its number."""
        with self._lock:
            self._last += 1
            self._write({"n": self._last, "op": op, "began": seconds_now(), **facts})
            return self._last

    def answer(self, number, outcome, **facts):
        """Writes what came back."""
        assert outcome in OUTCOMES, outcome
        with self._lock:
            self.counts[outcome] += 1
            self._write({"n": number, "outcome": outcome, "ended": seconds_now(), **facts})

    def note(self, what, **facts):
        """Writes an event of the run itself."""
        with self._lock:
            self._write({"note": what, **facts})

    def _write(self, line):
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def sync(self):
        with self._lock:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self):
        self.sync()
        self._file.close()


def seconds_now():
    return round(time.monotonic(), 3)


def read(path):
    """All requests of the file in the order they were sent, each with its answer."""
    requests = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if "note" in entry:
                continue
            if "op" in entry:
                requests[entry["n"]] = {"outcome": "unknown", **entry}
            else:
                requests[entry["n"]].update(entry)
    return list(requests.values())
