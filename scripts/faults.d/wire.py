"""HTTP over one kept-alive connection, with only two ends: an answer, or not knowing what the server did."""

import http.client
import json
import time
from dataclasses import dataclass

# The server closes a connection after 15 s without a request (server.keep_alive). Sent on one that is just being closed, a
# request ends in not knowing, although no server failed it.
LONGEST_IDLE_SECONDS = 10


class Unknown(Exception):
    """No whole answer came back: the server may have done it or not."""


class NotReached(Unknown):
    """Nobody listens: the request was not even sent."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def text(self):
        return self.body.decode("utf-8", "replace")


class Connection:
    """One client's connection to one address; opened again after every failure and after a long rest."""

    def __init__(self, port, timeout_seconds=15.0):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
        self.last_used = time.monotonic()

    def request(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        self._open()
        self.last_used = time.monotonic()
        try:
            self.http.request(method, path, body, headers)
            response = self.http.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.http.close()
            raise Unknown(f"{type(error).__name__}: {error}") from error

    def _open(self):
        if time.monotonic() - self.last_used > LONGEST_IDLE_SECONDS:
            self.http.close()
        if self.http.sock is not None:
            return
        try:
            self.http.connect()
        except OSError as error:
            self.http.close()
            raise NotReached(str(error)) from error

    def close(self):
        self.http.close()
