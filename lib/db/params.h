/* The parameters of one statement, in binary, in order. A parameter may be an array, so that one statement handles many
 * rows
 * (`FROM unnest($1, $2, …)`). One owner, one thread; reset and reuse. */
#ifndef DB_PARAMS_H
#define DB_PARAMS_H

#include "db/wire.h"

#define PARAMS_MAX 40

enum param_type {
    PARAM_BOOL,
    PARAM_INT2,
    PARAM_INT4,
    PARAM_INT8,
    PARAM_TEXT,
    PARAM_BYTEA,
    PARAM_UUID,
    PARAM_TIMESTAMP,
    PARAM_JSONB
};

/* An array in the making: values are added one after the other with array_…; all arrays of a statement are equally
 * long. */
struct param_array {
    enum param_type type;
    int32_t count;
    struct buffer data; /* header of 20 bytes first, filled in by params_array */
};
void array_init(struct param_array *array, enum param_type type, size_t max_bytes);
void array_deinit(struct param_array *array);
void array_reset(struct param_array *array);
void array_null(struct param_array *array);
void array_bool(struct param_array *array, bool value);
void array_int2(struct param_array *array, int16_t value);
void array_int4(struct param_array *array, int32_t value);
void array_int8(struct param_array *array, int64_t value);
void array_text(struct param_array *array, struct span text); /* text, bytea and jsonb; SPAN_NONE: null */
void array_uuid(struct param_array *array, const struct uuid *uuid);
void array_timestamp(struct param_array *array, int64_t wall_ms);
void array_timestamp_us(struct param_array *array, int64_t wall_us); /* µs since 1970 */

/* Opaque to others, but embedded. Text and bytea are copied, arrays are borrowed until the statement ran. */
struct params {
    int count;
    const char *values[PARAMS_MAX];
    size_t offsets[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    unsigned types[PARAMS_MAX]; /* PostgreSQL's type oids */
    struct buffer data;
};
void params_init(struct params *params);
void params_deinit(struct params *params);
void params_reset(struct params *params);
void params_null(struct params *params, enum param_type type);
void params_bool(struct params *params, bool value);
void params_int4(struct params *params, int32_t value);
void params_int8(struct params *params, int64_t value);
void params_text(struct params *params, struct span text); /* SPAN_NONE: null */
void params_bytea(struct params *params, struct span bytes);
void params_jsonb(struct params *params, struct span json);
void params_uuid(struct params *params, const struct uuid *uuid);
void params_timestamp(struct params *params, int64_t wall_ms);
void params_timestamp_us(struct params *params, int64_t wall_us); /* µs since 1970 */
void params_array(struct params *params, struct param_array *array);

#endif
