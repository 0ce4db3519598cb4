/* Conditions are evaluated along the jumps that the compiler has laid: each says where to go when it holds and where
 * when it does not, so `all`, `any` and `not` cost nothing, and what can't matter any more is not looked at. The first
 * condition on the payload has it read: along the tree of the paths, past everything else. */
#include "webhook/filter_private.h"

#include "base/memory.h"

struct evaluation {
    const struct event *event;
    struct json_reader reader;
    uint32_t fields_read; /* bit: enum filter_field */
    bool payload_read;
    struct datum data[DATA_MAX]; /* those that were read */
};

struct filter *filter_ref(struct filter *filter) {
    atomic_fetch_add_explicit(&filter->refs, 1, memory_order_relaxed);
    return filter;
}

void filter_unref(struct filter **filter) {
    struct filter *gone = *filter;
    *filter = NULL;
    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(gone);
    }
}

size_t filter_footprint_bytes(const struct filter *filter) {
    return filter->footprint_bytes;
}

int filter_text_order(struct span a, struct span b) {
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return a.len ? memcmp(a.data, b.data, a.len) : 0;
}

/* --- Reading the event --- */

static struct datum datum_of(const struct json_value *value) {
    static const enum datum_kind KINDS[] = {
        [JSON_NULL] = DATUM_NULL,       [JSON_FALSE] = DATUM_FALSE,   [JSON_TRUE] = DATUM_TRUE,
        [JSON_NUMBER] = DATUM_NUMBER,   [JSON_STRING] = DATUM_STRING, [JSON_ARRAY] = DATUM_CONTAINER,
        [JSON_OBJECT] = DATUM_CONTAINER};
    struct datum datum = {.kind = KINDS[value->type], .escaped = value->escaped, .text = value->text};
    if (datum.kind == DATUM_STRING) {
        datum.text = (struct span){value->text.data + 1, value->text.len - 2};
    }
    return datum;
}

static struct datum datum_of_json(struct span json) {
    if (!json.data) {
        return (struct datum){.kind = DATUM_MISSING};
    }
    struct json_reader reader;
    json_reader_init(&reader, json);
    struct json_value value = json_reader_value(&reader);
    return datum_of(&value);
}

static struct datum datum_of_field(const struct event *event, enum filter_field field) {
    switch (field) {
    case FIELD_ID:
        return datum_of_json(event->id_json);
    case FIELD_WORKSPACE_ID:
        return datum_of_json(event->workspace_json);
    case FIELD_WORKSPACE_NAME:
        return datum_of_json(event->workspace_name_json);
    case FIELD_EVENT_TYPE:
        return (struct datum){.kind = DATUM_STRING, .text = event->event_type};
    case FIELD_EVENT_SOURCE:
        return datum_of_json(event->event_source_json);
    case FIELD_TRIGGERED_BY:
        return datum_of_json(event->triggered_by_json);
    case FIELD_OCCURRED_AT:
        return (struct datum){.kind = DATUM_INTEGER, .integer = event->occurred_at_ms};
    case FIELD_COUNT:
        break;
    }
    return (struct datum){.kind = DATUM_MISSING};
}

/* name against the child's, in the children's order. */
static int name_order(struct span name, bool escaped, size_t len, const struct filter_node *child) {
    if (len != child->name.len) {
        return len < child->name.len ? -1 : 1;
    }
    return escaped ? json_text_compare(name, child->name) : filter_text_order(name, child->name);
}

/* NULL: the member is of no interest. */
static const struct filter_node *find_child(const struct filter_node *node, struct span name, bool escaped) {
    size_t len = escaped ? json_text_len(name) : name.len;
    if (!(node->child_lengths >> (len % 64) & 1)) {
        return NULL;
    }
    size_t low = 0, high = node->child_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = name_order(name, escaped, len, &node->children[middle]);
        if (order == 0) {
            return &node->children[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static void read_place(struct evaluation *evaluation, const struct filter_node *node);

static void read_members(struct evaluation *evaluation, const struct filter_node *node) {
    struct json_reader *reader = &evaluation->reader;
    struct span name;
    bool escaped;
    while (json_reader_member(reader, &name, &escaped)) {
        const struct filter_node *child = find_child(node, name, escaped);
        if (child) {
            read_place(evaluation, child);
        } else {
            (void)json_reader_value(reader);
        }
    }
}

static void read_elements(struct evaluation *evaluation, const struct filter_node *node) {
    struct json_reader *reader = &evaluation->reader;
    const struct filter_node *child = node->children, *end = child + node->child_count;
    for (uint32_t i = 0; json_reader_element(reader); i++) {
        while (child < end && (child->index == NODE_NO_INDEX || child->index < i)) {
            child++;
        }
        if (child == end) {
            json_reader_leave(reader);
            return;
        }
        if (child->index == i) {
            read_place(evaluation, child);
        } else {
            (void)json_reader_value(reader);
        }
    }
}

/* The reader stands before the place's value. Recursion goes no deeper than the longest path. */
static void read_place(struct evaluation *evaluation, const struct filter_node *node) {
    /* What an earlier member of this name left is void. */
    memset(&evaluation->data[node->data_begin], 0,
           (size_t)(node->data_end - node->data_begin) * sizeof(evaluation->data[0]));
    enum json_type type = json_reader_type(&evaluation->reader);
    bool enter = node->child_count && (type == JSON_OBJECT || type == JSON_ARRAY);
    if (enter && type == JSON_OBJECT) {
        read_members(evaluation, node);
    } else if (enter) {
        read_elements(evaluation, node);
    } else {
        struct json_value value = json_reader_value(&evaluation->reader);
        if (node->wanted) {
            evaluation->data[node->data_begin] = datum_of(&value);
        }
        return;
    }
    if (node->wanted) {
        evaluation->data[node->data_begin].kind = DATUM_CONTAINER;
    }
}

static void read_payload(struct evaluation *evaluation, const struct filter_node *payload) {
    struct span text = evaluation->event->payload.text;
    if (!text.data) {
        memset(&evaluation->data[payload->data_begin], 0,
               (size_t)(payload->data_end - payload->data_begin) * sizeof(evaluation->data[0]));
        return;
    }
    json_reader_init(&evaluation->reader, text);
    read_place(evaluation, payload);
}

static struct datum *look_at(struct evaluation *evaluation, const struct filter *filter, uint16_t index) {
    if (index >= FIELD_COUNT) {
        if (!evaluation->payload_read) {
            evaluation->payload_read = true;
            read_payload(evaluation, filter->payload);
        }
    } else if (!(evaluation->fields_read >> index & 1)) {
        evaluation->fields_read |= 1U << index;
        evaluation->data[index] = datum_of_field(evaluation->event, (enum filter_field)index);
    }
    return &evaluation->data[index];
}

bool filter_takes(const struct filter *filter, const struct event *event) {
    struct evaluation evaluation;
    evaluation.event = event;
    evaluation.fields_read = 0;
    evaluation.payload_read = false;
    uint16_t at = filter->entry;
    while (at < FILTER_REFUSE) {
        const struct filter_condition *condition = &filter->conditions[at];
        struct datum *datum = look_at(&evaluation, filter, condition->datum);
        at = filter_holds(condition, datum) ? condition->then : condition->otherwise;
    }
    return at == FILTER_TAKE;
}
