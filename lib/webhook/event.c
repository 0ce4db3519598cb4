/* A record becomes an event in three steps. A form (native here, CloudEvents in event_cloudevents.c) collects the
 * members that matter as spans of the borrowed record; settle() decides what they mean, one rule a member, the same for
 * every form; pack() copies the record and what had to be made into one allocation and moves the spans there. What is
 * rejected is never copied. */
#include "webhook/event_private.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/memory.h"

#include <stdio.h>

/* The years 0001 to 9999, which is what ISO 8601 can say. */
#define TIME_MIN_MS (-62135596800000LL)
#define TIME_MAX_MS 253402300799999LL
#define TIME_TEXT_MAX 64
#define TOPIC_MAX 249 /* Kafka's own limit */
#define DELIVER_AT_MAX_DAYS 366
#define DAY_MS (24 * 3600 * 1000LL)

/* id, workspace and type unescaped (each at most 6 bytes of escape for one of text), a workspace quoted from the
 * record's key, a made id and webhook-id. */
#define SCRATCH_BYTES 8192

bool event_reject(struct event_draft *draft, const char *code, const char *format, ...) {
    char text[sizeof(draft->rejection->reason.text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    draft->rejection->code = code;
    (void)!error_set(&draft->rejection->reason, STATUS_INVALID, "%s", text);
    return false;
}

struct buffer *event_scratch(struct event_draft *draft) {
    struct buffer *scratch = &draft->scratch;
    if (scratch->max_bytes == 0) {
        /* Each header once in the column and once as a member, each of its bytes as an escape of six; data that is
         * text. */
        size_t max = SCRATCH_BYTES + 12 * draft->header_bytes + 6 * draft->record->value.len;
        buffer_init(scratch, max);
        CHECK(buffer_grow(scratch, max));
        buffer_reset(scratch);
    }
    return scratch;
}

struct span event_scratch_since(const struct event_draft *draft, size_t start) {
    return (struct span){draft->scratch.data + start, draft->scratch.len - start};
}

struct json_value event_quoted(struct event_draft *draft, struct span text) {
    struct buffer *scratch = event_scratch(draft);
    size_t start = scratch->len;
    json_quote(text, scratch);
    struct span quoted = event_scratch_since(draft, start);
    return (struct json_value){
        .type = JSON_STRING, .compact = true, .escaped = quoted.len != text.len + 2, .text = quoted};
}

/* What a JSON string means, if that may fit into max bytes; SPAN_NONE: it can't. */
static struct span text_of(struct event_draft *draft, const struct json_value *value, size_t max) {
    if (!value->escaped) {
        return (struct span){value->text.data + 1, value->text.len - 2};
    }
    if (value->text.len - 2 > 6 * max) {
        return SPAN_NONE;
    }
    struct buffer *scratch = event_scratch(draft);
    size_t start = scratch->len;
    json_unescape(value->text, scratch);
    return event_scratch_since(draft, start);
}

/* --- The native form --- */

static bool name_is(struct span name, const char *wanted) {
    return memcmp(name.data, wanted, name.len) == 0;
}

static bool recognise_native(struct span name, enum event_member *ret_member) {
    const char *wanted;
    switch (name.len) {
    case 2:
        wanted = "id";
        *ret_member = MEMBER_ID;
        break;
    case 7:
        wanted = "payload";
        *ret_member = MEMBER_PAYLOAD;
        break;
    case 10:
        wanted = name.data[0] == 'e' ? "event_type" : "deliver_at";
        *ret_member = name.data[0] == 'e' ? MEMBER_TYPE : MEMBER_DELIVER_AT;
        break;
    case 11:
        wanted = "occurred_at";
        *ret_member = MEMBER_OCCURRED_AT;
        break;
    case 12:
        wanted = name.data[0] == 'e' ? "event_source" : "workspace_id";
        *ret_member = name.data[0] == 'e' ? MEMBER_SOURCE : MEMBER_WORKSPACE;
        break;
    case 14:
        wanted = "workspace_name";
        *ret_member = MEMBER_WORKSPACE_NAME;
        break;
    case 18:
        wanted = "event_triggered_by";
        *ret_member = MEMBER_TRIGGERED_BY;
        break;
    default:
        return false;
    }
    return name_is(name, wanted);
}

static const struct event_form NATIVE = {
    .names = {[MEMBER_ID] = "id",
              [MEMBER_WORKSPACE] = "workspace_id",
              [MEMBER_WORKSPACE_NAME] = "workspace_name",
              [MEMBER_TYPE] = "event_type",
              [MEMBER_SOURCE] = "event_source",
              [MEMBER_TRIGGERED_BY] = "event_triggered_by",
              [MEMBER_OCCURRED_AT] = "occurred_at",
              [MEMBER_DELIVER_AT] = "deliver_at",
              [MEMBER_PAYLOAD] = "payload"},
    .recognise = recognise_native,
};

/* --- Scanning --- */

#define NAME_MAX_ESCAPED 128 /* six bytes for each of the longest name's eighteen, at most */

static bool on_member(void *ctx, const struct json_member *member) {
    struct event_draft *draft = ctx;
    enum event_member which;
    bool known;
    if (!member->name_escaped) {
        known = draft->form->recognise(member->name, &which);
    } else if (member->name.len > NAME_MAX_ESCAPED) {
        known = false;
    } else {
        struct buffer name;
        buffer_init(&name, NAME_MAX_ESCAPED);
        json_unescape(member->name, &name);
        known = draft->form->recognise(buffer_view(&name), &which);
        buffer_deinit(&name);
    }
    if (known) {
        draft->members[which] = member->value;
    }
    return true;
}

struct span event_json_of(struct span value) {
    if (value.len > 5 && value.data[0] == '\0') {
        return (struct span){value.data + 5, value.len - 5};
    }
    return value;
}

bool event_reject_value(struct event_draft *draft, const struct error *error) {
    struct span value = draft->record->value;
    bool framed = value.len > 5 && value.data[0] == '\0';
    if (framed || (value.len >= 4 && memcmp(value.data, "Obj\1", 4) == 0)) {
        return event_reject(draft, "avro_or_protobuf",
                            "value: no JSON %s; Avro and Protobuf are not read, only JSON is (%s)",
                            framed ? "after a schema id" : "but an Avro file", error->text);
    }
    return event_reject(draft, "bad_json", "value: %s", error->text);
}

bool event_scan_object(struct event_draft *draft) {
    struct json_value value;
    struct error error = {""};
    if (json_scan(event_json_of(draft->record->value), on_member, draft, &value, &error) != STATUS_OK) {
        return event_reject_value(draft, &error);
    }
    if (value.type != JSON_OBJECT) {
        static const char *const names[] = {
            [JSON_NULL] = "null",       [JSON_FALSE] = "false",     [JSON_TRUE] = "true",
            [JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
            [JSON_OBJECT] = "an object"};
        return event_reject(draft, "not_an_object", "value: expected a JSON object, found %s", names[value.type]);
    }
    return true;
}

/* --- What the members mean --- */

static bool is_integer(const struct json_value *value) {
    if (value->type != JSON_NUMBER) {
        return false;
    }
    for (size_t i = 0; i < value->text.len; i++) {
        char c = value->text.data[i];
        if (c == '.' || c == 'e' || c == 'E') {
            return false;
        }
    }
    return true;
}

/* A string or an integer, kept as written and as text. */
static bool take_name(struct event_draft *draft, enum event_member member, struct span *ret_json,
                      struct span *ret_text) {
    const struct json_value *value = &draft->members[member];
    const char *field = draft->form->names[member];
    struct span text;
    if (value->type == JSON_STRING) {
        text = text_of(draft, value, EVENT_ID_MAX);
    } else if (is_integer(value)) {
        text = value->text;
    } else {
        return event_reject(draft, "bad_field", "%s: expected a string or an integer", field);
    }
    if (!text.data || text.len == 0 || text.len > EVENT_ID_MAX) {
        return event_reject(draft, "bad_field", "%s: expected 1 to %d bytes", field, EVENT_ID_MAX);
    }
    if (value->escaped && memchr(text.data, '\0', text.len)) {
        return event_reject(draft, "bad_field", "%s: expected text without NUL", field);
    }
    *ret_json = value->text;
    *ret_text = text;
    return true;
}

static bool take_string(struct event_draft *draft, enum event_member member, struct span *ret_json) {
    if (!event_has(draft, member)) {
        return true;
    }
    if (draft->members[member].type != JSON_STRING) {
        return event_reject(draft, "bad_field", "%s: expected a string", draft->form->names[member]);
    }
    *ret_json = draft->members[member].text;
    return true;
}

static bool take_time(struct event_draft *draft, enum event_member member, int64_t *ret_ms) {
    if (!event_has(draft, member)) {
        return true;
    }
    const struct json_value *value = &draft->members[member];
    int64_t ms = 0;
    enum status status = STATUS_INVALID;
    if (value->type == JSON_NUMBER) {
        status = json_int64(value->text, &ms);
    } else if (value->type == JSON_STRING) {
        struct span text = text_of(draft, value, TIME_TEXT_MAX);
        status = text.data ? clock_parse_iso(text, &ms, NULL) : STATUS_INVALID;
    }
    if (status != STATUS_OK || ms < TIME_MIN_MS || ms > TIME_MAX_MS) {
        return event_reject(draft, "bad_field", "%s: expected integer milliseconds since 1970, or ISO 8601",
                            draft->form->names[member]);
    }
    *ret_ms = ms;
    return true;
}

/* Measured from the record's timestamp, so that a record means the same at each reading. What is past by the time that
 * it is taken is sent at once; who takes it sees that. */
static bool take_deliver_at(struct event_draft *draft, int64_t *ret_ms) {
    int64_t ms = 0, timestamp_ms = draft->event.timestamp_ms;
    if (!take_time(draft, MEMBER_DELIVER_AT, &ms)) {
        return false;
    }
    if (timestamp_ms > 0 && ms > timestamp_ms && ms - timestamp_ms > DELIVER_AT_MAX_DAYS * DAY_MS) {
        return event_reject(draft, "bad_field", "%s: is more than %d days after the record's timestamp",
                            draft->form->names[MEMBER_DELIVER_AT], DELIVER_AT_MAX_DAYS);
    }
    *ret_ms = ms > 0 ? ms : 0;
    return true;
}

static bool in_type_alphabet(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool is_type(struct span text) {
    if (text.len == 0 || text.len > EVENT_TYPE_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!in_type_alphabet(text.data[i]) && text.data[i] != '.') {
            return false;
        }
    }
    return true;
}

static bool settle_type(struct event_draft *draft, const struct event_rules *rules) {
    struct span topic = draft->record->topic;
    bool topic_names_it = span_has_prefix(topic, rules->topic_prefix);
    const char *field = draft->form->names[MEMBER_TYPE];
    struct span named = SPAN_NONE;
    if (topic.len > TOPIC_MAX) {
        return event_reject(draft, "bad_type", "topic: longer than %d bytes", TOPIC_MAX);
    }
    if (event_has(draft, MEMBER_TYPE)) {
        const struct json_value *value = &draft->members[MEMBER_TYPE];
        if (value->type != JSON_STRING) {
            return event_reject(draft, "bad_field", "%s: expected a string", field);
        }
        named = text_of(draft, value, EVENT_TYPE_MAX);
        if (!named.data || !is_type(named)) {
            return event_reject(draft, "bad_type", "%s: expected 1 to %d of A-Z a-z 0-9 _ . -", field, EVENT_TYPE_MAX);
        }
    }
    if (!topic_names_it) {
        draft->event.event_type = named;
        return named.data ||
               event_reject(draft, "bad_type", "%s: is missing, and the topic does not name the type", field);
    }
    size_t prefix = rules->topic_prefix.len;
    struct span type = {topic.data + prefix, topic.len - prefix};
    if (!is_type(type)) {
        return event_reject(draft, "bad_type", "topic: expected 1 to %d of A-Z a-z 0-9 _ . - after the prefix",
                            EVENT_TYPE_MAX);
    }
    if (named.data && !span_equal(named, type)) {
        return event_reject(draft, "type_mismatch", "%s: %.*s on the topic of %.*s", field, SPAN_ARGS(named),
                            SPAN_ARGS(type));
    }
    draft->event.event_type = type;
    return true;
}

static bool is_workspace_key(struct span key) {
    return key.data && key.len && key.len <= EVENT_ID_MAX && utf8_valid_prefix(key) == key.len &&
           !memchr(key.data, '\0', key.len);
}

static bool settle_workspace(struct event_draft *draft) {
    struct event *event = &draft->event;
    if (!event_has(draft, MEMBER_WORKSPACE)) {
        if (is_workspace_key(draft->record->key)) {
            draft->members[MEMBER_WORKSPACE] = event_quoted(draft, draft->record->key);
        } else if (event_has(draft, MEMBER_SUBJECT)) {
            return take_name(draft, MEMBER_SUBJECT, &event->workspace_json, &event->workspace_id);
        } else {
            return event_reject(draft, "no_workspace",
                                "%s: is missing, and the record's key is not 1 to %d bytes of UTF-8 text",
                                draft->form->names[MEMBER_WORKSPACE], EVENT_ID_MAX);
        }
    }
    return take_name(draft, MEMBER_WORKSPACE, &event->workspace_json, &event->workspace_id);
}

/* For a rejected record. Of a value that is not JSON nothing counts: a later member might have said otherwise. */
static void tell_workspace(struct event_draft *draft) {
    struct event_rejection *rejection = draft->rejection, why = *rejection;
    struct span *workspace = &draft->event.workspace_id;
    if (!workspace->data && strcmp(why.code, "bad_json") == 0 && !event_is_binary(draft)) {
        draft->members[MEMBER_WORKSPACE] = draft->members[MEMBER_SUBJECT] = (struct json_value){.type = JSON_NULL};
    }
    bool known = workspace->data || (settle_workspace(draft) && !draft->scratch.overflowed);
    *rejection = why;
    rejection->workspace_id[0] = '\0';
    if (known && workspace->len <= EVENT_ID_MAX) {
        memcpy(rejection->workspace_id, workspace->data, workspace->len);
        rejection->workspace_id[workspace->len] = '\0';
    }
}

static struct span made_id(struct event_draft *draft, struct span hashed) {
    struct buffer *scratch = event_scratch(draft);
    size_t start = scratch->len;
    buffer_text(scratch, "evt_");
    hex_encode(hashed, scratch);
    return event_scratch_since(draft, start);
}

static bool settle_id(struct event_draft *draft) {
    struct event *event = &draft->event;
    if (!event_has(draft, MEMBER_ID)) {
        event->id = made_id(draft, (struct span){(const char *)event->key.bytes, sizeof(event->key.bytes)});
        event->id_json = event_quoted(draft, event->id).text;
        return true;
    }
    return take_name(draft, MEMBER_ID, &event->id_json, &event->id);
}

static void settle_webhook_id(struct event_draft *draft) {
    struct event *event = &draft->event;
    size_t i = 0;
    while (i < event->id.len && i <= 64 && in_type_alphabet(event->id.data[i])) {
        i++;
    }
    if (i == event->id.len && i <= 64) {
        event->webhook_id = event->id;
        return;
    }
    char text[2 * EVENT_ID_MAX + 1];
    size_t len = event->workspace_id.len;
    memcpy(text, event->workspace_id.data, len);
    text[len++] = '\0';
    memcpy(text + len, event->id.data, event->id.len);
    len += event->id.len;
    uint8_t hash[SHA256_BYTES];
    crypto_sha256((struct span){text, len}, hash);
    event->webhook_id = made_id(draft, (struct span){(const char *)hash, 16});
}

static bool settle(struct event_draft *draft, const struct event_rules *rules) {
    struct event *event = &draft->event;
    event->payload = draft->members[MEMBER_PAYLOAD];
    event->occurred_at_ms = event->timestamp_ms > TIME_MAX_MS ? TIME_MAX_MS : event->timestamp_ms;
    if (!settle_type(draft, rules) || !settle_workspace(draft)) {
        return false;
    }
    event->key = id_event_key(draft->record->topic, event->partition, event->offset, event->timestamp_ms);
    if (!settle_id(draft) || !take_string(draft, MEMBER_WORKSPACE_NAME, &event->workspace_name_json) ||
        !take_string(draft, MEMBER_SOURCE, &event->event_source_json) ||
        !take_string(draft, MEMBER_TRIGGERED_BY, &event->triggered_by_json) ||
        !take_time(draft, MEMBER_OCCURRED_AT, &event->occurred_at_ms) ||
        !take_deliver_at(draft, &event->deliver_at_ms)) {
        return false;
    }
    settle_webhook_id(draft);
    return true;
}

/* --- Packing --- */

struct move {
    struct span from;
    char *to;
};

static char *copy_to(struct move *move, struct span from, char *to) {
    *move = (struct move){from, to};
    if (from.len) {
        memcpy(to, from.data, from.len);
    }
    return to + from.len;
}

/* A span of no copied run is a constant, and stays. */
static void move_span(struct span *span, const struct move *moves, size_t count) {
    uintptr_t at = (uintptr_t)span->data;
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = (uintptr_t)moves[i].from.data;
        if (span->len && at >= from && at < from + moves[i].from.len) {
            span->data = moves[i].to + (at - from);
            return;
        }
    }
    if (span->data && span->len == 0) {
        span->data = "";
    }
}

static struct event *pack(const struct event_draft *draft) {
    const struct event_record *record = draft->record;
    struct span scratch = buffer_view(&draft->scratch);
    size_t size = sizeof(struct event) + record->topic.len + record->key.len + record->value.len + scratch.len;
    struct event *event = mem_alloc(size);
    *event = draft->event;
    event->topic = record->topic;
    event->record_key = record->key;
    event->value = record->value;
    event->footprint_bytes = size;
    atomic_init(&event->refs, 1);

    struct move moves[4];
    char *to = (char *)(event + 1);
    to = copy_to(&moves[0], record->value, to);
    to = copy_to(&moves[1], record->topic, to);
    to = copy_to(&moves[2], scratch, to);
    copy_to(&moves[3], record->key, to);
    struct span *spans[] = {&event->topic,          &event->record_key,        &event->value,
                            &event->headers,        &event->id_json,           &event->id,
                            &event->workspace_json, &event->workspace_id,      &event->workspace_name_json,
                            &event->event_type,     &event->event_source_json, &event->triggered_by_json,
                            &event->payload.text,   &event->webhook_id,        &event->traceparent,
                            &event->tracestate};
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        move_span(spans[i], moves, sizeof(moves) / sizeof(moves[0]));
    }
    return event;
}

static bool read_members(struct event_draft *draft) {
    if (event_is_structured(draft)) {
        return event_read_structured(draft);
    }
    if (event_is_binary(draft)) {
        return event_read_binary(draft);
    }
    return event_scan_object(draft);
}

enum event_verdict event_read(const struct event_record *record, const struct event_rules *rules,
                              struct event **ret_event, struct event_rejection *ret_rejection) {
    if (!record->value.data) {
        return EVENT_SKIPPED;
    }
    struct event_draft draft = {.record = record, .form = &NATIVE, .rejection = ret_rejection};
    draft.event.partition = record->partition;
    draft.event.offset = record->offset;
    draft.event.timestamp_ms = record->timestamp_ms < 0 ? 0 : record->timestamp_ms;
    event_headers_find(&draft);
    bool accepted = read_members(&draft) && settle(&draft, rules);
    if (accepted) {
        event_headers_write(&draft);
        CHECK(!draft.scratch.overflowed);
        *ret_event = pack(&draft);
    } else {
        tell_workspace(&draft);
    }
    if (draft.scratch.max_bytes) {
        buffer_deinit(&draft.scratch);
    }
    return accepted ? EVENT_ACCEPTED : EVENT_REJECTED;
}

struct event *event_ref(struct event *event) {
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    return event;
}

void event_unref(struct event **event) {
    struct event *gone = *event;
    *event = NULL;
    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < gone->member_count; i++) {
            event_unref(&gone->members[i]);
        }
        mem_free(gone->members);
        mem_free(gone);
    }
}
