"""hookcast check: says what is wrong and what to do, changes nothing, and prints no password."""
import os
import re
import secrets
import socket
import subprocess
import threading

import psycopg
import pytest
import servers
from support.process import base_environment, binary, run

LINE = re.compile(r"(ok  |warn|FAIL)  ([a-z]+) +(\S.*)")
DEVELOPMENT = {"HOOKCAST_INSECURE_DEV": "1"}


class Checked:
    """What a run of hookcast check printed: status, and (outcome, words) of each subject."""

    def __init__(self, done):
        self.status = done.returncode
        self.printed = done.stdout + done.stderr
        self.lines = []
        for line in done.stdout.splitlines():
            outcome, subject, words = LINE.fullmatch(line).groups()
            self.lines.append((outcome.strip(), subject, words))

    def failed(self):
        return {subject for outcome, subject, _ in self.lines if outcome == "FAIL"}

    def words(self, outcome, subject):
        """The words of the one line with this outcome about the subject."""
        found = [words for was, about, words in self.lines if (was, about) == (outcome, subject)]
        assert len(found) == 1, self.printed
        return found[0]


def check(env, *arguments):
    return Checked(run(env, "check", *arguments, check=False))


def test_a_healthy_installation_passes(installation):
    installation.kafka.create_topic(installation.topic(), partitions=3)
    checked = check(installation.env)
    assert checked.status == 0, checked.printed
    assert checked.failed() == set()
    assert checked.words("ok", "topics") == "1 with 3 partitions"
    assert "database" in checked.words("ok", "database")
    for subject in ("schema", "writing", "days", "connections", "clock", "reading", "secrets", "authorities", "files"):
        checked.words("ok", subject)
    assert "is not set" in checked.words("ok", "mail")


def test_a_check_changes_nothing(installation):
    installation.subscribe("http://127.0.0.1:9/")
    installation.produce(installation.events(3))
    dispatch = installation.dispatch()
    installation.db.wait_count(3, "events")
    dispatch.stop()

    def state():
        tables = ("processes", "progress", "subscriptions", "schedule", "delivery_logs", "workspaces")
        rows = {table: installation.db.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables}
        return rows, str(installation.kafka.committed(installation.group, installation.topic()))

    before = state()
    checked = check(installation.env)
    assert checked.status == 0, checked.printed
    assert "has offsets of " in checked.words("ok", "group")
    assert state() == before


def test_servers_that_are_away_are_named_without_a_password():
    port = servers.free_port()
    checked = check({**DEVELOPMENT, "HOOKCAST_DATABASE_URL": f"postgresql://someone:hidden-word@127.0.0.1:{port}/x",
                     "HOOKCAST_KAFKA_BROKERS": f"127.0.0.1:{port}",
                     "HOOKCAST_SMTP_URL": f"smtp://someone:hidden-word@127.0.0.1:{port}",
                     "HOOKCAST_MAIL_FROM": "hookcast@example.com"})
    assert checked.status == 1
    assert checked.failed() == {"database", "kafka", "mail"}
    assert "HOOKCAST_DATABASE_URL" in checked.words("FAIL", "database")
    kafka = checked.words("FAIL", "kafka")
    assert f"127.0.0.1:{port}" in kafka and "refused" in kafka and "HOOKCAST_KAFKA_BROKERS" in kafka
    assert "HOOKCAST_SMTP_URL" in checked.words("FAIL", "mail")
    assert "hidden-word" not in checked.printed


def test_a_database_without_schema_says_how_to_make_it(empty_database):
    checked = check({**DEVELOPMENT, "HOOKCAST_DATABASE_URL": empty_database, "HOOKCAST_KAFKA_BROKERS": "127.0.0.1:1"})
    assert '"hookcast migrate"' in checked.words("FAIL", "schema")
    assert "writing" not in {subject for _, subject, _ in checked.lines}


@pytest.fixture
def role(installation):
    """A user of the database with no rights, and the settings to be it."""
    name = "r" + secrets.token_hex(6)
    installation.db.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hidden-word'")
    info = psycopg.conninfo.conninfo_to_dict(installation.db.url)
    url = psycopg.conninfo.make_conninfo(**{**info, "user": name, "password": "hidden-word"})
    yield name, {**installation.env, "HOOKCAST_DATABASE_URL": url}
    installation.db.execute(f"DROP OWNED BY {name}")
    installation.db.execute(f"DROP ROLE {name}")


def test_missing_rights_in_the_database_are_named(installation, role):
    name, env = role
    installation.db.execute(f"GRANT SELECT ON schema_migrations TO {name}")
    writing = check(env).words("FAIL", "writing")
    assert "delivery_logs" in writing and "schedule" in writing and "GRANT" in writing
    installation.db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    checked = check(env)
    checked.words("ok", "writing")
    days = checked.words("FAIL", "days")
    assert all(table in days for table in ("batches", "delivery_logs", "events", "rejected_events"))
    assert "hidden-word" not in checked.printed


def test_a_limit_of_connections_is_seen(installation, role):
    name, env = role
    installation.db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    installation.db.execute(f"ALTER ROLE {name} CONNECTION LIMIT 4")
    assert "only 3 are left" in check(env).words("FAIL", "connections")


def test_a_secret_key_that_does_not_open_what_is_stored(installation):
    installation.subscribe("http://127.0.0.1:9/")
    assert check(installation.env).words("ok", "secrets") == "opens what is stored"
    other = {**installation.env, "HOOKCAST_SECRET_KEY": "b3RoZXIga2V5IG90aGVyIGtleSBvdGhlciBrZXkgb3Q="}
    checked = check(other)
    assert "1 of the 1 subscriptions" in checked.words("FAIL", "secrets")
    both = other["HOOKCAST_SECRET_KEY"] + "," + installation.env["HOOKCAST_SECRET_KEY"]
    check({**installation.env, "HOOKCAST_SECRET_KEY": both}).words("ok", "secrets")
    assert "b3RoZXIga2V5" not in checked.printed


def test_a_database_past_its_limit_of_size(installation):
    assert "sets no limit" in check(installation.env).words("ok", "size")
    checked = check({**installation.env, "HOOKCAST_DATABASE_MAX_SIZE": "1MiB"})
    assert "HOOKCAST_DATABASE_MAX_SIZE (1 MiB)" in checked.words("warn", "size")


def test_what_webhooks_may_reach_is_judged(installation, tmp_path):
    env = {**installation.env, "HOOKCAST_ALLOW_NETS": "", "HOOKCAST_ALLOW_HTTP": "0"}
    assert "only" in check(env).words("ok", "addresses")
    checked = check({**env, "HOOKCAST_ALLOW_NETS": "0.0.0.0/0", "HOOKCAST_SOURCE_ADDRESS": "203.0.113.9"})
    warned = [words for outcome, subject, words in checked.lines if (outcome, subject) == ("warn", "addresses")]
    assert len(warned) == 2 and "169.254.169.254" in warned[0]
    assert "203.0.113.9" in checked.words("FAIL", "source")
    check({**env, "HOOKCAST_SOURCE_ADDRESS": "127.0.0.1"}).words("ok", "source")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    assert "no certificate" in check({**env, "HOOKCAST_CA_FILE": str(empty)}).words("FAIL", "authorities")
    gone = check({**env, "HOOKCAST_CA_FILE": str(tmp_path / "gone.pem")})
    assert "HOOKCAST_CA_FILE" in gone.words("FAIL", "authorities")


def test_a_limit_of_open_files_is_seen():
    env = {**base_environment(), **DEVELOPMENT, "HOOKCAST_DATABASE_URL": "host=127.0.0.1 port=1",
           "HOOKCAST_KAFKA_BROKERS": "127.0.0.1:1"}
    done = subprocess.run(["sh", "-c", f"ulimit -n 200; exec {binary()} check"], env=env, capture_output=True,
                          text=True, timeout=60, check=False)
    assert "only 200" in Checked(done).words("FAIL", "files")


def test_topics_that_are_named_and_missing(installation):
    checked = check({**installation.env, "HOOKCAST_TOPICS": "gone-" + installation.group})
    assert checked.status == 0
    assert "nothing was published yet" in checked.words("warn", "topics")
    assert "gone-" + installation.group in checked.words("warn", "topic")


class MailServer:
    """Greets, answers EHLO, and keeps what it was told."""

    def __init__(self):
        self.told = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        peer, _ = self.listener.accept()
        peer.settimeout(20)
        with peer, peer.makefile("rwb") as stream:
            stream.write(b"220 mail.example ready\r\n")
            stream.flush()
            for line in stream:
                self.told.append(line)
                greeted = line.startswith(b"EHLO")
                stream.write(b"250-mail.example\r\n250 AUTH PLAIN LOGIN\r\n" if greeted else b"221 bye\r\n")
                stream.flush()

    def close(self):
        self.thread.join(20)
        self.listener.close()


def test_a_mail_server_is_greeted_and_told_no_password(installation):
    server = MailServer()
    checked = check({**installation.env, "HOOKCAST_MAIL_FROM": "hookcast@example.com",
                     "HOOKCAST_SMTP_URL": f"smtp://someone:hidden-word@127.0.0.1:{server.port}"})
    assert f"127.0.0.1:{server.port} answers" in checked.words("ok", "mail")
    server.close()
    assert server.told[0].startswith(b"EHLO")
    assert not any(line.startswith((b"AUTH", b"MAIL")) for line in server.told)
    assert "hidden-word" not in checked.printed


PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required user_app=\"hidden-word\";"


@pytest.fixture
def guarded_kafka(run_directory):
    """A Kafka where the user app, on a listener of its own, has only the rights that the test gives."""
    port, guarded_port, controller = servers.free_port(), servers.free_port(), servers.free_port()
    listeners = f"PLAINTEXT://127.0.0.1:{port},GUARDED://127.0.0.1:{guarded_port}"
    server = servers.Kafka(os.path.join(run_directory, "kafka-" + secrets.token_hex(4)), port=port)
    server.controller_port = controller
    server.settings = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}", "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
        "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": PLAIN,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    server.start()
    server.guarded = f"127.0.0.1:{guarded_port}"
    yield server
    server.remove()


def allow(kafka_server, installation, operation):
    """By Kafka's own tool: the client library here knows no rules."""
    classes = os.path.join(servers.fetch_kafka(), "*")
    tool = ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "kafka.admin.AclCommand"]
    subprocess.run([*tool, "--bootstrap-server", kafka_server.bootstrap, "--add", "--allow-principal", "User:app",
                    "--operation", operation, "--topic", installation.prefix, "--group", installation.group,
                    "--resource-pattern-type", "prefixed"], check=True, capture_output=True, timeout=60)


def test_missing_rights_in_kafka_are_named(make_installation, postgres, guarded_kafka):
    installation = make_installation(postgres, guarded_kafka)
    installation.kafka.create_topic(installation.topic(), partitions=2)
    login = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=app\nsasl.password="
    env = {**installation.env, "HOOKCAST_KAFKA_BROKERS": guarded_kafka.guarded}
    wrong = check({**env, "HOOKCAST_KAFKA_CONF": login + "other-word"})
    assert "uthentication failed" in wrong.words("FAIL", "kafka")
    assert "other-word" not in wrong.printed
    env["HOOKCAST_KAFKA_CONF"] = login + "hidden-word"

    blind = check(env)
    assert "the right Describe" in blind.words("warn", "topics")
    assert "uthorization failed" in blind.words("FAIL", "group")

    def wait_for(line):
        """The rules reach the broker's memory a little later."""
        def there():
            checked = check(env)
            return checked if line in checked.lines else None
        return servers.wait_until(there, 30, what=f"check says {line}")

    allow(guarded_kafka, installation, "Describe")
    checked = wait_for(("ok", "topics", "1 with 2 partitions"))
    assert checked.failed() == {"topic", "group"}
    assert installation.topic() in checked.words("FAIL", "topic")
    assert "the right Read on this group" in checked.words("FAIL", "group")

    allow(guarded_kafka, installation, "Read")
    checked = wait_for(("ok", "reading", "each of these topics may be read"))
    assert checked.status == 0, checked.printed
    assert "hidden-word" not in checked.printed
