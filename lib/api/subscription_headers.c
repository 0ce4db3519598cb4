#include "api/subscription_headers.h"
#include "webhook/subscription.h"
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define MASK "***"
#define VALUE_MAX_BYTES 4096
#define ALL_MAX_BYTES (SUBSCRIPTION_MAX_HEADERS_BYTES - 1024) /* room for what sealing adds */

static bool is_token(struct span name) {
    if (name.len == 0 || name.len > SUBSCRIPTION_MAX_HEADER_NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return true;
}

static bool same(struct span name, const char *other) {
    return name.len == strlen(other) && strncasecmp(name.data, other, name.len) == 0;
}

const char *subscription_header_wrong(struct span name) {
    /* What hookcast says itself, and what belongs to the connection rather than to the webhook. */
    static const char *const OURS[] = {"host",
                                       "content-length",
                                       "content-type",
                                       "content-encoding",
                                       "expect",
                                       "connection",
                                       "keep-alive",
                                       "proxy-connection",
                                       "te",
                                       "trailer",
                                       "upgrade",
                                       "transfer-encoding",
                                       "accept-encoding",
                                       "user-agent"};
    if (!is_token(name))
        return "is not a header's name";
    if (name.len >= 8 && strncasecmp(name.data, "webhook-", 8) == 0)
        return "names that begin with webhook- are hookcast's own";
    for (size_t i = 0; i < sizeof(OURS) / sizeof(*OURS); i++)
        if (same(name, OURS[i]))
            return "is set by hookcast";
    return NULL;
}

static const char *value_wrong(const json_t *value) {
    if (!json_is_string(value))
        return "expected a text";
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (len > VALUE_MAX_BYTES)
        return "is longer than 4096 bytes";
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return "has a control character in it";
    if (len > 0 && (text[0] == ' ' || text[0] == '\t' || text[len - 1] == ' ' || text[len - 1] == '\t'))
        return "begins or ends with a space";
    return NULL;
}

bool subscription_headers_have(const struct json_t *headers, struct span name) {
    const char *other;
    json_t *value;
    json_object_foreach((json_t *)headers, other, value) {
        if (same(name, other))
            return true;
    }
    return false;
}

static size_t count_named(const json_t *headers, struct span name) {
    const char *other;
    json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)headers, other, value) {
        count += same(name, other);
    }
    return count;
}

bool subscription_headers_check(struct call *call, const char *field, const struct json_t *headers) {
    if (json_is_null(headers))
        return true;
    if (!json_is_object(headers) || json_object_size(headers) > SUBSCRIPTION_MAX_OWN_HEADERS) {
        call_field_error(call, field, "expected an object of at most %d headers, or null",
                         SUBSCRIPTION_MAX_OWN_HEADERS);
        return false;
    }
    const char *name;
    json_t *value;
    bool right = true;
    json_object_foreach((json_t *)headers, name, value) {
        const char *wrong = subscription_header_wrong(span_of(name));
        if (!wrong && count_named(headers, span_of(name)) > 1)
            wrong = "stands twice; case does not count";
        if (!wrong)
            wrong = value_wrong(value);
        char where[300];
        snprintf(where, sizeof(where), "%s.%s", field, name);
        if (wrong)
            call_field_error(call, where, "%s", wrong);
        right &= !wrong;
    }
    if (right && json_dumpb(headers, NULL, 0, JSON_COMPACT) > ALL_MAX_BYTES) {
        call_field_error(call, field, "are larger than %d bytes together", ALL_MAX_BYTES);
        right = false;
    }
    return right;
}

/* Better once too often than once too little. */
static bool is_secret(const char *name) {
    static const char *const PARTS[] = {"auth",   "token",    "key",        "secret",
                                        "cookie", "password", "credential", "signature"};
    for (size_t i = 0; i < sizeof(PARTS) / sizeof(*PARTS); i++)
        if (strcasestr(name, PARTS[i]))
            return true;
    return false;
}

struct json_t *subscription_headers_masked(const struct json_t *headers) {
    json_t *masked = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)headers, name, value) {
        json_object_set_new(masked, name, is_secret(name) ? json_string(MASK) : json_copy(value));
    }
    return masked;
}

struct json_t *subscription_headers_unmasked(const struct json_t *headers, const struct json_t *former) {
    json_t *whole = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)headers, name, value) {
        bool masked = is_secret(name) && strcmp(json_string_value(value), MASK) == 0;
        json_t *known = masked ? json_object_get(former, name) : NULL;
        json_object_set_new(whole, name, json_copy(known ? known : value));
    }
    return whole;
}
