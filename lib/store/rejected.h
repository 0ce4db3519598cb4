/* Records that could not be understood, as the API shows them and sends them again. Written by the recorder
 * (store/events.h). */
#ifndef STORE_REJECTED_H
#define STORE_REJECTED_H

#include "db/connection.h"

/* A list's rows carry this much of a value. */
#define REJECTED_LIST_BYTES 4096

struct rejected_page {
    struct span workspace_id;   /* SPAN_NONE: all, and those of nobody */
    struct span code;           /* SPAN_NONE: whichever */
    int64_t since_ms, until_ms; /* of created_at; 0: no bound; until is not included */
    int64_t before_us;          /* rows before (created_at, id); 0: from the newest */
    struct uuid before_id;
    int limit;
};
/* The newest first. */
MUST_USE enum status rejected_list(struct connection *connection, const struct rejected_page *page,
                                   struct result **ret_rows, struct error *error);

/* One, with all of its value. workspace_id SPAN_NONE: whosesoever it is. STATUS_NOT_FOUND: there is none. */
MUST_USE enum status rejected_get(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                  struct result **ret_rows, struct error *error);

/* A row of either; the spans point into the result. */
struct rejected_record {
    int64_t created_at_us;
    struct uuid id;
    struct span workspace_id; /* SPAN_NONE: nobody can tell */
    struct span code, reason, topic;
    int32_t partition;
    int64_t offset, record_time_ms;
    struct span record_key;    /* SPAN_NONE: none */
    struct span headers;       /* JSON */
    struct span value;         /* SPAN_NONE: none */
    int64_t value_bytes;       /* of all of it */
    int64_t republished_at_ms; /* 0: not yet */
};
void rejected_record_read(const struct result *rows, int row, struct rejected_record *ret_record);

/* Marks it, and tells the audit. corrected: with another value than it has. */
MUST_USE enum status rejected_mark(struct connection *connection, const struct uuid *id, bool corrected,
                                   struct error *error);

#endif
