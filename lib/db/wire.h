/* Values in PostgreSQL's binary format: what goes into COPY rows and what comes out of results. Timestamps are ms since
 * 1970 on our side and microseconds since 2000 on the wire. Appends to a buffer; any thread. */
#ifndef DB_WIRE_H
#define DB_WIRE_H

#include "base/buffer.h"
#include "base/id.h"

/* Each writes the four length bytes and the value. */
void wire_null(struct buffer *out);
void wire_bool(struct buffer *out, bool value);
void wire_int2(struct buffer *out, int16_t value);
void wire_int4(struct buffer *out, int32_t value);
void wire_int8(struct buffer *out, int64_t value);
void wire_text(struct buffer *out,
               struct span text); /* must be valid UTF-8 without NUL; SPAN_NONE: null. Also bytea. */
void wire_uuid(struct buffer *out, const struct uuid *uuid); /* NULL: null */
void wire_timestamp(struct buffer *out, int64_t wall_ms); /* what timestamptz can't hold becomes the nearest it can */
void wire_timestamp_us(struct buffer *out, int64_t wall_us); /* the same from µs since 1970, within its range */
void wire_jsonb(struct buffer *out, struct span json);
/* An array of uuids; NULL and 0: null. */
void wire_uuid_array(struct buffer *out, const struct uuid *uuids, size_t count);

/* The start of an array's value (after its length bytes): WIRE_ARRAY_HEADER_BYTES, or WIRE_EMPTY_ARRAY_BYTES when it
 * has no elements. */
#define WIRE_ARRAY_HEADER_BYTES 20
#define WIRE_EMPTY_ARRAY_BYTES 12
#define WIRE_OID_UUID 2950
void wire_array_header(struct buffer *out, unsigned element_type, int32_t count);

/* The other way: what a timestamptz says, in ms since 1970 (rounded down). */
int64_t wire_timestamp_ms(int64_t wire_us);
int64_t wire_timestamp_from(int64_t wire_us); /* in µs since 1970 */

/* The start of a COPY row, and what begins and ends a COPY in binary format. */
void wire_copy_header(struct buffer *out);
void wire_copy_row(struct buffer *out, int columns);
void wire_copy_trailer(struct buffer *out);

#endif
