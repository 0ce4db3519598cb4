#include "api/log_bodies.h"
#include "base/memory.h"
#include "store/log_bodies.h"
#include "store/test_sends.h"
#include "webhook/batch.h"
#include "webhook/rendering.h"
#include "webhook/subscription.h"
#include <stdlib.h>

#define BODY_MAX_BYTES (8 * 1024 * 1024)
#define HEADERS_MAX_BYTES (64 * 1024)
#define VERSIONS_KEPT 256
#define NEAR_US (INT64_C(24) * 3600 * 1000000)

/* A render version that was used already. */
struct version {
    int64_t id;
    struct format *format; /* NULL: it can't be read */
    struct rendering rendering;
    char *texts[3];
};

/* Found events, in the order of their keys. They point into the results. */
struct found {
    struct result *rows[2];
    struct log_event *events;
    size_t count;
};

struct log_bodies {
    struct event_rules rules;
    struct version versions[VERSIONS_KEPT];
    size_t version_count;
    struct found found;
    struct result *tests; /* their bodies */
    struct buffer body, headers;
};

struct log_bodies *log_bodies_new(const struct settings *settings) {
    struct log_bodies *bodies = mem_calloc(1, sizeof(*bodies));
    bodies->rules.topic_prefix = span_of(settings->topic_prefix);
    buffer_init(&bodies->body, BODY_MAX_BYTES);
    buffer_init(&bodies->headers, HEADERS_MAX_BYTES);
    return bodies;
}

static void forget_versions(struct log_bodies *bodies) {
    for (size_t i = 0; i < bodies->version_count; i++) {
        struct version *version = &bodies->versions[i];
        if (version->format)
            format_unref(&version->format);
        for (size_t t = 0; t < 3; t++)
            mem_free(version->texts[t]);
    }
    bodies->version_count = 0;
}

static void forget_found(struct found *found) {
    for (size_t i = 0; i < 2; i++)
        result_free(&found->rows[i]);
    mem_free(found->events);
    *found = (struct found){.count = 0};
}

void log_bodies_free(struct log_bodies **bodies_ptr) {
    struct log_bodies *bodies = *bodies_ptr;
    *bodies_ptr = NULL;
    if (!bodies)
        return;
    forget_versions(bodies);
    forget_found(&bodies->found);
    result_free(&bodies->tests);
    buffer_deinit(&bodies->body);
    buffer_deinit(&bodies->headers);
    mem_free(bodies);
}

/* ---- versions ---- */

static int style_of(struct span name) {
    if (span_is(name, "hex"))
        return SIGNATURE_HEX;
    if (span_is(name, "both"))
        return SIGNATURE_BOTH;
    return span_is(name, "none") ? SIGNATURE_NONE : SIGNATURE_STANDARD;
}

static struct span keep(char **kept, struct span text) {
    if (!text.data)
        return SPAN_NONE;
    *kept = mem_strndup(text.data, text.len);
    return (struct span){*kept, text.len};
}

static void add_version(struct log_bodies *bodies, const struct log_version *row) {
    struct version *version = &bodies->versions[bodies->version_count++];
    struct error ignored;
    *version = (struct version){.id = row->id};
    if (span_is(row->format, "custom")) {
        if (format_compile(row->template, &version->format, &ignored) != STATUS_OK)
            version->format = NULL;
    } else {
        version->format = format_builtin(row->format);
    }
    version->rendering = (struct rendering){
        .format = version->format,
        .signature_style = style_of(row->signature_style),
        .workspace_name = keep(&version->texts[0], row->workspace_name),
        .created_by = keep(&version->texts[1], row->created_by),
        .updated_by = keep(&version->texts[2], row->updated_by),
    };
}

static const struct version *find_version(const struct log_bodies *bodies, int64_t id) {
    for (size_t i = bodies->version_count; i-- > 0;)
        if (bodies->versions[i].id == id)
            return &bodies->versions[i];
    return NULL;
}

static enum status load_version(struct log_bodies *bodies, struct connection *connection, int64_t id,
                                const struct version **ret_version, struct error *error) {
    struct result *rows = NULL;
    struct log_version row;
    *ret_version = find_version(bodies, id);
    if (*ret_version)
        return STATUS_OK;
    if (bodies->version_count == VERSIONS_KEPT)
        forget_versions(bodies);
    enum status status = log_bodies_versions(connection, &id, 1, &rows, error);
    if (status == STATUS_OK && result_rows(rows) > 0) {
        log_bodies_version(rows, 0, &row);
        add_version(bodies, &row);
        *ret_version = find_version(bodies, id);
    }
    result_free(&rows);
    return status;
}

static bool has_id(const int64_t *ids, size_t count, int64_t id) {
    for (size_t i = count; i-- > 0;)
        if (ids[i] == id)
            return true;
    return false;
}

/* Those of the rows that are not known yet, as many as are kept, at once. */
static enum status load_versions(struct log_bodies *bodies, struct connection *connection, const struct result *rows,
                                 struct error *error) {
    int64_t ids[VERSIONS_KEPT];
    size_t count = 0;
    struct result *found = NULL;
    for (int i = 0; i < result_rows(rows) && count < VERSIONS_KEPT; i++) {
        struct log_query_row row;
        log_query_row_read(rows, i, &row);
        if (row.render_version && !find_version(bodies, row.render_version) && !has_id(ids, count, row.render_version))
            ids[count++] = row.render_version;
    }
    if (count == 0)
        return STATUS_OK;
    if (bodies->version_count + count > VERSIONS_KEPT)
        forget_versions(bodies);
    enum status status = log_bodies_versions(connection, ids, count, &found, error);
    for (int i = 0; status == STATUS_OK && i < result_rows(found); i++) {
        struct log_version version;
        log_bodies_version(found, i, &version);
        add_version(bodies, &version);
    }
    result_free(&found);
    return status;
}

/* ---- events ---- */

static int by_key(const void *a, const void *b) {
    return uuid_compare(&((const struct log_event *)a)->key, &((const struct log_event *)b)->key);
}

static const struct log_event *find_event(const struct found *found, const struct uuid *key) {
    struct log_event wanted = {.key = *key};
    return found->count ? bsearch(&wanted, found->events, found->count, sizeof(wanted), by_key) : NULL;
}

static enum status add_found(struct found *found, int place, struct connection *connection, struct span workspace_id,
                             const struct uuid *keys, size_t count, int64_t from_us, int64_t until_us,
                             struct error *error) {
    enum status status =
        log_bodies_find(connection, workspace_id, keys, count, from_us, until_us, &found->rows[place], error);
    if (status != STATUS_OK)
        return status;
    int rows = result_rows(found->rows[place]);
    found->events = mem_realloc(found->events, (found->count + (size_t)rows + 1) * sizeof(*found->events));
    for (int i = 0; i < rows; i++)
        log_bodies_event(found->rows[place], i, &found->events[found->count++]);
    if (found->count > 0)
        qsort(found->events, found->count, sizeof(*found->events), by_key);
    return STATUS_OK;
}

/* First where they most likely lie: an event is written with its first attempt. Then wherever. */
static enum status find_events(struct found *found, struct connection *connection, struct span workspace_id,
                               const struct uuid *keys, size_t count, int64_t near_us, int64_t until_us,
                               struct error *error) {
    enum status status = add_found(found, 0, connection, workspace_id, keys, count, near_us, until_us, error);
    if (status != STATUS_OK || count == 0)
        return status;
    struct uuid *missing = mem_calloc(count, sizeof(*missing));
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++)
        if (!find_event(found, &keys[i]))
            missing[missing_count++] = keys[i];
    if (missing_count > 0)
        status = add_found(found, 1, connection, workspace_id, missing, missing_count, INT64_MIN, near_us - 1, error);
    mem_free(missing);
    return status;
}

static struct event *read_event(struct log_bodies *bodies, const struct log_event *row) {
    struct event_header headers[EVENT_HEADERS_MAX];
    struct event_record record = row->record;
    struct event_rejection rejection;
    struct event *event = NULL;
    buffer_reset(&bodies->headers);
    record.headers = headers;
    if (event_headers_parse(row->headers, headers, EVENT_HEADERS_MAX, &record.header_count, &bodies->headers) !=
        STATUS_OK)
        return NULL;
    return event_read(&record, &bodies->rules, &event, &rejection) == EVENT_ACCEPTED ? event : NULL;
}

/* NULL: it is gone, or erased. */
static enum status load_event(struct log_bodies *bodies, struct connection *connection, struct span workspace_id,
                              const struct found *found, const struct uuid *key, struct event **ret_event,
                              struct error *error) {
    const struct log_event *row = find_event(found, key);
    *ret_event = NULL;
    if (!row)
        return STATUS_OK;
    if (row->small) {
        *ret_event = read_event(bodies, row);
        return STATUS_OK;
    }
    struct result *rows = NULL;
    enum status status = log_bodies_record(connection, workspace_id, row, &rows, error);
    if (status == STATUS_OK && result_rows(rows) > 0) {
        struct log_event whole;
        log_bodies_event(rows, 0, &whole);
        *ret_event = read_event(bodies, &whole);
    }
    result_free(&rows);
    return status;
}

/* A batch is shown only when each of its events is there. */
static enum status load_batch(struct log_bodies *bodies, struct connection *connection, const struct log_query_row *row,
                              struct event **ret_event, struct error *error) {
    struct uuid *keys = mem_calloc(SUBSCRIPTION_MAX_BATCH_EVENTS, sizeof(*keys));
    struct event **members = mem_calloc(SUBSCRIPTION_MAX_BATCH_EVENTS, sizeof(*members));
    struct found found = {.count = 0};
    size_t count = 0, loaded = 0;
    *ret_event = NULL;
    enum status status = log_bodies_members(connection, row->workspace_id, &row->batch_id, keys,
                                            SUBSCRIPTION_MAX_BATCH_EVENTS, &count, error);
    if (status == STATUS_OK && count > 0)
        status = find_events(&found, connection, row->workspace_id, keys, count, row->created_at_us - NEAR_US,
                             row->created_at_us, error);
    while (status == STATUS_OK && loaded < count) {
        status = load_event(bodies, connection, row->workspace_id, &found, &keys[loaded], &members[loaded], error);
        if (!members[loaded])
            break;
        loaded++;
    }
    if (status == STATUS_OK && count > 0 && loaded == count)
        *ret_event = batch_new(&row->batch_id, members, count);
    for (size_t i = 0; i < loaded; i++)
        event_unref(&members[i]);
    forget_found(&found);
    mem_free(members);
    mem_free(keys);
    return status;
}

/* ---- rows ---- */

static bool was_sent(const struct log_query_row *row) {
    return row->sent_at_ms != 0 && row->render_version != 0;
}

enum status log_bodies_load(struct log_bodies *bodies, struct connection *connection, const struct result *rows,
                            struct error *error) {
    struct log_query_row row = {.attempt = 0};
    size_t count = 0, test_count = 0;
    int64_t first_us = INT64_MAX, last_us = 0;
    CHECK(result_rows(rows) <= LOG_BODIES_MAX_ROWS);
    struct uuid *keys = mem_calloc(LOG_BODIES_MAX_ROWS, sizeof(*keys));
    struct uuid *tests = mem_calloc(LOG_BODIES_MAX_ROWS, sizeof(*tests));
    forget_found(&bodies->found);
    result_free(&bodies->tests);
    for (int i = 0; i < result_rows(rows); i++) {
        log_query_row_read(rows, i, &row);
        if (row.test) {
            tests[test_count++] = row.id;
        } else if (was_sent(&row) && uuid_is_nil(&row.batch_id)) {
            first_us = row.created_at_us < first_us ? row.created_at_us : first_us;
            last_us = row.created_at_us > last_us ? row.created_at_us : last_us;
            keys[count++] = row.event_key;
        }
    }
    enum status status = load_versions(bodies, connection, rows, error);
    if (status == STATUS_OK && count > 0)
        status = find_events(&bodies->found, connection, row.workspace_id, keys, count, first_us, last_us, error);
    if (status == STATUS_OK && test_count > 0)
        status = test_sends_bodies(connection, row.workspace_id, tests, test_count, &bodies->tests, error);
    mem_free(tests);
    mem_free(keys);
    return status;
}

/* No event stands behind a test: its body was kept. */
static enum status write_test(const struct log_bodies *bodies, struct connection *connection,
                              const struct log_query_row *row, struct buffer *out, struct error *error) {
    struct result *rows = NULL;
    struct span body = SPAN_NONE;
    enum status status = STATUS_OK;
    bool found = test_sends_find_body(bodies->tests, &row->id, &body);
    if (found && !body.data)
        status = test_sends_body(connection, row->workspace_id, &row->id, &rows, &body, error);
    if (status == STATUS_OK)
        buffer_span(out, body.data ? body : SPAN_LITERAL("null"));
    result_free(&rows);
    return status;
}

enum status log_bodies_write(struct log_bodies *bodies, struct connection *connection, const struct log_query_row *row,
                             struct buffer *out, struct error *error) {
    const struct version *version = NULL;
    struct event *event = NULL;
    enum status status = STATUS_OK;
    if (row->test)
        return write_test(bodies, connection, row, out, error);
    if (was_sent(row))
        status = load_version(bodies, connection, row->render_version, &version, error);
    if (status == STATUS_OK && version && version->format && uuid_is_nil(&row->batch_id))
        status = load_event(bodies, connection, row->workspace_id, &bodies->found, &row->event_key, &event, error);
    else if (status == STATUS_OK && version && version->format)
        status = load_batch(bodies, connection, row, &event, error);
    if (status != STATUS_OK)
        return status;
    buffer_reset(&bodies->body);
    if (event)
        rendering_write(&version->rendering, event, row->sent_at_ms, &bodies->body);
    if (event && !bodies->body.overflowed)
        buffer_span(out, buffer_view(&bodies->body));
    else
        buffer_text(out, "null");
    event_unref(&event);
    return STATUS_OK;
}
