#include "store/sealing.h"
#include <strings.h>

/* 32 bytes that anybody may know: "hookcast insecure development ke" in base64. */
#define DEVELOPMENT_KEY "aG9va2Nhc3QgaW5zZWN1cmUgZGV2ZWxvcG1lbnQga2U="

enum status sealing_keyring(const struct settings *settings, struct keyring **ret_keyring, struct error *error) {
    const char *key = settings->secret_key;
    if (!key || !*key) {
        if (!settings->insecure_dev)
            return error_set(error, STATUS_INVALID,
                             "HOOKCAST_SECRET_KEY is not set; it is 32 bytes in base64 (openssl rand -base64 32)");
        key = DEVELOPMENT_KEY;
    }
    enum status status = keyring_new(span_of(key), ret_keyring, error);
    if (status != STATUS_OK)
        error_context(error, "HOOKCAST_SECRET_KEY");
    return status;
}

void sealing_seal(const struct keyring *keyring, const struct uuid *subscription_id, struct span plain,
                  struct buffer *out) {
    char context[UUID_TEXT_LEN + 1];
    uuid_format(subscription_id, context);
    keyring_seal(keyring, span_of(context), plain, out);
}

enum status sealing_open(const struct keyring *keyring, const struct uuid *subscription_id, struct span sealed,
                         struct buffer *out, struct error *error) {
    char context[UUID_TEXT_LEN + 1];
    uuid_format(subscription_id, context);
    return keyring_open(keyring, span_of(context), sealed, out, error);
}

void sealing_wipe(struct buffer *buffer) {
    if (buffer->data)
        explicit_bzero(buffer->data, buffer->capacity);
    buffer_deinit(buffer);
}
