#include "base/ed25519.h"
#include "base/error.h"
#include "base/memory.h"
#include <openssl/err.h>
#include <openssl/evp.h>

struct ed25519 {
    EVP_PKEY *key;
    EVP_MD_CTX *ctx;
};

static const unsigned char *bytes_of(struct span span) {
    return (const unsigned char *)(span.data ? span.data : "");
}

struct ed25519 *ed25519_new(const uint8_t seed[ED25519_SEED_BYTES]) {
    struct ed25519 *ed25519 = mem_calloc(1, sizeof(*ed25519));
    ed25519->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_BYTES);
    ed25519->ctx = EVP_MD_CTX_new();
    CHECK(ed25519->key && ed25519->ctx);
    return ed25519;
}

void ed25519_free(struct ed25519 **ed25519) {
    if (!*ed25519)
        return;
    EVP_MD_CTX_free((*ed25519)->ctx);
    EVP_PKEY_free((*ed25519)->key);
    mem_free(*ed25519);
    *ed25519 = NULL;
}

void ed25519_public(const struct ed25519 *ed25519, uint8_t out[ED25519_PUBLIC_BYTES]) {
    size_t len = ED25519_PUBLIC_BYTES;
    CHECK(EVP_PKEY_get_raw_public_key(ed25519->key, out, &len) == 1 && len == ED25519_PUBLIC_BYTES);
}

/* Newer versions of OpenSSL want a context set up for each signature. */
void ed25519_sign(struct ed25519 *ed25519, struct span message, uint8_t out[ED25519_SIGNATURE_BYTES]) {
    size_t len = ED25519_SIGNATURE_BYTES;
    CHECK(EVP_DigestSignInit(ed25519->ctx, NULL, NULL, NULL, ed25519->key) == 1);
    CHECK(EVP_DigestSign(ed25519->ctx, out, &len, bytes_of(message), message.len) == 1);
    CHECK(len == ED25519_SIGNATURE_BYTES);
}

bool ed25519_verify(const uint8_t key[ED25519_PUBLIC_BYTES], struct span message, struct span signature) {
    EVP_PKEY *public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_PUBLIC_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(public && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, public) == 1);
    bool fits = signature.len == ED25519_SIGNATURE_BYTES &&
                EVP_DigestVerify(ctx, bytes_of(signature), signature.len, bytes_of(message), message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    ERR_clear_error(); /* a signature that does not fit leaves one */
    return fits;
}
