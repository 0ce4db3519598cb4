/* What filter_compile.c has parsed and filter_pack.c makes a filter of; all of it lies in one arena. Not for others. */
#ifndef WEBHOOK_FILTER_COMPILE_PRIVATE_H
#define WEBHOOK_FILTER_COMPILE_PRIVATE_H

#include "base/arena.h"
#include "webhook/filter_private.h"

/* A place in the payload that a path names or leads through. */
struct place {
    struct span name;
    struct place *first, *next; /* below it; beside it */
    size_t child_count;
    bool wanted;     /* a path ends here */
    uint16_t number; /* among the paths, if wanted */
    uint16_t datum;  /* set by filter_pack */
};

enum expression_kind { EXPRESSION_ALL, EXPRESSION_ANY, EXPRESSION_NOT, EXPRESSION_CONDITION };

struct expression {
    enum expression_kind kind;
    struct expression *last, *next; /* below it, the last one first; beside it */
    struct filter_condition condition;
    const struct place *place; /* of a condition on the payload; NULL: condition.datum is a field */
};

struct compile {
    struct arena *arena;
    struct buffer where; /* the path within the filter, for errors */
    struct buffer unescaped;
    struct error *error;
    struct place payload;
    size_t wanted_count; /* places that paths end at */
    /* How much filter_pack needs room for. */
    size_t condition_count, place_count, set_count, integer_count, real_count, text_count, text_bytes;
};

struct filter *filter_pack(struct compile *compile, const struct expression *whole);

#endif
