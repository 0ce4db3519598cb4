"""Fixtures of the integration tests.

One PostgreSQL and one Kafka serve a whole run, also when pytest-xdist spreads it over processes; they start when the first
test needs them. Each test has its own `installation`: database, topic prefix, group, ports. A test that stops a server
takes `private_postgres` or `private_kafka`, and builds its installation with `make_installation`.
"""
import os
import secrets
import shutil
import signal
import sys
import tempfile

# select() ends at descriptor 1024, and a receiver may hold more connections than that.
os.environ.setdefault("PSYCOPG_WAIT_FUNC", "wait_epoll")

import psycopg  # noqa: E402
import pytest  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts", "lib"))
sys.path.insert(0, HERE)

import servers  # noqa: E402
from support.installation import Installation  # noqa: E402
from support.process import binary, run  # noqa: E402
from support.receiver import Receiver  # noqa: E402
from support.tally import Tally  # noqa: E402

TEMPLATE = "hookcast_template"
RUN_DIRECTORY = "HOOKCAST_TEST_RUN_DIRECTORY"
DEADLINE_S = 180
# Short sessions are allowed, so that a test that kills a process need not wait long for its partitions.
KAFKA_SETTINGS = {"group.min.session.timeout.ms": "1000"}
PREFIX = "hookcast-tests-"


def pytest_configure(config):
    # The controlling process owns the run's directory, and ends what was started in it; workers inherit its name.
    config.owns_run = not hasattr(config, "workerinput") and RUN_DIRECTORY not in os.environ
    if config.owns_run:
        remove_leftovers()
        directory = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(directory, 0o755)
        with open(os.path.join(directory, "owner"), "w", encoding="ascii") as owner:
            owner.write(str(os.getpid()))
        os.environ[RUN_DIRECTORY] = directory


def pytest_unconfigure(config):
    if getattr(config, "owns_run", False):
        remove_run(os.environ.pop(RUN_DIRECTORY))


def remove_run(directory):
    for name in os.listdir(directory):
        server = servers.open_server(os.path.join(directory, name))
        if server:
            server.remove()
    shutil.rmtree(directory, ignore_errors=True)


def remove_leftovers():
    """Servers of a run that was killed."""
    for name in os.listdir(tempfile.gettempdir()):
        directory = os.path.join(tempfile.gettempdir(), name)
        try:
            with open(os.path.join(directory, "owner"), encoding="ascii") as owner:
                if name.startswith(PREFIX) and not servers.alive(int(owner.read())):
                    remove_run(directory)
        except (OSError, ValueError):
            continue


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in list(getattr(item, "funcargs", {}).values()):
            if isinstance(value, Installation):
                report.sections.extend(value.report())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that waits for ever fails, with a trace of where it stood."""
    marker = item.get_closest_marker("deadline")
    limit_s = marker.args[0] if marker else DEADLINE_S

    def late(*_):
        pytest.fail(f"not done after {limit_s} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def run_directory():
    return os.environ[RUN_DIRECTORY]


@pytest.fixture(scope="session")
def hookcast_binary():
    path = binary()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not there; scripts/test builds it, or set HOOKCAST_BINARY", pytrace=False)
    return path


@pytest.fixture(scope="session")
def postgres(run_directory):
    """The PostgreSQL of this run."""
    with servers.locked(os.path.join(run_directory, "postgres.lock")):
        return servers.Postgres(os.path.join(run_directory, "postgres")).start()


@pytest.fixture(scope="session")
def kafka(run_directory):
    """The Apache Kafka of this run."""
    with servers.locked(os.path.join(run_directory, "kafka.lock")):
        return servers.Kafka(os.path.join(run_directory, "kafka"), settings=KAFKA_SETTINGS).start()


def migrated(server, lock_directory):
    """The name of a database that `hookcast migrate` has made on this server, once."""
    with servers.locked(os.path.join(lock_directory, "template.lock")):
        with psycopg.connect(server.url(), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone():
                return TEMPLATE
            connection.execute(f"CREATE DATABASE {TEMPLATE}_new")
            run({"HOOKCAST_DATABASE_URL": server.url(TEMPLATE + "_new")}, "migrate")
            connection.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")
    return TEMPLATE


def create_database(server, template=None):
    name = "t" + secrets.token_hex(6)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    return name


def drop_database(server, name):
    if server.running():
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def empty_database(postgres):
    """The URL of a database without any table."""
    name = create_database(postgres)
    yield postgres.url(name)
    drop_database(postgres, name)


@pytest.fixture
def make_installation(tmp_path, hookcast_binary):
    """make(postgres_server, kafka_server) → an Installation on a migrated database of its own, closed after the test."""
    made = []

    def make(postgres_server, kafka_server=None):
        template = migrated(postgres_server, postgres_server.directory)
        name = create_database(postgres_server, template)
        bootstrap = kafka_server.bootstrap if kafka_server else "127.0.0.1:1"
        directory = tmp_path / f"installation-{len(made) + 1}"
        directory.mkdir()
        installation = Installation(directory, postgres_server.url(name), bootstrap)
        made.append((installation, postgres_server, name))
        return installation

    yield make
    failures = []
    for installation, server, name in made:
        try:
            installation.close()
        except AssertionError as failure:
            failures.append(str(failure))
        drop_database(server, name)
    assert not failures, "\n".join(failures)


@pytest.fixture
def installation(make_installation, postgres, kafka):
    """hookcast on the run's PostgreSQL and Kafka, nothing started yet."""
    return make_installation(postgres, kafka)


@pytest.fixture
def database_only(make_installation, postgres):
    """hookcast without a Kafka: for the API alone."""
    return make_installation(postgres)


@pytest.fixture
def private_postgres(run_directory):
    """A PostgreSQL of this test's own, that it may stop and start."""
    server = servers.Postgres(os.path.join(run_directory, "postgres-" + secrets.token_hex(4))).start()
    yield server
    server.remove()


@pytest.fixture
def private_kafka(run_directory):
    """A Kafka of this test's own, that it may stop and start."""
    directory = os.path.join(run_directory, "kafka-" + secrets.token_hex(4))
    # A broker that was killed registers again only when its former session has ended.
    session = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "400"}
    server = servers.Kafka(directory, settings={**KAFKA_SETTINGS, **session}).start()
    yield server
    server.remove()


@pytest.fixture
def receiver():
    with Receiver() as started:
        yield started


@pytest.fixture
def tally():
    with Tally() as started:
        yield started


@pytest.fixture
def make_receiver():
    """make() → another running Receiver."""
    made = []

    def make():
        made.append(Receiver().start())
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def wait_until():
    return servers.wait_until
