#include "webhook/matching.h"

#include "base/crypto.h"
#include "base/memory.h"

/* Subscriptions stand in a pool and are named by their place in it, so that a new version takes its predecessor's place
 * and the indexes stay as they are unless its patterns changed.
 *
 *   ids   hash of id                     ─▶ place
 *   keys  hash of (workspace, pattern)   ─▶ place, or a group of places where several share the key
 *
 * Both are open addressing over 8-byte slots (32 bits of hash, 32 bits of value), because a million subscriptions have
 * two million keys and most of those have one subscription. Only the hash of a key is kept: keys of one hash share a
 * group, and a look-up asks each member whether it really stands under that key. That makes it exact whatever the
 * hashes do.
 *
 * A subscription stands only under those of its patterns that no other of its patterns covers. The patterns that take a
 * type
 * ("a.b.c": itself, "a.b.*", "a.*", "*") each cover the ones before, so at most one of them is indexed for a
 * subscription, and nothing has to be made unique while an event is looked up. */

#define EMPTY UINT32_MAX
#define GROUP_BIT 0x80000000U
#define NOT_THERE SIZE_MAX

/* ---- slots: 32 bits of hash to 32 bits of value ---- */

struct slot {
    uint32_t hash;
    uint32_t value;
};

struct slots {
    struct slot *slots;
    size_t capacity;
    size_t count;
};

static size_t home_of(const struct slots *slots, uint32_t hash) {
    return (size_t)(((uint64_t)hash * slots->capacity) >> 32);
}

static size_t following(const struct slots *slots, size_t at) {
    return at + 1 == slots->capacity ? 0 : at + 1;
}

static void slots_place(struct slots *slots, uint32_t hash, uint32_t value) {
    size_t at = home_of(slots, hash);
    while (slots->slots[at].value != EMPTY) {
        at = following(slots, at);
    }
    slots->slots[at] = (struct slot){hash, value};
}

/* Growing by half keeps the table between half and three quarters full. */
static void slots_resize(struct slots *slots, size_t capacity) {
    struct slots wider = {mem_alloc(capacity * sizeof(struct slot)), capacity, slots->count};
    memset(wider.slots, 0xFF, capacity * sizeof(struct slot));
    for (size_t i = 0; i < slots->capacity; i++) {
        if (slots->slots[i].value != EMPTY) {
            slots_place(&wider, slots->slots[i].hash, slots->slots[i].value);
        }
    }
    mem_free(slots->slots);
    *slots = wider;
}

static void slots_add(struct slots *slots, uint32_t hash, uint32_t value) {
    if ((slots->count + 1) * 4 > slots->capacity * 3) {
        slots_resize(slots, slots->capacity + slots->capacity / 2 + 16);
    }
    slots_place(slots, hash, value);
    slots->count++;
}

/* The first slot of that hash from `at` on, `at` included. */
static size_t slots_seek(const struct slots *slots, uint32_t hash, size_t at) {
    while (slots->slots[at].value != EMPTY) {
        if (slots->slots[at].hash == hash) {
            return at;
        }
        at = following(slots, at);
    }
    return NOT_THERE;
}

static size_t slots_find(const struct slots *slots, uint32_t hash) {
    return slots->count ? slots_seek(slots, hash, home_of(slots, hash)) : NOT_THERE;
}

/* Closes the hole by moving back whatever a search would no longer reach. */
static void slots_remove(struct slots *slots, size_t hole) {
    for (size_t at = following(slots, hole); slots->slots[at].value != EMPTY; at = following(slots, at)) {
        size_t home = home_of(slots, slots->slots[at].hash);
        bool reachable = hole < at ? home > hole && home <= at : home > hole || home <= at;
        if (!reachable) {
            slots->slots[hole] = slots->slots[at];
            hole = at;
        }
    }
    slots->slots[hole].value = EMPTY;
    slots->count--;
}

/* ---- pool: pointers that keep their place ---- */

struct pool {
    void **items; /* NULL: free */
    uint32_t used, capacity;
    uint32_t *holes;
    uint32_t hole_count, hole_capacity;
};

static uint32_t widened(uint32_t capacity) {
    CHECK(capacity < GROUP_BIT / 2);
    return capacity + capacity / 2 + 16;
}

static void pool_reserve(struct pool *pool, uint32_t capacity) {
    CHECK(capacity < GROUP_BIT);
    pool->capacity = capacity;
    pool->items = mem_realloc(pool->items, capacity * sizeof(*pool->items));
}

static uint32_t pool_add(struct pool *pool, void *item) {
    uint32_t place;
    if (pool->hole_count) {
        place = pool->holes[--pool->hole_count];
    } else {
        if (pool->used == pool->capacity) {
            pool_reserve(pool, widened(pool->capacity));
        }
        place = pool->used++;
    }
    pool->items[place] = item;
    return place;
}

static void pool_remove(struct pool *pool, uint32_t place) {
    if (pool->hole_count == pool->hole_capacity) {
        pool->hole_capacity = widened(pool->hole_capacity);
        pool->holes = mem_realloc(pool->holes, pool->hole_capacity * sizeof(*pool->holes));
    }
    pool->items[place] = NULL;
    pool->holes[pool->hole_count++] = place;
}

static void pool_deinit(struct pool *pool) {
    mem_free(pool->items);
    mem_free(pool->holes);
}

static size_t pool_bytes(const struct pool *pool) {
    return pool->capacity * sizeof(*pool->items) + pool->hole_capacity * sizeof(*pool->holes);
}

/* ---- the table ---- */

/* Subscriptions under one hash, when there are several. */
struct group {
    uint32_t count, capacity;
    uint32_t places[];
};

struct matching {
    struct pool subscriptions;
    struct pool groups;
    struct slots ids, keys;
    size_t count;
    size_t subscription_bytes, group_bytes;
    uint64_t multiplier; /* of the hash: secret, so that nobody can choose names that collide */
};

/* A polynomial over the bytes modulo 2^61 - 1: it can be read off at any byte, so that one pass over a type gives the
 * hashes of all patterns that take it. */
#define PRIME ((1ULL << 61) - 1)

static uint64_t hash_step(const struct matching *matching, uint64_t hash, uint64_t value) {
    unsigned __int128 product = (unsigned __int128)hash * matching->multiplier + value + 1;
    uint64_t folded = (uint64_t)(product & PRIME) + (uint64_t)(product >> 61);
    return folded >= PRIME ? folded - PRIME : folded;
}

static uint64_t hash_text(const struct matching *matching, uint64_t hash, struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        hash = hash_step(matching, hash, (uint8_t)text.data[i]);
    }
    return hash;
}

static uint64_t hash_workspace(const struct matching *matching, struct span workspace_id) {
    return hash_step(matching, hash_text(matching, 0, workspace_id), 256);
}

/* A test makes hashes collide with a narrow one. */
#ifndef MATCHING_HASH_MASK
#define MATCHING_HASH_MASK UINT32_MAX
#endif

static uint32_t hash_end(uint64_t hash) {
    return (uint32_t)(((hash ^ hash >> 30) * 0x9E3779B97F4A7C15U) >> 32) & MATCHING_HASH_MASK;
}

static uint32_t hash_id(const struct matching *matching, const struct uuid *id) {
    uint64_t halves[2];
    memcpy(halves, id->bytes, sizeof(halves));
    return hash_end(hash_step(matching, hash_step(matching, 0, halves[0] >> 4), halves[1] >> 4));
}

struct matching *matching_new(size_t expected) {
    struct matching *matching = mem_calloc(1, sizeof(*matching));
    crypto_random(&matching->multiplier, sizeof(matching->multiplier));
    matching->multiplier = matching->multiplier % (PRIME - 512) + 256;
    if (expected) {
        CHECK(expected < GROUP_BIT);
        pool_reserve(&matching->subscriptions, (uint32_t)expected);
        slots_resize(&matching->ids, expected + expected / 3 + 16);
    }
    return matching;
}

void matching_free(struct matching **matching) {
    struct matching *gone = *matching;
    if (!gone) {
        return;
    }
    for (uint32_t i = 0; i < gone->subscriptions.used; i++) {
        struct subscription *subscription = gone->subscriptions.items[i];
        subscription_unref(&subscription);
    }
    for (uint32_t i = 0; i < gone->groups.used; i++) {
        mem_free(gone->groups.items[i]);
    }
    pool_deinit(&gone->subscriptions);
    pool_deinit(&gone->groups);
    mem_free(gone->ids.slots);
    mem_free(gone->keys.slots);
    mem_free(gone);
    *matching = NULL;
}

static struct subscription *at_place(const struct matching *matching, uint32_t place) {
    return matching->subscriptions.items[place];
}

/* The slot of an id; NOT_THERE. */
static size_t find_id(const struct matching *matching, const struct uuid *id) {
    uint32_t hash = hash_id(matching, id);
    size_t at = slots_find(&matching->ids, hash);
    while (at != NOT_THERE && !uuid_equal(&at_place(matching, matching->ids.slots[at].value)->id, id)) {
        at = slots_seek(&matching->ids, hash, following(&matching->ids, at));
    }
    return at;
}

struct subscription *matching_find(const struct matching *matching, const struct uuid *id) {
    size_t at = find_id(matching, id);
    return at == NOT_THERE ? NULL : at_place(matching, matching->ids.slots[at].value);
}

/* ---- which patterns a subscription stands under ---- */

struct patterns {
    size_t count;
    struct span texts[SUBSCRIPTION_MAX_TYPES];
};

/* As a text, "a.b.*" is taken by "a.*" and by "*", just as all that it takes. */
static bool is_covered(const struct patterns *all, size_t index) {
    for (size_t i = 0; i < all->count; i++) {
        if (span_equal(all->texts[i], all->texts[index])) {
            if (i < index) {
                return true;
            }
        } else if (subscription_pattern_takes(all->texts[i], all->texts[index])) {
            return true;
        }
    }
    return false;
}

static void read_patterns(const struct subscription *subscription, struct patterns *ret_all) {
    ret_all->count = subscription->event_type_count;
    subscription_event_types(subscription, ret_all->texts);
}

static void indexed_patterns(const struct subscription *subscription, struct patterns *ret_indexed) {
    struct patterns all;
    read_patterns(subscription, &all);
    ret_indexed->count = 0;
    for (size_t i = 0; i < all.count; i++) {
        if (!is_covered(&all, i)) {
            ret_indexed->texts[ret_indexed->count++] = all.texts[i];
        }
    }
}

static bool same_keys(const struct subscription *a, const struct subscription *b) {
    struct span a_types = subscription_packed_types(a), b_types = subscription_packed_types(b);
    return span_equal(a_types, b_types) && span_equal(subscription_workspace_id(a), subscription_workspace_id(b));
}

/* ---- the index by key ---- */

static struct group *group_of(const struct matching *matching, uint32_t value) {
    return matching->groups.items[value & ~GROUP_BIT];
}

static size_t group_size(uint32_t capacity) {
    return sizeof(struct group) + capacity * sizeof(uint32_t);
}

static struct group *group_resize(struct matching *matching, struct group *group, uint32_t capacity) {
    matching->group_bytes += group_size(capacity) - (group ? group_size(group->capacity) : 0);
    group = mem_realloc(group, group_size(capacity));
    group->capacity = capacity;
    return group;
}

static void add_key(struct matching *matching, uint32_t hash, uint32_t place) {
    size_t at = slots_find(&matching->keys, hash);
    if (at == NOT_THERE) {
        slots_add(&matching->keys, hash, place);
        return;
    }
    struct slot *slot = &matching->keys.slots[at];
    if (!(slot->value & GROUP_BIT)) {
        if (slot->value == place) {
            return;
        }
        struct group *pair = group_resize(matching, NULL, 2);
        pair->count = 1;
        pair->places[0] = slot->value;
        slot->value = GROUP_BIT | pool_add(&matching->groups, pair);
    }
    struct group *group = group_of(matching, slot->value);
    /* Two of its own patterns may have one hash; they are added one right after the other. */
    if (group->places[group->count - 1] == place) {
        return;
    }
    if (group->count == group->capacity) {
        group = group_resize(matching, group, group->capacity + group->capacity / 2 + 1);
        matching->groups.items[slot->value & ~GROUP_BIT] = group;
    }
    group->places[group->count++] = place;
}

static void remove_key(struct matching *matching, uint32_t hash, uint32_t place) {
    size_t at = slots_find(&matching->keys, hash);
    if (at == NOT_THERE) {
        return;
    }
    struct slot *slot = &matching->keys.slots[at];
    if (!(slot->value & GROUP_BIT)) {
        if (slot->value == place) {
            slots_remove(&matching->keys, at);
        }
        return;
    }
    struct group *group = group_of(matching, slot->value);
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->places[i] == place) {
            group->places[i] = group->places[--group->count];
            break;
        }
    }
    if (group->count == 1) {
        uint32_t last = group->places[0];
        matching->group_bytes -= group_size(group->capacity);
        pool_remove(&matching->groups, slot->value & ~GROUP_BIT);
        mem_free(group);
        slot->value = last;
    }
}

typedef void key_change_fn(struct matching *matching, uint32_t hash, uint32_t place);

static void change_keys(struct matching *matching, uint32_t place, key_change_fn *change) {
    const struct subscription *subscription = at_place(matching, place);
    uint64_t workspace = hash_workspace(matching, subscription_workspace_id(subscription));
    struct patterns indexed;
    indexed_patterns(subscription, &indexed);
    for (size_t i = 0; i < indexed.count; i++) {
        change(matching, hash_end(hash_text(matching, workspace, indexed.texts[i])), place);
    }
}

/* ---- changes ---- */

static void remove_at(struct matching *matching, size_t id_slot) {
    uint32_t place = matching->ids.slots[id_slot].value;
    struct subscription *gone = at_place(matching, place);
    change_keys(matching, place, remove_key);
    slots_remove(&matching->ids, id_slot);
    pool_remove(&matching->subscriptions, place);
    matching->count--;
    matching->subscription_bytes -= subscription_footprint_bytes(gone);
    subscription_unref(&gone);
}

static void add_new(struct matching *matching, struct subscription *subscription) {
    uint32_t place = pool_add(&matching->subscriptions, subscription);
    slots_add(&matching->ids, hash_id(matching, &subscription->id), place);
    change_keys(matching, place, add_key);
    matching->count++;
    matching->subscription_bytes += subscription_footprint_bytes(subscription);
}

static void replace_at(struct matching *matching, size_t id_slot, struct subscription *subscription) {
    uint32_t place = matching->ids.slots[id_slot].value;
    struct subscription *before = at_place(matching, place);
    bool same = same_keys(before, subscription);
    if (!same) {
        change_keys(matching, place, remove_key);
    }
    matching->subscriptions.items[place] = subscription;
    if (!same) {
        change_keys(matching, place, add_key);
    }
    matching->subscription_bytes += subscription_footprint_bytes(subscription) - subscription_footprint_bytes(before);
    subscription_unref(&before);
}

void matching_put_take(struct matching *matching, struct subscription *subscription) {
    size_t at = find_id(matching, &subscription->id);
    bool known = at != NOT_THERE;
    if (known && at_place(matching, matching->ids.slots[at].value)->version > subscription->version) {
        subscription_unref(&subscription);
    } else if (subscription->status == SUBSCRIPTION_DELETED) {
        if (known) {
            remove_at(matching, at);
        }
        subscription_unref(&subscription);
    } else if (known) {
        replace_at(matching, at, subscription);
    } else {
        add_new(matching, subscription);
    }
}

/* ---- look-up ---- */

/* The pattern is head, with a "*" behind it when `star`. */
struct lookup {
    const struct matching *matching;
    struct span workspace_id;
    struct span head;
    bool star;
    matching_fn *fn;
    void *ctx;
    size_t found;
};

static bool is_pattern(const struct lookup *lookup, struct span text) {
    if (!lookup->star) {
        return span_equal(text, lookup->head);
    }
    return text.len == lookup->head.len + 1 && text.data[text.len - 1] == '*' && span_has_prefix(text, lookup->head);
}

static bool stands_under(const struct subscription *subscription, const struct lookup *lookup) {
    if (!span_equal(subscription_workspace_id(subscription), lookup->workspace_id)) {
        return false;
    }
    struct patterns all;
    read_patterns(subscription, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (is_pattern(lookup, all.texts[i])) {
            return all.count == 1 || !is_covered(&all, i);
        }
    }
    return false;
}

static void offer(struct lookup *lookup, uint32_t place) {
    struct subscription *subscription = at_place(lookup->matching, place);
    if (stands_under(subscription, lookup)) {
        lookup->fn(lookup->ctx, subscription);
        lookup->found++;
    }
}

/* The members of a group lie anywhere in memory: fetching some ahead makes a wide fan-out several times cheaper. */
#define PREFETCH_AHEAD 8

static void look_up(struct lookup *lookup, uint64_t hash, struct span head, bool star) {
    size_t at = slots_find(&lookup->matching->keys, hash_end(hash));
    if (at == NOT_THERE) {
        return;
    }
    lookup->head = head;
    lookup->star = star;
    uint32_t value = lookup->matching->keys.slots[at].value;
    if (!(value & GROUP_BIT)) {
        offer(lookup, value);
        return;
    }
    const struct group *group = group_of(lookup->matching, value);
    for (uint32_t i = 0; i < group->count; i++) {
        if (i + PREFETCH_AHEAD < group->count) {
            __builtin_prefetch(at_place(lookup->matching, group->places[i + PREFETCH_AHEAD]));
        }
        offer(lookup, group->places[i]);
    }
}

size_t matching_each(const struct matching *matching, struct span workspace_id, struct span event_type, matching_fn *fn,
                     void *ctx) {
    struct lookup lookup = {.matching = matching, .workspace_id = workspace_id, .fn = fn, .ctx = ctx};
    uint64_t hash = hash_workspace(matching, workspace_id);
    look_up(&lookup, hash_step(matching, hash, '*'), SPAN_LITERAL(""), true);
    for (size_t i = 0; i < event_type.len; i++) {
        hash = hash_step(matching, hash, (uint8_t)event_type.data[i]);
        if (event_type.data[i] == '.' && i > 0 && i + 1 < event_type.len) {
            look_up(&lookup, hash_step(matching, hash, '*'), (struct span){event_type.data, i + 1}, true);
        }
    }
    look_up(&lookup, hash, event_type, false);
    return lookup.found;
}

void matching_all(const struct matching *matching, matching_fn *fn, void *ctx) {
    for (uint32_t i = 0; i < matching->subscriptions.used; i++) {
        if (matching->subscriptions.items[i]) {
            fn(ctx, at_place(matching, i));
        }
    }
}

size_t matching_count(const struct matching *matching) {
    return matching->count;
}

size_t matching_footprint_bytes(const struct matching *matching) {
    return sizeof(*matching) + pool_bytes(&matching->subscriptions) + pool_bytes(&matching->groups) +
           (matching->ids.capacity + matching->keys.capacity) * sizeof(struct slot) + matching->group_bytes +
           matching->subscription_bytes;
}
