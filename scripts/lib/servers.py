#!/usr/bin/python3
"""The servers beside hookcast, each in a directory and on a port of its own: PostgreSQL, Apache Kafka, nginx.

As a module it serves the tests; as a command it serves the scripts:

    scripts/lib/servers.py postgres start DIR [--port N] [--durable] [--set name=value]…
    scripts/lib/servers.py kafka start DIR [--port N] [--fast-start]
    scripts/lib/servers.py nginx start DIR [--port N] [--status N]
    scripts/lib/servers.py postgres|kafka|nginx stop DIR
    scripts/lib/servers.py kafka fetch
    scripts/lib/servers.py port [PREFERRED]

`port` prints a port nobody listens on, the preferred one if it is free.

`start` waits until the server answers and prints one JSON object: port, pid, and the address under which clients find it.
A server outlives the command that started it; `stop` ends it, by its process id. Starting what already runs is not an error.
"""
import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KAFKA_LIBS = os.path.join(ROOT, "var", "kafka", "libs")


class ServerError(Exception):
    """A server did not start, or did not stop. The text ends with the tail of its log."""


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port():
    """A port nobody listens on, below the range from which the kernel takes the ports of outgoing connections, so that a
    server which is stopped for a while finds its port free when it comes back."""
    for _ in range(200):
        port = random.randint(14000, 32000)
        if port_is_free(port):
            return port
    raise ServerError("no free port between 14000 and 32000")


def wait_until(condition, deadline_s=30.0, step_s=0.05, what="the condition"):
    """Waits for a true value of condition() and returns it. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what}: not so after {deadline_s:g} s")
        time.sleep(step_s)


def alive(pid):
    """True while the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def tail(path, lines=20):
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])
    except OSError:
        return ""


@contextlib.contextmanager
def locked(path):
    """Holds an exclusive lock on a file, made when it is missing, against other processes."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _stop_pid(pid, first_signal, deadline_s):
    """Ends the process: asks first, insists at the deadline. Reaps it when it is a child of ours."""
    for number, limit in ((first_signal, deadline_s), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if not alive(pid):
                return
            time.sleep(0.05)
    raise ServerError(f"process {pid} does not end")


class Server:
    """What the three have in common: a directory, a port that stays the same over stop and start, a remembered state."""

    def __init__(self, directory, port=None):
        self.directory = os.path.abspath(directory)
        os.makedirs(self.directory, exist_ok=True)
        self._state_path = os.path.join(self.directory, "server.json")
        known = self._read_state()
        self.port = port or known.get("port") or free_port()

    def _read_state(self):
        try:
            with open(self._state_path, encoding="utf-8") as state:
                return json.load(state)
        except (OSError, ValueError):
            return {}

    def _write_state(self):
        with open(self._state_path + ".new", "w", encoding="utf-8") as state:
            json.dump(self.describe(), state)
        os.replace(self._state_path + ".new", self._state_path)

    def running(self):
        pid = self.pid()
        return bool(pid) and alive(pid)

    def freeze(self):
        """The server's main process stands still (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid(), signal.SIGCONT)

    def restart(self):
        self.stop()
        self.start()


class Postgres(Server):
    """A PostgreSQL cluster. Local connections need no password; the superuser is `postgres`.

    durable: fsync on, as in production. Off, a crash of the machine (not of the server) may lose data, and tests are quick.
    settings: a dict of further server settings."""

    def __init__(self, directory, port=None, durable=False, settings=None):
        super().__init__(directory, port)
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "max_connections": "300",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "synchronous_commit": "on",
            "log_min_messages": "warning",
            **(settings or {}),
        }
        # initdb refuses to run as root, and the user postgres may not see the directory (a clone below /root).
        self.home = self.directory
        if os.geteuid() == 0 and not self._postgres_sees(self.directory):
            self.home = "/var/tmp/hookcast-pg-" + hashlib.sha256(self.directory.encode()).hexdigest()[:12]
            os.makedirs(self.home, exist_ok=True)
        self.data = os.path.join(self.home, "data")
        self.log = os.path.join(self.home, "postgres.log")
        # A socket's path has room for 107 bytes.
        self.socket_dir = self.home if len(self.home) < 80 else None

    @staticmethod
    def _postgres_sees(directory):
        return subprocess.run(["runuser", "-u", "postgres", "--", "test", "-x", directory], cwd="/",
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    @staticmethod
    def _program(name):
        found = shutil.which(name)
        if os.path.isdir("/usr/lib/postgresql"):
            versions = sorted((v for v in os.listdir("/usr/lib/postgresql") if v.isdigit()), key=int)
            for version in reversed(versions):
                path = f"/usr/lib/postgresql/{version}/bin/{name}"
                if os.access(path, os.X_OK):
                    return path
        if not found:
            raise ServerError(f"{name} is not installed; scripts/setup installs PostgreSQL")
        return found

    def _run(self, *argv):
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run([*prefix, *argv], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise ServerError(f"{os.path.basename(argv[0])} failed: {done.stdout.strip()}\n{tail(self.log)}")

    def start(self):
        if self.running():
            return self
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            if os.geteuid() == 0:
                shutil.chown(self.home, "postgres", "postgres")
            self._run(self._program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                      "--locale=C.UTF-8", "--no-sync")
        options = {**self.settings, "port": str(self.port), "unix_socket_directories": self.socket_dir or ""}
        text = " ".join("-c " + f"{name}={value}".replace("\\", "\\\\").replace(" ", "\\ ")
                        for name, value in options.items())
        self._run(self._program("pg_ctl"), "-D", self.data, "-l", self.log, "-w", "-t", "60", "-o", text, "start")
        self._write_state()
        return self

    def stop(self, mode="fast"):
        """mode: `fast` ends sessions in order, `immediate` is a crash."""
        if self.running():
            self._run(self._program("pg_ctl"), "-D", self.data, "-w", "-t", "60", "-m", mode, "stop")

    def kill(self):
        """The crash of the whole server."""
        self.stop("immediate")

    def pid(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as pid_file:
                return int(pid_file.readline())
        except (OSError, ValueError):
            return None

    def url(self, database="postgres"):
        host = urllib.parse.quote(self.socket_dir or "127.0.0.1", safe="/")
        return f"postgresql:///{database}?host={host}&port={self.port}&user=postgres"

    def describe(self):
        return {"kind": "postgres", "port": self.port, "pid": self.pid(), "url": self.url(), "log": self.log,
                "home": self.home}

    def remove(self):
        """Stops the server and deletes its files."""
        self.stop("immediate")
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def fetch_kafka():
    """The jars of Apache Kafka, once. Several processes may ask at the same time."""
    with locked(os.path.join(ROOT, "var", "kafka", "lock")):
        if os.path.isdir(KAFKA_LIBS):
            return KAFKA_LIBS
        if not shutil.which("mvn"):
            raise ServerError("mvn is not installed; scripts/setup installs it")
        print("fetching Apache Kafka (46 MB, once)", file=sys.stderr, flush=True)
        part = KAFKA_LIBS + ".part"
        shutil.rmtree(part, ignore_errors=True)
        done = subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(ROOT, "scripts", "kafka", "pom.xml"),
                               "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False)
        if done.returncode != 0:
            raise ServerError("Maven could not fetch Apache Kafka:\n" + done.stdout[-2000:])
        os.replace(part, KAFKA_LIBS)
        return KAFKA_LIBS


class Kafka(Server):
    """A broker of Apache Kafka, one node.

    fast_start: the Java compiler stops at its first level; quick to start, slower under load. Right for tests."""

    def __init__(self, directory, port=None, fast_start=True, settings=None):
        super().__init__(directory, port)
        self.fast_start = fast_start
        self.controller_port = self._read_state().get("controller_port") or free_port()
        self.settings = settings or {}
        self.log = os.path.join(self.directory, "kafka.log")
        self.bootstrap = f"127.0.0.1:{self.port}"

    def _write_properties(self):
        listen = f"PLAINTEXT://{self.bootstrap}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"{listen},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": listen,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": os.path.join(self.directory, "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "num.partitions": "8",
            "auto.create.topics.enable": "true",
            "log.cleaner.dedupe.buffer.size": str(2 << 20),  # on the heap; by default half of ours
            **self.settings,
        }
        path = os.path.join(self.directory, "server.properties")
        with open(path, "w", encoding="utf-8") as handle:
            handle.writelines(f"{name}={value}\n" for name, value in properties.items())
        return path

    def start(self):
        if self.running():
            return self
        libs = fetch_kafka()
        if not shutil.which("java"):
            raise ServerError("java is not installed; scripts/setup installs it")
        properties = self._write_properties()
        classes = ["-cp", os.path.join(libs, "*")]
        logging = "-Dlog4j.configuration=file:" + os.path.join(ROOT, "scripts", "kafka", "log4j.properties")
        quick = ["-XX:TieredStopAtLevel=1"]
        with open(self.log, "ab") as log:
            if not os.path.exists(os.path.join(self.directory, "data", "meta.properties")):
                cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
                done = subprocess.run(["java", *quick, logging, *classes, "kafka.tools.StorageTool", "format",
                                       f"--cluster-id={cluster}", "-c", properties, "--ignore-formatted"],
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
                if done.returncode != 0:
                    raise ServerError("Kafka could not format its directory:\n" + tail(self.log))
            self._process = subprocess.Popen(
                ["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", *(quick if self.fast_start else []), logging, *classes,
                 "kafka.Kafka", properties],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.directory)
        with open(os.path.join(self.directory, "kafka.pid"), "w", encoding="ascii") as pid_file:
            pid_file.write(f"{self._process.pid}\n")
        self._write_state()
        try:
            wait_until(self._answers, 90, 0.1, "Kafka answers")
        except TimeoutError as late:
            self.kill()
            raise ServerError(f"{late}\n{tail(self.log)}") from late
        return self

    def _answers(self):
        if self._process.poll() is not None:
            raise ServerError("Kafka ended at start:\n" + tail(self.log))
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        from confluent_kafka import KafkaException, Producer
        try:
            client = Producer({"bootstrap.servers": self.bootstrap, "logger": _silent()})
            return bool(client.list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def stop(self):
        if self.running():
            _stop_pid(self.pid(), signal.SIGTERM, 30)

    def kill(self):
        if self.running():
            _stop_pid(self.pid(), signal.SIGKILL, 10)

    def pid(self):
        try:
            with open(os.path.join(self.directory, "kafka.pid"), encoding="ascii") as pid_file:
                pid = int(pid_file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                return pid if b"kafka.Kafka" in command.read() else None
        except (OSError, ValueError):
            return None

    def describe(self):
        return {"kind": "kafka", "port": self.port, "controller_port": self.controller_port, "pid": self.pid(),
                "bootstrap": self.bootstrap, "log": self.log}

    def remove(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _silent():
    """A logger that swallows librdkafka's complaints about a broker that is still starting."""
    import logging
    logger = logging.getLogger("hookcast-servers")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


class Nginx(Server):
    """The fast receiver: answers every request with one status and no body, on connections that stay open."""

    def __init__(self, directory, port=None, status=204):
        super().__init__(directory, port)
        self.status = status
        self.log = os.path.join(self.directory, "nginx.log")

    def start(self):
        if self.running():
            return self
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.access(program, os.X_OK):
            raise ServerError("nginx is not installed; scripts/setup installs it")
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = os.path.join(self.directory, "nginx.conf")
        with open(config, "w", encoding="utf-8") as handle:
            handle.write(f"""pid {self.directory}/nginx.pid;
error_log {self.log} warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
{temporary}access_log off;
keepalive_requests 1000000000;
keepalive_timeout 3600s;
client_max_body_size 16m;
client_body_buffer_size 64k;
server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location / {{ return {self.status}; }}
}}
}}
""")
        done = subprocess.run([program, "-c", config, "-e", self.log], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, start_new_session=True, check=False)
        if done.returncode != 0:
            raise ServerError("nginx did not start: " + done.stdout + tail(self.log))
        wait_until(self.running, 10, what="nginx runs")
        self._write_state()
        return self

    def stop(self):
        if self.running():
            _stop_pid(self.pid(), signal.SIGTERM, 10)

    kill = stop

    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def pid(self):
        try:
            with open(os.path.join(self.directory, "nginx.pid"), encoding="ascii") as pid_file:
                return int(pid_file.read())
        except (OSError, ValueError):
            return None

    def describe(self):
        return {"kind": "nginx", "port": self.port, "pid": self.pid(), "url": self.url(), "log": self.log}

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


KINDS = {"postgres": Postgres, "kafka": Kafka, "nginx": Nginx}


def open_server(directory):
    """The server that was started in this directory, or None."""
    try:
        with open(os.path.join(directory, "server.json"), encoding="utf-8") as state:
            return KINDS[json.load(state)["kind"]](directory)
    except (OSError, ValueError, KeyError):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    if sys.argv[1:2] == ["port"]:
        preferred = int(sys.argv[2]) if len(sys.argv) > 2 else 0
        print(preferred if preferred and port_is_free(preferred) else free_port())
        return
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("action", choices=("start", "stop", "remove", "fetch"))
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--port", type=int)
    parser.add_argument("--durable", action="store_true", help="PostgreSQL: fsync on")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="PostgreSQL, Kafka: a setting")
    parser.add_argument("--fast-start", action="store_true", help="Kafka: quick to start, slower under load")
    parser.add_argument("--status", type=int, default=204, help="nginx: the answer")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.set)
    if options.action == "fetch":
        print(fetch_kafka())
        return
    if not options.directory:
        parser.error(f"{options.action} needs a directory")
    extra = {"postgres": {"durable": options.durable, "settings": settings},
             "kafka": {"fast_start": options.fast_start, "settings": settings},
             "nginx": {"status": options.status}}[options.kind]
    server = KINDS[options.kind](options.directory, options.port, **extra)
    if options.action == "start":
        if not options.port and not server.running() and not port_is_free(server.port):
            server = type(server)(options.directory, free_port(), **extra)
        print(json.dumps(server.start().describe()))
    else:
        getattr(server, options.action)()


if __name__ == "__main__":
    try:
        main()
    except ServerError as failure:
        print(f"servers.py: {failure}", file=sys.stderr)
        sys.exit(1)
