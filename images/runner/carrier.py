"""Carries what programs send to 127.0.0.1:3128, as to an HTTP proxy, through the door of the sandbox: a Unix
socket of the host, behind which the real proxy is. There is no other way out, and this is no part of what guards
it.

Started by the runner in sandboxes with egress, under a user of its own. Standard library only.
"""

import select
import socket

ADDRESS = ("127.0.0.1", 3128)
DOOR = "/run/egress/door"
CHUNK = 65536
BACKLOG = 64


class Side:
    """One end of a connection: what arrives here waits for the other end to take it."""

    def __init__(self, sock):
        self.sock = sock
        self.other = None
        self.waiting = b""  # to be sent from here
        self.open = True  # more may arrive here
        sock.setblocking(False)

    def reads(self):
        return self.open and not self.other.waiting

    def events(self):
        return (select.POLLIN if self.reads() else 0) | (select.POLLOUT if self.waiting else 0)

    def receive(self):
        data = self.sock.recv(CHUNK)
        if data:
            self.other.waiting = data
            self.other.send()
            return
        self.open = False
        if not self.other.waiting:
            self.other.sock.shutdown(socket.SHUT_WR)

    def send(self):
        try:
            self.waiting = self.waiting[self.sock.send(self.waiting) :]
        except BlockingIOError:
            return
        if not self.waiting and not self.other.open:
            self.sock.shutdown(socket.SHUT_WR)

    def is_over(self):
        return not (self.open or self.other.open or self.waiting or self.other.waiting)


class Carrier:
    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(ADDRESS)
        self.listener.listen(BACKLOG)
        self.listener.setblocking(False)
        self.sides = {}

    def run(self):
        while True:
            poll = select.poll()
            poll.register(self.listener, select.POLLIN)
            for fd, side in self.sides.items():
                # Its end alone is no news, and would be told again and again.
                if events := side.events():
                    poll.register(fd, events)
            for fd, event in poll.poll():
                if fd == self.listener.fileno():
                    self.accept()
                elif fd in self.sides:
                    self.serve(self.sides[fd], event)

    def accept(self):
        try:
            inside = self.listener.accept()[0]
        except OSError:
            return
        outside = socket.socket(socket.AF_UNIX)
        try:
            outside.connect(DOOR)
        except OSError:
            inside.close()
            outside.close()
            return
        one, two = Side(inside), Side(outside)
        one.other, two.other = two, one
        self.sides[inside.fileno()], self.sides[outside.fileno()] = one, two

    def serve(self, side, event):
        try:
            if event & ~select.POLLIN and side.waiting:
                side.send()
            if event & ~select.POLLOUT and side.reads():
                side.receive()
            over = side.is_over()
        except BlockingIOError:
            return
        except OSError:
            over = True
        if over:
            for end in (side, side.other):
                del self.sides[end.sock.fileno()]
                end.sock.close()


Carrier().run()
