"""A keeper as far as images are concerned: it is alive, and says which images its node has."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import IMAGE_ASKED, Listener
from sandboxes import images


@contextmanager
def keeper_with(*having: str, node: str = "test-answering") -> Iterator[None]:
    over = threading.Event()
    with Listener(IMAGE_ASKED) as listener:
        liveness.hold_keeper(listener.connection, node)

        def answer() -> None:
            while not over.is_set():
                for question in listener.wait(0.02):
                    reference, channel = images.of_question(question.payload)
                    told = f"sha256:{reference}" if reference in having else ""
                    listener.connection.execute("SELECT pg_notify(%s, %s)", [channel, told])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
