/* A request's body as JSON. Any thread. */
#ifndef API_BODY_JSON_H
#define API_BODY_JSON_H

#include "base/error.h"
#include "base/span.h"

struct json_t;

/* STATUS_INVALID: it is none, names a member twice, or has a number that a double can't hold; error says so for people,
 * and quotes nothing, because a body may hold a secret. An integer beyond 64 bits comes as a real. */
MUST_USE enum status body_json_read(struct span body, struct json_t **ret_json, struct error *error);

#endif
