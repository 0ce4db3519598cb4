#include "db/wire.h"

#include <endian.h>

/* PostgreSQL's epoch, and the first and the first unusable timestamp of its type, in microseconds since that epoch. */
#define EPOCH_2000_MS INT64_C(946684800000)
#define TIMESTAMP_MIN_US INT64_C(-211813488000000000)
#define TIMESTAMP_END_US INT64_C(9223371331200000000)

static void put_int4(struct buffer *out, int32_t value) {
    uint32_t big = htobe32((uint32_t)value);
    buffer_append(out, &big, sizeof(big));
}

/* A length past what the format can say would be read as another length, so it counts as an overflow. */
static bool put_length(struct buffer *out, size_t len) {
    if (len > INT32_MAX) {
        out->overflowed = true;
        return false;
    }
    put_int4(out, (int32_t)len);
    return true;
}

void wire_null(struct buffer *out) {
    put_int4(out, -1);
}

void wire_bool(struct buffer *out, bool value) {
    put_int4(out, 1);
    buffer_char(out, value ? 1 : 0);
}

void wire_int2(struct buffer *out, int16_t value) {
    uint16_t big = htobe16((uint16_t)value);
    put_int4(out, sizeof(big));
    buffer_append(out, &big, sizeof(big));
}

void wire_int4(struct buffer *out, int32_t value) {
    put_int4(out, 4);
    put_int4(out, value);
}

void wire_int8(struct buffer *out, int64_t value) {
    uint64_t big = htobe64((uint64_t)value);
    put_int4(out, sizeof(big));
    buffer_append(out, &big, sizeof(big));
}

void wire_text(struct buffer *out, struct span text) {
    if (!text.data)
        wire_null(out);
    else if (put_length(out, text.len))
        buffer_span(out, text);
}

void wire_uuid(struct buffer *out, const struct uuid *uuid) {
    if (!uuid) {
        wire_null(out);
        return;
    }
    put_int4(out, sizeof(uuid->bytes));
    buffer_append(out, uuid->bytes, sizeof(uuid->bytes));
}

void wire_timestamp(struct buffer *out, int64_t wall_ms) {
    int64_t us;
    if (__builtin_sub_overflow(wall_ms, EPOCH_2000_MS, &us) || __builtin_mul_overflow(us, 1000, &us))
        us = wall_ms < 0 ? TIMESTAMP_MIN_US : TIMESTAMP_END_US - 1000;
    if (us < TIMESTAMP_MIN_US)
        us = TIMESTAMP_MIN_US;
    if (us >= TIMESTAMP_END_US)
        us = TIMESTAMP_END_US - 1000;
    wire_int8(out, us);
}

int64_t wire_timestamp_ms(int64_t wire_us) {
    int64_t ms = wire_us / 1000 - (wire_us % 1000 < 0);
    return ms + EPOCH_2000_MS;
}

void wire_timestamp_us(struct buffer *out, int64_t wall_us) {
    wire_int8(out, wall_us - EPOCH_2000_MS * 1000);
}

int64_t wire_timestamp_from(int64_t wire_us) {
    return wire_us + EPOCH_2000_MS * 1000;
}

void wire_jsonb(struct buffer *out, struct span json) {
    if (!json.data) {
        wire_null(out);
    } else if (put_length(out, json.len + 1)) {
        buffer_char(out, 1); /* the version of the format */
        buffer_span(out, json);
    }
}

void wire_array_header(struct buffer *out, unsigned element_type, int32_t count) {
    put_int4(out, count == 0 ? 0 : 1); /* dimensions */
    put_int4(out, 0);                  /* flags, which the server works out itself */
    put_int4(out, (int32_t)element_type);
    if (count == 0)
        return;
    put_int4(out, count);
    put_int4(out, 1); /* the first index */
}

void wire_uuid_array(struct buffer *out, const struct uuid *uuids, size_t count) {
    if (!uuids && count == 0) {
        wire_null(out);
        return;
    }
    size_t header = count == 0 ? WIRE_EMPTY_ARRAY_BYTES : WIRE_ARRAY_HEADER_BYTES;
    if (count > INT32_MAX / 20 - 1) {
        out->overflowed = true;
        return;
    }
    put_int4(out, (int32_t)(header + count * (4 + sizeof(uuids->bytes))));
    wire_array_header(out, WIRE_OID_UUID, (int32_t)count);
    for (size_t i = 0; i < count; i++)
        wire_uuid(out, &uuids[i]);
}

void wire_copy_header(struct buffer *out) {
    static const char SIGNATURE[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', '\377', '\r', '\n', '\0'};
    buffer_append(out, SIGNATURE, sizeof(SIGNATURE));
    put_int4(out, 0); /* flags */
    put_int4(out, 0); /* length of an extension */
}

void wire_copy_row(struct buffer *out, int columns) {
    uint16_t big = htobe16((uint16_t)columns);
    buffer_append(out, &big, sizeof(big));
}

void wire_copy_trailer(struct buffer *out) {
    wire_copy_row(out, -1);
}
