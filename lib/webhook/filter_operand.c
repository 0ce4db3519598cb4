/* What stands behind an operator: one value, or the sorted values of an `in`. */
#include "webhook/filter_compile_private.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

#define EXPECTED_TIME "expected a time: ISO 8601, or integer milliseconds since 1970"

static bool parse_time(struct compile *compile, const struct json_value *value, struct filter_condition *ret_operand) {
    int64_t ms = 0;
    enum status status = STATUS_INVALID;
    if (value->type == JSON_NUMBER) {
        status = json_int64(value->text, &ms);
    } else if (value->type == JSON_STRING) {
        struct span inside = {value->text.data + 1, value->text.len - 2};
        status = clock_parse_iso(filter_plain_text(compile, inside, value->escaped), &ms, NULL);
    }
    if (status != STATUS_OK) {
        return filter_refuse(compile, EXPECTED_TIME);
    }
    ret_operand->kind = DATUM_INTEGER;
    ret_operand->integer = ms;
    return true;
}

static bool parse_number(struct compile *compile, struct span text, struct filter_condition *ret_operand) {
    struct datum datum = {.kind = DATUM_NUMBER, .text = text};
    filter_settle(&datum);
    ret_operand->kind = (uint8_t)datum.kind;
    if (datum.kind == DATUM_INTEGER) {
        ret_operand->integer = datum.integer;
    } else if (isfinite(datum.real)) {
        ret_operand->real = datum.real;
    } else {
        return filter_refuse(compile, "a number beyond ±1.8e308");
    }
    return true;
}

/* Any scalar. */
static bool parse_scalar(struct compile *compile, const struct target *target, const struct json_value *value,
                         struct filter_condition *ret_operand) {
    if (target->is_time) {
        return parse_time(compile, value, ret_operand);
    }
    switch (value->type) {
    case JSON_NULL:
        ret_operand->kind = DATUM_NULL;
        return true;
    case JSON_FALSE:
        ret_operand->kind = DATUM_FALSE;
        return true;
    case JSON_TRUE:
        ret_operand->kind = DATUM_TRUE;
        return true;
    case JSON_NUMBER:
        return parse_number(compile, value->text, ret_operand);
    case JSON_STRING:
        ret_operand->kind = DATUM_STRING;
        ret_operand->text =
            filter_plain_text(compile, (struct span){value->text.data + 1, value->text.len - 2}, value->escaped);
        compile->text_bytes += ret_operand->text.len;
        return true;
    default:
        return filter_refuse(compile, "expected a string, a number, true, false or null");
    }
}

/* --- in --- */

static int order_integers(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int order_reals(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static int order_texts(const void *a, const void *b) {
    return filter_text_order(*(const struct span *)a, *(const struct span *)b);
}

/* A set while it is filled: each array has room for all its values. */
struct set_draft {
    struct filter_set set;
    int64_t *integers;
    double *reals;
    struct span *texts;
};

static struct set_draft *new_set(struct compile *compile, size_t count) {
    struct set_draft *draft = arena_alloc(compile->arena, sizeof(*draft));
    draft->set.integers = draft->integers = arena_alloc(compile->arena, count * sizeof(*draft->integers));
    draft->set.reals = draft->reals = arena_alloc(compile->arena, count * sizeof(*draft->reals));
    draft->set.texts = draft->texts = arena_alloc(compile->arena, count * sizeof(*draft->texts));
    return draft;
}

static void add_to_set(struct set_draft *draft, const struct filter_condition *operand) {
    struct filter_set *set = &draft->set;
    switch ((enum datum_kind)operand->kind) {
    case DATUM_NULL:
        set->null_in = true;
        break;
    case DATUM_FALSE:
        set->false_in = true;
        break;
    case DATUM_TRUE:
        set->true_in = true;
        break;
    case DATUM_INTEGER:
        draft->integers[set->integer_count++] = operand->integer;
        break;
    case DATUM_REAL:
        draft->reals[set->real_count++] = operand->real;
        break;
    default:
        draft->texts[set->text_count++] = operand->text;
    }
}

static void finish_set(struct compile *compile, struct set_draft *draft) {
    const struct filter_set *set = &draft->set;
    qsort(draft->integers, set->integer_count, sizeof(*draft->integers), order_integers);
    qsort(draft->reals, set->real_count, sizeof(*draft->reals), order_reals);
    qsort(draft->texts, set->text_count, sizeof(*draft->texts), order_texts);
    compile->integer_count += set->integer_count;
    compile->real_count += set->real_count;
    compile->text_count += set->text_count;
    compile->set_count++;
}

static size_t count_elements(struct span array) {
    struct json_reader reader;
    json_reader_init(&reader, array);
    size_t count = 0;
    for (; json_reader_element(&reader); count++) {
        (void)json_reader_value(&reader);
    }
    return count;
}

static bool parse_set(struct compile *compile, const struct target *target, const struct json_value *value,
                      struct filter_condition *ret_operand) {
    if (value->type != JSON_ARRAY) {
        return filter_refuse(compile, "expected an array of values");
    }
    size_t count = count_elements(value->text);
    if (count == 0) {
        return filter_refuse(compile, "is empty; expected at least one value");
    }
    if (count > FILTER_MAX_IN) {
        return filter_refuse(compile, "more than %d values", FILTER_MAX_IN);
    }
    struct set_draft *draft = new_set(compile, count);
    struct json_reader reader;
    json_reader_init(&reader, value->text);
    for (size_t i = 0; json_reader_element(&reader); i++) {
        struct json_value element = json_reader_value(&reader);
        struct filter_condition operand = {0};
        size_t mark = filter_enter_index(compile, i);
        if (!parse_scalar(compile, target, &element, &operand)) {
            return false;
        }
        filter_leave(compile, mark);
        add_to_set(draft, &operand);
    }
    finish_set(compile, draft);
    ret_operand->set = &draft->set;
    return true;
}

bool filter_parse_operand(struct compile *compile, const struct target *target, const struct json_value *value,
                          struct filter_condition *condition) {
    bool is_number = value->type == JSON_NUMBER, is_string = value->type == JSON_STRING;
    switch ((enum filter_operator)condition->op) {
    case OP_IN:
        return parse_set(compile, target, value, condition);
    case OP_GT:
    case OP_GTE:
    case OP_LT:
    case OP_LTE:
        if (!target->is_time && !is_number && !is_string) {
            return filter_refuse(compile, "expected a number or a string");
        }
        return parse_scalar(compile, target, value, condition);
    case OP_PREFIX:
        if (target->is_time) {
            return filter_refuse(compile, "a time has no prefix; expected eq, ne, in, gt, gte, lt, lte or exists");
        }
        return is_string ? parse_scalar(compile, target, value, condition)
                         : filter_refuse(compile, "expected a string");
    case OP_EXISTS:
        condition->kind = value->type == JSON_TRUE ? DATUM_TRUE : DATUM_FALSE;
        return value->type == JSON_TRUE || value->type == JSON_FALSE ||
               filter_refuse(compile, "expected true or false");
    case OP_EQ:
    case OP_NE:
        break;
    }
    return parse_scalar(compile, target, value, condition);
}
