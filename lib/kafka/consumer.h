/* The process's one Kafka consumer (librdkafka): group membership, records, offsets. It belongs to one thread, the one
 * that watches consumer_fd. librdkafka's own threads never call back into hookcast: everything arrives through
 * consumer_poll, rebalances too, and stays undone until the owner answers it. */
#ifndef KAFKA_CONSUMER_H
#define KAFKA_CONSUMER_H

#include "base/buffer.h"

struct consumer;

struct consumer_settings {
    const char *brokers;
    const char *conf; /* further librdkafka properties, name=value lines; may not set what is set here */
    const char *group;
    const char *topic_prefix; /* "events." : subscribed as ^events\..* */
    const char *topics;       /* "", a comma list, or ^regex */
    const char *client_id;
};

struct topic_partition {
    char *topic; /* owned by the list */
    int32_t partition;
    int64_t offset; /* the next one to read; -1001 (CONSUMER_OFFSET_NONE): none */
    char *metadata; /* NULL: none; owned by the list */
};

#define CONSUMER_OFFSET_NONE (-1001)
#define CONSUMER_METADATA_MAX 4096

struct topic_partitions {
    struct topic_partition *items;
    size_t count;
};
void topic_partitions_add(struct topic_partitions *list, struct span topic, int32_t partition, int64_t offset,
                          struct span metadata); /* SPAN_NONE: no metadata */
void topic_partitions_deinit(struct topic_partitions *list);

struct record_header {
    struct span name;
    struct span value; /* SPAN_NONE: null */
};

#define RECORD_MAX_HEADERS 64

/* A record; its spans are valid until consumer_record_done, also after consumer_close. A kept record keeps the whole
 * answer of the broker in memory that it came with (up to 16 MiB): copy what is kept for long. */
struct consumer_record {
    struct span topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;                             /* -1: none */
    struct span key;                                  /* SPAN_NONE: null */
    struct span value;                                /* SPAN_NONE: null */
    struct record_header headers[RECORD_MAX_HEADERS]; /* further ones are left out */
    size_t header_count;
    void *handle;
};

enum consumer_event_type {
    CONSUMER_NOTHING,
    CONSUMER_RECORD,
    CONSUMER_ASSIGN, /* partitions, perhaps none: answer with consumer_assign, when ready, and poll on meanwhile */
    CONSUMER_REVOKE, /* all partitions: answer with consumer_unassign (the group waits for it, 5 min at most); until
                      * then no record comes; lost: they have another owner already, don't commit */
    CONSUMER_OUT_OF_RANGE, /* partitions[0]: its offset does not exist (any more); answer with consumer_seek */
    CONSUMER_DOWN,         /* no broker answers; error says why */
    CONSUMER_UP,           /* a broker answers again */
    CONSUMER_COMMITTED,    /* the answer to consumer_commit; error.text empty when it worked */
    CONSUMER_FAILED,       /* librdkafka says fatal, or the subscription is refused: stop */
};

struct consumer_event {
    enum consumer_event_type type;
    struct consumer_record record;
    struct topic_partitions partitions; /* owned by the event */
    bool lost;
    struct error error;
};

/* STATUS_INVALID: a property or a topic expression is wrong; error names it. That no broker answers is no error here:
 * it comes as CONSUMER_DOWN. The prefetch takes up to 32 MiB (queued.max.messages.kbytes) and one answer of each
 * broker. */
MUST_USE enum status consumer_open(const struct consumer_settings *settings, struct consumer **ret_consumer,
                                   struct error *error);

/* Leaves the group and closes: waits at most timeout_ms for the group's answer. A revoke or assign that was not
 * answered counts as answered. Records that are still kept stay valid. */
void consumer_close(struct consumer **consumer, int64_t timeout_ms);

/* Readable when there may be something to poll; drained by polling until CONSUMER_NOTHING. */
int consumer_fd(const struct consumer *consumer);

/* The next thing that happened; never waits. An event is to be given back by consumer_event_deinit before the next
 * poll, save that a record's bytes may be kept by taking event->record.handle out (set NULL) and giving it back later.
 */
enum consumer_event_type consumer_poll(struct consumer *consumer, struct consumer_event *event);
void consumer_event_deinit(struct consumer_event *event);

/* Gives a record's handle back and sets it NULL; NULL is fine. Any thread. */
void consumer_record_done(void **handle);

/* Answers CONSUMER_ASSIGN: starts reading at the offsets given, which are all absolute (an offset that does not exist
 * comes back as CONSUMER_OUT_OF_RANGE). Nothing is paused then. What changed in the group meanwhile comes as the next
 * events. */
MUST_USE enum status consumer_assign(struct consumer *consumer, const struct topic_partitions *partitions,
                                     struct error *error);
/* Answers CONSUMER_REVOKE: reading stops, and the group may go on. */
MUST_USE enum status consumer_unassign(struct consumer *consumer, struct error *error);
/* Reads an assigned partition on from this offset; what was prefetched of it is dropped. Also the answer to
 * CONSUMER_OUT_OF_RANGE: then all partitions lose their prefetch, since librdkafka starts a failed one only so. */
MUST_USE enum status consumer_seek(struct consumer *consumer, struct span topic, int32_t partition, int64_t offset,
                                   struct error *error);

/* Effective at once: no record of a paused partition comes any more, also none that was prefetched; after the resume
 * they come again, from the first that was not handed out. A cycle costs up to a second. Only what was paused is
 * resumed, and pausing twice is one pause: both may be given any list of assigned partitions. */
MUST_USE enum status consumer_pause(struct consumer *consumer, const struct topic_partitions *partitions,
                                    struct error *error);
MUST_USE enum status consumer_resume(struct consumer *consumer, const struct topic_partitions *partitions,
                                     struct error *error);

/* The group's committed offsets and metadata, filled into `partitions`. Waits up to timeout_ms. */
MUST_USE enum status consumer_committed(struct consumer *consumer, struct topic_partitions *partitions,
                                        int64_t timeout_ms, struct error *error);

/* Commits offsets with metadata without waiting; the answer comes as CONSUMER_COMMITTED. */
MUST_USE enum status consumer_commit(struct consumer *consumer, const struct topic_partitions *partitions,
                                     struct error *error);
/* The same, waiting up to timeout_ms; for revoke and drain. */
MUST_USE enum status consumer_commit_wait(struct consumer *consumer, const struct topic_partitions *partitions,
                                          int64_t timeout_ms, struct error *error);

/* The first offset there is and the one after the last. Waits up to timeout_ms. */
MUST_USE enum status consumer_watermarks(struct consumer *consumer, struct span topic, int32_t partition,
                                         int64_t timeout_ms, int64_t *ret_low, int64_t *ret_high, struct error *error);

/* The offset of the first record that is not older than wall_ms; the end of the partition when there is none. Waits up
 * to timeout_ms. */
MUST_USE enum status consumer_offset_since(struct consumer *consumer, struct span topic, int32_t partition,
                                           int64_t wall_ms, int64_t timeout_ms, int64_t *ret_offset,
                                           struct error *error);

/* The high watermark as last seen in a fetch, without asking anybody; -1: unknown. For the lag metric. */
int64_t consumer_cached_high(struct consumer *consumer, struct span topic, int32_t partition);

/* True when the group still counts this process as a member as far as librdkafka knows. After a gap of the process
 * itself it does not know yet: there only a commit that is accepted proves it. */
bool consumer_is_member(struct consumer *consumer);

#endif
