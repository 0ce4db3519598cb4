/* From the JSON text of a filter to its conditions, in three steps, all in one arena until the last:
 *
 * 1. parse (here; operands in filter_operand.c): the JSON is read along the grammar into expressions (all, any, not,
 *    condition), and the paths into a tree. `where` is the path within the filter that an error names.
 * 2. emit (filter_pack.c): expressions become jumps.
 * 3. pack (there too): everything is copied into the filter's one allocation. */
#include "webhook/filter_compile_private.h"

#include <stdio.h>

#define ARENA_BLOCK_BYTES 4096
#define WHERE_MAX_BYTES 1024
#define SHOWN_MAX_BYTES 60 /* of a name that an error repeats */

static const char *const FIELDS[FIELD_COUNT] = {
    [FIELD_ID] = "id",
    [FIELD_WORKSPACE_ID] = "workspace_id",
    [FIELD_WORKSPACE_NAME] = "workspace_name",
    [FIELD_EVENT_TYPE] = "event_type",
    [FIELD_EVENT_SOURCE] = "event_source",
    [FIELD_TRIGGERED_BY] = "event_triggered_by",
    [FIELD_OCCURRED_AT] = "occurred_at",
};

static const char *const OPERATORS[] = {
    [OP_EQ] = "eq", [OP_NE] = "ne",   [OP_IN] = "in",         [OP_GT] = "gt",         [OP_GTE] = "gte",
    [OP_LT] = "lt", [OP_LTE] = "lte", [OP_PREFIX] = "prefix", [OP_EXISTS] = "exists",
};
#define OPERATOR_COUNT (sizeof(OPERATORS) / sizeof(OPERATORS[0]))

/* The members of one object that were seen: a path by its number, then these. */
enum { SEEN_ALL = FIELD_COUNT + FILTER_MAX_CONDITIONS + 1, SEEN_ANY, SEEN_NOT, SEEN_COUNT };

struct seen {
    bool members[SEEN_COUNT];
};

/* --- Errors --- */

bool filter_refuse(struct compile *compile, const char *format, ...) {
    char what[sizeof(compile->error->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    (void)error_set(compile->error, STATUS_INVALID, "%.*s: %s", SPAN_ARGS(buffer_view(&compile->where)), what);
    return false;
}

static size_t enter_name(struct compile *compile, struct span name) {
    size_t mark = compile->where.len;
    if (name.len > SHOWN_MAX_BYTES) {
        name.len = SHOWN_MAX_BYTES;
        name.len = utf8_valid_prefix(name);
    }
    buffer_char(&compile->where, '.');
    utf8_clean(name, &compile->where);
    return mark;
}

size_t filter_enter_index(struct compile *compile, size_t index) {
    size_t mark = compile->where.len;
    buffer_printf(&compile->where, "[%zu]", index);
    return mark;
}

void filter_leave(struct compile *compile, size_t mark) {
    compile->where.len = mark;
}

struct span filter_plain_text(struct compile *compile, struct span text, bool escaped) {
    if (!escaped) {
        return text.len ? text : SPAN_LITERAL("");
    }
    buffer_reset(&compile->unescaped);
    json_unescape(text, &compile->unescaped);
    struct span plain = buffer_view(&compile->unescaped);
    return plain.len ? arena_span(compile->arena, plain) : SPAN_LITERAL("");
}

/* --- Paths --- */

/* The place below parent with that name, made when it is not there yet. */
static struct place *place_at(struct compile *compile, struct place *parent, struct span name) {
    for (struct place *place = parent->first; place; place = place->next) {
        if (span_equal(place->name, name)) {
            return place;
        }
    }
    struct place *place = arena_alloc(compile->arena, sizeof(*place));
    place->name = name;
    place->next = parent->first;
    parent->first = place;
    parent->child_count++;
    compile->place_count++;
    compile->text_bytes += name.len;
    return place;
}

static bool find_place(struct compile *compile, struct span names, struct place **ret_place) {
    struct place *place = &compile->payload;
    size_t count = 0;
    for (;;) {
        const char *dot = names.len ? memchr(names.data, '.', names.len) : NULL;
        struct span name = {names.data, dot ? (size_t)(dot - names.data) : names.len};
        if (!name.len) {
            return filter_refuse(compile, "a name in the path is empty");
        }
        if (++count > FILTER_MAX_PATH_NAMES) {
            return filter_refuse(compile, "the path has more than %d names", FILTER_MAX_PATH_NAMES);
        }
        place = place_at(compile, place, name);
        if (!dot) {
            *ret_place = place;
            return true;
        }
        names = (struct span){dot + 1, names.len - name.len - 1};
    }
}

/* path: "payload" or below it, or a field. */
static bool find_target(struct compile *compile, struct span path, struct target *ret_target) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (span_is(path, FIELDS[i])) {
            *ret_target = (struct target){.number = (uint16_t)i, .is_time = i == FIELD_OCCURRED_AT};
            return true;
        }
    }
    const struct span below = SPAN_LITERAL("payload.");
    struct place *place = &compile->payload;
    if (span_has_prefix(path, below)) {
        if (!find_place(compile, (struct span){path.data + below.len, path.len - below.len}, &place)) {
            return false;
        }
    } else if (!span_is(path, "payload")) {
        return filter_refuse(compile,
                             "unknown path; expected id, workspace_id, workspace_name, event_type, event_source, "
                             "event_triggered_by, occurred_at, payload or payload.…, or all, any, not");
    }
    if (!place->wanted) {
        place->wanted = true;
        place->number = (uint16_t)(FIELD_COUNT + compile->wanted_count++);
    }
    *ret_target = (struct target){.number = place->number, .place = place};
    return true;
}

/* --- Conditions --- */

static void add_expression(struct expression *group, struct expression *expression) {
    expression->next = group->last;
    group->last = expression;
}

static struct expression *new_expression(struct compile *compile, enum expression_kind kind) {
    struct expression *expression = arena_alloc(compile->arena, sizeof(*expression));
    expression->kind = kind;
    return expression;
}

static bool add_condition(struct compile *compile, struct expression *group, const struct target *target,
                          enum filter_operator op, const struct json_value *value) {
    if (compile->condition_count == FILTER_MAX_CONDITIONS) {
        return filter_refuse(compile, "more than %d conditions in all", FILTER_MAX_CONDITIONS);
    }
    compile->condition_count++;
    struct expression *expression = new_expression(compile, EXPRESSION_CONDITION);
    expression->condition.op = (uint8_t)op;
    expression->condition.datum = target->number;
    expression->place = target->place;
    add_expression(group, expression);
    return filter_parse_operand(compile, target, value, &expression->condition);
}

static size_t find_operator(struct span name) {
    size_t op = 0;
    while (op < OPERATOR_COUNT && !span_is(name, OPERATORS[op])) {
        op++;
    }
    return op;
}

/* What stands behind a path: a scalar, or an object of operators. */
static bool parse_condition(struct compile *compile, struct expression *group, const struct target *target,
                            struct json_reader *reader) {
    struct json_value value;
    if (json_reader_type(reader) != JSON_OBJECT) {
        value = json_reader_value(reader);
        if (value.type == JSON_ARRAY) {
            return filter_refuse(compile, "expected a value, or an object of operators such as {\"in\": [...]}");
        }
        return add_condition(compile, group, target, OP_EQ, &value);
    }
    struct span name;
    bool escaped, given[OPERATOR_COUNT] = {false}, any = false;
    while (json_reader_member(reader, &name, &escaped)) {
        struct span plain = filter_plain_text(compile, name, escaped);
        size_t mark = enter_name(compile, plain);
        size_t op = find_operator(plain);
        if (op == OPERATOR_COUNT) {
            return filter_refuse(compile, "unknown operator; expected eq, ne, in, gt, gte, lt, lte, prefix or exists");
        }
        if (given[op]) {
            return filter_refuse(compile, "is given twice");
        }
        given[op] = any = true;
        value = json_reader_value(reader);
        if (!add_condition(compile, group, target, (enum filter_operator)op, &value)) {
            return false;
        }
        filter_leave(compile, mark);
    }
    return any || filter_refuse(compile, "is empty; expected eq, ne, in, gt, gte, lt, lte, prefix or exists");
}

/* --- Filters --- */

static struct expression *parse_filter(struct compile *compile, struct json_reader *reader, int depth);

/* The filters of an `all` or `any`. */
static bool parse_list(struct compile *compile, struct expression *list, struct json_reader *reader, int depth) {
    if (json_reader_type(reader) != JSON_ARRAY) {
        return filter_refuse(compile, "expected an array of filters");
    }
    size_t count = 0;
    for (; json_reader_element(reader); count++) {
        size_t mark = filter_enter_index(compile, count);
        struct expression *filter = parse_filter(compile, reader, depth);
        if (!filter) {
            return false;
        }
        add_expression(list, filter);
        filter_leave(compile, mark);
    }
    return count || filter_refuse(compile, "is empty; expected at least one filter");
}

static bool parse_group(struct compile *compile, struct expression *outer, enum expression_kind kind,
                        struct json_reader *reader, int depth) {
    struct expression *group = new_expression(compile, kind);
    add_expression(outer, group);
    if (kind != EXPRESSION_NOT) {
        return parse_list(compile, group, reader, depth);
    }
    struct expression *filter = parse_filter(compile, reader, depth);
    if (filter) {
        add_expression(group, filter);
    }
    return filter;
}

static bool parse_member(struct compile *compile, struct expression *group, struct span name,
                         struct json_reader *reader, int depth, struct seen *seen) {
    static const struct {
        const char *name;
        enum expression_kind kind;
        size_t seen;
    } GROUPS[] = {
        {"all", EXPRESSION_ALL, SEEN_ALL}, {"any", EXPRESSION_ANY, SEEN_ANY}, {"not", EXPRESSION_NOT, SEEN_NOT}};
    for (size_t i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++) {
        if (span_is(name, GROUPS[i].name)) {
            if (seen->members[GROUPS[i].seen]) {
                return filter_refuse(compile, "is given twice");
            }
            seen->members[GROUPS[i].seen] = true;
            return parse_group(compile, group, GROUPS[i].kind, reader, depth + 1);
        }
    }
    struct target target = {0};
    if (!find_target(compile, name, &target)) {
        return false;
    }
    if (seen->members[target.number]) {
        return filter_refuse(compile, "is given twice");
    }
    seen->members[target.number] = true;
    return parse_condition(compile, group, &target, reader);
}

/* NULL: refused. */
static struct expression *parse_filter(struct compile *compile, struct json_reader *reader, int depth) {
    if (depth > FILTER_MAX_DEPTH) {
        (void)filter_refuse(compile, "filters nested more than %d deep", FILTER_MAX_DEPTH);
        return NULL;
    }
    if (json_reader_type(reader) != JSON_OBJECT) {
        (void)filter_refuse(compile, "expected an object");
        return NULL;
    }
    struct expression *group = new_expression(compile, EXPRESSION_ALL);
    struct seen seen = {{false}};
    struct span name;
    bool escaped;
    while (json_reader_member(reader, &name, &escaped)) {
        struct span plain = filter_plain_text(compile, name, escaped);
        size_t mark = enter_name(compile, plain);
        if (!parse_member(compile, group, plain, reader, depth, &seen)) {
            return NULL;
        }
        filter_leave(compile, mark);
    }
    if (!group->last) {
        (void)filter_refuse(compile, "is empty; expected a path with a condition, or all, any, not");
        return NULL;
    }
    return group;
}

enum status filter_compile(struct span json, struct filter **ret_filter, struct error *error) {
    if (json.len > FILTER_MAX_BYTES) {
        return error_set(error, STATUS_INVALID, "filter: longer than %d bytes", FILTER_MAX_BYTES);
    }
    struct json_value value;
    if (json_scan(json, NULL, NULL, &value, error) != STATUS_OK) {
        error_context(error, "filter");
        return STATUS_INVALID;
    }
    struct compile compile = {.arena = arena_new(ARENA_BLOCK_BYTES), .error = error};
    buffer_init(&compile.where, WHERE_MAX_BYTES);
    buffer_init(&compile.unescaped, FILTER_MAX_BYTES);
    buffer_text(&compile.where, "filter");
    struct json_reader reader;
    json_reader_init(&reader, value.text);
    struct expression *whole = parse_filter(&compile, &reader, 1);
    if (whole) {
        *ret_filter = filter_pack(&compile, whole);
    }
    buffer_deinit(&compile.where);
    buffer_deinit(&compile.unescaped);
    arena_free(&compile.arena);
    return whole ? STATUS_OK : STATUS_INVALID;
}
