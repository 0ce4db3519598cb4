/* What the two halves of schema.h share: schema_syntax.c (is it a schema?) and schema.c (is the value so?). */
#ifndef API_SCHEMA_PRIVATE_H
#define API_SCHEMA_PRIVATE_H

#include "api/schema.h"
#include <jansson.h>

#define SCHEMA_PATH_BYTES 256

struct schema_walk {
    const json_t *root;
    schema_complain_fn *complain; /* NULL: quietly */
    void *ctx;
    int complaints;
    long steps; /* left */
    unsigned compared;
    int depth;
    char path[SCHEMA_PATH_BYTES];
    size_t path_len;
};

/* The path one deeper; the return value goes to schema_leave. What does not fit is cut. */
size_t schema_enter(struct schema_walk *walk, const char *name);
size_t schema_enter_index(struct schema_walk *walk, size_t index);
void schema_leave(struct schema_walk *walk, size_t path_len);

/* False, always. */
bool schema_wrong(struct schema_walk *walk, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What "#" or "#/$defs/name" refers to; NULL: nothing, or it is another kind of reference. */
const json_t *schema_resolve(const json_t *root, const char *reference);

/* Equal as JSON Schema has it: 1 is 1.0. What is compared takes of the walk's steps. */
bool schema_equal(struct schema_walk *walk, const json_t *a, const json_t *b);

bool schema_is_integer(const json_t *value); /* 1.0 is one */

#endif
