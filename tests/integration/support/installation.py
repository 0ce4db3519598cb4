"""One installation of hookcast for one test: a database, a topic prefix and a group of its own, and its processes."""
import base64
import itertools
import json
import os
import re
import secrets
import uuid

from servers import wait_until

from .api import Api
from .database import Database
from .kafka import KafkaClient
from .process import Hookcast, http_status, run

WORKSPACE = "w1"


class Installation:
    """
    env            settings of every process that is started here; change it before starting
    db             questions to the database (support.database)
    kafka          topics, producing, offsets (support.kafka)
    prefix, group  this test's topic prefix and consumer group
    api            the REST API with a key of WORKSPACE; starts `hookcast api` at the first use
    """

    def __init__(self, directory, database_url, bootstrap):
        self.directory = str(directory)
        name = "t" + secrets.token_hex(5)
        self.prefix = name + "."
        self.group = name
        self.db = Database(database_url)
        self.kafka = KafkaClient(bootstrap)
        self.env = {
            "HOOKCAST_DATABASE_URL": database_url,
            "HOOKCAST_KAFKA_BROKERS": bootstrap,
            "HOOKCAST_TOPIC_PREFIX": self.prefix,
            "HOOKCAST_GROUP": self.group,
            "HOOKCAST_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "HOOKCAST_ALLOW_NETS": "127.0.0.0/8,::1/128",
            "HOOKCAST_ALLOW_HTTP": "1",
            "HOOKCAST_LANES": "2",
        }
        self.processes = []
        self._api_process = None
        self._keys = {}
        self._numbers = itertools.count(1)

    # Processes.

    def process(self, command, *arguments, **env):
        """A process that is not started yet. env: settings of its own, `TIMEOUT="2s"` for HOOKCAST_TIMEOUT."""
        own = {name if name.startswith("HOOKCAST_") else "HOOKCAST_" + name: value for name, value in env.items()}
        log = os.path.join(self.directory, f"{command}-{len(self.processes) + 1}.log")
        made = Hookcast(command, {**self.env, **own}, log, arguments)
        self.processes.append(made)
        return made

    def dispatch(self, **env):
        """A running, ready `hookcast dispatch`."""
        return self.process("dispatch", **env).start()

    def serve(self, **env):
        """A running, ready `hookcast serve`; `api` talks to it if it is the first."""
        started = self.process("serve", **env).start()
        wait_until(lambda: http_status(started.api_url + "/healthz") == 200, 15, what="the API answers")
        self._api_process = self._api_process or started
        return started

    def run(self, *arguments, **options):
        """A command to its end, with this installation's settings."""
        return run(self.env, *arguments, **options)

    # The API.

    @property
    def api_process(self):
        if self._api_process is None:
            self._api_process = self.process("api").start()
        return self._api_process

    def key(self, workspace=WORKSPACE):
        """An API key of the workspace, made at the first use. workspace None: an admin key."""
        if workspace not in self._keys:
            who = ["--admin"] if workspace is None else ["--workspace", workspace]
            printed = self.run("key", "create", *who).stdout
            self._keys[workspace] = find_key(printed)
        return self._keys[workspace]

    def api_of(self, workspace=WORKSPACE):
        return Api(self.api_process.api_url, self.key(workspace))

    @property
    def api(self):
        return self.api_of()

    def subscription_path(self, subscription=None, workspace=WORKSPACE):
        path = f"/api/v1/workspaces/{workspace}/subscription"
        return path if subscription is None else f"{path}/{subscription}"

    def subscribe(self, url, types=("*",), workspace=WORKSPACE, **fields):
        """Creates a subscription over the API and returns it as the API shows it: id, secret, …"""
        answer = self.api_of(workspace).post(self.subscription_path(workspace=workspace), {
            "webhook_url": url, "event_types": list(types), "created_by": "test", "is_enabled": True, **fields})
        assert answer.status == 201, answer
        return answer.json

    def insert_subscription(self, url, types=("*",), workspace=WORKSPACE, **columns):
        """A subscription straight into the table, unsigned unless columns say otherwise: quick where a test needs many of
        them, or no API. Returns its id."""
        row = {"workspace_id": workspace, "id": uuid.uuid4(), "webhook_url": url, "event_types": list(types),
               "signature_style": "none", **columns}
        names = ", ".join(row)
        self.db.execute(f"INSERT INTO subscriptions ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
        return str(row["id"])

    def change(self, subscription, workspace=WORKSPACE, **fields):
        """PATCH of a subscription (its id or the object)."""
        number = subscription["id"] if isinstance(subscription, dict) else subscription
        answer = self.api_of(workspace).patch(self.subscription_path(number, workspace), {"updated_by": "test", **fields})
        assert answer.status == 200, answer
        return answer.json

    def unsubscribe(self, subscription, workspace=WORKSPACE):
        number = subscription["id"] if isinstance(subscription, dict) else subscription
        answer = self.api_of(workspace).delete(self.subscription_path(number, workspace))
        assert answer.status == 204, answer

    def wait_in_force(self, deadline_s=10):
        """Waits until every process that dispatches has all subscriptions in memory."""
        count = self.db.count("subscriptions", "status <> 'deleted'")
        running = [one for one in self.processes if one.command in ("dispatch", "serve") and one.running()]
        wait_until(lambda: all(one.metric("hookcast_subscriptions") == count for one in running), deadline_s,
                   what=f"{count} subscriptions are in force")

    # Events.

    def event(self, event_type="message.new", workspace=WORKSPACE, **fields):
        """A native event; its id is `evt_1`, `evt_2`, … within the test."""
        number = next(self._numbers)
        return {"id": f"evt_{number}", "workspace_id": workspace, "event_type": event_type,
                "occurred_at": 1760000000000 + number, "payload": {"number": number}, **fields}

    def events(self, n, event_type="message.new", workspace=WORKSPACE, **fields):
        return [self.event(event_type, workspace, **fields) for _ in range(n)]

    def topic(self, event_type="message.new"):
        return self.prefix + event_type

    def produce(self, events, **options):
        """Native events (dicts) to the topics of their types, keyed by workspace."""
        return self.kafka.produce([{"topic": self.topic(event["event_type"]), "key": str(event["workspace_id"]),
                                    "value": event} for event in events], **options)

    def produce_raw(self, value, event_type="message.new", key=WORKSPACE, **options):
        """One record of any bytes."""
        return self.kafka.produce([{"topic": self.topic(event_type), "key": key, "value": value, **options}])[0]

    def publish(self, events, *arguments, **options):
        """Events through `hookcast publish`, as JSON Lines on standard input."""
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        return self.run("publish", *arguments, stdin=lines, **options)

    def wait_settled(self, *event_types, deadline_s=30):
        """Waits until the group has committed every record on the topics of these types."""
        topics = [self.topic(event_type) for event_type in event_types or ("message.new",)]
        wait_until(lambda: self.kafka.lag(self.group, topics) == 0, deadline_s, 0.3, f"{topics} are settled")

    # The end.

    def report(self):
        """What a failed test shows: the end of every process's log."""
        return [(f"hookcast {process.command} ({os.path.basename(process.log_path)})", process.log_tail())
                for process in self.processes]

    def close(self):
        """Drains every process, and fails the test when one does not end as it should."""
        failures = []
        for process in reversed(self.processes):
            try:
                process.close()
            except AssertionError as failure:
                failures.append(str(failure))
        self.kafka.close()
        self.db.close()
        assert not failures, "\n".join(failures)


def find_key(printed):
    """The key in what `hookcast key create` printed: its longest word."""
    words = re.findall(r"[A-Za-z0-9_.-]{16,}", printed)
    assert words, f"no key in: {printed!r}"
    return max(words, key=len)
