/* JSON Schema 2020-12, a subset that is implemented whole: what a schema may say is checked when it is written, and a
 * keyword that is not known here is refused then, so that none is ever passed over when a value is checked. Which
 * keywords: docs/event-types.md. Pure. Any thread. */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

struct json_t; /* jansson's */

#define SCHEMA_MAX_BYTES (64 * 1024)
#define SCHEMA_MAX_COMPLAINTS 20
#define SCHEMA_STEPS 4000000L /* less than a second */

/* where: a JSON pointer into what is checked, "" for all of it; it may be cut at its end. */
typedef void schema_complain_fn(void *ctx, const char *where, const char *message);

/* A schema, or a value, that is kept as text. Integers beyond 64 bits are read as doubles: the database writes 1e20
 * with all its digits. NULL: it is not JSON, or has what can't be read (a number that no double holds, a lone
 * surrogate, a name with a NUL). The caller's. */
struct json_t *schema_load(const char *text, size_t len);

/* Whether it is a schema that schema_check follows to the letter. Complains at least once when not. */
bool schema_check_schema(const struct json_t *schema, schema_complain_fn *complain, void *ctx);

/* Whether the value is as the schema, which schema_check_schema has accepted, says. Complains at least once when not. A
 * check that would take too long ends with a complaint. Numbers are compared as they were read: integers exactly,
 * others as doubles. */
bool schema_check(const struct json_t *schema, const struct json_t *value, schema_complain_fn *complain, void *ctx);

/* The same of a text that is JSON; what schema_load can't read is complained of. steps: how much all checks that share
 * them may take, SCHEMA_STEPS at first. */
bool schema_check_text(const struct json_t *schema, const char *text, size_t len, long *steps,
                       schema_complain_fn *complain, void *ctx);

#endif
