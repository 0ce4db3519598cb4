"""A test's own topics and consumer group on the shared Kafka."""
import json
import socket
import struct

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from servers import wait_until


class KafkaClient:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self._producer = None
        self._admin = None

    @property
    def producer(self):
        if self._producer is None:
            self._producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "enable.idempotence": True,
                                       "linger.ms": 5, "queue.buffering.max.messages": 1000000})
        return self._producer

    @property
    def admin(self):
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        return self._admin

    def produce(self, records, deadline_s=60):
        """Sends records and waits for every acknowledgement. A record is a dict: topic, value (bytes, str, None, or an
        object that becomes JSON), and optionally key, headers (dict or list of pairs), partition, timestamp (ms).
        Returns [(topic, partition, offset)] in the order of the records."""
        records = list(records)
        placed = [None] * len(records)
        failures = []

        def reporter(index):
            def report(error, message):
                if error:
                    failures.append(f"record {index}: {error}")
                else:
                    placed[index] = (message.topic(), message.partition(), message.offset())
            return report

        for index, record in enumerate(records):
            value = record.get("value")
            if not isinstance(value, (bytes, str, type(None))):
                value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            options = {name: record[name] for name in ("key", "partition", "timestamp", "headers")
                       if record.get(name) is not None}
            while True:
                try:
                    self.producer.produce(record["topic"], value, on_delivery=reporter(index), **options)
                    break
                except BufferError:
                    self.producer.poll(0.1)
            self.producer.poll(0)
        left = self.producer.flush(deadline_s)
        assert left == 0 and not failures, f"{left} records without an answer; {failures[:3]}"
        return placed

    def create_topics(self, names, partitions=8, **config):
        """Returns when the broker lists them all."""
        for future in self.admin.create_topics([NewTopic(name, partitions, 1, config=config) for name in names]).values():
            future.result(30)
        for name in names:
            wait_until(lambda name=name: self.partitions(name) == partitions, 15, what=f"topic {name} is there")

    def create_topic(self, name, partitions=8, **config):
        self.create_topics([name], partitions, **config)

    def delete_topic(self, name):
        for future in self.admin.delete_topics([name]).values():
            future.result(30)
        wait_until(lambda: self.partitions(name) == 0, 15, what=f"topic {name} is gone")

    def add_partitions(self, name, partitions):
        for future in self.admin.create_partitions([NewPartitions(name, partitions)]).values():
            future.result(30)
        wait_until(lambda: self.partitions(name) == partitions, 15, what=f"topic {name} has {partitions} partitions")

    def topics(self):
        """{name: number of partitions} of every topic."""
        return {name: len(topic.partitions) for name, topic in self.admin.list_topics(timeout=10).topics.items()}

    def partitions(self, name):
        return self.topics().get(name, 0)

    def _consumer(self, group, **config):
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", **config})

    def committed(self, group, topic):
        """{partition: committed offset}, without the partitions that have none."""
        consumer = self._consumer(group)
        try:
            asked = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]
            return {found.partition: found.offset for found in consumer.committed(asked, timeout=20)
                    if found.offset >= 0}
        finally:
            consumer.close()

    def reset(self, group, topic, offsets):
        """What an operator does with Kafka's own tools while the group is empty: plain offsets without metadata.
        offsets: {partition: offset}."""
        consumer = self._consumer(group)
        try:
            consumer.commit(offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()],
                            asynchronous=False)
        finally:
            consumer.close()

    def forget(self, group):
        """The broker deletes the group with all its offsets, as it does by itself with one that is empty for a week. Version 0
        of DeleteGroups; this client library has no call for it."""
        name = group.encode()
        body = struct.pack(">hhih", 42, 0, 1, -1) + struct.pack(">ih", 1, len(name)) + name
        host, port = self.bootstrap.rsplit(":", 1)

        def deleted():
            with socket.create_connection((host, int(port)), 10) as connection:
                connection.sendall(struct.pack(">i", len(body)) + body)
                answer = connection.makefile("rb")
                (size,) = struct.unpack(">i", answer.read(4))
                (code,) = struct.unpack(">h", answer.read(size)[-2:])
            assert code in (0, 15, 16, 68), f"DeleteGroups of {group}: error {code}"
            return code == 0  # otherwise the coordinator is not ready, or a member has not left yet
        wait_until(deleted, 15, 0.2, f"group {group} is forgotten")

    def watermarks(self, topic):
        """{partition: (earliest offset, end offset)}."""
        consumer = self._consumer("none")
        try:
            return {partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
                    for partition in range(self.partitions(topic))}
        finally:
            consumer.close()

    def lag(self, group, topics):
        """Records in the topics that the group has not committed yet."""
        total = 0
        for topic in topics:
            committed = self.committed(group, topic)
            total += sum(end - max(committed.get(partition, low), low)
                         for partition, (low, end) in self.watermarks(topic).items())
        return total

    def read(self, topic, n, deadline_s=30):
        """The first n records of a topic, over all its partitions."""
        consumer = self._consumer("none")
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)
                         for partition in range(self.partitions(topic))])
        found = []
        try:
            def more():
                found.extend(message for message in consumer.consume(n - len(found), 0.2) if not message.error())
                return len(found) >= n
            wait_until(more, deadline_s, 0, f"{n} records in {topic}")
        finally:
            consumer.close()
        return found

    def close(self):
        if self._producer is not None:
            self._producer.flush(5)


__all__ = ["KafkaClient", "OFFSET_BEGINNING", "OFFSET_END"]
