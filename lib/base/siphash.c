#include "base/siphash.h"

#include <endian.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static uint64_t load(const void *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

static void store(uint8_t *out, uint64_t word) {
    word = htole64(word);
    memcpy(out, &word, sizeof(word));
}

static void rounds(struct state *s, int count) {
    while (count--) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void absorb(struct state *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

static uint64_t squeeze(struct state *s) {
    rounds(s, 4);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

void siphash128(const uint8_t key[16], struct span data, uint8_t out[16]) {
    uint64_t k0 = load(key);
    uint64_t k1 = load(key + 8);
    struct state s = {
        .v0 = k0 ^ 0x736f6d6570736575,
        .v1 = k1 ^ 0x646f72616e646f6d ^ 0xee,
        .v2 = k0 ^ 0x6c7967656e657261,
        .v3 = k1 ^ 0x7465646279746573,
    };
    size_t whole = data.len / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) {
        absorb(&s, load(data.data + i));
    }
    /* The last word: the bytes that are left, and the length modulo 256 on top. */
    uint8_t tail[8] = {0};
    if (data.len > whole) {
        memcpy(tail, data.data + whole, data.len - whole);
    }
    tail[7] = (uint8_t)data.len;
    absorb(&s, load(tail));
    s.v2 ^= 0xee;
    store(out, squeeze(&s));
    s.v1 ^= 0xdd;
    store(out + 8, squeeze(&s));
}
