#include "api/query.h"
#include "base/clock.h"
#include "base/utf8.h"
#include <jansson.h>
#include <stdio.h>

#define DAY_MS (24 * 3600 * 1000LL)

/* At most 18 digits. */
static bool read_number(struct span text, int64_t *ret_number) {
    int64_t number = 0;
    if (text.len == 0 || text.len > 18)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    *ret_number = number;
    return true;
}

int query_limit(struct call *call, int fallback, int max) {
    struct span text = call_query(call, "limit");
    int64_t limit = fallback;
    if (text.data && (!read_number(text, &limit) || limit < 1 || limit > max)) {
        call_field_error(call, "limit", "expected a number from 1 to %d", max);
        return fallback;
    }
    return (int)limit;
}

int64_t query_time(struct call *call, const char *name, bool ends) {
    struct span text = call_query(call, name);
    int64_t ms = 0;
    bool date = false;
    if (!text.data)
        return 0;
    if (clock_parse_iso(text, &ms, &date) != STATUS_OK) {
        call_field_error(call, name, "expected a date and time (ISO 8601, UTC without a zone), or a date");
        return 0;
    }
    return date && ends ? ms + DAY_MS : ms;
}

bool query_uuid(struct call *call, const char *name, struct uuid *ret_uuid) {
    struct span text = call_query(call, name);
    if (!text.data)
        return false;
    if (uuid_parse(text, ret_uuid) == STATUS_OK)
        return true;
    call_field_error(call, name, "expected a uuid");
    return false;
}

bool query_is_text(struct span text) {
    return utf8_valid_prefix(text) == text.len && !memchr(text.data, '\0', text.len);
}

static bool refuse_cursor(struct call *call) {
    call_field_error(call, "cursor", "expected the next_cursor of an answer");
    return false;
}

bool query_cursor_number(struct call *call, int64_t *ret_number, struct uuid *ret_id) {
    struct span text = call_query(call, "cursor");
    if (!text.data)
        return false;
    const char *dash = memchr(text.data, '-', text.len);
    struct span number = {text.data, dash && ret_id ? (size_t)(dash - text.data) : text.len};
    if (!read_number(number, ret_number) || *ret_number == 0)
        return refuse_cursor(call);
    if (!ret_id)
        return true;
    if (!dash || uuid_parse((struct span){dash + 1, text.len - number.len - 1}, ret_id) != STATUS_OK)
        return refuse_cursor(call);
    return true;
}

struct json_t *query_cursor_of_number(int64_t number) {
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)number);
    return json_string(text);
}

struct json_t *query_text(struct span text) {
    return text.data ? json_stringn(text.data, text.len) : json_null();
}

struct json_t *query_moment(int64_t wall_ms) {
    struct buffer text;
    if (wall_ms == 0)
        return json_null();
    buffer_init(&text, 64);
    clock_format_iso(wall_ms, &text);
    json_t *value = json_stringn(text.data, text.len);
    buffer_deinit(&text);
    return value;
}

struct json_t *query_id(const struct uuid *id) {
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    return json_string(text);
}
