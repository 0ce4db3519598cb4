/* Identities: uuids, and the event key. Any thread. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/error.h"
#include "base/span.h"
#include <stdint.h>

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_LEN 36

extern const struct uuid UUID_NIL;

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b) {
    return memcmp(a->bytes, b->bytes, 16) == 0;
}

static inline int uuid_compare(const struct uuid *a, const struct uuid *b) {
    return memcmp(a->bytes, b->bytes, 16);
}
static inline bool uuid_is_nil(const struct uuid *uuid) {
    return uuid_equal(uuid, &UUID_NIL);
}

/* Ordered in time (RFC 9562, version 7): 48 bits of wall_ms, the rest random. */
struct uuid uuid_new(int64_t wall_ms);

/* out has room for UUID_TEXT_LEN and a NUL; lower case. */
void uuid_format(const struct uuid *uuid, char *out);
MUST_USE enum status uuid_parse(struct span text, struct uuid *ret_uuid);

/* The event key: 48 bits of the record's Kafka timestamp, the rest (less the version and variant bits of RFC 9562,
 * version 8) from a hash of (topic, partition, offset, timestamp). The same at each reading, ordered in time. */
struct uuid id_event_key(struct span topic, int32_t partition, int64_t offset, int64_t timestamp_ms);

#endif
