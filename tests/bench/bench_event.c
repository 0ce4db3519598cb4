/* What an event costs between Kafka and curl: reading it, a filter, its body, its signature. Prints nanoseconds a call;
 * an argument chooses the lines that hold it. */
#include "base/clock.h"
#include "webhook/filter.h"
#include "webhook/format.h"
#include "webhook/js_json.h"
#include "webhook/signature.h"

#include <stdio.h>

#define ROUND_US 200000
#define BEST_OF 5
#define EVENT_BYTES 1200

struct bench {
    struct event_record plain, pretty, traced, binary;
    struct buffer compact_text, pretty_text, out;
    struct event *compact_event, *pretty_event;
    struct format *seanotify, *cloudevents, *paths;
    struct filter *on_type, *one, *five, *twenty, *in_thousand;
    struct signer *signer;
    const char *only;
};

typedef void bench_fn(struct bench *bench);

static struct event *read_event(const struct event_record *record) {
    static const struct event_rules rules = {.topic_prefix = {"events.", 7}};
    struct event *event = NULL;
    struct event_rejection rejection;
    CHECK(event_read(record, &rules, &event, &rejection) == EVENT_ACCEPTED);
    return event;
}

static void read_and_free(const struct event_record *record) {
    struct event *event = read_event(record);
    event_unref(&event);
}

static void read_plain(struct bench *bench) {
    read_and_free(&bench->plain);
}

static void read_pretty(struct bench *bench) {
    read_and_free(&bench->pretty);
}

static void read_traced(struct bench *bench) {
    read_and_free(&bench->traced);
}

static void read_binary(struct bench *bench) {
    read_and_free(&bench->binary);
}

static void render(struct bench *bench, const struct format *format, const struct event *event) {
    struct format_input input = {.event = event, .sent_at_ms = 1710084600000, .created_by = SPAN_LITERAL("kelly")};
    buffer_reset(&bench->out);
    format_render(format, &input, &bench->out);
    CHECK(bench->out.len > 0 && !bench->out.overflowed);
}

static void render_seanotify(struct bench *bench) {
    render(bench, bench->seanotify, bench->compact_event);
}

static void render_cloudevents(struct bench *bench) {
    render(bench, bench->cloudevents, bench->compact_event);
}

static void render_pretty(struct bench *bench) {
    render(bench, bench->seanotify, bench->pretty_event);
}

static void render_paths(struct bench *bench) {
    render(bench, bench->paths, bench->compact_event);
}

static void write_as_javascript(struct bench *bench) {
    buffer_reset(&bench->out);
    js_json_write(bench->plain.value, &bench->out);
}

/* Every filter here takes the event, so that each of its conditions is evaluated. */
static void filter_by_type(struct bench *bench) {
    CHECK(filter_takes(bench->on_type, bench->compact_event));
}

static void filter_one(struct bench *bench) {
    CHECK(filter_takes(bench->one, bench->compact_event));
}

static void filter_five(struct bench *bench) {
    CHECK(filter_takes(bench->five, bench->compact_event));
}

static void filter_twenty(struct bench *bench) {
    CHECK(filter_takes(bench->twenty, bench->compact_event));
}

static void filter_in_thousand(struct bench *bench) {
    CHECK(filter_takes(bench->in_thousand, bench->compact_event));
}

static void filter_pretty(struct bench *bench) {
    CHECK(filter_takes(bench->five, bench->pretty_event));
}

static struct filter *compile_filter(const char *json) {
    struct filter *filter = NULL;
    CHECK(filter_compile(span_of(json), &filter, NULL) == STATUS_OK);
    return filter;
}

/* Two conditions on the event, the others on as many places in the payload. */
static struct filter *compile_twenty(void) {
    struct buffer json;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_text(&json, "{\"event_type\":\"message.new\",\"occurred_at\":{\"gt\":\"2016-05-02\"}");
    for (int i = 0; i < 6; i++) {
        buffer_printf(&json, ",\"payload.messages.%d.id\":%d", i, 1000 + i);
        buffer_printf(&json, ",\"payload.messages.%d.text\":{\"prefix\":\"A message\"}", i);
        buffer_printf(&json, ",\"payload.messages.%d.ok\":true", i);
    }
    buffer_char(&json, '}');
    struct filter *filter = compile_filter(json.data);
    buffer_deinit(&json);
    return filter;
}

static struct filter *compile_in_thousand(void) {
    struct buffer json;
    buffer_init(&json, FILTER_MAX_BYTES);
    buffer_text(&json, "{\"payload.contact.interest\":{\"in\":[");
    for (int i = 1; i < FILTER_MAX_IN; i++) {
        buffer_printf(&json, "\"level %d\",", i);
    }
    buffer_text(&json, "\"high\"]}}");
    struct filter *filter = compile_filter(json.data);
    buffer_deinit(&json);
    return filter;
}

static void compile_filters(struct bench *bench) {
    bench->on_type = compile_filter("{\"event_type\":{\"prefix\":\"message.\"}}");
    bench->one = compile_filter("{\"payload.contact.interest\":\"high\"}");
    bench->five = compile_filter("{\"payload.contact.interest\":{\"ne\":\"low\"},"
                                 "\"payload.messages.0.id\":{\"gte\":100,\"lt\":2000},"
                                 "\"any\":[{\"payload.vip\":true},{\"payload.messages.2.ok\":true}]}");
    bench->twenty = compile_twenty();
    bench->in_thousand = compile_in_thousand();
}

static void free_filters(struct bench *bench) {
    filter_unref(&bench->on_type);
    filter_unref(&bench->one);
    filter_unref(&bench->five);
    filter_unref(&bench->twenty);
    filter_unref(&bench->in_thousand);
}

static void sign(struct bench *bench) {
    buffer_reset(&bench->out);
    signer_standard(bench->signer, SPAN_LITERAL("evt_123456789"), 1710084600, bench->plain.value, &bench->out);
}

static void measure(const char *name, bench_fn *fn, struct bench *bench) {
    if (!strstr(name, bench->only)) {
        return;
    }
    double best = 1e18;
    for (int round = 0; round < BEST_OF; round++) {
        int64_t start = clock_mono_us(), end;
        int64_t calls = 0;
        do {
            for (int i = 0; i < 1000; i++) {
                fn(bench);
            }
            calls += 1000;
            end = clock_mono_us();
        } while (end - start < ROUND_US);
        double ns = (double)(end - start) * 1000 / (double)calls;
        best = ns < best ? ns : best;
    }
    printf("%-44s %8.0f ns\n", name, best);
}

static void measure_filters(struct bench *bench) {
    measure("filter, the event's type", filter_by_type, bench);
    measure("filter, 1 condition on the payload", filter_one, bench);
    measure("filter, 5 conditions", filter_five, bench);
    measure("filter, 5 conditions, with white space", filter_pretty, bench);
    measure("filter, 20 conditions", filter_twenty, bench);
    measure("filter, one of 1,000 strings", filter_in_thousand, bench);
}

static void write_event(struct buffer *out, const char *space) {
    buffer_printf(out, "{%s\"id\":%s\"evt_123456789\",%s\"workspace_id\":%s1246965,%s", space, space, space, space,
                  space);
    buffer_printf(out, "\"workspace_name\":%s\"seasalt.ai bot\",%s\"event_type\":%s\"message.new\",%s", space, space,
                  space, space);
    buffer_printf(out, "\"event_source\":%s\"portal\",%s\"event_triggered_by\":%s\"kelly@seasalt.ai\",%s", space, space,
                  space, space);
    buffer_printf(out, "\"occurred_at\":%s1462216307945,%s\"payload\":%s{\"messages\":%s[", space, space, space, space);
    for (int i = 0; out->len < EVENT_BYTES - 40; i++) {
        buffer_printf(out,
                      "%s{\"id\":%d,%s\"text\":%s\"A message of some words, number %d \\\"quoted\\\"\",%s\"ok\":true}",
                      i ? "," : "", 1000 + i, space, space, i, space);
    }
    buffer_printf(out, "],%s\"contact\":%s{\"interest\":%s\"high\"}}%s}", space, space, space, space);
}

static struct event_record record_of(struct span value) {
    return (struct event_record){.topic = SPAN_LITERAL("events.message.new"),
                                 .partition = 3,
                                 .offset = 12345,
                                 .timestamp_ms = 1710084600000,
                                 .key = SPAN_LITERAL("1246965"),
                                 .value = value};
}

int main(int argc, char **argv) {
    struct bench bench = {.only = argc > 1 ? argv[1] : ""};
    buffer_init(&bench.compact_text, 1 << 20);
    buffer_init(&bench.pretty_text, 1 << 20);
    buffer_init(&bench.out, 1 << 20);
    write_event(&bench.compact_text, "");
    write_event(&bench.pretty_text, "  ");
    const struct event_header trace[] = {
        {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}};
    const struct event_header attributes[] = {{SPAN_LITERAL("ce_specversion"), SPAN_LITERAL("1.0")},
                                              {SPAN_LITERAL("ce_id"), SPAN_LITERAL("evt_123456789")},
                                              {SPAN_LITERAL("ce_source"), SPAN_LITERAL("/portal")},
                                              {SPAN_LITERAL("ce_type"), SPAN_LITERAL("message.new")},
                                              {SPAN_LITERAL("ce_time"), SPAN_LITERAL("2024-03-10T15:30:00Z")}};
    bench.plain = record_of(buffer_view(&bench.compact_text));
    bench.pretty = record_of(buffer_view(&bench.pretty_text));
    bench.traced = bench.binary = bench.plain;
    bench.traced.headers = trace;
    bench.traced.header_count = 1;
    bench.binary.headers = attributes;
    bench.binary.header_count = 5;
    bench.compact_event = read_event(&bench.plain);
    bench.pretty_event = read_event(&bench.pretty);
    bench.seanotify = format_builtin(SPAN_LITERAL("seanotify"));
    bench.cloudevents = format_builtin(SPAN_LITERAL("cloudevents"));
    struct span template_json = SPAN_LITERAL("[\"{{payload.contact.interest}}\",\"{{payload.messages.3.text}}\"]");
    CHECK(format_compile(template_json, &bench.paths, NULL) == STATUS_OK);
    compile_filters(&bench);
    struct span secret = SPAN_LITERAL("a secret of some length");
    CHECK(signer_new(&secret, 1, &bench.signer, NULL) == STATUS_OK);

    printf("one event of %zu bytes (%zu with white space), kept in %zu\n", bench.plain.value.len,
           bench.pretty.value.len, bench.compact_event->footprint_bytes);
    measure("read and free", read_plain, &bench);
    measure("read and free, with white space", read_pretty, &bench);
    measure("read and free, with a traceparent", read_traced, &bench);
    measure("read and free, CloudEvents binary", read_binary, &bench);
    measure_filters(&bench);
    measure("render seanotify", render_seanotify, &bench);
    measure("render cloudevents", render_cloudevents, &bench);
    measure("render seanotify, payload with white space", render_pretty, &bench);
    measure("render two payload paths", render_paths, &bench);
    measure("write as JavaScript does", write_as_javascript, &bench);
    measure("sign, one secret", sign, &bench);

    free_filters(&bench);
    signer_free(&bench.signer);
    format_unref(&bench.seanotify);
    format_unref(&bench.cloudevents);
    format_unref(&bench.paths);
    event_unref(&bench.compact_event);
    event_unref(&bench.pretty_event);
    buffer_deinit(&bench.compact_text);
    buffer_deinit(&bench.pretty_text);
    buffer_deinit(&bench.out);
    return 0;
}
