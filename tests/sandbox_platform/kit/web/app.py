"""A small application for the web server's tests, and the settings that it reads."""

import gc
import hashlib
import os
import time
import weakref
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from sandbox_platform.kit.web import waits
from sandbox_platform.kit.web.incoming import Bounds

LARGEST = 1_000_000
# Seconds for a head and for a body: long, so that a busy machine refuses nobody whose test is about something else.
SECONDS = float(os.environ.get("SECONDS", "60"))

settings.configure(
    SANDBOX_WEB_BOUNDS=Bounds(SECONDS, SECONDS, 1_000_000, ((b"/run", LARGEST), (b"", 1000))),
    SANDBOX_WEB_CONNECTIONS_PER_ADDRESS=int(os.environ.get("PER_ADDRESS", "1000")),
    SANDBOX_WEB_BODIES_BYTES=int(os.environ.get("BODIES", "3000000")),
)

gc.disable()  # what is collected is what the server collects


class Cyclic:
    """Like a request that its own answer refers to."""

    def __init__(self) -> None:
        self.itself = self


left = weakref.WeakSet[Cyclic]()


def application(environ: Any, start_response: Any) -> Any:
    if environ["PATH_INFO"] in ("/slow", "/exec"):  # the second is an address of a format
        time.sleep(float(environ["QUERY_STRING"]))
    if environ["PATH_INFO"] == "/until":
        while not os.path.exists(environ["QUERY_STRING"]):
            time.sleep(0.05)
    if environ["PATH_INFO"] == "/wait":
        waits.begun()
        time.sleep(float(environ["QUERY_STRING"]))
    if environ["PATH_INFO"] == "/file":
        size = os.stat(__file__).st_size
        start_response("200 OK", [("Content-Length", str(size))])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: SIM115 - the server closes it
    return answers(environ, start_response)


def answers(environ: Any, start_response: Any) -> Iterator[bytes]:
    if environ["PATH_INFO"] == "/large" or (environ["PATH_INFO"] == "/metrics" and environ["QUERY_STRING"]):
        left.add(Cyclic())
        start_response("200 OK", [("Content-Length", environ["QUERY_STRING"])])
        yield b"x" * int(environ["QUERY_STRING"])
        return
    if environ["PATH_INFO"] == "/left":
        answer = str(len(left)).encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        yield answer
        return
    left.add(Cyclic())
    body = environ["wsgi.input"].read()
    answer = f"{os.getpid()} {len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    yield answer
