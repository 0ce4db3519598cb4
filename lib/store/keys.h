/* API keys. A key is "hc_" and 64 hexadecimal digits (32 random bytes); the database has its SHA-256 alone. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "base/crypto.h"
#include "db/connection.h"
#include "store/workspaces.h"

#define KEY_TEXT_BYTES 67
#define KEY_NAME_MAX_BYTES 200

/* Appends a new key. */
void keys_generate(struct buffer *out);

struct key_new {
    struct span key;
    struct span workspace_id; /* SPAN_NONE: an admin key */
    struct span name;         /* may be empty */
    bool read_only;
    int64_t expires_in_ms; /* from the database's clock; 0: never */
    int64_t expires_at_ms; /* or then; 0: never */
    int max;               /* so many of the workspace may be valid; 0: any number */
};
/* STATUS_CONFLICT: there are `max` already. */
MUST_USE enum status keys_insert(struct connection *connection, const struct key_new *key, struct uuid *ret_id,
                                 struct error *error);

/* A row as it is listed; the spans point into the result. */
struct key_row {
    struct uuid id;
    struct span workspace_id; /* SPAN_NONE: an admin key */
    struct span name;
    bool read_only;
    int64_t created_at_ms;
    int64_t expires_at_ms; /* 0: never */
    int64_t revoked_at_ms; /* 0: not revoked */
    bool expired;          /* by the database's clock */
};
/* Oldest first; workspace_id SPAN_NONE: all. */
MUST_USE enum status keys_list(struct connection *connection, struct span workspace_id, struct result **ret_rows,
                               struct error *error);
void keys_row_read(const struct result *rows, int row, struct key_row *ret_row);

/* Ends a key. Again is fine. workspace_id SPAN_NONE: whosesoever it is. STATUS_NOT_FOUND: no such id there. */
MUST_USE enum status keys_revoke(struct connection *connection, struct span workspace_id, const struct uuid *id,
                                 struct error *error);

/* What a valid key may do. */
struct key_grant {
    struct uuid id;
    bool admin;
    bool read_only;
    char workspace_id[WORKSPACE_ID_MAX_BYTES + 1]; /* "" for an admin key */
};
/* STATUS_NOT_FOUND: no such key, or it was revoked, has expired, or its workspace is being erased. */
MUST_USE enum status keys_find(struct connection *connection, const uint8_t hash[SHA256_BYTES],
                               struct key_grant *ret_grant, struct error *error);

#endif
