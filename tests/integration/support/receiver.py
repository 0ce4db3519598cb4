"""A receiver that behaves as the test says, and remembers everything that came.

    receiver.on("/slow", Answer(delay_s=2))
    receiver.on("/down", Hang())
    receiver.on("/hook", FailFirst(2, Answer(503)))
    receiver.wait_for(10, "/hook")
    assert not receiver.duplicates()

What is not programmed answers 200. A behaviour is an object with `async def play(self, call)`; on() also takes a function of
the request that returns one."""
import asyncio
import collections
import socket
import struct
import threading
import time

from aiohttp import web

from servers import free_port, wait_until


class Request:
    """What came: path, headers (names in lower case), body (bytes), time (time.time()), id (webhook-id, or None),
    nth (from 1, among those of the same path and id), status (what was answered, None while or unless it was not)."""

    __slots__ = ("method", "path", "headers", "body", "time", "id", "nth", "status")

    def __init__(self, method, path, headers, body, nth):
        self.method, self.path, self.headers, self.body, self.nth = method, path, headers, body, nth
        self.time = time.time()
        self.id = headers.get("webhook-id")
        self.status = None

    def __repr__(self):
        return f"<{self.method} {self.path} id={self.id} nth={self.nth} status={self.status} {len(self.body)} bytes>"


class Call:
    """One exchange as a behaviour sees it: the request, and the raw connection."""

    def __init__(self, raw, request):
        self.raw, self.request = raw, request

    def send(self, data):
        self.raw.transport.write(data)

    def reset(self):
        """Ends the connection with RST."""
        sock = self.raw.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.transport.abort()


class Answer:
    def __init__(self, status=200, body=b"", headers=None, delay_s=0.0):
        self.status, self.headers, self.delay_s = status, headers or {}, delay_s
        self.body = body.encode() if isinstance(body, str) else body

    async def play(self, call):
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        call.request.status = self.status
        return web.Response(status=self.status, body=self.body, headers=self.headers)


def Redirect(to, status=302):
    return Answer(status, headers={"Location": to})


def RetryAfter(value, status=503):
    """value: seconds, or an HTTP date."""
    return Answer(status, headers={"Retry-After": str(value)})


class FailFirst:
    """The first n of a path, or of each webhook-id (per="id"), get `failure`, the others `then`."""

    def __init__(self, n, failure=None, then=None, per="path"):
        self.n, self.failure, self.then, self.per = n, failure or Answer(500), then or Answer(), per
        self.seen = collections.Counter()

    async def play(self, call):
        key = call.request.id if self.per == "id" else call.request.path
        self.seen[key] += 1
        return await (self.failure if self.seen[key] <= self.n else self.then).play(call)


class InTurn:
    """One behaviour after the other; the last one stays."""

    def __init__(self, *behaviours):
        self.behaviours = list(behaviours)

    async def play(self, call):
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        return await behaviour.play(call)


class Hang:
    """Takes the request and never answers; ends when the client goes."""

    async def play(self, call):
        await asyncio.sleep(3600)


class Gate:
    """Holds every answer back until the test opens the gate."""

    def __init__(self, then=None):
        self.then = then or Answer()
        self.opened = threading.Event()

    def open(self):
        self.opened.set()

    async def play(self, call):
        while not self.opened.is_set():
            await asyncio.sleep(0.01)
        return await self.then.play(call)


class Reset:
    """Cuts the connection, before any answer or after a piece of it."""

    def __init__(self, after=b""):
        self.after = after

    async def play(self, call):
        if self.after:
            call.send(self.after)
            await asyncio.sleep(0.05)
        call.reset()
        await asyncio.sleep(3600)


class Trickle:
    """Sends an answer that never ends, one byte at a time."""

    def __init__(self, interval_s=0.2, in_headers=False):
        self.interval_s, self.in_headers = interval_s, in_headers

    async def play(self, call):
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" +
                  (b"X-Slow: " if self.in_headers else b"Content-Length: 1000000\r\n\r\n"))
        while True:
            call.send(b"a")
            await asyncio.sleep(self.interval_s)


class Flood:
    """Answers with a body of so many bytes."""

    def __init__(self, size_bytes=100 * 1024 * 1024, status=200):
        self.size_bytes, self.status = size_bytes, status

    async def play(self, call):
        call.request.status = self.status
        answer = web.StreamResponse(status=self.status, headers={"Content-Length": str(self.size_bytes)})
        await answer.prepare(call.raw)
        piece = b"x" * 65536
        left = self.size_bytes
        while left > 0:
            await answer.write(piece[:left])
            left -= len(piece)
        return answer


class Raw:
    """Sends these bytes as they are, then closes."""

    def __init__(self, data):
        self.data = data

    async def play(self, call):
        call.send(self.data)
        await asyncio.sleep(0.1)
        call.raw.transport.close()
        await asyncio.sleep(3600)


class Receiver:
    """An HTTP server on a port of its own, in a thread of its own. Methods are called from the test's thread."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self._behaviours = {}
        self._requests = []
        self._counts = collections.Counter()
        self._connections = 0
        self._loop = None
        self._thread = None

    # The test's side.

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path, behaviour):
        """From now on `path` behaves so. behaviour: an object with play(), or a function of the request that returns one."""
        self._behaviours[path] = behaviour

    def requests(self, path=None):
        """Everything that came so far, in order; of one path, if given. What came is listed before it is answered."""
        return [request for request in list(self._requests) if path is None or request.path == path]

    def count(self, path=None):
        return len(self._requests) if path is None else len(self.requests(path))

    def ids(self, path=None):
        """{webhook-id: how many times it came}."""
        return collections.Counter(request.id for request in self.requests(path))

    def duplicates(self, path=None):
        """{(path, webhook-id): how many times}, for what came more than once to one path."""
        counts = collections.Counter((request.path, request.id) for request in self.requests(path))
        return {key: n for key, n in counts.items() if n > 1}

    def wait_for(self, n, path=None, deadline_s=30, distinct=False):
        """Waits for n requests, or for n different webhook-ids; returns the requests. More than n is not an error here."""
        def enough():
            have = len(self.ids(path)) if distinct else self.count(path)
            return have >= n
        try:
            wait_until(enough, deadline_s, what=f"{n} requests at {path or 'any path'}")
        except TimeoutError as late:
            raise AssertionError(f"{late}: {self.count(path)} came, {len(self.ids(path))} different") from late
        return self.requests(path)

    def forget(self):
        """Empties the memory of what came."""
        self._requests.clear()
        self._counts.clear()

    @property
    def connections(self):
        """How many connections were opened so far."""
        return self._connections

    def start(self):
        if self._thread:
            return self
        started = threading.Event()
        failure = []
        self._thread = threading.Thread(target=self._run, args=(started, failure), daemon=True)
        self._thread.start()
        assert started.wait(10), "the receiver did not start"
        if failure:
            raise failure[0]
        return self

    def stop(self):
        """Down: connections are cut, new ones refused, until start()."""
        if self._thread:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
            self._thread = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    # The loop's side.

    def _run(self, started, failure):
        asyncio.run(self._serve(started, failure))

    async def _serve(self, started, failure):
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        def request(message, payload, protocol, writer, task):
            return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=256 << 20)

        server = web.Server(self._handle, request_factory=request, access_log=None, keepalive_timeout=3600)

        def connected():
            self._connections += 1
            return server()

        try:
            listener = await self._loop.create_server(connected, "127.0.0.1", self.port, backlog=1024,
                                                      reuse_address=True)
        except OSError as taken:
            failure.append(taken)
            started.set()
            return
        started.set()
        await self._end.wait()
        listener.close()
        for handler in list(server.connections):
            if handler.transport is not None:
                handler.transport.abort()
        await server.shutdown(0.1)

    async def _handle(self, raw_request):
        body = await raw_request.read()
        headers = {name.lower(): value for name, value in raw_request.headers.items()}
        key = (raw_request.path, headers.get("webhook-id"))
        self._counts[key] += 1
        request = Request(raw_request.method, raw_request.path, headers, body, self._counts[key])
        self._requests.append(request)
        behaviour = self._behaviours.get(raw_request.path)
        if behaviour is None:
            request.status = 200
            return web.Response()
        if not hasattr(behaviour, "play"):
            behaviour = behaviour(request)
        return await behaviour.play(Call(raw_request, request))


def refused_url(path="/"):
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}{path}"
