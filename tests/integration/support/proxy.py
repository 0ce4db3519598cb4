"""Stands between hookcast and PostgreSQL, and cuts connections at the COMMIT of one of them."""
import socket
import threading

from servers import free_port

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class CommitProxy:
    """url() is the database's address through the proxy. The connections whose application_name is `victim` are cut at every
    `every`th COMMIT: in turn after PostgreSQL has answered it, so that it is done and nobody knows, and before it arrives."""

    def __init__(self, postgres, victim="hookcast recorder", every=5):
        self.port = free_port()
        self.victim, self.every = victim.encode(), every
        self.commits = self.swallowed = self.dropped = 0
        self.active = True
        self._target = f"{postgres.socket_dir}/.s.PGSQL.{postgres.port}"
        self._listener = None

    def url(self, url):
        """The same database through the proxy."""
        database = url.split("?")[0].rsplit("/", 1)[1]
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self._listener.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                continue
            link = _Link(self, client, server)
            threading.Thread(target=link.forward, daemon=True).start()
            threading.Thread(target=link.backward, daemon=True).start()


class _Link:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.is_victim = None
        self.swallow = False

    def cut(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def forward(self):
        proxy = self.proxy
        try:
            while data := self.client.recv(1 << 16):
                if self.is_victim is None:
                    self.is_victim = proxy.victim in data
                if self.is_victim and data.endswith(COMMIT) and proxy.active:
                    proxy.commits += 1
                    if proxy.commits % (2 * proxy.every) == 0:
                        proxy.dropped += 1
                        break
                    self.swallow = proxy.commits % (2 * proxy.every) == proxy.every
                self.server.sendall(data)
        except OSError:
            pass
        self.cut()
        self.client.close()

    def backward(self):
        try:
            while data := self.server.recv(1 << 16):
                if self.swallow:
                    self.proxy.swallowed += 1
                    break
                self.client.sendall(data)
        except OSError:
            pass
        self.cut()
        self.server.close()
