"""Node.js with the packages of tests/integration/node, and the handlers that the documents print."""
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile

from servers import free_port

from .process import ROOT

SOURCES = os.path.join(ROOT, "tests", "integration", "node")


def packages():
    """The directory that holds node_modules; installed once for a package.json."""
    with open(os.path.join(SOURCES, "package.json"), "rb") as file:
        wanted = file.read()
    directory = os.path.join(tempfile.gettempdir(), "hookcast-node-" + hashlib.sha256(wanted).hexdigest()[:12])
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(directory, "installed")):
            shutil.copy(os.path.join(SOURCES, "package.json"), directory)
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", directory],
                                  cwd=directory, capture_output=True, text=True, timeout=150, check=False)
            assert done.returncode == 0, done.stderr
            with open(os.path.join(directory, "installed"), "w", encoding="ascii"):
                pass
    return os.path.join(directory, "node_modules")


class Handlers:
    """The printed handlers on a port of their own."""

    def __enter__(self):
        self.port = free_port()
        self.process = subprocess.Popen(["node", os.path.join(SOURCES, "run_handlers.js"), str(self.port)],
                                        env={**os.environ, "NODE_PATH": packages()}, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout.readline() == "listening\n"
        return self

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def end(self):
        """Ends it, and returns what the handlers printed."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
