#include "api/subscription_secrets.h"
#include "base/clock.h"
#include "store/sealing.h"
#include "webhook/signature.h"
#include "webhook/subscription.h"
#include <jansson.h>

#define PLAIN_MAX_BYTES (64 * 1024)
#define ALL_MAX_BYTES (SUBSCRIPTION_MAX_SECRETS_BYTES - 512) /* room for what sealing adds */
#define KEY_BYTES 93                                         /* whsk_ and base64 of 64 bytes */
#define LEAST_WITH_KEY_BYTES (sizeof("[{\"secret\":\"8 bytes!\",\"until_ms\":null,\"key\":\"\"}]") - 1 + KEY_BYTES)

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

static json_t *new_key(void) {
    struct buffer key;
    buffer_init(&key, 256);
    signature_new_key(&key);
    json_t *json = json_stringn(key.data, key.len);
    sealing_wipe(&key);
    return json;
}

static json_t *key_of(const json_t *one) {
    json_t *key = json_object_get(one, "key");
    return json_is_string(key) ? key : NULL;
}

bool subscription_secrets_asymmetric(const struct json_t *secrets) {
    return key_of(json_array_get(secrets, 0)) != NULL;
}

bool subscription_secrets_set_asymmetric(struct json_t *secrets, bool asymmetric) {
    bool changed = false;
    size_t i;
    json_t *one;
    if (asymmetric && !subscription_secrets_asymmetric(secrets)) {
        CHECK(json_object_set_new(json_array_get(secrets, 0), "key", new_key()) == 0);
        return true;
    }
    json_array_foreach(secrets, i, one) {
        if (!asymmetric)
            changed |= json_object_del(one, "key") == 0;
    }
    return changed;
}

static json_t *public_key_of(const json_t *one) {
    const json_t *key = key_of(one);
    if (!key)
        return json_null();
    struct error error;
    struct buffer text;
    buffer_init(&text, 256);
    struct span private_key = {json_string_value(key), json_string_length(key)};
    enum status status = signature_public_key(private_key, &text, &error);
    json_t *public_key = status == STATUS_OK ? json_stringn(text.data, text.len) : json_null();
    buffer_deinit(&text);
    return public_key;
}

struct json_t *subscription_secrets_public_key(const struct json_t *secrets) {
    return public_key_of(json_array_get(secrets, 0));
}

struct json_t *subscription_secrets_sealed_public_key(const struct keyring *keyring, const struct uuid *id,
                                                      struct span sealed) {
    json_t *secrets = NULL;
    struct error error;
    /* Most have no key, and a listing need not open them. */
    if (sealed.len < LEAST_WITH_KEY_BYTES ||
        subscription_secrets_open(keyring, id, sealed, 0, &secrets, &error) != STATUS_OK)
        return json_null();
    json_t *public = subscription_secrets_public_key(secrets);
    json_decref(secrets);
    return public;
}

/* What becomes of the newest private key where a new secret takes the newest's place; a new reference, or NULL. */
static json_t *successor(const json_t *secrets, int64_t keep_ms) {
    json_t *key = key_of(json_array_get(secrets, 0));
    if (!key)
        return NULL;
    return keep_ms > 0 ? new_key() : json_incref(key);
}

void subscription_secrets_put(struct json_t *secrets, struct span secret, int64_t now_ms, int64_t keep_ms) {
    struct buffer made;
    json_t *key = successor(secrets, keep_ms);
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
    if (key)
        json_object_set_new(json_array_get(secrets, 0), "key", key);
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
        json_array_append_new(previous, json_pack("{s:O, s:o, s:s}", "secret", json_object_get(one, "secret"),
                                                  "public_key", public_key_of(one), "valid_until", until.data));
        buffer_deinit(&until);
    }
    return json_pack("{s:s?, s:o, s:o}", "secret", subscription_secrets_newest(secrets), "public_key",
                     subscription_secrets_public_key(secrets), "previous", previous);
}
