#include "dispatch/roster.h"
#include "base/memory.h"
#include <pthread.h>

struct roster {
    pthread_rwlock_t lock;
    struct matching *matching;
    _Atomic bool loaded;
};

struct roster *roster_new(void) {
    struct roster *roster = mem_calloc(1, sizeof(*roster));
    /* Readers come all the time; a change must get its turn. */
    pthread_rwlockattr_t prefer;
    CHECK(pthread_rwlockattr_init(&prefer) == 0);
    CHECK(pthread_rwlockattr_setkind_np(&prefer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    CHECK(pthread_rwlock_init(&roster->lock, &prefer) == 0);
    pthread_rwlockattr_destroy(&prefer);
    roster->matching = matching_new(0);
    return roster;
}

void roster_free(struct roster **roster_ptr) {
    struct roster *roster = *roster_ptr;
    *roster_ptr = NULL;
    if (!roster)
        return;
    matching_free(&roster->matching);
    pthread_rwlock_destroy(&roster->lock);
    mem_free(roster);
}

bool roster_is_loaded(struct roster *roster) {
    return atomic_load_explicit(&roster->loaded, memory_order_acquire);
}

const struct matching *roster_begin(struct roster *roster) {
    CHECK(pthread_rwlock_rdlock(&roster->lock) == 0);
    return roster->matching;
}

void roster_end(struct roster *roster) {
    CHECK(pthread_rwlock_unlock(&roster->lock) == 0);
}

struct subscription *roster_find(struct roster *roster, const struct uuid *id) {
    struct subscription *subscription = matching_find(roster_begin(roster), id);
    if (subscription)
        subscription_ref(subscription);
    roster_end(roster);
    return subscription;
}

void roster_replace_take(struct roster *roster, struct matching *matching) {
    CHECK(pthread_rwlock_wrlock(&roster->lock) == 0);
    struct matching *old = roster->matching;
    roster->matching = matching;
    CHECK(pthread_rwlock_unlock(&roster->lock) == 0);
    atomic_store_explicit(&roster->loaded, true, memory_order_release);
    matching_free(&old);
}

void roster_change_take(struct roster *roster, struct subscription **versions, size_t count) {
    CHECK(pthread_rwlock_wrlock(&roster->lock) == 0);
    for (size_t i = 0; i < count; i++)
        matching_put_take(roster->matching, versions[i]);
    CHECK(pthread_rwlock_unlock(&roster->lock) == 0);
}
