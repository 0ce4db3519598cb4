/* CloudEvents 1.0 as its Kafka protocol binding puts them into a record: structured (the value is a JSON envelope, told
 * by its content type) and binary (attributes are headers, the value is the data). Both only collect members; what they
 * mean is decided with the native form's, in event.c. */
#include "webhook/event_private.h"

#include <strings.h>

#define STRUCTURED_PREFIX "application/cloudevents"

/* The media type without its parameters. */
static struct span media_type(struct span content_type) {
    const char *semicolon = content_type.len ? memchr(content_type.data, ';', content_type.len) : NULL;
    struct span type = content_type;
    if (semicolon) {
        type.len = (size_t)(semicolon - type.data);
    }
    while (type.len && (type.data[0] == ' ' || type.data[0] == '\t')) {
        type.data++;
        type.len--;
    }
    while (type.len && (type.data[type.len - 1] == ' ' || type.data[type.len - 1] == '\t')) {
        type.len--;
    }
    return type;
}

static bool ends_in(struct span text, const char *suffix) {
    size_t len = strlen(suffix);
    return text.len >= len && strncasecmp(text.data + text.len - len, suffix, len) == 0;
}

static bool is_media_type(struct span type, const char *name) {
    return type.len == strlen(name) && strncasecmp(type.data, name, type.len) == 0;
}

static bool is_json_type(struct span type) {
    return type.len == 0 || is_media_type(type, "application/json") || is_media_type(type, "text/json") ||
           ends_in(type, "+json");
}

static bool is_avro_or_protobuf_type(struct span type) {
    return ends_in(type, "avro") || ends_in(type, "protobuf") || is_media_type(type, "avro/binary");
}

bool event_is_structured(const struct event_draft *draft) {
    struct span type = media_type(draft->headers[HEADER_CONTENT_TYPE]);
    size_t len = sizeof(STRUCTURED_PREFIX) - 1;
    return type.len >= len && strncasecmp(type.data, STRUCTURED_PREFIX, len) == 0;
}

bool event_is_binary(const struct event_draft *draft) {
    return draft->headers[HEADER_SPECVERSION].data || draft->headers[HEADER_ID].data ||
           draft->headers[HEADER_TYPE].data;
}

static bool recognise_attribute(struct span name, enum event_member *ret_member) {
    static const struct {
        struct span name;
        enum event_member member;
    } attributes[] = {
        {{"id", 2}, MEMBER_ID},
        {{"data", 4}, MEMBER_PAYLOAD},
        {{"time", 4}, MEMBER_OCCURRED_AT},
        {{"type", 4}, MEMBER_TYPE},
        {{"source", 6}, MEMBER_SOURCE},
        {{"subject", 7}, MEMBER_SUBJECT},
        {{"data_base64", 11}, MEMBER_PAYLOAD_BASE64},
        {{"specversion", 11}, MEMBER_SPECVERSION},
        {{"workspaceid", 11}, MEMBER_WORKSPACE},
    };
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        if (span_equal(name, attributes[i].name)) {
            *ret_member = attributes[i].member;
            return true;
        }
    }
    return false;
}

static const struct event_form STRUCTURED = {
    .names = {[MEMBER_ID] = "id",
              [MEMBER_WORKSPACE] = "workspaceid",
              [MEMBER_TYPE] = "type",
              [MEMBER_SOURCE] = "source",
              [MEMBER_OCCURRED_AT] = "time",
              [MEMBER_PAYLOAD] = "data",
              [MEMBER_PAYLOAD_BASE64] = "data_base64",
              [MEMBER_SPECVERSION] = "specversion",
              [MEMBER_SUBJECT] = "subject"},
    .recognise = recognise_attribute,
};

static const struct event_form BINARY = {
    .names = {[MEMBER_ID] = "ce_id",
              [MEMBER_WORKSPACE] = "ce_workspaceid",
              [MEMBER_TYPE] = "ce_type",
              [MEMBER_SOURCE] = "ce_source",
              [MEMBER_OCCURRED_AT] = "ce_time",
              [MEMBER_SPECVERSION] = "ce_specversion",
              [MEMBER_SUBJECT] = "ce_subject"},
};

static bool check_specversion(struct event_draft *draft) {
    const struct json_value *version = &draft->members[MEMBER_SPECVERSION];
    struct span major = SPAN_LITERAL("\"1.");
    if (version->type != JSON_STRING || !span_has_prefix(version->text, major)) {
        return event_reject(draft, "bad_field", "%s: expected \"1.0\"", draft->form->names[MEMBER_SPECVERSION]);
    }
    return true;
}

static bool check_required(struct event_draft *draft) {
    static const enum event_member required[] = {MEMBER_ID, MEMBER_SOURCE, MEMBER_TYPE};
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (!event_has(draft, required[i])) {
            return event_reject(draft, "bad_field", "%s: is missing, and CloudEvents 1.0 requires it",
                                draft->form->names[required[i]]);
        }
    }
    return true;
}

bool event_read_structured(struct event_draft *draft) {
    struct span type = media_type(draft->headers[HEADER_CONTENT_TYPE]);
    if (is_avro_or_protobuf_type(type)) {
        return event_reject(draft, "avro_or_protobuf",
                            "content-type: CloudEvents in Avro or Protobuf are not read; expected " STRUCTURED_PREFIX
                            "+json");
    }
    if (!is_media_type(type, STRUCTURED_PREFIX "+json") && !is_media_type(type, STRUCTURED_PREFIX)) {
        return event_reject(draft, "bad_content_type",
                            "content-type: expected " STRUCTURED_PREFIX "+json, one event a record");
    }
    draft->form = &STRUCTURED;
    if (!event_scan_object(draft) || !check_specversion(draft) || !check_required(draft)) {
        return false;
    }
    if (!draft->members[MEMBER_PAYLOAD].text.data && event_has(draft, MEMBER_PAYLOAD_BASE64)) {
        if (draft->members[MEMBER_PAYLOAD_BASE64].type != JSON_STRING) {
            return event_reject(draft, "bad_field", "data_base64: expected a string");
        }
        draft->members[MEMBER_PAYLOAD] = draft->members[MEMBER_PAYLOAD_BASE64];
    }
    return true;
}

/* Data that is JSON is the payload as it is; other text becomes a JSON string. */
static bool read_binary_data(struct event_draft *draft) {
    struct span value = draft->record->value;
    struct span type = media_type(draft->headers[HEADER_CONTENT_TYPE]);
    if (value.len == 0) {
        return true;
    }
    if (is_avro_or_protobuf_type(type)) {
        return event_reject(draft, "avro_or_protobuf",
                            "content-type: Avro and Protobuf are not read; expected JSON or text");
    }
    if (is_json_type(type) || value.data[0] == '\0') {
        struct error error;
        if (json_scan(event_json_of(value), NULL, NULL, &draft->members[MEMBER_PAYLOAD], &error) != STATUS_OK) {
            return event_reject_value(draft, &error);
        }
        return true;
    }
    size_t valid = utf8_valid_prefix(value);
    if (valid < value.len) {
        return event_reject(draft, "bad_data", "value: byte %zu is not UTF-8, and data that is not JSON must be text",
                            valid);
    }
    draft->members[MEMBER_PAYLOAD] = event_quoted(draft, value);
    return true;
}

bool event_read_binary(struct event_draft *draft) {
    static const enum event_member members[HEADER_KIND_COUNT] = {
        [HEADER_SPECVERSION] = MEMBER_SPECVERSION,
        [HEADER_ID] = MEMBER_ID,
        [HEADER_TYPE] = MEMBER_TYPE,
        [HEADER_SOURCE] = MEMBER_SOURCE,
        [HEADER_TIME] = MEMBER_OCCURRED_AT,
        [HEADER_SUBJECT] = MEMBER_SUBJECT,
        [HEADER_WORKSPACE] = MEMBER_WORKSPACE,
    };
    draft->form = &BINARY;
    for (int kind = HEADER_FIRST_ATTRIBUTE; kind <= HEADER_LAST_ATTRIBUTE; kind++) {
        struct span value = draft->headers[kind];
        if (!value.data) {
            continue;
        }
        if (utf8_valid_prefix(value) < value.len || (value.len && memchr(value.data, '\0', value.len))) {
            return event_reject(draft, "bad_field", "%s: expected UTF-8 text without NUL", event_header_name(kind));
        }
        draft->members[members[kind]] = event_quoted(draft, value);
    }
    /* Who sends only some of the headers has said nothing of another version. */
    if (event_has(draft, MEMBER_SPECVERSION) && !check_specversion(draft)) {
        return false;
    }
    return check_required(draft) && read_binary_data(draft);
}
