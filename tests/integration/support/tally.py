"""A quick receiver for tests under load: it only counts. What misbehaves is support.receiver's.

It answers 200 after `delay_s`, or not at all on paths that hang, and notes (time, path, webhook-id, address of the sender) of
every request that came completely. A request is noted before it is answered."""
import asyncio
import collections
import threading
import time

from servers import free_port, wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Tally:
    """arrived  [(time.monotonic(), path, webhook-id, sender's address)] in order; only ever appended to
    hanging  paths that get no answer while they are in this set (see release)
    delay_s  how long each answer takes"""

    def __init__(self, delay_s=0.0):
        self.port = free_port()
        self.arrived = []
        self.hanging = set()
        self.delay_s = delay_s
        self._connections = set()
        self._unanswered = collections.defaultdict(list)
        self._loop = None
        self._thread = None

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def __len__(self):
        return len(self.arrived)

    def counts(self, since=0):
        """{(path, webhook-id): how many times} from the given place in `arrived` on."""
        return collections.Counter((path, name) for _, path, name, _ in self.arrived[since:])

    def wait_for(self, n, deadline_s=30):
        try:
            wait_until(lambda: len(self.arrived) >= n, deadline_s, what=f"{n} webhooks")
        except TimeoutError as late:
            raise AssertionError(f"{late}: {len(self.arrived)} came") from late

    def wait_closed(self, deadline_s=10):
        """Waits until no connection is open: what a process that was killed had sent has been noted by then."""
        wait_until(lambda: not self._connections, deadline_s, 0.01, "every connection to the receiver is closed")

    def longest_gap_s(self, begin=None, end=None):
        """The longest time between two arrivals, `begin` and `end` (time.monotonic()) counting as arrivals."""
        times = sorted(arrival[0] for arrival in self.arrived)
        times = [at for at in times if (begin is None or at >= begin) and (end is None or at <= end)]
        times = ([] if begin is None else [begin]) + times + ([] if end is None else [end])
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def release(self, path):
        """The path answers from now on, also what was kept waiting."""
        def answer():
            self.hanging.discard(path)
            for transport in self._unanswered.pop(path, []):
                if not transport.is_closing():
                    transport.write(ANSWER)
        self._loop.call_soon_threadsafe(answer)

    def start(self):
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10), "the receiver did not start"
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    async def _serve(self, started):
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        listener = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=2048,
                                                  reuse_address=True)
        started.set()
        await self._end.wait()
        listener.close()
        for transport in list(self._connections):
            transport.abort()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, tally):
        self.tally = tally
        self.buffer = b""
        self.transport = self.sender = None

    def connection_made(self, transport):
        self.transport = transport
        self.sender = transport.get_extra_info("peername")[0]
        self.tally._connections.add(transport)

    def connection_lost(self, _):
        self.tally._connections.discard(self.transport)

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            whole = end + 4 + int(_header(head, b"content-length") or 0)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self._arrived(head.split(b" ", 2)[1].decode(), _header(head, b"webhook-id").decode())

    def _arrived(self, path, name):
        tally = self.tally
        tally.arrived.append((time.monotonic(), path, name, self.sender))
        if path in tally.hanging:
            tally._unanswered[path].append(self.transport)
        elif tally.delay_s:
            tally._loop.call_later(tally.delay_s, self._answer)
        else:
            self.transport.write(ANSWER)

    def _answer(self):
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


def _header(head, name):
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    end = head.find(b"\r\n", at + 2)
    return head[at + len(name) + 3:end if end >= 0 else len(head)].strip()
