/* Where librdkafka's own log lines go: to core/log, at most one of a kind in ten seconds. Private to this room.
 * One owner; the lines arrive on the thread that polls. */
#ifndef KAFKA_CLIENT_LOG_H
#define KAFKA_CLIENT_LOG_H

#include <stdint.h>

#define CLIENT_LOG_KINDS 16
#define CLIENT_LOG_INTERVAL_MS 10000

struct client_log {
    struct client_log_kind {
        char name[24];
        int64_t last_ms;
        int64_t left_out;
    } kinds[CLIENT_LOG_KINDS];
};

/* level is syslog's. What brokers do to their connections is a debug line: that they are gone is told once, by an
 * event. */
void client_log_line(struct client_log *log, int level, const char *kind, const char *text);

#endif
