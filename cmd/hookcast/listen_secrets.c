#include "listen_secrets.h"

/* The next part of a list with commas, which *at moves behind; NULL after the last. */
static struct span next_part(const char **at) {
    struct span part = {*at, strcspn(*at, ",")};
    *at = part.data[part.len] ? part.data + part.len + 1 : NULL;
    return part;
}

enum status listen_signer_new(const char *list, struct signer **ret_signer, struct error *error) {
    struct span secrets[SIGNATURE_MAX_SECRETS];
    size_t count = 0;
    while (list) {
        if (count == SIGNATURE_MAX_SECRETS)
            return error_set(error, STATUS_INVALID, "--secret: more than %d secrets", SIGNATURE_MAX_SECRETS);
        secrets[count] = next_part(&list);
        if (span_has_prefix(secrets[count++], SPAN_LITERAL("whpk_")))
            return error_set(error, STATUS_INVALID, "--secret: this is a public key; it goes behind --public-key");
    }
    return signer_new(secrets, count, ret_signer, error);
}

enum status listen_keys_read(const char *list, struct listen_keys *ret_keys, struct error *error) {
    struct listen_keys keys = {.count = 0};
    while (list) {
        if (keys.count == SIGNATURE_MAX_KEYS)
            return error_set(error, STATUS_INVALID, "--public-key: more than %d keys", SIGNATURE_MAX_KEYS);
        enum status status = signature_read_public_key(next_part(&list), keys.keys[keys.count++], error);
        if (status != STATUS_OK) {
            error_context(error, "--public-key");
            return status;
        }
    }
    *ret_keys = keys;
    return STATUS_OK;
}

bool listen_keys_verify(const struct listen_keys *keys, struct span id, int64_t timestamp_s, struct span body,
                        struct span header) {
    for (size_t i = 0; i < keys->count; i++)
        if (signature_verify_asymmetric(keys->keys[i], id, timestamp_s, body, header))
            return true;
    return false;
}
