#include "dispatch/sightings.h"
#include "base/crypto.h"
#include "base/memory.h"
#include "base/siphash.h"
#include <pthread.h>

#define ENTRIES 4096 /* a power of two */
#define NAME_MAX_BYTES 512

struct entry {
    uint64_t hash[2];
    int64_t told_ms;
    bool used;
};

struct sightings {
    uint8_t key[16];
    struct entry entries[ENTRIES]; /* the noting thread's */

    pthread_mutex_t lock;
    struct sighting *first;
    int count;
};

struct sightings *sightings_new(void) {
    struct sightings *sightings = mem_calloc(1, sizeof(*sightings));
    crypto_random(sightings->key, sizeof(sightings->key));
    CHECK(pthread_mutex_init(&sightings->lock, NULL) == 0);
    return sightings;
}

void sightings_drop(struct sighting **chain) {
    for (struct sighting *next; *chain; *chain = next) {
        next = (*chain)->next;
        mem_free(*chain);
    }
}

void sightings_free(struct sightings **sightings_ptr) {
    struct sightings *sightings = *sightings_ptr;
    *sightings_ptr = NULL;
    if (!sightings)
        return;
    sightings_drop(&sightings->first);
    pthread_mutex_destroy(&sightings->lock);
    mem_free(sightings);
}

struct sighting *sightings_take(struct sightings *sightings) {
    pthread_mutex_lock(&sightings->lock);
    struct sighting *chain = sightings->first;
    sightings->first = NULL;
    sightings->count = 0;
    pthread_mutex_unlock(&sightings->lock);
    return chain;
}

static struct span put(char **place, struct span text) {
    struct span copy = {*place, text.len};
    memcpy(*place, text.data, text.len);
    *place += text.len;
    return copy;
}

static struct sighting *sighting_of(const struct event *event) {
    struct buffer sample;
    buffer_init(&sample, SIGHTINGS_SAMPLE_MAX_BYTES);
    if (event->payload.text.data)
        json_compact(&event->payload, &sample);
    bool has = sample.len > 0 && !sample.overflowed;
    struct sighting *sighting =
        mem_alloc(sizeof(*sighting) + event->workspace_id.len + event->event_type.len + (has ? sample.len : 0));
    char *place = sighting->bytes;
    *sighting = (struct sighting){.event_key = event->key};
    sighting->workspace_id = put(&place, event->workspace_id);
    sighting->event_type = put(&place, event->event_type);
    sighting->sample = has ? put(&place, buffer_view(&sample)) : SPAN_NONE;
    buffer_deinit(&sample);
    return sighting;
}

static bool tell(struct sightings *sightings, const struct event *event) {
    pthread_mutex_lock(&sightings->lock);
    bool room = sightings->count < SIGHTINGS_MAX;
    pthread_mutex_unlock(&sightings->lock);
    if (!room)
        return false;
    struct sighting *sighting = sighting_of(event);
    pthread_mutex_lock(&sightings->lock);
    sighting->next = sightings->first;
    sightings->first = sighting;
    sightings->count++;
    pthread_mutex_unlock(&sightings->lock);
    return true;
}

/* The NUL, which neither name has, keeps "a" of "bc" apart from "ab" of "c". */
void sightings_note(struct sightings *sightings, const struct event *event, int64_t now_ms) {
    uint8_t name[NAME_MAX_BYTES];
    uint64_t hash[2];
    size_t workspace_len = event->workspace_id.len, type_len = event->event_type.len;
    if (workspace_len + type_len + 1 > sizeof(name))
        return;
    memcpy(name, event->workspace_id.data, workspace_len);
    name[workspace_len] = 0;
    memcpy(name + workspace_len + 1, event->event_type.data, type_len);
    siphash128(sightings->key, (struct span){(const char *)name, workspace_len + 1 + type_len}, (uint8_t *)hash);
    struct entry *entry = &sightings->entries[hash[0] & (ENTRIES - 1)];
    if (entry->used && entry->hash[0] == hash[0] && entry->hash[1] == hash[1] &&
        now_ms - entry->told_ms < SIGHTINGS_EVERY_MS)
        return;
    if (tell(sightings, event))
        *entry = (struct entry){{hash[0], hash[1]}, now_ms, true};
}
