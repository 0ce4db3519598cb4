/* What a filter is compiled into: shared by filter_compile.c, filter_value.c and filter.c. Not for others.
 *
 * Evaluation looks at data: datum i < FIELD_COUNT is a field of the event, the others are places in the payload, which
 * one pass over it fills. */
#ifndef WEBHOOK_FILTER_PRIVATE_H
#define WEBHOOK_FILTER_PRIVATE_H

#include "base/json_reader.h"
#include "webhook/filter.h"

enum filter_field {
    FIELD_ID,
    FIELD_WORKSPACE_ID,
    FIELD_WORKSPACE_NAME,
    FIELD_EVENT_TYPE,
    FIELD_EVENT_SOURCE,
    FIELD_TRIGGERED_BY,
    FIELD_OCCURRED_AT,
    FIELD_COUNT
};
#define DATA_MAX (FIELD_COUNT + FILTER_MAX_CONDITIONS)

enum datum_kind {
    DATUM_MISSING, /* 0: what the pass does not find stays so */
    DATUM_NULL,
    DATUM_FALSE,
    DATUM_TRUE,
    DATUM_NUMBER, /* as written, not looked at yet */
    DATUM_INTEGER,
    DATUM_REAL,
    DATUM_STRING,
    DATUM_CONTAINER /* an array or an object: is there, and equals nothing */
};

struct datum {
    enum datum_kind kind;
    bool escaped; /* of a string */
    union {
        struct span text; /* of a string its inside, of a number the number */
        int64_t integer;
        double real;
    };
};

enum filter_operator { OP_EQ, OP_NE, OP_IN, OP_GT, OP_GTE, OP_LT, OP_LTE, OP_PREFIX, OP_EXISTS };

/* The values of an `in`, each kind sorted; strings as filter_text_order has them. */
struct filter_set {
    const int64_t *integers;
    const double *reals;
    const struct span *texts;
    uint16_t integer_count, real_count, text_count;
    bool null_in, false_in, true_in;
};

#define FILTER_TAKE UINT16_MAX
#define FILTER_REFUSE (UINT16_MAX - 1)

/* One operator on one datum, and where to go from there: another condition, FILTER_TAKE or FILTER_REFUSE. */
struct filter_condition {
    uint16_t then, otherwise;
    uint16_t datum;
    uint8_t op;   /* enum filter_operator */
    uint8_t kind; /* enum datum_kind of the operand: never MISSING, NUMBER or CONTAINER; of OP_IN: none */
    union {
        int64_t integer;
        double real;
        struct span text; /* unescaped */
        const struct filter_set *set;
    };
};

#define NODE_NO_INDEX UINT32_MAX

/* A place in the payload, in a tree by the names of the paths. children: adjacent, sorted as filter_text_order has
 * them, so that those that are array indices come in their order too. */
struct filter_node {
    struct span name;
    const struct filter_node *children;
    uint64_t child_lengths; /* bit n: a child's name has n bytes, modulo 64 */
    uint32_t index;         /* that the name is, or NODE_NO_INDEX */
    uint16_t child_count;
    uint16_t data_begin, data_end; /* of this place and those below it; its own comes first */
    bool wanted;                   /* a condition looks at this place itself */
};

/* One allocation: what is pointed to lies behind it. */
struct filter {
    _Atomic int refs;
    uint16_t entry; /* the first condition */
    size_t footprint_bytes;
    const struct filter_condition *conditions;
    const struct filter_node *payload;
};

/* By length, then bytes. */
int filter_text_order(struct span a, struct span b);

/* filter_value.c. A NUMBER becomes INTEGER or, where it is none that fits, REAL (infinite: beyond every double). */
void filter_settle(struct datum *datum);
/* Whether the condition's operator holds; may settle the datum. */
bool filter_holds(const struct filter_condition *condition, struct datum *datum);

#endif
