"""Receivers that speak TLS, and the authority that their certificates come from."""
import http.server
import os
import ssl
import subprocess
import threading


class Authority:
    """A certificate authority in a directory; `path` is what HOOKCAST_CA_FILE names."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.path = os.path.join(self.directory, "ca.pem")
        self._key = os.path.join(self.directory, "ca.key")
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority",
                      "-addext", "keyUsage=critical,keyCertSign", "-keyout", self._key, "-out", self.path)

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.directory)

    def certificate(self, name, days=2):
        """(certificate, key) for a name like `IP:127.0.0.1` or `DNS:example.test`. days -1: one that has run out."""
        stem = os.path.join(self.directory, name.replace(":", "-") + str(days))
        with open(stem + ".ext", "w", encoding="ascii") as extensions:
            extensions.write(f"subjectAltName={name}\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=receiver", "-keyout", stem + ".key",
                      "-out", stem + ".csr")
        dates = ["-days", str(days)]
        self._openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.path, "-CAkey", self._key, "-CAcreateserial",
                      "-extfile", stem + ".ext", "-out", stem + ".pem", *dates)
        return stem + ".pem", stem + ".key"


class TlsReceiver:
    """Answers 200 over TLS and remembers the paths that came."""

    def __init__(self, certificate, newest=None):
        paths = self.paths = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                paths.append(self.path)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *unused):
                """A handshake that failed is what some tests want."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if newest:
            context.minimum_version = context.maximum_version = newest
            context.set_ciphers("ALL:@SECLEVEL=0")
        self._server = Server(("127.0.0.1", 0), Handler)
        # The handshake belongs to the connection's own thread.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def url(self, path, host="127.0.0.1"):
        return f"https://{host}:{self.port}{path}"
