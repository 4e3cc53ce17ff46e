"""The carrier: relays connections from 127.0.0.1:3128 in the sandbox to the sandbox's door.

Programs use 127.0.0.1:3128 as their HTTP proxy. The door is a Unix socket of the host with the real proxy behind it.
The sandbox has no other way out, and the carrier enforces nothing.

The runner starts it in sandboxes with egress, under a uid that nothing else uses. Standard library only.
"""

import select
import socket

ADDRESS = ("127.0.0.1", 3128)
DOOR = "/run/egress/door"
CHUNK = 65536
BACKLOG = 64


class Side:
    """One end of a relayed connection. Data that arrives here waits until the other end has sent it."""

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
                # Do not register a socket with no events: poll would report its hang-up in a busy loop.
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
