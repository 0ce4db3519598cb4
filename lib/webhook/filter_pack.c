/* Emits the jumps and lays out the filter's one allocation: the arrays that need alignment first, text at the end.
 *
 * Expressions are emitted from the last to the first, so that each knows where to go:
 *   all(a, b)  then T else F    =  a then (b then T else F) else F
 *   any(a, b)  then T else F    =  a then T else (b then T else F)
 *   not(a)     then T else F    =  a then F else T */
#include "webhook/filter_compile_private.h"

#include "base/memory.h"

#include <stdlib.h>

/* The ends of what was laid out so far. */
struct pack {
    struct arena *arena;
    struct filter_condition *conditions;
    struct filter_node *nodes;
    struct filter_set *sets;
    int64_t *integers;
    double *reals;
    struct span *texts;
    char *bytes;
    uint16_t condition_count, data_count;
};

static struct span pack_text(struct pack *pack, struct span text) {
    struct span packed = {pack->bytes, text.len};
    if (text.len) {
        memcpy(pack->bytes, text.data, text.len);
        pack->bytes += text.len;
    }
    return packed;
}

/* --- The tree of places --- */

static int order_places(const void *a, const void *b) {
    const struct place *const *left = a, *const *right = b;
    return filter_text_order((*left)->name, (*right)->name);
}

static struct place **sorted_children(struct pack *pack, const struct place *place) {
    struct place **children = arena_alloc(pack->arena, place->child_count * sizeof(struct place *));
    size_t count = 0;
    for (struct place *child = place->first; child; child = child->next) {
        children[count++] = child;
    }
    qsort(children, count, sizeof(struct place *), order_places);
    return children;
}

/* Recursion goes no deeper than the longest path. */
static void pack_place(struct pack *pack, struct place *place, struct filter_node *node) {
    size_t index = json_index(place->name);
    *node = (struct filter_node){.name = pack_text(pack, place->name),
                                 .index = index == SIZE_MAX ? NODE_NO_INDEX : (uint32_t)index,
                                 .child_count = (uint16_t)place->child_count,
                                 .data_begin = pack->data_count,
                                 .wanted = place->wanted};
    if (place->wanted) {
        place->datum = pack->data_count++;
    }
    if (place->child_count) {
        struct place **sorted = sorted_children(pack, place);
        struct filter_node *children = pack->nodes;
        pack->nodes += place->child_count;
        node->children = children;
        for (size_t i = 0; i < place->child_count; i++) {
            node->child_lengths |= (uint64_t)1 << (sorted[i]->name.len % 64);
            pack_place(pack, sorted[i], &children[i]);
        }
    }
    node->data_end = pack->data_count;
}

/* --- Expressions --- */

static const struct filter_set *pack_set(struct pack *pack, const struct filter_set *set) {
    struct filter_set *packed = pack->sets++;
    *packed = *set;
    packed->integers = pack->integers;
    packed->reals = pack->reals;
    packed->texts = pack->texts;
    for (size_t i = 0; i < set->integer_count; i++) {
        *pack->integers++ = set->integers[i];
    }
    for (size_t i = 0; i < set->real_count; i++) {
        *pack->reals++ = set->reals[i];
    }
    for (size_t i = 0; i < set->text_count; i++) {
        *pack->texts++ = pack_text(pack, set->texts[i]);
    }
    return packed;
}

static uint16_t pack_condition(struct pack *pack, const struct expression *expression, uint16_t then,
                               uint16_t otherwise) {
    struct filter_condition *condition = &pack->conditions[pack->condition_count];
    *condition = expression->condition;
    condition->then = then;
    condition->otherwise = otherwise;
    if (expression->place) {
        condition->datum = expression->place->datum;
    }
    if (condition->op == OP_IN) {
        condition->set = pack_set(pack, expression->condition.set);
    } else if (condition->kind == DATUM_STRING) {
        condition->text = pack_text(pack, expression->condition.text);
    }
    return pack->condition_count++;
}

/* Returns where the expression begins. Recursion goes as deep as filters nest. */
static uint16_t emit(struct pack *pack, const struct expression *expression, uint16_t then, uint16_t otherwise) {
    uint16_t entry;
    switch (expression->kind) {
    case EXPRESSION_ALL:
        entry = then;
        for (const struct expression *e = expression->last; e; e = e->next) {
            entry = emit(pack, e, entry, otherwise);
        }
        return entry;
    case EXPRESSION_ANY:
        entry = otherwise;
        for (const struct expression *e = expression->last; e; e = e->next) {
            entry = emit(pack, e, then, entry);
        }
        return entry;
    case EXPRESSION_NOT:
        return emit(pack, expression->last, otherwise, then);
    case EXPRESSION_CONDITION:
        break;
    }
    return pack_condition(pack, expression, then, otherwise);
}

struct filter *filter_pack(struct compile *compile, const struct expression *whole) {
    size_t node_count = compile->place_count + 1; /* and the payload itself */
    size_t size = sizeof(struct filter) + compile->condition_count * sizeof(struct filter_condition) +
                  node_count * sizeof(struct filter_node) + compile->set_count * sizeof(struct filter_set) +
                  compile->integer_count * sizeof(int64_t) + compile->real_count * sizeof(double) +
                  compile->text_count * sizeof(struct span) + compile->text_bytes;
    struct filter *filter = mem_calloc(1, size);
    struct pack pack = {.arena = compile->arena, .data_count = FIELD_COUNT};
    pack.conditions = (struct filter_condition *)(filter + 1);
    struct filter_node *payload = (struct filter_node *)(pack.conditions + compile->condition_count);
    pack.nodes = payload + 1;
    pack.sets = (struct filter_set *)(payload + node_count);
    pack.integers = (int64_t *)(pack.sets + compile->set_count);
    pack.reals = (double *)(pack.integers + compile->integer_count);
    pack.texts = (struct span *)(pack.reals + compile->real_count);
    pack.bytes = (char *)(pack.texts + compile->text_count);

    pack_place(&pack, &compile->payload, payload);
    filter->entry = emit(&pack, whole, FILTER_TAKE, FILTER_REFUSE);
    CHECK(pack.data_count <= DATA_MAX && pack.condition_count == compile->condition_count);
    CHECK(pack.bytes == (char *)filter + size);
    atomic_init(&filter->refs, 1);
    filter->footprint_bytes = size;
    filter->conditions = pack.conditions;
    filter->payload = payload;
    return filter;
}
