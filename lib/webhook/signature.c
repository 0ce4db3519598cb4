#include "webhook/signature.h"

#include "base/json_scan.h"
#include "base/memory.h"

#include <stdio.h>

#define PREFIX SPAN_LITERAL("whsec_")
#define PRIVATE_PREFIX SPAN_LITERAL("whsk_")
#define PUBLIC_PREFIX SPAN_LITERAL("whpk_")
#define V1A SPAN_LITERAL("v1a,")
#define KEY_MIN_BYTES 24
#define KEY_MAX_BYTES 64
#define KEY_MAX_BASE64 ((KEY_MAX_BYTES + 2) / 3 * 4)
#define TEXT_MIN_BYTES 8
#define TEXT_MAX_BYTES 512
#define V1_BYTES (3 + (SHA256_BYTES + 2) / 3 * 4) /* "v1," and base64 */
#define HEX_BYTES (7 + 2 * SHA256_BYTES)          /* "sha256=" and hex */

/* Of one header by one public key: nobody makes a receiver work for as long as he likes. */
#define SIGNATURES_TRIED 16

struct signer {
    size_t count;
    struct hmac *hmacs[SIGNATURE_MAX_SECRETS]; /* newest first */
    size_t key_count;
    struct ed25519 *keys[SIGNATURE_MAX_KEYS]; /* newest first */
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

void signature_new_key(struct buffer *out) {
    uint8_t bytes[ED25519_SEED_BYTES + ED25519_PUBLIC_BYTES];
    crypto_random(bytes, ED25519_SEED_BYTES);
    struct ed25519 *key = ed25519_new(bytes);
    ed25519_public(key, bytes + ED25519_SEED_BYTES);
    ed25519_free(&key);
    buffer_span(out, PRIVATE_PREFIX);
    base64_encode((struct span){(const char *)bytes, sizeof(bytes)}, out);
    explicit_bzero(bytes, sizeof(bytes));
}

/* Exactly len bytes in base64 behind the prefix. */
static bool read_bytes(struct span text, struct span prefix, uint8_t *out, size_t len) {
    if (!span_has_prefix(text, prefix) || text.len - prefix.len != (len + 2) / 3 * 4) {
        return false;
    }
    struct buffer bytes;
    struct span base64 = {text.data + prefix.len, text.len - prefix.len};
    buffer_init(&bytes, base64.len);
    bool fits = base64_decode(base64, &bytes) == STATUS_OK && bytes.len == len;
    if (fits) {
        memcpy(out, bytes.data, len);
    }
    wipe(&bytes);
    return fits;
}

/* The key, when its two halves belong together. */
static enum status open_key(struct span private_key, struct ed25519 **ret_key, struct error *error) {
    uint8_t bytes[ED25519_SEED_BYTES + ED25519_PUBLIC_BYTES], public[ED25519_PUBLIC_BYTES];
    struct ed25519 *key = NULL;
    if (read_bytes(private_key, PRIVATE_PREFIX, bytes, sizeof(bytes))) {
        key = ed25519_new(bytes);
        ed25519_public(key, public);
        if (memcmp(public, bytes + ED25519_SEED_BYTES, sizeof(public)) != 0) {
            ed25519_free(&key);
        }
    }
    explicit_bzero(bytes, sizeof(bytes));
    if (!key) {
        return error_set(error, STATUS_INVALID, "a private key is not whsk_ and base64 of an Ed25519 key pair");
    }
    *ret_key = key;
    return STATUS_OK;
}

enum status signature_public_key(struct span private_key, struct buffer *out, struct error *error) {
    uint8_t bytes[ED25519_SEED_BYTES + ED25519_PUBLIC_BYTES];
    if (!read_bytes(private_key, PRIVATE_PREFIX, bytes, sizeof(bytes))) {
        return error_set(error, STATUS_INVALID, "a private key is not whsk_ and base64 of an Ed25519 key pair");
    }
    buffer_span(out, PUBLIC_PREFIX);
    base64_encode((struct span){(const char *)bytes + ED25519_SEED_BYTES, ED25519_PUBLIC_BYTES}, out);
    explicit_bzero(bytes, sizeof(bytes));
    return STATUS_OK;
}

enum status signature_read_public_key(struct span public_key, uint8_t ret_key[ED25519_PUBLIC_BYTES],
                                      struct error *error) {
    if (span_has_prefix(public_key, PRIVATE_PREFIX)) {
        return error_set(error, STATUS_INVALID, "this is a private key; the public one begins with whpk_");
    }
    if (!read_bytes(public_key, PUBLIC_PREFIX, ret_key, ED25519_PUBLIC_BYTES)) {
        return error_set(error, STATUS_INVALID, "a public key is whpk_ and base64 of %d bytes", ED25519_PUBLIC_BYTES);
    }
    return STATUS_OK;
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
    for (size_t i = 0; i < (*signer)->key_count; i++) {
        ed25519_free(&(*signer)->keys[i]);
    }
    mem_free(*signer);
    *signer = NULL;
}

enum status signer_add_key(struct signer *signer, struct span private_key, struct error *error) {
    if (signer->key_count == SIGNATURE_MAX_KEYS) {
        return error_set(error, STATUS_INVALID, "more than %d private keys", SIGNATURE_MAX_KEYS);
    }
    enum status status = open_key(private_key, &signer->keys[signer->key_count], error);
    signer->key_count += status == STATUS_OK;
    return status;
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

/* In one piece, as Ed25519 wants it. */
static void join(struct span id, struct span timestamp, struct span body, struct buffer *out) {
    buffer_init(out, id.len + timestamp.len + body.len);
    char *at = buffer_grow(out, id.len + timestamp.len + body.len);
    CHECK(at);
    const struct span parts[] = {id, timestamp, body};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len) {
            memcpy(at, parts[i].data, parts[i].len);
            at += parts[i].len;
        }
    }
}

static void append_v1a(struct signer *signer, struct span id, struct span timestamp, struct span body,
                       struct buffer *out) {
    struct buffer message;
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    join(id, timestamp, body, &message);
    for (size_t i = 0; i < signer->key_count; i++) {
        ed25519_sign(signer->keys[i], buffer_view(&message), signature);
        buffer_char(out, ' ');
        buffer_span(out, V1A);
        base64_encode((struct span){(const char *)signature, sizeof(signature)}, out);
    }
    buffer_deinit(&message);
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
    if (signer->key_count > 0) {
        append_v1a(signer, id, timestamp, body, out);
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

/* The next of the header's signatures, which is taken off it. */
static struct span next_signature(struct span *header) {
    const char *space = memchr(header->data, ' ', header->len);
    size_t len = space ? (size_t)(space - header->data) : header->len;
    struct span signature = {header->data, len};
    size_t skip = space ? len + 1 : len;
    *header = (struct span){header->data + skip, header->len - skip};
    return signature;
}

/* Looks at every signature of the header, also after one that fits. */
static bool header_holds(struct span header, struct span signature) {
    bool held = false;
    while (header.len) {
        held |= crypto_equal(next_signature(&header), signature);
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

bool signature_verify_asymmetric(const uint8_t key[ED25519_PUBLIC_BYTES], struct span id, int64_t timestamp_s,
                                 struct span body, struct span header) {
    char room[32];
    struct buffer message;
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    bool valid = false;
    join(id, dotted(timestamp_s, room), body, &message);
    for (int tried = 0; header.len && !valid && tried < SIGNATURES_TRIED;) {
        if (read_bytes(next_signature(&header), V1A, signature, sizeof(signature))) {
            struct span given = {(const char *)signature, sizeof(signature)};
            valid = ed25519_verify(key, buffer_view(&message), given);
            tried++;
        }
    }
    buffer_deinit(&message);
    return valid;
}
