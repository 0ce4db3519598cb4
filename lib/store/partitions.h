/* The partitions by day (UTC) of the tables whose comment says "by day: log" or "by day: payload". A day is made on its
 * own and then attached, and taken off concurrently, so that inserts never wait for it. Blocking; one connection,
 * outside any transaction, except partitions_bounds. */
#ifndef STORE_PARTITIONS_H
#define STORE_PARTITIONS_H

#include "db/connection.h"

/* Days ahead of today for which there are partitions. */
#define PARTITIONS_DAYS_AHEAD 7

/* Makes what is missing from yesterday to PARTITIONS_DAYS_AHEAD: what a process does before its first flush. Any number
 * of processes at once. STATUS_CONFLICT: somebody held a lock for too long. */
MUST_USE enum status partitions_ensure(struct connection *connection, struct error *error);

/* All of the maintenance, to be done now and then by every process: one of them does it, the others find it being done
 * (STATUS_OK). Completes what an earlier one began, makes the days ahead, takes off and drops those that lie wholly
 * before now less retention_ms (logs) or payload_retention_ms (events). Waits for the transactions that still see a day
 * that goes, so it may take as long as the longest of them, and wants a connection and a thread that have time;
 * connection_interrupt ends it, and the next one completes it. */
MUST_USE enum status partitions_maintain(struct connection *connection, int64_t retention_ms,
                                         int64_t payload_retention_ms, struct error *error);

/* When the database takes more than max_bytes on disk: the oldest day of all tables by day, logs and events alike, goes
 * before its time, with a warning that has its name and size, however long its retention. At most one day a call, and
 * never yesterday, today or after: then only the warning. What other maintenance has marked to go does not count.
 * ret_dropped: a day has gone, or goes as soon as nobody reads it. Waits, and is done by one process alone, as
 * partitions_maintain. */
MUST_USE enum status partitions_limit_size(struct connection *connection, int64_t max_bytes, bool *ret_dropped,
                                           struct error *error);

/* What a flush asks first (rule D2), in its transaction: the database's clock, and a range around it for which every
 * table by day has attached partitions that are not being taken off, and in which the log is not counted yet
 * (store/log_rollup.h); lower_ms is in it, upper_ms is not. now_ms may lie outside, created_at has to lie inside: see
 * partitions_clamp. Costs the server 0.2 ms; looks no further than the days beside today unless there is nothing. */
struct partition_bounds {
    int64_t now_ms;
    int64_t lower_ms;
    int64_t upper_ms;
};

/* STATUS_NOT_FOUND: there is no such range; partitions_ensure makes one. */
MUST_USE enum status partitions_read_bounds(struct connection *connection, struct partition_bounds *ret_bounds,
                                            struct error *error);

/* The whole range, without a gap, around the clock or nearest to it. */
MUST_USE enum status partitions_bounds(struct connection *connection, int64_t *ret_lower_ms, int64_t *ret_upper_ms,
                                       struct error *error);

static inline int64_t partitions_clamp(const struct partition_bounds *bounds, int64_t wall_ms) {
    if (wall_ms < bounds->lower_ms)
        return bounds->lower_ms;
    return wall_ms < bounds->upper_ms ? wall_ms : bounds->upper_ms - 1;
}

#endif
