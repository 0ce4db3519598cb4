/* One pass over JSON (RFC 8259) that validates all of it and hands out the members of the outermost object as spans of
 * the input: no tree, no copy, no allocation. The event path reads with this; the API, which may take its time, reads
 * with jansson. Input of any bytes at all is safe: depth is bounded, strings must be valid UTF-8 with valid escapes (a
 * lone surrogate escape \uD800 is accepted, as JavaScript's JSON.parse does). Any thread. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/buffer.h"
#include "base/json_text.h" /* json_unescape, json_quote */
#include "base/utf8.h"      /* utf8_valid_prefix, utf8_clean */

#define JSON_MAX_DEPTH 64

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
    enum json_type type;
    bool compact;     /* no white space outside strings: may be copied as it is */
    bool escaped;     /* of a string: has a backslash, so its text is not its span */
    struct span text; /* as written, quotes included */
};

struct json_member {
    struct span name; /* without quotes, as written */
    bool name_escaped;
    struct json_value value;
};

/* Called for each member of the outermost object in order, duplicates included. Returning false ends the scan with
 * STATUS_INVALID and whatever the callback put into its context; json_scan leaves its error alone then. */
typedef bool json_member_fn(void *ctx, const struct json_member *member);

/* Checks that `text` is one JSON value with nothing but white space around it. `on_member` (may be NULL) sees the
 * members when it is an object. STATUS_INVALID: error says what and at which byte (the first is 0), e.g. "byte 17:
 * expected ':'". */
MUST_USE enum status json_scan(struct span text, json_member_fn *on_member, void *ctx, struct json_value *ret_value,
                               struct error *error);

/* Walks the elements of an array, or the members of an object, that json_scan has accepted. */
typedef bool json_element_fn(void *ctx, const struct json_value *element);
void json_each_element(struct span array, json_element_fn *on_element, void *ctx);
void json_each_member(struct span object, json_member_fn *on_member, void *ctx);

/* The value at a path like "contact.interest" ('.' between member names, decimal index into an array) of an accepted
 * value; the last of duplicate members. Names are compared by what they mean. False: nothing there. */
bool json_find(struct span value, struct span path, struct json_value *ret_value);
/* The array index that a name of such a path says: at most nine decimal digits, no needless 0 before them. SIZE_MAX: it
 * is none. */
size_t json_index(struct span name);

/* Appends an accepted value without white space outside strings. */
void json_compact(const struct json_value *value, struct buffer *out);

/* The integer that a number says, when it is one and fits ("1e3" and "5.0" count). */
MUST_USE enum status json_int64(struct span number_text, int64_t *ret_value);

#endif
