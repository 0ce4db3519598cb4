/* A template is compiled into a flat list of segments: runs of literal bytes, already compact JSON, and placeholders
 * between them. To render is to walk the list once. Literal bytes and payload paths lie in one block of text; segments
 * say where. */
#include "webhook/format.h"
#include "webhook/format_private.h"

#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>

void format_unref(struct format **format) {
    struct format *gone = *format;
    *format = NULL;
    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(gone->segments);
        mem_free(gone->text);
        mem_free(gone);
    }
}

struct format *format_ref(struct format *format) {
    atomic_fetch_add_explicit(&format->refs, 1, memory_order_relaxed);
    return format;
}

/* --- Built-in formats --- */

enum builtin {
    BUILTIN_SEANOTIFY,
    BUILTIN_STANDARD,
    BUILTIN_CLOUDEVENTS,
    BUILTIN_SELEQT,
    BUILTIN_SUPERSEND,
    BUILTIN_KAKIYO,
    BUILTIN_RAW,
    BUILTIN_COUNT
};

static const struct {
    const char *name;
    const char *content_type;
    const char *template_json;
} BUILTINS[BUILTIN_COUNT] = {
    [BUILTIN_SEANOTIFY] = {"seanotify", "application/json",
                           "{\"id\":\"{{id}}\",\"workspace_id\":\"{{workspace_id}}\","
                           "\"workspace_name\":\"{{workspace_name}}\",\"value\":{"
                           "\"event_type\":\"{{event_type}}\",\"event_source\":\"{{event_source}}\","
                           "\"event_triggered_by\":\"{{event_triggered_by}}\",\"payload\":\"{{payload}}\","
                           "\"occurred_at\":\"{{occurred_at_ms}}\",\"sent_at\":\"{{sent_at_ms}}\","
                           "\"subscription_created_by\":\"{{subscription_created_by}}\","
                           "\"subscription_updated_by\":\"{{subscription_updated_by}}\"}}"},
    [BUILTIN_STANDARD] = {"standard", "application/json",
                          "{\"type\":\"{{event_type}}\",\"timestamp\":\"{{occurred_at}}\",\"data\":\"{{payload}}\"}"},
    [BUILTIN_CLOUDEVENTS] = {"cloudevents", "application/cloudevents+json",
                             "{\"specversion\":\"1.0\",\"id\":\"{{id_text}}\",\"source\":\"{{source}}\","
                             "\"type\":\"{{event_type}}\",\"time\":\"{{occurred_at}}\","
                             "\"workspaceid\":\"{{workspace_id_text}}\",\"datacontenttype\":\"application/json\","
                             "\"data\":\"{{payload}}\"}"},
    [BUILTIN_SELEQT] = {"seleqt", "application/json", "{\"event\":\"{{event_type}}\",\"message\":\"{{payload}}\"}"},
    [BUILTIN_SUPERSEND] = {"supersend", "application/json",
                           "{\"type\":\"{{event_type}}\",\"CampaignId\":\"{{payload.CampaignId}}\","
                           "\"contact\":\"{{payload.contact}}\"}"},
    [BUILTIN_KAKIYO] = {"kakiyo", "application/json",
                        "{\"event\":\"{{event_type}}\",\"data\":\"{{payload}}\",\"timestamp\":\"{{occurred_at}}\"}"},
    [BUILTIN_RAW] = {"raw", "application/json", "\"{{payload}}\""},
};

static struct format *compiled[BUILTIN_COUNT];
static pthread_once_t compiled_once = PTHREAD_ONCE_INIT;

static void compile_builtins(void) {
    for (size_t i = 0; i < BUILTIN_COUNT; i++) {
        CHECK(format_compile(span_of(BUILTINS[i].template_json), &compiled[i], NULL) == STATUS_OK);
    }
}

static size_t find_builtin(struct span name) {
    size_t i = 0;
    while (i < BUILTIN_COUNT && !span_is(name, BUILTINS[i].name)) {
        i++;
    }
    return i;
}

struct format *format_builtin(struct span name) {
    size_t i = find_builtin(name);
    if (i == BUILTIN_COUNT) {
        return NULL;
    }
    CHECK(pthread_once(&compiled_once, compile_builtins) == 0);
    return format_ref(compiled[i]);
}

struct span format_builtin_template(struct span name) {
    size_t i = find_builtin(name);
    return i == BUILTIN_COUNT ? SPAN_NONE : span_of(BUILTINS[i].template_json);
}

const char *format_content_type(struct span name) {
    size_t i = find_builtin(name);
    return i == BUILTIN_COUNT ? "application/json" : BUILTINS[i].content_type;
}

/* --- Rendering --- */

/* What a placeholder stands for in one event, before it is known whether it becomes a value or text. */
struct piece {
    enum {
        PIECE_NULL,
        PIECE_JSON,
        PIECE_TEXT,
        PIECE_PLAIN /* text without a character to escape */,
        PIECE_INT,
        PIECE_TIME
    } kind;
    struct json_value json;
    struct span text;
    int64_t number; /* or ms */
};

static struct piece piece_json(struct span json) {
    if (!json.data) {
        return (struct piece){.kind = PIECE_NULL};
    }
    return (struct piece){.kind = PIECE_JSON, .json = {.compact = true, .text = json}};
}

static struct piece piece_value(const struct json_value *value) {
    if (!value->text.data) {
        return (struct piece){.kind = PIECE_NULL};
    }
    return (struct piece){.kind = PIECE_JSON, .json = *value};
}

static struct piece piece_text(struct span text) {
    return (struct piece){.kind = text.data ? PIECE_TEXT : PIECE_NULL, .text = text};
}

static struct piece piece_plain(struct span text) {
    return (struct piece){.kind = PIECE_PLAIN, .text = text};
}

static struct piece piece_source(const struct event *event) {
    if (event->event_source_json.len <= 2) {
        return piece_plain(SPAN_LITERAL("hookcast"));
    }
    return piece_json(event->event_source_json);
}

static struct piece piece_path(const struct event *event, struct span path) {
    struct json_value value = {.text = SPAN_NONE};
    if (!event->payload.text.data || !json_find(event->payload.text, path, &value)) {
        return (struct piece){.kind = PIECE_NULL};
    }
    return piece_value(&value);
}

static struct piece piece_of(const struct format *format, const struct segment *segment,
                             const struct format_input *input) {
    const struct event *event = input->event;
    switch (segment->field) {
    case FIELD_ID:
        return piece_json(event->id_json);
    case FIELD_ID_TEXT:
        return piece_text(event->id);
    case FIELD_WORKSPACE_ID:
        return piece_json(event->workspace_json);
    case FIELD_WORKSPACE_ID_TEXT:
        return piece_text(event->workspace_id);
    case FIELD_WORKSPACE_NAME:
        return event->workspace_name_json.data ? piece_json(event->workspace_name_json)
                                               : piece_text(input->workspace_name);
    case FIELD_EVENT_TYPE:
        return piece_plain(event->event_type);
    case FIELD_EVENT_SOURCE:
        return piece_json(event->event_source_json);
    case FIELD_SOURCE:
        return piece_source(event);
    case FIELD_TRIGGERED_BY:
        return piece_json(event->triggered_by_json);
    case FIELD_OCCURRED_AT:
        return (struct piece){.kind = PIECE_TIME, .number = event->occurred_at_ms};
    case FIELD_OCCURRED_AT_MS:
        return (struct piece){.kind = PIECE_INT, .number = event->occurred_at_ms};
    case FIELD_SENT_AT:
        return (struct piece){.kind = PIECE_TIME, .number = input->sent_at_ms};
    case FIELD_SENT_AT_MS:
        return (struct piece){.kind = PIECE_INT, .number = input->sent_at_ms};
    case FIELD_CREATED_BY:
        return piece_text(input->created_by);
    case FIELD_UPDATED_BY:
        return piece_text(input->updated_by);
    case FIELD_WEBHOOK_ID:
        return piece_plain(event->webhook_id);
    case FIELD_PAYLOAD:
        return piece_value(&event->payload);
    case FIELD_PAYLOAD_PATH:
        return piece_path(event, (struct span){format->text + segment->at, segment->len});
    case FIELD_COUNT:
        break;
    }
    return (struct piece){.kind = PIECE_NULL};
}

static void write_value(const struct piece *piece, struct buffer *out) {
    switch (piece->kind) {
    case PIECE_NULL:
        buffer_append(out, "null", 4);
        break;
    case PIECE_JSON:
        if (piece->json.compact) {
            buffer_span(out, piece->json.text);
        } else {
            json_compact(&piece->json, out);
        }
        break;
    case PIECE_TEXT:
        json_quote(piece->text, out);
        break;
    case PIECE_PLAIN:
        buffer_char(out, '"');
        buffer_span(out, piece->text);
        buffer_char(out, '"');
        break;
    case PIECE_INT:
        buffer_int(out, piece->number);
        break;
    case PIECE_TIME:
        buffer_char(out, '"');
        clock_format_iso(piece->number, out);
        buffer_char(out, '"');
        break;
    }
}

/* text as it stands inside a JSON string. */
static void write_escaped(struct span text, struct buffer *out) {
    struct buffer quoted;
    buffer_init(&quoted, out->max_bytes);
    json_quote(text, &quoted);
    if (quoted.overflowed) {
        out->overflowed = true;
    } else {
        buffer_append(out, quoted.data + 1, quoted.len - 2);
    }
    buffer_deinit(&quoted);
}

/* A string's characters, which are escaped as they must be already; null as nothing; other values as their JSON text.
 */
static void write_json_text(const struct json_value *value, struct buffer *out) {
    switch (value->text.data[0]) {
    case '"':
        buffer_append(out, value->text.data + 1, value->text.len - 2);
        break;
    case 'n':
        break;
    case '{':
    case '[': {
        struct buffer compact;
        buffer_init(&compact, out->max_bytes);
        json_compact(value, &compact);
        out->overflowed = out->overflowed || compact.overflowed;
        write_escaped(buffer_view(&compact), out);
        buffer_deinit(&compact);
        break;
    }
    default:
        buffer_span(out, value->text);
    }
}

static void write_text(const struct piece *piece, struct buffer *out) {
    switch (piece->kind) {
    case PIECE_NULL:
        break;
    case PIECE_JSON:
        write_json_text(&piece->json, out);
        break;
    case PIECE_TEXT:
        write_escaped(piece->text, out);
        break;
    case PIECE_PLAIN:
        buffer_span(out, piece->text);
        break;
    case PIECE_INT:
        buffer_int(out, piece->number);
        break;
    case PIECE_TIME:
        clock_format_iso(piece->number, out);
        break;
    }
}

void format_render(const struct format *format, const struct format_input *input, struct buffer *out) {
    for (size_t i = 0; i < format->segment_count; i++) {
        const struct segment *segment = &format->segments[i];
        if (segment->kind == SEGMENT_LITERAL) {
            buffer_append(out, format->text + segment->at, segment->len);
            continue;
        }
        struct piece piece = piece_of(format, segment, input);
        if (segment->kind == SEGMENT_VALUE) {
            write_value(&piece, out);
        } else {
            write_text(&piece, out);
        }
    }
}
