#include "db/params.h"

#include <endian.h>

/* Of one statement, arrays apart. */
#define PARAMS_MAX_BYTES ((size_t)64 << 20)

/* PostgreSQL's numbers for the types and for arrays of them: fixed for all versions (pg_type.dat). */
static const struct {
    unsigned oid, array_oid;
} TYPES[] = {
    [PARAM_BOOL] = {16, 1000},
    [PARAM_INT2] = {21, 1005},
    [PARAM_INT4] = {23, 1007},
    [PARAM_INT8] = {20, 1016},
    [PARAM_TEXT] = {25, 1009},
    [PARAM_BYTEA] = {17, 1001},
    [PARAM_UUID] = {WIRE_OID_UUID, 2951},
    [PARAM_TIMESTAMP] = {1184, 1185},
    [PARAM_JSONB] = {3802, 3807},
};

void array_init(struct param_array *array, enum param_type type, size_t max_bytes) {
    array->type = type;
    buffer_init(&array->data, max_bytes + WIRE_ARRAY_HEADER_BYTES);
    array_reset(array);
}

void array_deinit(struct param_array *array) {
    buffer_deinit(&array->data);
}

void array_reset(struct param_array *array) {
    array->count = 0;
    buffer_reset(&array->data);
    wire_array_header(&array->data, TYPES[array->type].oid, 1);
}

void array_null(struct param_array *array) {
    array->count++;
    wire_null(&array->data);
}

void array_bool(struct param_array *array, bool value) {
    CHECK(array->type == PARAM_BOOL);
    array->count++;
    wire_bool(&array->data, value);
}

void array_int2(struct param_array *array, int16_t value) {
    CHECK(array->type == PARAM_INT2);
    array->count++;
    wire_int2(&array->data, value);
}

void array_int4(struct param_array *array, int32_t value) {
    CHECK(array->type == PARAM_INT4);
    array->count++;
    wire_int4(&array->data, value);
}

void array_int8(struct param_array *array, int64_t value) {
    CHECK(array->type == PARAM_INT8);
    array->count++;
    wire_int8(&array->data, value);
}

void array_text(struct param_array *array, struct span text) {
    CHECK(array->type == PARAM_TEXT || array->type == PARAM_BYTEA || array->type == PARAM_JSONB);
    array->count++;
    if (array->type == PARAM_JSONB)
        wire_jsonb(&array->data, text);
    else
        wire_text(&array->data, text);
}

void array_uuid(struct param_array *array, const struct uuid *uuid) {
    CHECK(array->type == PARAM_UUID);
    array->count++;
    wire_uuid(&array->data, uuid);
}

void array_timestamp(struct param_array *array, int64_t wall_ms) {
    CHECK(array->type == PARAM_TIMESTAMP);
    array->count++;
    wire_timestamp(&array->data, wall_ms);
}

void array_timestamp_us(struct param_array *array, int64_t wall_us) {
    CHECK(array->type == PARAM_TIMESTAMP);
    array->count++;
    wire_timestamp_us(&array->data, wall_us);
}

void params_init(struct params *params) {
    buffer_init(&params->data, PARAMS_MAX_BYTES);
    params->count = 0;
}

void params_deinit(struct params *params) {
    buffer_deinit(&params->data);
    params->count = 0;
}

void params_reset(struct params *params) {
    buffer_reset(&params->data);
    params->count = 0;
}

/* Begins a parameter. The value that is now appended to data carries its own four length bytes, which libpq does not
 * want: finish() takes them away from it. */
static size_t begin(struct params *params, unsigned oid) {
    CHECK(params->count < PARAMS_MAX);
    params->types[params->count] = oid;
    params->values[params->count] = NULL;
    return params->data.len;
}

static void finish(struct params *params, size_t start) {
    int at = params->count++;
    if (params->data.overflowed || params->data.len < start + 4) {
        params->offsets[at] = 0;
        params->lengths[at] = -1;
        return;
    }
    uint32_t big;
    memcpy(&big, params->data.data + start, sizeof(big));
    params->offsets[at] = start + 4;
    params->lengths[at] = (int)(int32_t)be32toh(big);
}

void params_null(struct params *params, enum param_type type) {
    size_t start = begin(params, TYPES[type].oid);
    wire_null(&params->data);
    finish(params, start);
}

void params_bool(struct params *params, bool value) {
    size_t start = begin(params, TYPES[PARAM_BOOL].oid);
    wire_bool(&params->data, value);
    finish(params, start);
}

void params_int4(struct params *params, int32_t value) {
    size_t start = begin(params, TYPES[PARAM_INT4].oid);
    wire_int4(&params->data, value);
    finish(params, start);
}

void params_int8(struct params *params, int64_t value) {
    size_t start = begin(params, TYPES[PARAM_INT8].oid);
    wire_int8(&params->data, value);
    finish(params, start);
}

void params_text(struct params *params, struct span text) {
    size_t start = begin(params, TYPES[PARAM_TEXT].oid);
    wire_text(&params->data, text);
    finish(params, start);
}

void params_bytea(struct params *params, struct span bytes) {
    size_t start = begin(params, TYPES[PARAM_BYTEA].oid);
    wire_text(&params->data, bytes);
    finish(params, start);
}

void params_jsonb(struct params *params, struct span json) {
    size_t start = begin(params, TYPES[PARAM_JSONB].oid);
    wire_jsonb(&params->data, json);
    finish(params, start);
}

void params_uuid(struct params *params, const struct uuid *uuid) {
    size_t start = begin(params, TYPES[PARAM_UUID].oid);
    wire_uuid(&params->data, uuid);
    finish(params, start);
}

void params_timestamp(struct params *params, int64_t wall_ms) {
    size_t start = begin(params, TYPES[PARAM_TIMESTAMP].oid);
    wire_timestamp(&params->data, wall_ms);
    finish(params, start);
}

void params_timestamp_us(struct params *params, int64_t wall_us) {
    size_t start = begin(params, TYPES[PARAM_TIMESTAMP].oid);
    wire_timestamp_us(&params->data, wall_us);
    finish(params, start);
}

/* The header has room at the front; its count is known only now. An empty array's header is shorter, and the same as
 * far as it goes. */
void params_array(struct params *params, struct param_array *array) {
    begin(params, TYPES[array->type].array_oid);
    int at = params->count++;
    params->offsets[at] = 0;
    params->lengths[at] = -1;
    if (array->data.overflowed || array->data.len > INT32_MAX || array->data.len < WIRE_ARRAY_HEADER_BYTES) {
        params->data.overflowed = true;
        return;
    }
    struct buffer header;
    buffer_init(&header, WIRE_ARRAY_HEADER_BYTES);
    wire_array_header(&header, TYPES[array->type].oid, array->count);
    memcpy(array->data.data, header.data, header.len);
    params->values[at] = array->data.data;
    params->lengths[at] = (int)(array->count == 0 ? header.len : array->data.len);
    buffer_deinit(&header);
}
