/* From the JSON text of a template to its segments: the JSON is walked once, written compactly into the text block, and
 * each string is searched for placeholders. Adjacent literal bytes make one segment. */
#include "webhook/format_private.h"

#include "base/memory.h"

struct compile {
    struct segment *segments;
    size_t count, capacity;
    size_t placeholders;
    struct buffer text;
    bool first; /* of the members or elements being walked */
    enum status status;
    struct error *error;
};

static const struct {
    struct span path;
    enum field field;
} PATHS[] = {
    {{"id", 2}, FIELD_ID},
    {{"id_text", 7}, FIELD_ID_TEXT},
    {{"workspace_id", 12}, FIELD_WORKSPACE_ID},
    {{"workspace_id_text", 17}, FIELD_WORKSPACE_ID_TEXT},
    {{"workspace_name", 14}, FIELD_WORKSPACE_NAME},
    {{"event_type", 10}, FIELD_EVENT_TYPE},
    {{"event_source", 12}, FIELD_EVENT_SOURCE},
    {{"source", 6}, FIELD_SOURCE},
    {{"event_triggered_by", 18}, FIELD_TRIGGERED_BY},
    {{"occurred_at", 11}, FIELD_OCCURRED_AT},
    {{"occurred_at_ms", 14}, FIELD_OCCURRED_AT_MS},
    {{"sent_at", 7}, FIELD_SENT_AT},
    {{"sent_at_ms", 10}, FIELD_SENT_AT_MS},
    {{"subscription_created_by", 23}, FIELD_CREATED_BY},
    {{"subscription_updated_by", 23}, FIELD_UPDATED_BY},
    {{"webhook_id", 10}, FIELD_WEBHOOK_ID},
    {{"payload", 7}, FIELD_PAYLOAD},
};

#define PAYLOAD_PREFIX SPAN_LITERAL("payload.")
#define SHOWN_MAX 60 /* bytes of a wrong path that an error repeats */

static struct segment *add_segment(struct compile *compile) {
    if (compile->count == compile->capacity) {
        compile->capacity = compile->capacity ? 2 * compile->capacity : 16;
        compile->segments = mem_realloc(compile->segments, compile->capacity * sizeof(*compile->segments));
    }
    struct segment *segment = &compile->segments[compile->count++];
    *segment = (struct segment){.at = compile->text.len};
    return segment;
}

static void add_literal(struct compile *compile, const char *data, size_t len) {
    if (len == 0) {
        return;
    }
    if (compile->count == 0 || compile->segments[compile->count - 1].kind != SEGMENT_LITERAL) {
        add_segment(compile)->kind = SEGMENT_LITERAL;
    }
    buffer_append(&compile->text, data, len);
    compile->segments[compile->count - 1].len += len;
}

static bool path_is_whole(struct span path) {
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] == '.' && (i == 0 || i + 1 == path.len || path.data[i + 1] == '.')) {
            return false;
        }
    }
    return path.len > 0;
}

static struct span shown(struct span text) {
    if (text.len > SHOWN_MAX) {
        text.len = SHOWN_MAX;
    }
    text.len = utf8_valid_prefix(text);
    return text;
}

/* path: between the braces. */
static bool add_placeholder(struct compile *compile, struct span path, bool whole) {
    if (++compile->placeholders > FORMAT_MAX_PLACEHOLDERS) {
        compile->status =
            error_set(compile->error, STATUS_INVALID, "template: more than %d placeholders", FORMAT_MAX_PLACEHOLDERS);
        return false;
    }
    enum field field = FIELD_COUNT;
    struct span below = SPAN_NONE;
    for (size_t i = 0; i < sizeof(PATHS) / sizeof(PATHS[0]); i++) {
        if (span_equal(path, PATHS[i].path)) {
            field = PATHS[i].field;
        }
    }
    if (span_has_prefix(path, PAYLOAD_PREFIX)) {
        below = (struct span){path.data + PAYLOAD_PREFIX.len, path.len - PAYLOAD_PREFIX.len};
        field = path_is_whole(below) ? FIELD_PAYLOAD_PATH : FIELD_COUNT;
    }
    if (field == FIELD_COUNT) {
        compile->status = error_set(compile->error, STATUS_INVALID,
                                    "template: unknown path {{%.*s}}; expected id, workspace_id, event_type, "
                                    "occurred_at, sent_at, payload.… or another field of the event",
                                    SPAN_ARGS(shown(path)));
        return false;
    }
    struct segment *segment = add_segment(compile);
    segment->kind = whole ? SEGMENT_VALUE : SEGMENT_TEXT;
    segment->field = field;
    segment->len = below.len;
    buffer_span(&compile->text, below);
    return true;
}

/* A piece of the inside of a string. */
static void add_text(struct compile *compile, struct span text) {
    struct buffer quoted;
    buffer_init(&quoted, 6 * FORMAT_TEMPLATE_MAX_BYTES + 2);
    json_quote(text, &quoted);
    add_literal(compile, quoted.data + 1, quoted.len - 2);
    buffer_deinit(&quoted);
}

static struct span trimmed(struct span text) {
    while (text.len && text.data[0] == ' ') {
        text.data++;
        text.len--;
    }
    while (text.len && text.data[text.len - 1] == ' ') {
        text.len--;
    }
    return text;
}

static size_t find_pair(struct span text, size_t from, const char *pair) {
    const char *found = from < text.len ? memmem(text.data + from, text.len - from, pair, 2) : NULL;
    return found ? (size_t)(found - text.data) : text.len;
}

/* The inside of a string from its first "{{" on: literal pieces, "{{{{" for "{{", and placeholders. */
static bool add_pieces(struct compile *compile, struct span text) {
    size_t at = 0;
    while (at < text.len) {
        size_t open = find_pair(text, at, "{{");
        add_text(compile, (struct span){text.data + at, open - at});
        if (open == text.len) {
            break;
        }
        if (text.len - open >= 4 && memcmp(text.data + open, "{{{{", 4) == 0) {
            add_literal(compile, "{{", 2);
            at = open + 4;
            continue;
        }
        size_t close = find_pair(text, open + 2, "}}");
        if (close == text.len) {
            struct span rest = {text.data + open, text.len - open};
            compile->status = error_set(compile->error, STATUS_INVALID, "template: \"{{\" without \"}}\" at \"%.*s\"",
                                        SPAN_ARGS(shown(rest)));
            return false;
        }
        if (!add_placeholder(compile, trimmed((struct span){text.data + open + 2, close - open - 2}), false)) {
            return false;
        }
        at = close + 2;
    }
    return true;
}

static bool add_string(struct compile *compile, const struct json_value *value) {
    struct buffer unescaped;
    buffer_init(&unescaped, FORMAT_TEMPLATE_MAX_BYTES);
    json_unescape(value->text, &unescaped);
    struct span text = buffer_view(&unescaped);
    bool ok = true;
    if (find_pair(text, 0, "{{") == text.len) {
        add_literal(compile, value->text.data, value->text.len);
    } else if (text.len >= 4 && memcmp(text.data, "{{", 2) == 0 && find_pair(text, 2, "{{") == text.len &&
               find_pair(text, 2, "}}") == text.len - 2) {
        ok = add_placeholder(compile, trimmed((struct span){text.data + 2, text.len - 4}), true);
    } else {
        add_literal(compile, "\"", 1);
        ok = add_pieces(compile, text);
        add_literal(compile, "\"", 1);
    }
    buffer_deinit(&unescaped);
    return ok;
}

static bool add_value(struct compile *compile, const struct json_value *value);

static bool on_element(void *ctx, const struct json_value *element) {
    struct compile *compile = ctx;
    if (!compile->first) {
        add_literal(compile, ",", 1);
    }
    bool ok = add_value(compile, element);
    compile->first = false;
    return ok;
}

static bool on_member(void *ctx, const struct json_member *member) {
    struct compile *compile = ctx;
    if (!compile->first) {
        add_literal(compile, ",", 1);
    }
    add_literal(compile, "\"", 1);
    add_literal(compile, member->name.data, member->name.len);
    add_literal(compile, "\":", 2);
    bool ok = add_value(compile, &member->value);
    compile->first = false;
    return ok;
}

/* Recursion goes no deeper than JSON_MAX_DEPTH: the scan has seen to that. */
static bool add_value(struct compile *compile, const struct json_value *value) {
    compile->first = true;
    switch (value->type) {
    case JSON_STRING:
        return add_string(compile, value);
    case JSON_OBJECT:
        add_literal(compile, "{", 1);
        json_each_member(value->text, on_member, compile);
        add_literal(compile, "}", 1);
        return compile->status == STATUS_OK;
    case JSON_ARRAY:
        add_literal(compile, "[", 1);
        json_each_element(value->text, on_element, compile);
        add_literal(compile, "]", 1);
        return compile->status == STATUS_OK;
    default:
        add_literal(compile, value->text.data, value->text.len);
        return true;
    }
}

enum status format_compile(struct span template_json, struct format **ret_format, struct error *error) {
    if (template_json.len > FORMAT_TEMPLATE_MAX_BYTES) {
        return error_set(error, STATUS_INVALID, "template: longer than %d bytes", FORMAT_TEMPLATE_MAX_BYTES);
    }
    struct json_value value;
    if (json_scan(template_json, NULL, NULL, &value, error) != STATUS_OK) {
        error_context(error, "template");
        return STATUS_INVALID;
    }
    struct compile compile = {.error = error};
    buffer_init(&compile.text, 6 * FORMAT_TEMPLATE_MAX_BYTES);
    bool ok = add_value(&compile, &value);
    CHECK(!compile.text.overflowed);
    if (ok) {
        struct format *format = mem_calloc(1, sizeof(*format));
        atomic_init(&format->refs, 1);
        format->segments = mem_realloc(compile.segments, compile.count * sizeof(*compile.segments));
        format->segment_count = compile.count;
        format->text = buffer_take(&compile.text, NULL);
        *ret_format = format;
    } else {
        mem_free(compile.segments);
    }
    buffer_deinit(&compile.text);
    return ok ? STATUS_OK : STATUS_INVALID;
}
