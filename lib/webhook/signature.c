#include "webhook/signature.h"

#include "base/json_scan.h"
#include "base/memory.h"

#include <stdio.h>

#define PREFIX SPAN_LITERAL("whsec_")
#define KEY_MIN_BYTES 24
#define KEY_MAX_BYTES 64
#define KEY_MAX_BASE64 ((KEY_MAX_BYTES + 2) / 3 * 4)
#define TEXT_MIN_BYTES 8
#define TEXT_MAX_BYTES 512
#define V1_BYTES (3 + (SHA256_BYTES + 2) / 3 * 4) /* "v1," and base64 */
#define HEX_BYTES (7 + 2 * SHA256_BYTES)          /* "sha256=" and hex */

struct signer {
    size_t count;
    struct hmac *hmacs[SIGNATURE_MAX_SECRETS]; /* newest first */
};

/* Secrets don't stay behind in freed memory. */
static void wipe(struct buffer *buffer) {
    if (buffer->data) {
        explicit_bzero(buffer->data, buffer->capacity);
    }
    buffer_deinit(buffer);
}

static enum status decode_key(struct span base64, struct buffer *ret_key, struct error *error) {
    struct buffer key;
    buffer_init(&key, KEY_MAX_BASE64);
    enum status status = STATUS_OK;
    if (base64.len > KEY_MAX_BASE64) {
        status = error_set(error, STATUS_INVALID, "secret: more than %d bytes after whsec_", KEY_MAX_BYTES);
    } else if (base64_decode(base64, &key) != STATUS_OK) {
        status = error_set(error, STATUS_INVALID, "secret: what follows whsec_ is not base64");
    } else if (key.len < KEY_MIN_BYTES || key.len > KEY_MAX_BYTES) {
        status = error_set(error, STATUS_INVALID, "secret: %zu bytes after whsec_, expected %d to %d", key.len,
                           KEY_MIN_BYTES, KEY_MAX_BYTES);
    } else {
        buffer_span(ret_key, buffer_view(&key));
    }
    wipe(&key);
    return status;
}

enum status signature_key(struct span secret, struct buffer *ret_key, struct error *error) {
    if (span_has_prefix(secret, PREFIX)) {
        return decode_key((struct span){secret.data + PREFIX.len, secret.len - PREFIX.len}, ret_key, error);
    }
    if (secret.len < TEXT_MIN_BYTES || secret.len > TEXT_MAX_BYTES) {
        return error_set(error, STATUS_INVALID, "secret: %zu bytes, expected %d to %d", secret.len, TEXT_MIN_BYTES,
                         TEXT_MAX_BYTES);
    }
    if (utf8_valid_prefix(secret) < secret.len) {
        return error_set(error, STATUS_INVALID, "secret: not UTF-8");
    }
    buffer_span(ret_key, secret);
    return STATUS_OK;
}

void signature_new_secret(struct buffer *out) {
    char key[32];
    crypto_random(key, sizeof(key));
    buffer_span(out, PREFIX);
    base64_encode((struct span){key, sizeof(key)}, out);
    explicit_bzero(key, sizeof(key));
}

enum status signer_new(const struct span *secrets, size_t count, struct signer **ret_signer, struct error *error) {
    if (count == 0 || count > SIGNATURE_MAX_SECRETS) {
        return error_set(error, STATUS_INVALID, "%zu secrets, expected 1 to %d", count, SIGNATURE_MAX_SECRETS);
    }
    struct signer *signer = mem_calloc(1, sizeof(*signer));
    for (size_t i = 0; i < count; i++) {
        struct buffer key;
        buffer_init(&key, TEXT_MAX_BYTES);
        enum status status = signature_key(secrets[i], &key, error);
        if (status == STATUS_OK) {
            signer->hmacs[signer->count++] = hmac_new(buffer_view(&key));
        }
        wipe(&key);
        if (status != STATUS_OK) {
            signer_free(&signer);
            return status;
        }
    }
    *ret_signer = signer;
    return STATUS_OK;
}

void signer_free(struct signer **signer) {
    if (!*signer) {
        return;
    }
    for (size_t i = 0; i < (*signer)->count; i++) {
        hmac_free(&(*signer)->hmacs[i]);
    }
    mem_free(*signer);
    *signer = NULL;
}

static void append_v1(struct hmac *hmac, struct span id, struct span timestamp, struct span body, struct buffer *out) {
    uint8_t mac[SHA256_BYTES];
    hmac_start(hmac);
    hmac_add(hmac, id);
    hmac_add(hmac, timestamp);
    hmac_add(hmac, body);
    hmac_finish(hmac, mac);
    buffer_append(out, "v1,", 3);
    base64_encode((struct span){(const char *)mac, sizeof(mac)}, out);
}

/* ".1614265330." */
static struct span dotted(int64_t timestamp_s, char room[32]) {
    int len = snprintf(room, 32, ".%lld.", (long long)timestamp_s);
    return (struct span){room, (size_t)len};
}

void signer_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body, struct buffer *out) {
    char room[32];
    struct span timestamp = dotted(timestamp_s, room);
    for (size_t i = 0; i < signer->count; i++) {
        if (i > 0) {
            buffer_char(out, ' ');
        }
        append_v1(signer->hmacs[i], id, timestamp, body, out);
    }
}

static void append_hex(struct hmac *hmac, struct span body, struct buffer *out) {
    uint8_t mac[SHA256_BYTES];
    hmac_start(hmac);
    hmac_add(hmac, body);
    hmac_finish(hmac, mac);
    buffer_append(out, "sha256=", 7);
    hex_encode((struct span){(const char *)mac, sizeof(mac)}, out);
}

void signer_hex(struct signer *signer, struct span body, struct buffer *out) {
    append_hex(signer->hmacs[0], body, out);
}

/* Looks at every signature of the header, also after one that fits. */
static bool header_holds(struct span header, struct span signature) {
    bool held = false;
    while (header.len) {
        const char *space = memchr(header.data, ' ', header.len);
        size_t len = space ? (size_t)(space - header.data) : header.len;
        held |= crypto_equal((struct span){header.data, len}, signature);
        size_t skip = space ? len + 1 : len;
        header = (struct span){header.data + skip, header.len - skip};
    }
    return held;
}

bool signer_verify_standard(struct signer *signer, struct span id, int64_t timestamp_s, struct span body,
                            struct span header) {
    char room[32];
    struct span timestamp = dotted(timestamp_s, room);
    bool valid = false;
    for (size_t i = 0; i < signer->count; i++) {
        struct buffer signature;
        buffer_init(&signature, V1_BYTES);
        append_v1(signer->hmacs[i], id, timestamp, body, &signature);
        valid |= header_holds(header, buffer_view(&signature));
        buffer_deinit(&signature);
    }
    return valid;
}

bool signer_verify_hex(struct signer *signer, struct span body, struct span header) {
    bool valid = false;
    for (size_t i = 0; i < signer->count; i++) {
        struct buffer signature;
        buffer_init(&signature, HEX_BYTES);
        append_hex(signer->hmacs[i], body, &signature);
        valid |= crypto_equal(header, buffer_view(&signature));
        buffer_deinit(&signature);
    }
    return valid;
}
