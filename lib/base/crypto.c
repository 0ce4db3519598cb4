#include "base/crypto.h"
#include "base/memory.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>

#define KEY_BYTES 32
#define KEYS_MAX 16

/* Looking an algorithm up costs more than hashing an event: once for the process, and never freed. */
static EVP_MD *sha256;
static EVP_MAC *hmac_algorithm;
static EVP_CIPHER *aes_256_gcm;

static void fetch(void) {
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    CHECK(sha256 && hmac_algorithm && aes_256_gcm);
}

static void need_algorithms(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch);
}

static const void *bytes_of(struct span span) {
    return span.data ? span.data : "";
}

void crypto_sha256(struct span data, uint8_t out[SHA256_BYTES]) {
    need_algorithms();
    CHECK(EVP_Digest(bytes_of(data), data.len, out, NULL, sha256, NULL) == 1);
}

void crypto_random(void *out, size_t len) {
    CHECK(len <= INT_MAX);
    CHECK(RAND_bytes(out, (int)len) == 1);
}

bool crypto_equal(struct span a, struct span b) {
    return a.len == b.len && CRYPTO_memcmp(bytes_of(a), bytes_of(b), a.len) == 0;
}

struct hmac {
    EVP_MAC_CTX *ctx;
};

struct hmac *hmac_new(struct span key) {
    need_algorithms();
    struct hmac *hmac = mem_calloc(1, sizeof(*hmac));
    hmac->ctx = EVP_MAC_CTX_new(hmac_algorithm);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    CHECK(hmac->ctx && EVP_MAC_init(hmac->ctx, bytes_of(key), key.len, params) == 1);
    return hmac;
}

void hmac_free(struct hmac **hmac) {
    if (*hmac) {
        EVP_MAC_CTX_free((*hmac)->ctx);
        mem_free(*hmac);
        *hmac = NULL;
    }
}

void hmac_start(struct hmac *hmac) {
    CHECK(EVP_MAC_init(hmac->ctx, NULL, 0, NULL) == 1);
}

void hmac_add(struct hmac *hmac, struct span data) {
    CHECK(EVP_MAC_update(hmac->ctx, bytes_of(data), data.len) == 1);
}

void hmac_finish(struct hmac *hmac, uint8_t out[SHA256_BYTES]) {
    size_t len = 0;
    CHECK(EVP_MAC_final(hmac->ctx, out, &len, SHA256_BYTES) == 1 && len == SHA256_BYTES);
}

void base64_encode(struct span data, struct buffer *out) {
    if (data.len > SIZE_MAX / 2) {
        out->overflowed = true;
        return;
    }
    unsigned char *room = (unsigned char *)buffer_grow(out, (data.len + 2) / 3 * 4);
    const size_t part_max = 3 << 20; /* a multiple of 3 that fits an int */
    for (size_t at = 0; room && at < data.len; at += part_max) {
        size_t part = data.len - at < part_max ? data.len - at : part_max;
        room += EVP_EncodeBlock(room, (const unsigned char *)data.data + at, (int)part);
    }
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Length that strict base64 text decodes to, or SIZE_MAX. OpenSSL's decoder skips space, stops at '-' and takes padding
 * whose spare bits are not 0; then one value would have several spellings. */
static size_t base64_length(struct span text) {
    if (text.len % 4 != 0) {
        return SIZE_MAX;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=') {
        padding++;
    }
    size_t digits = text.len - padding;
    for (size_t i = 0; i < digits; i++) {
        if (base64_digit(text.data[i]) < 0) {
            return SIZE_MAX;
        }
    }
    int spare = padding == 2 ? 0x0F : padding == 1 ? 0x03 : 0;
    if (spare && (base64_digit(text.data[digits - 1]) & spare)) {
        return SIZE_MAX;
    }
    return text.len / 4 * 3 - padding;
}

/* Decodes checked text of a length that is a multiple of 4 into out, which has room for text.len / 4 * 3 bytes. */
static void decode_checked(struct span text, unsigned char *out) {
    const size_t part_max = 4 << 20;
    for (size_t at = 0; at < text.len; at += part_max) {
        size_t part = text.len - at < part_max ? text.len - at : part_max;
        int len = EVP_DecodeBlock(out, (const unsigned char *)text.data + at, (int)part);
        CHECK(len == (int)(part / 4 * 3));
        out += len;
    }
}

enum status base64_decode(struct span text, struct buffer *out) {
    size_t len = base64_length(text);
    if (len == SIZE_MAX) {
        return STATUS_INVALID;
    }
    size_t before = out->len;
    /* The decoder writes zero bytes for the padding; so the last group is decoded aside. */
    size_t whole = len / 3 * 4;
    unsigned char *room = (unsigned char *)buffer_grow(out, len);
    if (!room) {
        return STATUS_INVALID;
    }
    decode_checked((struct span){text.data, whole}, room);
    if (whole < text.len) {
        unsigned char last[3];
        decode_checked((struct span){text.data + whole, 4}, last);
        memcpy(room + len / 3 * 3, last, len % 3);
        explicit_bzero(last, sizeof(last));
    }
    CHECK(out->len == before + len);
    return STATUS_OK;
}

void hex_encode(struct span data, struct buffer *out) {
    static const char digits[] = "0123456789abcdef";
    if (data.len > SIZE_MAX / 2) {
        out->overflowed = true;
        return;
    }
    char *room = buffer_grow(out, data.len * 2);
    for (size_t i = 0; room && i < data.len; i++) {
        uint8_t byte = (uint8_t)data.data[i];
        *room++ = digits[byte >> 4];
        *room++ = digits[byte & 0x0F];
    }
}

/* A sealed value: version (1), key id (2), nonce (12), tag (16), ciphertext. Version, key id and context are
 * authenticated with it. The key id is derived from the key; two keys may share one, so each that fits is tried. */
#define SEAL_VERSION 1
#define KEY_ID_AT 1
#define NONCE_AT 3
#define NONCE_BYTES 12
#define TAG_AT (NONCE_AT + NONCE_BYTES)
#define TAG_BYTES 16
#define HEADER_BYTES (TAG_AT + TAG_BYTES)

struct key {
    uint8_t id[2];
    uint8_t bytes[KEY_BYTES];
};

struct keyring {
    size_t count;
    struct key keys[KEYS_MAX];
};

static struct span trim(struct span text) {
    while (text.len && strchr(" \t\r\n", text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len && strchr(" \t\r\n", text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

static void mac_once(struct span key, struct span data, uint8_t out[SHA256_BYTES]) {
    struct hmac *hmac = hmac_new(key);
    hmac_start(hmac);
    hmac_add(hmac, data);
    hmac_finish(hmac, out);
    hmac_free(&hmac);
}

static void set_key_id(struct key *key) {
    uint8_t mac[SHA256_BYTES];
    mac_once((struct span){(const char *)key->bytes, KEY_BYTES}, SPAN_LITERAL("hookcast key id"), mac);
    memcpy(key->id, mac, sizeof(key->id));
}

/* text: one key. ret_len is its decoded length; the key is filled when that is right. STATUS_INVALID: not base64. */
static enum status read_key(struct span text, struct key *key, size_t *ret_len) {
    size_t len = base64_length(text);
    if (len == SIZE_MAX) {
        return STATUS_INVALID;
    }
    *ret_len = len;
    if (len == KEY_BYTES) {
        struct buffer bytes;
        buffer_init(&bytes, KEY_BYTES);
        CHECK(base64_decode(text, &bytes) == STATUS_OK);
        memcpy(key->bytes, bytes.data, KEY_BYTES);
        explicit_bzero(bytes.data, KEY_BYTES);
        buffer_deinit(&bytes);
        set_key_id(key);
    }
    return STATUS_OK;
}

static enum status fill_keyring(struct keyring *ring, struct span text, size_t count, struct error *error) {
    struct span rest = text;
    for (size_t i = 0; i < count; i++) {
        const char *comma = rest.len ? memchr(rest.data, ',', rest.len) : NULL;
        struct span one = {rest.data, comma ? (size_t)(comma - rest.data) : rest.len};
        rest = comma ? (struct span){comma + 1, rest.len - one.len - 1} : SPAN_NONE;
        one = trim(one);
        size_t len = 0;
        if (!one.len) {
            return error_set(error, STATUS_INVALID, "key %zu of %zu: empty", i + 1, count);
        }
        if (read_key(one, &ring->keys[i], &len) != STATUS_OK) {
            return error_set(error, STATUS_INVALID, "key %zu of %zu: not base64", i + 1, count);
        }
        if (len != KEY_BYTES) {
            return error_set(error, STATUS_INVALID, "key %zu of %zu: %zu bytes, expected %d", i + 1, count, len,
                             KEY_BYTES);
        }
        ring->count++;
    }
    return STATUS_OK;
}

enum status keyring_new(struct span text, struct keyring **ret_keyring, struct error *error) {
    need_algorithms();
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++) {
        count += text.data[i] == ',';
    }
    if (count > KEYS_MAX) {
        return error_set(error, STATUS_INVALID, "%zu keys, at most %d", count, KEYS_MAX);
    }
    struct keyring *ring = mem_calloc(1, sizeof(*ring));
    enum status status = fill_keyring(ring, text, count, error);
    if (status != STATUS_OK) {
        keyring_free(&ring);
        return status;
    }
    *ret_keyring = ring;
    return STATUS_OK;
}

void keyring_free(struct keyring **keyring) {
    mem_wipe_free(*keyring, sizeof(**keyring));
    *keyring = NULL;
}

void keyring_seal(const struct keyring *keyring, struct span context, struct span plain, struct buffer *out) {
    CHECK(plain.len <= INT_MAX && context.len <= INT_MAX);
    uint8_t *sealed = (uint8_t *)buffer_grow(out, HEADER_BYTES + plain.len);
    if (!sealed) {
        return;
    }
    const struct key *key = &keyring->keys[0];
    sealed[0] = SEAL_VERSION;
    memcpy(sealed + KEY_ID_AT, key->id, sizeof(key->id));
    crypto_random(sealed + NONCE_AT, NONCE_BYTES);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx && EVP_EncryptInit_ex2(ctx, aes_256_gcm, key->bytes, sealed + NONCE_AT, NULL) == 1);
    int len;
    CHECK(EVP_EncryptUpdate(ctx, NULL, &len, sealed, NONCE_AT) == 1);
    CHECK(EVP_EncryptUpdate(ctx, NULL, &len, bytes_of(context), (int)context.len) == 1);
    CHECK(EVP_EncryptUpdate(ctx, sealed + HEADER_BYTES, &len, bytes_of(plain), (int)plain.len) == 1);
    CHECK(EVP_EncryptFinal_ex(ctx, sealed + HEADER_BYTES + len, &len) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, sealed + TAG_AT) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* Writes sealed.len - HEADER_BYTES bytes to plain; they mean nothing unless it returns true. */
static bool open_with(const struct key *key, struct span context, struct span sealed, uint8_t *plain) {
    const uint8_t *from = (const uint8_t *)sealed.data;
    uint8_t tag[TAG_BYTES];
    memcpy(tag, from + TAG_AT, TAG_BYTES);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx && EVP_DecryptInit_ex2(ctx, aes_256_gcm, key->bytes, from + NONCE_AT, NULL) == 1);
    int len;
    CHECK(EVP_DecryptUpdate(ctx, NULL, &len, from, NONCE_AT) == 1);
    CHECK(EVP_DecryptUpdate(ctx, NULL, &len, bytes_of(context), (int)context.len) == 1);
    CHECK(EVP_DecryptUpdate(ctx, plain, &len, from + HEADER_BYTES, (int)(sealed.len - HEADER_BYTES)) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1);
    bool genuine = EVP_DecryptFinal_ex(ctx, plain + len, &len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return genuine;
}

enum status keyring_open(const struct keyring *keyring, struct span context, struct span sealed, struct buffer *out,
                         struct error *error) {
    if (sealed.len < HEADER_BYTES || sealed.len > INT_MAX || context.len > INT_MAX) {
        return error_set(error, STATUS_INVALID, "a sealed value has a wrong length (%zu bytes)", sealed.len);
    }
    if (sealed.data[0] != SEAL_VERSION) {
        return error_set(error, STATUS_INVALID, "a sealed value has the unknown version %d", (uint8_t)sealed.data[0]);
    }
    size_t before = out->len;
    size_t plain_len = sealed.len - HEADER_BYTES;
    uint8_t *plain = (uint8_t *)buffer_grow(out, plain_len);
    if (!plain) {
        return error_set(error, STATUS_INVALID, "a sealed value is longer than the %zu bytes allowed", out->max_bytes);
    }
    bool known = false;
    for (size_t i = 0; i < keyring->count; i++) {
        const struct key *key = &keyring->keys[i];
        if (memcmp(key->id, sealed.data + KEY_ID_AT, sizeof(key->id)) == 0) {
            known = true;
            if (open_with(key, context, sealed, plain)) {
                return STATUS_OK;
            }
        }
    }
    explicit_bzero(plain, plain_len);
    out->len = before;
    out->data[before] = '\0';
    return error_set(error, STATUS_INVALID,
                     known ? "a sealed value was changed, or belongs to another row"
                           : "no key of the ring opens a sealed value");
}

static void mac_with(const struct key *key, struct span purpose, struct span data, uint8_t out[SHA256_BYTES]) {
    uint8_t derived[SHA256_BYTES];
    struct buffer label;
    buffer_init(&label, 256);
    buffer_text(&label, "hookcast key for ");
    buffer_span(&label, purpose);
    CHECK(!label.overflowed);
    mac_once((struct span){(const char *)key->bytes, KEY_BYTES}, buffer_view(&label), derived);
    mac_once((struct span){(const char *)derived, sizeof(derived)}, data, out);
    explicit_bzero(derived, sizeof(derived));
    buffer_deinit(&label);
}

void keyring_mac(const struct keyring *keyring, struct span purpose, struct span data, uint8_t out[SHA256_BYTES]) {
    mac_with(&keyring->keys[0], purpose, data, out);
}

bool keyring_mac_fits(const struct keyring *keyring, struct span purpose, struct span data, struct span mac) {
    bool fits = false;
    for (size_t i = 0; i < keyring->count; i++) {
        uint8_t right[SHA256_BYTES];
        mac_with(&keyring->keys[i], purpose, data, right);
        fits |= crypto_equal(mac, (struct span){(const char *)right, sizeof(right)});
    }
    return fits;
}
