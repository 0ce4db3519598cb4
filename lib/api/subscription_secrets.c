#include "api/subscription_secrets.h"
#include "base/clock.h"
#include "store/sealing.h"
#include "webhook/signature.h"
#include "webhook/subscription.h"
#include <jansson.h>

#define PLAIN_MAX_BYTES (64 * 1024)
#define ALL_MAX_BYTES (SUBSCRIPTION_MAX_SECRETS_BYTES - 512) /* room for what sealing adds */

enum status subscription_secrets_open(const struct keyring *keyring, const struct uuid *id, struct span sealed,
                                      int64_t now_ms, struct json_t **ret_secrets, struct error *error) {
    json_t *valid = json_array();
    if (sealed.data) {
        struct buffer plain;
        buffer_init(&plain, PLAIN_MAX_BYTES);
        enum status status = sealing_open(keyring, id, sealed, &plain, error);
        json_t *all = status == STATUS_OK ? json_loadb(plain.data, plain.len, 0, NULL) : NULL;
        sealing_wipe(&plain);
        if (status == STATUS_OK && !json_is_array(all))
            status = error_set(error, STATUS_INVALID, "the sealed secrets can't be read");
        size_t i;
        json_t *one;
        json_array_foreach(all, i, one) {
            const json_t *until = json_object_get(one, "until_ms");
            if (!json_is_integer(until) || json_integer_value(until) > now_ms)
                json_array_append(valid, one);
        }
        json_decref(all);
        if (status != STATUS_OK) {
            json_decref(valid);
            return status;
        }
    }
    *ret_secrets = valid;
    return STATUS_OK;
}

void subscription_secrets_put(struct json_t *secrets, struct span secret, int64_t now_ms, int64_t keep_ms) {
    struct buffer made;
    buffer_init(&made, 256);
    if (!secret.data) {
        signature_new_secret(&made);
        secret = buffer_view(&made);
    }
    size_t i;
    json_t *one;
    json_array_foreach(secrets, i, one) {
        const json_t *until = json_object_get(one, "until_ms");
        if (!json_is_integer(until) || json_integer_value(until) > now_ms + keep_ms)
            json_object_set_new(one, "until_ms", json_integer(now_ms + keep_ms));
    }
    if (keep_ms == 0)
        json_array_clear(secrets);
    while (json_array_size(secrets) >= SIGNATURE_MAX_SECRETS)
        json_array_remove(secrets, json_array_size(secrets) - 1);
    json_array_insert_new(secrets, 0, json_pack("{s:s%, s:n}", "secret", secret.data, secret.len, "until_ms"));
    /* One alone always fits, whatever its characters. */
    while (json_dumpb(secrets, NULL, 0, JSON_COMPACT) > ALL_MAX_BYTES)
        json_array_remove(secrets, json_array_size(secrets) - 1);
    sealing_wipe(&made);
}

struct span subscription_secrets_seal(const struct keyring *keyring, const struct uuid *id,
                                      const struct json_t *secrets, struct arena *arena) {
    if (json_array_size(secrets) == 0)
        return SPAN_NONE;
    size_t len = json_dumpb(secrets, NULL, 0, JSON_COMPACT);
    char *plain = arena_alloc(arena, len);
    json_dumpb(secrets, plain, len, JSON_COMPACT);
    struct buffer sealed;
    buffer_init(&sealed, 2 * PLAIN_MAX_BYTES);
    sealing_seal(keyring, id, (struct span){plain, len}, &sealed);
    explicit_bzero(plain, len);
    struct span copy = arena_span(arena, buffer_view(&sealed));
    buffer_deinit(&sealed);
    return copy;
}

const char *subscription_secrets_newest(const struct json_t *secrets) {
    return json_string_value(json_object_get(json_array_get(secrets, 0), "secret"));
}

struct json_t *subscription_secrets_json(const struct json_t *secrets) {
    json_t *previous = json_array();
    for (size_t i = 1; i < json_array_size(secrets); i++) {
        const json_t *one = json_array_get(secrets, i);
        struct buffer until;
        buffer_init(&until, 64);
        clock_format_iso(json_integer_value(json_object_get(one, "until_ms")), &until);
        json_array_append_new(
            previous, json_pack("{s:O, s:s}", "secret", json_object_get(one, "secret"), "valid_until", until.data));
        buffer_deinit(&until);
    }
    return json_pack("{s:s?, s:o}", "secret", subscription_secrets_newest(secrets), "previous", previous);
}
