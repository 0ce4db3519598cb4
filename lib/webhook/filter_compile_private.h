/* What filter_compile.c and filter_operand.c parse, and filter_pack.c makes a filter of; all of it lies in one arena.
 * Not for others. */
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

/* What a path leads to. */
struct target {
    uint16_t number;     /* of the path, among all that the filter has: a field's, or place->number */
    bool is_time;        /* occurred_at */
    struct place *place; /* NULL: a field */
};

/* Sets the error, with the place before it, and returns false. */
bool filter_refuse(struct compile *compile, const char *format, ...) PRINTF(2, 3);
/* `where` becomes longer by an index; leaving gives it the length back that entering returned. */
size_t filter_enter_index(struct compile *compile, size_t index);
void filter_leave(struct compile *compile, size_t mark);
/* A string's inside, or a name, as the text that it means: a part of the filter's JSON, or in the arena. */
struct span filter_plain_text(struct compile *compile, struct span text, bool escaped);

/* filter_operand.c. Fills the operand of a condition whose operator is set. False: refused. */
bool filter_parse_operand(struct compile *compile, const struct target *target, const struct json_value *value,
                          struct filter_condition *condition);

struct filter *filter_pack(struct compile *compile, const struct expression *whole);

#endif
