/* The event key, byte by byte. It is written into tables and compared over years, so this layout never changes:
 *
 *   bytes 0-5    timestamp in milliseconds since 1970, big-endian; a negative one counts as 0, one past 48 bits as all
 *                ones
 *   byte 6       high half 8 (version 8), low half the low half of hash[6]
 *   byte 7       hash[7]
 *   byte 8       two bits 10 (variant), then the low six bits of hash[8]
 *   bytes 9-15   hash[9] to hash[15]
 *
 *   hash = SipHash-2-4-128 under EVENT_KEY_KEY over
 *          topic, one NUL, partition (4 bytes), offset (8 bytes), timestamp (8 bytes, unclamped); big-endian
 *
 * 74 bits of hash within one millisecond. The key is public: it only names the use. */
#include "base/id.h"
#include "base/crypto.h"
#include "base/siphash.h"

#include <endian.h>

#define TIMESTAMP_MAX (((int64_t)1 << 48) - 1)
#define TOPIC_MAX_BYTES 512 /* Kafka's own limit is 249 */

static const uint8_t EVENT_KEY_KEY[16] = {'h', 'o', 'o', 'k', 'c', 'a', 's', 't',
                                          ' ', 'e', 'v', 'e', 'n', 't', 'k', '1'};

const struct uuid UUID_NIL = {{0}};

static void set_time(struct uuid *uuid, int64_t ms) {
    int64_t clamped = ms < 0 ? 0 : ms > TIMESTAMP_MAX ? TIMESTAMP_MAX : ms;
    for (int i = 0; i < 6; i++) {
        uuid->bytes[i] = (uint8_t)(clamped >> (40 - 8 * i));
    }
}

static void set_version(struct uuid *uuid, uint8_t version) {
    uuid->bytes[6] = (uint8_t)(version << 4 | (uuid->bytes[6] & 0x0F));
    uuid->bytes[8] = (uint8_t)(0x80 | (uuid->bytes[8] & 0x3F));
}

/* A log row has one each: random bytes are fetched for many at a time. */
struct random_pool {
    uint8_t bytes[2560];
    size_t left;
};

struct uuid uuid_new(int64_t wall_ms) {
    static _Thread_local struct random_pool pool;
    struct uuid uuid;
    set_time(&uuid, wall_ms);
    if (pool.left == 0) {
        crypto_random(pool.bytes, sizeof(pool.bytes));
        pool.left = sizeof(pool.bytes);
    }
    pool.left -= 10;
    memcpy(uuid.bytes + 6, pool.bytes + pool.left, 10);
    set_version(&uuid, 7);
    return uuid;
}

void uuid_format(const struct uuid *uuid, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[uuid->bytes[i] >> 4];
        *out++ = digits[uuid->bytes[i] & 0x0F];
    }
    *out = '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum status uuid_parse(struct span text, struct uuid *ret_uuid) {
    if (text.len != UUID_TEXT_LEN) {
        return STATUS_INVALID;
    }
    struct uuid uuid;
    const char *c = text.data;
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *c++ != '-') {
            return STATUS_INVALID;
        }
        int high = hex_digit(c[0]);
        int low = hex_digit(c[1]);
        if (high < 0 || low < 0) {
            return STATUS_INVALID;
        }
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        c += 2;
    }
    *ret_uuid = uuid;
    return STATUS_OK;
}

struct uuid id_event_key(struct span topic, int32_t partition, int64_t offset, int64_t timestamp_ms) {
    CHECK(topic.len <= TOPIC_MAX_BYTES);
    char place[TOPIC_MAX_BYTES + 1 + 4 + 8 + 8];
    char *at = place;
    if (topic.len) {
        memcpy(at, topic.data, topic.len);
        at += topic.len;
    }
    *at++ = '\0';
    uint32_t partition_be = htobe32((uint32_t)partition);
    uint64_t offset_be = htobe64((uint64_t)offset);
    uint64_t timestamp_be = htobe64((uint64_t)timestamp_ms);
    memcpy(at, &partition_be, 4);
    memcpy(at + 4, &offset_be, 8);
    memcpy(at + 12, &timestamp_be, 8);
    at += 20;
    struct uuid uuid;
    siphash128(EVENT_KEY_KEY, (struct span){place, (size_t)(at - place)}, uuid.bytes);
    set_time(&uuid, timestamp_ms);
    set_version(&uuid, 8);
    return uuid;
}
