#include "db/connection_private.h"

#include "base/memory.h"
#include <endian.h>
#include <libpq-fe.h>
#include <stdlib.h>

struct result *result_new(struct pg_result *pg) {
    struct result *result = mem_alloc(sizeof(*result));
    result->pg = pg;
    return result;
}

void result_free(struct result **result) {
    if (!*result)
        return;
    PQclear((*result)->pg);
    mem_free(*result);
    *result = NULL;
}

int result_rows(const struct result *result) {
    return PQntuples(result->pg);
}

int64_t result_affected(const struct result *result) {
    return strtoll(PQcmdTuples(result->pg), NULL, 10);
}

static struct span cell(const struct result *result, int row, int column) {
    CHECK(row >= 0 && row < PQntuples(result->pg) && column >= 0 && column < PQnfields(result->pg));
    if (PQgetisnull(result->pg, row, column))
        return SPAN_NONE;
    return (struct span){PQgetvalue(result->pg, row, column), (size_t)PQgetlength(result->pg, row, column)};
}

/* A value that the statement promises to be there. */
static struct span value(const struct result *result, int row, int column) {
    struct span span = cell(result, row, column);
    CHECK(span.data);
    return span;
}

static uint32_t get_int4(const char *data) {
    uint32_t big;
    memcpy(&big, data, sizeof(big));
    return be32toh(big);
}

bool result_is_null(const struct result *result, int row, int column) {
    return !cell(result, row, column).data;
}

bool result_bool(const struct result *result, int row, int column) {
    struct span span = value(result, row, column);
    CHECK(span.len == 1);
    return span.data[0] != 0;
}

int64_t result_int(const struct result *result, int row, int column) {
    struct span span = value(result, row, column);
    if (span.len == 2) {
        uint16_t big;
        memcpy(&big, span.data, sizeof(big));
        return (int16_t)be16toh(big);
    }
    if (span.len == 4)
        return (int32_t)get_int4(span.data);
    CHECK(span.len == 8);
    uint64_t big;
    memcpy(&big, span.data, sizeof(big));
    return (int64_t)be64toh(big);
}

double result_double(const struct result *result, int row, int column) {
    struct span span = value(result, row, column);
    if (span.len == 4) {
        uint32_t bits = get_int4(span.data);
        float small;
        memcpy(&small, &bits, sizeof(small));
        return small;
    }
    CHECK(span.len == 8);
    uint64_t bits = (uint64_t)result_int(result, row, column);
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

struct span result_text(const struct result *result, int row, int column) {
    return cell(result, row, column);
}

struct span result_jsonb(const struct result *result, int row, int column) {
    struct span span = cell(result, row, column);
    if (!span.data)
        return span;
    CHECK(span.len >= 1 && span.data[0] == 1);
    return (struct span){span.data + 1, span.len - 1};
}

struct uuid result_uuid(const struct result *result, int row, int column) {
    struct span span = value(result, row, column);
    struct uuid uuid;
    CHECK(span.len == sizeof(uuid.bytes));
    memcpy(uuid.bytes, span.data, sizeof(uuid.bytes));
    return uuid;
}

int64_t result_timestamp(const struct result *result, int row, int column) {
    CHECK(value(result, row, column).len == 8);
    return wire_timestamp_ms(result_int(result, row, column));
}

int64_t result_timestamp_us(const struct result *result, int row, int column) {
    CHECK(value(result, row, column).len == 8);
    return wire_timestamp_from(result_int(result, row, column));
}

#define WIRE_DIMENSION_BYTES (WIRE_ARRAY_HEADER_BYTES - WIRE_EMPTY_ARRAY_BYTES)

int result_array(const struct result *result, int row, int column, struct span *elements, int max) {
    static const char NOTHING[16]; /* as long as any element that is read without asking for its length */
    struct span span = cell(result, row, column);
    if (!span.data)
        return 0;
    CHECK(span.len >= WIRE_EMPTY_ARRAY_BYTES);
    uint32_t dimensions = get_int4(span.data);
    if (dimensions == 0)
        return 0;
    size_t at = WIRE_EMPTY_ARRAY_BYTES;
    int count = 1;
    for (uint32_t i = 0; i < dimensions; i++, at += WIRE_DIMENSION_BYTES) {
        CHECK(span.len - at >= WIRE_DIMENSION_BYTES);
        count *= (int)get_int4(span.data + at);
    }
    for (int i = 0; i < count && i < max; i++) {
        CHECK(span.len - at >= 4);
        int32_t len = (int32_t)get_int4(span.data + at);
        at += 4;
        elements[i] = (struct span){NOTHING, 0};
        if (len <= 0)
            continue; /* -1: null */
        CHECK(span.len - at >= (size_t)len);
        elements[i] = (struct span){span.data + at, (size_t)len};
        at += (size_t)len;
    }
    return count;
}
