/* One slot for each value of the hash's first bits: what does not fit pushes out what is there, so the memory is fixed
 * and nothing is searched. Only valid keys are remembered; wrong ones are looked up each time and push nothing out. */
#include "api/auth.h"
#include "base/memory.h"
#include <pthread.h>

#define SLOTS 1024

struct slot {
    bool used;
    uint8_t hash[SHA256_BYTES];
    int64_t until_ms;
    struct key_grant grant;
};

struct auth {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

struct auth *auth_new(void) {
    struct auth *auth = mem_calloc(1, sizeof(*auth));
    CHECK(pthread_mutex_init(&auth->lock, NULL) == 0);
    return auth;
}

void auth_free(struct auth **auth) {
    if (!*auth)
        return;
    pthread_mutex_destroy(&(*auth)->lock);
    mem_free(*auth);
    *auth = NULL;
}

enum status auth_find(struct auth *auth, struct connection *connection, struct span key, int64_t now_ms,
                      struct key_grant *ret_grant, struct error *error) {
    uint8_t hash[SHA256_BYTES];
    crypto_sha256(key, hash);
    struct slot *slot = &auth->slots[(hash[0] | hash[1] << 8) % SLOTS];
    pthread_mutex_lock(&auth->lock);
    bool known = slot->used && now_ms < slot->until_ms && memcmp(slot->hash, hash, sizeof(hash)) == 0;
    if (known)
        *ret_grant = slot->grant;
    pthread_mutex_unlock(&auth->lock);
    if (known)
        return STATUS_OK;
    struct key_grant grant;
    enum status status = keys_find(connection, hash, &grant, error);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&auth->lock);
    slot->used = true;
    memcpy(slot->hash, hash, sizeof(hash));
    slot->until_ms = now_ms + AUTH_REMEMBER_MS;
    slot->grant = grant;
    pthread_mutex_unlock(&auth->lock);
    *ret_grant = grant;
    return STATUS_OK;
}
