/* Counts of the log by minute, hour and day (table log_rollups), made from it after the fact and never wrong: a minute
 * is counted once nothing can be written into it any more. store/log_query.h reads the log by them.
 *
 * Why nothing is missed. created_at of a row is the database's clock, read after the BEGIN of the transaction that
 * writes the row and at most 2 seconds before that has its transaction id. So the rows of a minute are all visible as
 * soon as it lies before the clock less that margin, and before the beginning of every transaction that has an id, or
 * is young enough to get one. Where the day that the clock shows has no partition, created_at is clamped into the last
 * one there is: the minute in which a day ends is counted only when the day after is there for a while. Where the clock
 * was put back to what is counted already, created_at is where that ends (LOG_ROLLUP_COUNTED).
 *
 * Rows that are changed afterwards (erased payloads) keep their counts. The counts of a day go with the day.
 *
 * Events are counted beside them, by workspace and type, in the same table: a flush writes them in the transaction and
 * with the time of its log rows, so that the same holds for them. */
#ifndef STORE_LOG_ROLLUP_H
#define STORE_LOG_ROLLUP_H

#include "db/connection.h"

/* Totals: running ones (table log_totals) of a day's hours and of a month's days. A scope, which is a subscription or a
 * whole workspace, has them for each day, and a workspace for each hour, in which it has rows: of each kind, how many
 * it had then and how many earlier in that month or day, from the first of it that was there. So what it has from one
 * day to another of the same month is the later one's sum less what is earlier than the first, however many lie
 * between. */
enum log_rollup_level {
    LOG_ROLLUP_MINUTE,
    LOG_ROLLUP_HOUR,
    LOG_ROLLUP_DAY,
    LOG_ROLLUP_HOUR_TOTALS,
    LOG_ROLLUP_DAY_TOTALS,
    LOG_ROLLUP_LEVELS
};

static inline bool log_rollup_is_totals(int level) {
    return level >= LOG_ROLLUP_HOUR_TOTALS;
}

/* What a level is made of; LOG_ROLLUP_MINUTE is made of the log. */
static inline int log_rollup_source(int level) {
    return log_rollup_is_totals(level) ? level - LOG_ROLLUP_HOUR_TOTALS + LOG_ROLLUP_HOUR : level - 1;
}

/* As SQL: the subscription of what log_totals has of a whole workspace. */
#define LOG_ROLLUP_WHOLE "'00000000-0000-0000-0000-000000000000'"

/* As SQL: the first day of a table by day; null: it has none, or a partition of another name. Of log_rollups: totals of
 * days before it are those of days that have gone. */
#define LOG_ROLLUP_FIRST_DAY(table)                                                                                    \
    "(SELECT CASE WHEN bool_and(c.relname ~ '^" table "_[0-9]{8}$') THEN "                                             \
    "to_date(right(min(c.relname::text), 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' END "                           \
    "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '" table                             \
    "'::regclass AND NOT i.inhdetachpending)"

/* As SQL: until when minutes are counted; null: none is yet. */
#define LOG_ROLLUP_COUNTED "(SELECT until FROM log_rollup_state WHERE level = 0)"

#define LOG_ROLLUP_MAX_MINUTES 60

/* What is added to the level of a count of events. */
#define LOG_ROLLUP_EVENTS "10"

/* Does one piece of what there is to do, in a transaction of its own: up to `minutes` minutes, or an hour, or a day.
 * ceiling_ms: up to when the days reach, as every process that writes knows by now. ret_did: something was done, so
 * there may be more. Any number of processes may call it; one at a time does a level, the others pass. */
MUST_USE enum status log_rollup_step(struct connection *connection, int minutes, int64_t ceiling_ms, bool *ret_did,
                                     struct error *error);

#endif
