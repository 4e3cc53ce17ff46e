"""A gunicorn worker that gives a request to a thread when its last byte has arrived.

gunicorn's own worker reads requests in its threads, so a few hundred callers who send half of one, or nothing, occupy
all of them. Here the event loop reads, within the bounds of incoming.py, and holds connections without a request. If
there are too many, or their bodies take too much memory, those that have waited longest are closed: a new caller, who
sends at once, is served. The same holds for answers that nobody reads, while requests wait for a thread. A few requests
of one caller compute at a time (turns.py).
"""

import gc
import selectors
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from sandbox_platform.kit import formats
from sandbox_platform.kit.web import refusals, waits
from sandbox_platform.kit.web.incoming import Bounds, Incoming, Refused
from sandbox_platform.kit.web.outgoing import Outgoing
from sandbox_platform.kit.web.turns import Turns

# At a time, of one connection: others have their turn. Chunks can be so small that each byte takes time.
RECEIVE = 64 * 1024
RECEIVE_CHUNKS = 4 * 1024
# New connections at a time.
ACCEPT = 8
# Bodies up to this size are not counted: the number of connections bounds them.
SMALL = 64 * 1024
# A request and its answer refer to each other, so only the garbage collector frees them. It runs by the number of
# objects, and would let the memory of many large ones pile up. After these it runs at once.
LARGE = 1_000_000
# How long a refused caller may go on sending, and pause: closing at once would destroy the answer on its way.
LINGER_S = 30.0
LINGER_PAUSE_S = 3.0
# A large body that has taken longer gives way to a new one.
SLOW_S = 2.0
# A caller who does not read an answer occupies a thread for this long; while others wait for a thread, for UNREAD_S.
SEND_S = 30
UNREAD_S = 0.5
# Requests of one caller that compute at the same time: what they wait for in the database lets one more process's core
# be busy, and the request of another caller shares Python's lock with these only.
AT_ONCE = 4
# Each has a thread of its own, which waits for no caller: an orchestrator restarts a platform whose health check does
# not answer.
HEALTH = (b"/healthz", b"/readyz")
# So does a scrape, which must tell what happens while all others are busy. Its answer can be large.
OWN_THREADS = (*HEALTH, b"/metrics")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Arrived(SocketUnreader):  # type: ignore[misc]
    """Gives gunicorn's parser the bytes that have arrived."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._data = memoryview(b"")
        self._at = 0

    def put(self, data: bytearray) -> None:
        self._data, self._at = memoryview(data), 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        if not self._data:
            return bytes(super().chunk(size_hint))
        size = min(max(size_hint or 0, self.mxchunk), self.max_body_chunk)
        piece = bytes(self._data[self._at : self._at + size])
        self._at += len(piece)
        if self._at >= len(self._data):
            self.put(bytearray())  # frees the memory
        return piece

    def take_buffered(self) -> bytes:
        rest = bytes(super().take_buffered()) + bytes(self._data[self._at :])
        self.put(bytearray())
        return rest


class Connection(TConn):  # type: ignore[misc]
    initialized: bool
    sock: Outgoing

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, Outgoing(sock), client, server)
        self.incoming: Incoming | None = None
        self.deadline = 0.0
        self.is_refused = False
        self.lingers_until = 0.0
        self.counted = 0  # bytes of a large body, until its request has been answered
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))
        # Only for a request whose end gunicorn sees later than Incoming: its thread must not wait for the rest.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))

    @property
    def address(self) -> str:
        return self.client[0] if isinstance(self.client, tuple) else ""

    @property
    def caller(self) -> Hashable:
        """Whose turn the request takes that has arrived.

        In a format, requests keep their turn while they wait for a place. The caller's others, by which it may cancel
        what holds the places, have turns of their own.
        """
        if self.incoming is None:
            return (self.address,)
        return self.address, *self.incoming.credentials, formats.at(self.incoming.path.decode("ascii", "replace"))

    def init(self) -> None:
        if not self.initialized:
            self.initialized = True
            self.parser = get_parser(self.cfg, self.sock, self.client)
            self.parser.unreader = Arrived(self.sock)
        self.sock.setblocking(True)


class Worker(ThreadWorker):  # type: ignore[misc]
    max_requests: int
    tpool: ThreadPoolExecutor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Connections that no thread has, in the order in which they began to wait.
        self.reading: dict[Connection, None] = {}
        self.addresses: Counter[str] = Counter()
        self.body_bytes = 0
        self.busy = 0
        # Requests that have a thread, or wait for one; not those of OWN_THREADS.
        self.threaded: dict[Connection, None] = {}
        # Beyond them, connections could not be accepted, that of a health check neither.
        self.most_threaded = self.worker_connections * 3 // 4
        self.turns: Turns[Connection] = Turns(AT_ONCE)
        self.own: dict[bytes, ThreadPoolExecutor] = {}
        # gunicorn would end the process after so many requests, with those that still run.
        self.renews_at, self.max_requests = self.max_requests, sys.maxsize

    def run(self) -> None:
        from django.conf import settings  # loaded with the application, after the fork

        self.bounds: Bounds = settings.SANDBOX_WEB_BOUNDS
        self.per_address: int = settings.SANDBOX_WEB_CONNECTIONS_PER_ADDRESS
        self.bodies_bytes: int = settings.SANDBOX_WEB_BODIES_BYTES
        self.own = {path: ThreadPoolExecutor(1) for path in OWN_THREADS}
        super().run()

    def accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPT):
            try:
                sock, client = listener.accept()
            except OSError:
                return  # nobody waits, the caller has left, or another worker was faster
            self.nr_conns += 1
            self._await(Connection(self.cfg, sock, client, listener.getsockname()), self.bounds.head_s)
            if self.nr_conns >= self.worker_connections:
                self._drop_oldest("")

    def _await(self, conn: Connection, seconds: float, data: bytes = b"") -> None:
        """Read the connection's next request, which may begin within this time."""
        now = time.monotonic()
        conn.incoming, conn.deadline = Incoming(self.bounds, now), now + seconds
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._readable, conn))
        self.reading[conn] = None
        self.addresses[conn.address] += 1
        if self.addresses[conn.address] > self.per_address:
            self._drop_oldest(conn.address)
        if data and conn in self.reading:
            self._feed(conn, data)

    def _release(self, conn: Connection) -> None:
        """Stop reading the connection."""
        del self.reading[conn]
        self.addresses[conn.address] -= 1
        if not self.addresses[conn.address]:
            del self.addresses[conn.address]
        self.poller.unregister(conn.sock)

    def _close(self, conn: Connection) -> None:
        if conn in self.reading:
            self._release(conn)
        self._uncount(conn)
        self.nr_conns -= 1
        conn.close()

    def _uncount(self, conn: Connection) -> None:
        self.body_bytes -= conn.counted
        conn.counted = 0

    def _drop_oldest(self, address: str) -> None:
        """Close the connection, of this address if it is not empty, that has waited longest."""
        oldest = next((conn for conn in self.reading if address in ("", conn.address)), None)
        if oldest is not None:
            self._close(oldest)

    def _readable(self, conn: Connection, _sock: object) -> None:
        if conn not in self.reading:
            return  # dropped by an event of the same round
        try:
            is_chunked = conn.incoming is not None and conn.incoming.is_chunked
            data = conn.sock.recv(RECEIVE_CHUNKS if is_chunked else RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(conn)
        elif conn.is_refused:
            conn.deadline = min(conn.lingers_until, time.monotonic() + LINGER_PAUSE_S)
        else:
            self._feed(conn, data)

    def _feed(self, conn: Connection, data: bytes) -> None:
        incoming = conn.incoming
        assert incoming is not None  # noqa: S101
        now = time.monotonic()
        if not incoming.has_begun:  # it may have been kept alive before
            incoming.deadline = now + self.bounds.head_s
        try:
            complete = incoming.feed(data, now)
            self._count(conn, len(incoming.data))
        except Refused as e:
            self._refuse(conn, e)
            return
        if conn not in self.reading:
            return  # it was the oldest body itself
        conn.deadline = incoming.deadline
        if complete and incoming.path not in OWN_THREADS and self._is_full(conn.caller):
            self._refuse(conn, Refused(429, "Too many requests at the same time."))
        elif complete:
            self._release(conn)
            self.enqueue_req(conn)
        elif incoming.has_head and incoming.expects_continue:
            incoming.expects_continue = False
            with suppress(OSError):
                conn.sock.send(CONTINUE)

    def _is_full(self, caller: Hashable) -> bool:
        """Whether too many requests are being answered, or wait for their turn. One caller's may be half of them."""
        most: int = self.most_threaded
        return len(self.threaded) >= most or self.turns.waiting(caller) >= most // 2

    def _count(self, conn: Connection, size: int) -> None:
        """Count the memory of a large body. Raises Refused if requests in threads take all that there is."""
        if size <= SMALL:
            return
        self.body_bytes += size - conn.counted
        conn.counted = size
        slow = time.monotonic() - SLOW_S
        while self.body_bytes > self.bodies_bytes:
            large = (one for one in self.reading if one.counted and one is not conn)
            oldest = next((one for one in large if one.incoming and one.incoming.body_began < slow), None)
            if oldest is None:
                raise Refused(429, "Too many large requests at the same time.")
            self._refuse(oldest, Refused(429, "Too many large requests at the same time."))

    def _refuse(self, conn: Connection, why: Refused) -> None:
        """Answer, and discard for a moment what the caller still sends."""
        assert conn.incoming is not None  # noqa: S101
        with suppress(OSError):
            conn.sock.send(refusals.answer(why.status, str(why), conn.incoming.path))
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        conn.is_refused, conn.incoming = True, None
        now = time.monotonic()
        conn.lingers_until, conn.deadline = now + LINGER_S, now + LINGER_PAUSE_S
        self._uncount(conn)
        with suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)

    def enqueue_req(self, conn: Connection) -> None:
        incoming, caller = conn.incoming, conn.caller
        assert incoming is not None  # noqa: S101
        conn.incoming = None
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.put(incoming.data)
        conn.sock.begin(partial(self.method_queue.defer, self._end_turn, conn))
        self.busy += 1
        if pool := self.own.get(incoming.path):
            conn.sock.setblocking(incoming.path not in HEALTH)
            self._start(conn, pool)
            return
        self.threaded[conn] = None
        self._make_room()
        if self.turns.take(conn, caller):
            self._start(conn, self.tpool)

    def _start(self, conn: Connection, pool: ThreadPoolExecutor) -> None:
        task = pool.submit(self.handle, conn)
        task.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _end_turn(self, conn: Connection) -> None:
        """The connection's request has been answered, or from now on waits: the caller's next one may begin."""
        following = self.turns.end(conn)
        if following is not None:
            self._start(following, self.tpool)

    def _begin_to_wait(self, conn: Connection) -> None:
        self._uncount(conn)
        self._end_turn(conn)

    def _make_room(self) -> None:
        """While requests wait for a thread, end the answers whose callers have let them wait longest."""
        if (lacking := len(self.threaded) - self.cfg.threads) <= 0:
            return
        now = time.monotonic()
        unread = [(waited, conn) for conn in self.threaded if (waited := conn.sock.waited(now)) > UNREAD_S]
        for _, conn in sorted(unread, key=itemgetter(0), reverse=True)[:lacking]:
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)

    def handle(self, conn: Connection) -> Any:
        is_large = conn.counted >= LARGE
        waits.when_begun(partial(self.method_queue.defer, self._begin_to_wait, conn))
        try:
            return super().handle(conn)
        finally:
            waits.when_begun(None)
            if is_large or conn.sock.sent_bytes >= LARGE:
                gc.collect()

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        self.busy -= 1
        self.threaded.pop(conn, None)
        self._uncount(conn)
        self._end_turn(conn)
        try:
            keeps = bool(done.result()) and self.alive
            rest = conn.parser.unreader.take_buffered() if keeps else b""
            if keeps:
                self._await(conn, self.cfg.keepalive, rest)
                return
            self._await(conn, LINGER_PAUSE_S)
            self._linger(conn)
        except Exception:
            if conn in self.reading:
                self._release(conn)
            self.nr_conns -= 1
            conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close the connections whose time is over, and renew the process if it is time for that.

        gunicorn calls this every second, and with `force` at the end.
        """
        self._make_room()
        now = time.monotonic()
        for conn in [conn for conn in self.reading if force or conn.deadline <= now]:
            if conn.is_refused or force or not (conn.incoming and conn.incoming.has_begun):
                self._close(conn)
            else:
                self._refuse(conn, Refused(408, "The request did not arrive in time."))
        if self.nr >= self.renews_at and self.alive:
            self._renew()

    def _renew(self) -> None:
        """End the process, for gunicorn to start another one, as soon as no caller waits for it.

        A run may take an hour, and a caller whose connection is cut would send it again.
        """
        self.max_keepalived = 0  # answers now say that the connection ends
        if not self.busy and not any(conn.initialized for conn in self.reading):
            self.log.info("Renewing the process after %d requests.", self.nr)
            self.alive = False

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self.reading:
            if not (conn.incoming and conn.incoming.has_begun):
                conn.deadline = min(conn.deadline, deadline)
