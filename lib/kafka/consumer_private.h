/* What the consumer's files share. Private to them. */
#ifndef KAFKA_CONSUMER_PRIVATE_H
#define KAFKA_CONSUMER_PRIVATE_H

#include "kafka/client_log.h"
#include "kafka/consumer.h"

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_queue_s;
struct rd_kafka_message_s;
struct rd_kafka_topic_partition_list_s;

/* Happenings that callbacks noted, in order, until consumer_poll hands them out. */
struct consumer_note {
    struct consumer_note *next;
    enum consumer_event_type type;
    struct topic_partitions partitions;
    bool lost;
    struct error error;
};

/* Which answer librdkafka waits for. */
enum consumer_awaits { AWAITS_NOTHING, AWAITS_ASSIGN, AWAITS_UNASSIGN };

struct consumer {
    struct rd_kafka_s *rk;
    struct rd_kafka_queue_s *queue;
    struct consumer_health *health;
    struct consumer_client *client;
    int fd;
    enum consumer_awaits awaits;
    bool closing;
    bool failed;
    struct error connection; /* the last thing that went wrong with a connection */
    struct consumer_note *first_note, **last_note;
    struct topic_partitions
        assigned; /* offset: where reading began; CONSUMER_OFFSET_NONE: out of range, stands still */
    struct topic_partitions to_start; /* assigned ones that the restart begins elsewhere */
    struct topic_partitions paused;
    int64_t restart_by_ms; /* 0: no restart is due */
    struct {
        int64_t records, bytes;           /* read since there was nothing */
        int64_t much_records, much_bytes; /* 0: this librdkafka needs no help */
    } prefetch;
    struct client_log log;
};

/* librdkafka's handle must outlive every record of it: it is destroyed with the last reference, whichever thread drops
 * it. */
struct consumer_client *consumer_client_new(struct rd_kafka_s *rk);
void consumer_client_unref(struct consumer_client *client, bool left_group);

/* Fills event->record and takes the message. */
void consumer_record_take(struct consumer_client *client, struct rd_kafka_message_s *message,
                          struct consumer_record *record);

/* Appends a note; partitions are taken. */
void consumer_note(struct consumer *consumer, enum consumer_event_type type, struct topic_partitions partitions,
                   bool lost, const char *text);

/* Makes consumer_fd readable. */
void consumer_wake(const struct consumer *consumer);

/* Finds out whether a broker answers, by a thread that asks when there is reason to doubt: trouble with a connection
 * (all_brokers: with every one), or no record for a while. consumer_health_poll notes what changed, each once. */
void consumer_health_init(struct consumer *consumer);
void consumer_health_trouble(struct consumer *consumer, bool all_brokers);
void consumer_health_record(struct consumer *consumer); /* one came */
void consumer_health_poll(struct consumer *consumer);
void consumer_health_stop(struct consumer *consumer);   /* asks no more */
void consumer_health_deinit(struct consumer *consumer); /* waits up to 3 s while no broker answers */

/* Keeps librdkafka fetching: told of each record, and whenever there is none. */
void consumer_prefetch_init(struct consumer *consumer);
void consumer_prefetch_read(struct consumer *consumer, const struct consumer_record *record);
void consumer_prefetch_empty(struct consumer *consumer); /* may wait some milliseconds for a broker */

/* Starts all assigned partitions again from where they are, because librdkafka starts a failed one only so. */
void consumer_restart(struct consumer *consumer);

/* The properties of a client for these settings, the operator's among them. */
MUST_USE enum status consumer_conf(const struct consumer_settings *settings, struct rd_kafka_conf_s *conf,
                                   struct error *error);

/* The topics that the settings name, as librdkafka wants them. */
MUST_USE enum status consumer_subscription(const struct consumer_settings *settings,
                                           struct rd_kafka_topic_partition_list_s **ret_list, struct error *error);

#endif
