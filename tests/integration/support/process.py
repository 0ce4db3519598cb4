"""hookcast's own processes, started, watched and ended by a test."""
import contextlib
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from servers import free_port, tail, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SANITIZER = re.compile(r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|runtime error:|WARNING: ThreadSanitizer")


def binary():
    """The program under test: HOOKCAST_BINARY, or the release build."""
    return os.environ.get("HOOKCAST_BINARY") or os.path.join(ROOT, "build", "release", "cmd", "hookcast", "hookcast")


def base_environment():
    """This process's environment without any setting of hookcast's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HOOKCAST_")}


def run(env, *arguments, stdin=None, deadline_s=60, check=True):
    """One command of hookcast to its end. check: any exit status but 0 fails the test, with what it printed."""
    done = subprocess.run([binary(), *arguments], env={**base_environment(), **env}, input=stdin, capture_output=True,
                          text=not isinstance(stdin, bytes), timeout=deadline_s, check=False)
    if check:
        assert done.returncode == 0, f"hookcast {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}"
    return done


def http_status(url, timeout_s=2):
    """The status of a GET, or None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return None


class Hookcast:
    """A running `hookcast serve`, `api`, `dispatch`, `listen` or `broker`.

    Its standard error goes to `log_path`. Ports are its own: `metrics_port`, `api_port`."""

    def __init__(self, command, env, log_path, arguments=()):
        self.command = command
        self.arguments = list(arguments)
        self.log_path = log_path
        self.api_port = free_port()
        self.metrics_port = free_port()
        self.env = {"HOOKCAST_API_LISTEN": f"127.0.0.1:{self.api_port}",
                    "HOOKCAST_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}", **env}
        self.api_port = int(self.env["HOOKCAST_API_LISTEN"].rsplit(":", 1)[1])
        self.metrics_port = int(self.env["HOOKCAST_METRICS_LISTEN"].rsplit(":", 1)[1])
        self.process = None
        self.killed = False

    @property
    def api_url(self):
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def metrics_url(self):
        return f"http://127.0.0.1:{self.metrics_port}"

    def start(self, ready=True, deadline_s=30):
        """Starts the process, or starts it again after its end. ready: waits until /readyz says 200."""
        assert not self.running(), "already running"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([binary(), self.command, *self.arguments],
                                            env={**base_environment(), **self.env}, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        self.killed = False
        if ready:
            self.wait_ready(deadline_s)
        return self

    def _ready_url(self):
        return (self.api_url if self.command == "api" else self.metrics_url) + "/readyz"

    def is_ready(self):
        return http_status(self._ready_url()) == 200

    def wait_ready(self, deadline_s=30):
        def ready():
            assert self.running(), f"hookcast {self.command} ended with {self.process.returncode}\n{self.log_tail()}"
            return self.is_ready()
        try:
            wait_until(ready, deadline_s, what=f"hookcast {self.command} is ready")
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.log_tail()}") from late

    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        """kill -9, and waits until the process is gone."""
        self.killed = True
        self.process.kill()
        self.process.wait(10)

    def terminate(self):
        """SIGTERM; returns at once. stop() waits too."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, deadline_s=40):
        """The exit status; the process must have ended by the deadline."""
        return self.process.wait(deadline_s)

    def stop(self, deadline_s=40, status=0):
        """SIGTERM, and a drain that ends with the status in time."""
        if not self.running():
            return
        self.thaw()
        self.terminate()
        try:
            ended = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired as late:
            self.kill()
            raise AssertionError(f"hookcast {self.command} did not drain within {deadline_s} s\n"
                                 f"{self.log_tail()}") from late
        assert ended == status, f"hookcast {self.command} ended with {ended}, expected {status}\n{self.log_tail()}"

    def freeze(self):
        """SIGSTOP: the process stands still, its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)

    def log(self):
        """All that the process wrote so far."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except OSError:
            return ""

    def log_tail(self, lines=40):
        return tail(self.log_path, lines)

    def wait_log(self, pattern, deadline_s=30):
        """Waits until a line of the log matches the regular expression; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log(), re.MULTILINE), deadline_s, what=f"log has {pattern!r}")

    def metrics(self):
        """Every sample of /metrics: {'hookcast_x{partition="0"}': 1.0, …}."""
        with urllib.request.urlopen(self.metrics_url + "/metrics", timeout=5) as answer:
            text = answer.read().decode()
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def metric(self, name, **labels):
        """The sum over all samples of one name that carry these labels; 0 when there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for sample, value in self.metrics().items()
                   if sample.split("{", 1)[0] == name and all(pair in sample for pair in wanted))

    def resident_bytes(self):
        """Memory in use now (VmRSS)."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def close(self):
        """The end of the test: drains what still runs, then looks for a sanitizer's report."""
        try:
            self.stop()
        finally:
            if self.running():
                self.kill()
        found = SANITIZER.search(self.log())
        assert not found, f"hookcast {self.command}: {found.group(0)}\n{self.log()[found.start():][:4000]}"
        if not self.killed and self.process is not None and self.process.returncode not in (0, None):
            assert self.process.returncode in (1, 2), f"hookcast {self.command} died of {self.process.returncode}"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def cpu_seconds(pid):
    """Processor time of a process and of its children that were waited for."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / ticks
