/* What several resources read of a request's query, and how they show it. Whatever is wrong is added to the call's
 * errors. In a worker. */
#ifndef API_QUERY_H
#define API_QUERY_H

#include "api/call.h"

/* `limit`, from 1 to max; fallback when absent. */
int query_limit(struct call *call, int fallback, int max);

/* A time (ISO 8601, UTC without a zone); with ends, a bare date means the end of that day. 0: absent. */
int64_t query_time(struct call *call, const char *name, bool ends);

/* False: absent or wrong. */
bool query_uuid(struct call *call, const char *name, struct uuid *ret_uuid);

/* UTF-8 that the database takes. */
bool query_is_text(struct span text);

/* `cursor`: a number, and an id behind it where ret_id is not NULL. False: absent or wrong. */
bool query_cursor_number(struct call *call, int64_t *ret_number, struct uuid *ret_id);
struct json_t *query_cursor_of_number(int64_t number); /* without an id */

/* Parts of an answer, new references. */
struct json_t *query_text(struct span text);  /* SPAN_NONE: null */
struct json_t *query_moment(int64_t wall_ms); /* 0: null */
struct json_t *query_id(const struct uuid *id);

#endif
