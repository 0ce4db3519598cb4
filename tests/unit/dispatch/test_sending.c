#include "dispatch/sending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"
#include "webhook/batch.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SENT_MS 1700000123456LL

static struct keyring *keyring;
static struct error error;
static struct settings settings = {.retry_schedule_ms = {1000, 2000}, .retry_count = 2};

static int open_keyring(void **state) {
    (void)state;
    return keyring_new(SPAN_LITERAL(FIXTURE_KEY), &keyring, &error) == STATUS_OK ? 0 : -1;
}

static int close_keyring(void **state) {
    (void)state;
    keyring_free(&keyring);
    return 0;
}

/* One webhook, made. */
struct made {
    struct sending *sending;
    struct target *target;
    struct delivery *delivery;
    enum status status;
};

static struct made make(struct subscription_spec *spec, struct event *event_take, const char *headers) {
    struct buffer secrets, own;
    char context[UUID_TEXT_LEN + 1];
    uuid_format(&spec->id, context);
    buffer_init(&secrets, 1024);
    buffer_init(&own, 1024);
    keyring_seal(keyring, span_of(context), SPAN_LITERAL("[{\"secret\":\"" SECRET "\",\"until_ms\":null}]"), &secrets);
    keyring_seal(keyring, span_of(context), span_of(headers ? headers : "{}"), &own);
    spec->sealed_secrets = buffer_view(&secrets);
    spec->sealed_headers = buffer_view(&own);
    struct subscription *subscription = fixture_subscription_of(spec, NULL);
    struct made made = {.sending = sending_new(NULL), .target = target_new(subscription)};
    made.delivery = delivery_new(event_take, subscription, NULL);
    assert_int_equal(target_prepare(made.target, keyring, &error), STATUS_OK);
    made.status = sending_make(made.sending, made.target, made.delivery, SENT_MS, &error);
    event_unref(&event_take);
    subscription_unref(&subscription);
    buffer_deinit(&secrets);
    buffer_deinit(&own);
    return made;
}

static void unmake(struct made *made) {
    sending_free(&made->sending);
    delivery_free(&made->delivery);
    target_free(&made->target);
}

/* What follows "name: "; NULL: there is no such header. Twice is a failure. */
static const char *header(const struct made *made, const char *name) {
    const char *found = NULL;
    for (size_t i = 0; i < made->sending->header_count; i++) {
        struct span line = made->sending->headers[i].line;
        assert_int_equal(line.data[line.len], '\0');
        assert_int_equal(strlen(line.data), line.len);
        if (strncmp(line.data, name, strlen(name)) != 0 || strncmp(line.data + strlen(name), ": ", 2) != 0)
            continue;
        assert_null(found);
        found = line.data + strlen(name) + 2;
    }
    return found;
}

static void test_the_body_and_the_headers_of_every_webhook(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    struct made made = make(&spec, fixture_event(7), NULL);
    assert_int_equal(made.status, STATUS_OK);
    assert_true(span_is(buffer_view(&made.sending->body), "{\"n\":7}"));
    assert_string_equal(header(&made, "webhook-id"), "e7");
    assert_string_equal(header(&made, "webhook-timestamp"), "1700000123");
    assert_string_equal(header(&made, "content-type"), "application/json");
    assert_non_null(strstr(header(&made, "user-agent"), "hookcast/"));
    assert_null(header(&made, "webhook-signature"));
    assert_null(header(&made, "traceparent"));
    assert_int_equal(made.sending->header_count, 4);
    unmake(&made);
}

static void test_each_signature_style(void **state) {
    (void)state;
    static const struct {
        enum signature_style style;
        bool standard, hex;
        const char *name; /* of the hex style's header */
    } CASES[] = {{SIGNATURE_STANDARD, true, false, NULL},
                 {SIGNATURE_HEX, false, true, NULL},
                 {SIGNATURE_HEX, false, true, "x-kakiyo-signature"},
                 {SIGNATURE_BOTH, true, true, NULL},
                 {SIGNATURE_NONE, false, false, NULL}};
    struct signer *signer = NULL;
    assert_int_equal(signer_new(&SPAN_LITERAL(SECRET), 1, &signer, &error), STATUS_OK);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
        spec.signature_style = CASES[i].style;
        spec.signature_header = span_of(CASES[i].name);
        struct made made = make(&spec, fixture_event(7), NULL);
        struct span body = buffer_view(&made.sending->body);
        const char *standard = header(&made, "webhook-signature");
        const char *hex = header(&made, CASES[i].name ? CASES[i].name : "x-hookcast-signature");
        assert_int_equal(standard != NULL, CASES[i].standard);
        assert_int_equal(hex != NULL, CASES[i].hex);
        if (standard)
            assert_true(signer_verify_standard(signer, SPAN_LITERAL("e7"), 1700000123, body, span_of(standard)));
        if (hex)
            assert_true(signer_verify_hex(signer, body, span_of(hex)));
        unmake(&made);
    }
    signer_free(&signer);
}

/* A receiver of the hex style may parse and print the body before it computes. */
static void test_the_hex_style_spells_as_javascript_does(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.format = SPAN_LITERAL("custom");
    spec.format_template = SPAN_LITERAL("{\"v\":\"{{payload.n}}\",\"w\":1.50,\"u\":\"\\u0041\"}");
    struct made made = make(&spec, fixture_event(7), NULL);
    assert_non_null(strstr(made.sending->body.data, "1.50"));
    unmake(&made);
    spec.signature_style = SIGNATURE_HEX;
    made = make(&spec, fixture_event(7), NULL);
    assert_true(span_is(buffer_view(&made.sending->body), "{\"v\":7,\"w\":1.5,\"u\":\"A\"}"));
    unmake(&made);
}

static void test_trace_and_own_headers_travel(void **state) {
    (void)state;
    struct event_header headers[] = {
        {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
        {SPAN_LITERAL("tracestate"), SPAN_LITERAL("vendor=1")}};
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.format = SPAN_LITERAL("cloudevents");
    spec.signature_style = SIGNATURE_BOTH;
    struct made made = make(&spec, fixture_event_of(7, "", headers, 2), "{\"X-One\":\"1\",\"X-Two\":\"2\"}");
    assert_string_equal(header(&made, "traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_string_equal(header(&made, "tracestate"), "vendor=1");
    assert_string_equal(header(&made, "X-One"), "1");
    assert_string_equal(header(&made, "X-Two"), "2");
    assert_non_null(strstr(header(&made, "content-type"), "cloudevents"));
    assert_int_equal(made.sending->header_count, 10);

    /* The next webhook of the same sending has nothing of this one. */
    struct event *event = fixture_event(8);
    struct delivery *next = delivery_new(event, made.target->subscription, NULL);
    event_unref(&event);
    assert_int_equal(sending_make(made.sending, made.target, next, SENT_MS, &error), STATUS_OK);
    assert_string_equal(header(&made, "webhook-id"), "e8");
    assert_null(header(&made, "traceparent"));
    assert_int_equal(made.sending->header_count, 8);
    delivery_free(&next);
    unmake(&made);
}

static void test_a_body_without_end_is_not_sent(void **state) {
    (void)state;
    enum { REPEATED = 40, PAYLOAD = 256 * 1024 };
    struct buffer template, value;
    buffer_init(&template, 64 * 1024);
    buffer_init(&value, 1024 * 1024);
    buffer_text(&template, "[0");
    for (int i = 0; i < REPEATED; i++)
        buffer_text(&template, ",\"{{payload}}\"");
    buffer_text(&template, "]");
    buffer_text(&value, "{\"id\":1,\"workspace_id\":1,\"payload\":\"");
    memset(buffer_grow(&value, PAYLOAD), 'x', PAYLOAD);
    buffer_text(&value, "\"}");
    struct event_record record = {.topic = SPAN_LITERAL(TOPIC), .value = buffer_view(&value)};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    struct event_rejection rejection;
    struct event *event = NULL;
    assert_int_equal(event_read(&record, &rules, &event, &rejection), EVENT_ACCEPTED);
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.format = SPAN_LITERAL("custom");
    spec.format_template = buffer_view(&template);
    struct made made = make(&spec, event, NULL);
    assert_int_equal(made.status, STATUS_INVALID);
    unmake(&made);
    buffer_deinit(&template);
    buffer_deinit(&value);
}

/* ---- what the answer means ---- */

struct judged {
    const char *what;
    struct client_response response;
    int16_t attempt;
    enum retry_action action;
    int64_t least_ms, most_ms;
};

static const struct judged JUDGED[] = {
    {"a success", {.result = CLIENT_ANSWERED, .status_code = 204}, 1, RETRY_DONE, 0, 0},
    {"the first failure",
     {.result = CLIENT_ANSWERED, .status_code = 500, .retry_after_ms = -1},
     1,
     RETRY_AGAIN,
     800,
     1200},
    {"the second", {.result = CLIENT_ANSWERED, .status_code = 500, .retry_after_ms = -1}, 2, RETRY_AGAIN, 1600, 2400},
    {"the last", {.result = CLIENT_ANSWERED, .status_code = 500, .retry_after_ms = -1}, 3, RETRY_GIVE_UP, 0, 0},
    {"later, please",
     {.result = CLIENT_ANSWERED, .status_code = 503, .retry_after_ms = 9000},
     1,
     RETRY_AGAIN,
     9000,
     9000},
    {"never again", {.result = CLIENT_ANSWERED, .status_code = 410}, 1, RETRY_DISABLE, 0, 0},
    {"no answer", {.result = CLIENT_TIMEOUT, .retry_after_ms = -1}, 1, RETRY_AGAIN, 800, 1200},
    {"nobody there", {.result = CLIENT_CONNECT, .retry_after_ms = -1}, 1, RETRY_AGAIN, 800, 1200},
    {"not allowed", {.result = CLIENT_ADDRESS_REFUSED, .retry_after_ms = -1}, 1, RETRY_GIVE_UP, 0, 0},
    {"no URL", {.result = CLIENT_BAD_URL, .retry_after_ms = -1}, 1, RETRY_GIVE_UP, 0, 0},
};

static void test_what_answers_mean(void **state) {
    (void)state;
    struct subscription *subscription = fixture_subscription(1, "http://127.0.0.1/");
    for (size_t i = 0; i < sizeof(JUDGED) / sizeof(JUDGED[0]); i++) {
        const struct judged *judged = &JUDGED[i];
        struct delivery *delivery = fixture_delivery(1, subscription, NULL);
        struct client_response response = judged->response;
        response.duration_us = 12999;
        snprintf(response.detail, sizeof(response.detail), "%s", judged->what);
        delivery->attempt = judged->attempt;
        sending_judge(delivery, &response, &settings, 12345u * (uint32_t)i);
        assert_int_equal(delivery->outcome, OUTCOME_ATTEMPTED);
        assert_int_equal(delivery->result, response.result);
        assert_int_equal(delivery->status_code, response.status_code);
        assert_int_equal(delivery->duration_ms, 12);
        if (delivery->decision.action != judged->action || delivery->decision.delay_ms < judged->least_ms ||
            delivery->decision.delay_ms > judged->most_ms)
            fail_msg("%s: action %d after %lld ms", judged->what, delivery->decision.action,
                     (long long)delivery->decision.delay_ms);
        if (judged->action == RETRY_DONE)
            assert_null(delivery->error);
        else
            assert_string_equal(delivery->error, judged->what);
        delivery_free(&delivery);
    }
    subscription_unref(&subscription);
}

static void test_a_schedule_of_its_own_goes_before_the_setting(void **state) {
    (void)state;
    const int64_t delays[] = {50000};
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.retry_schedule_ms = delays;
    for (size_t count = 0; count < 2; count++) {
        spec.retry_count = count;
        struct subscription *subscription = fixture_subscription_of(&spec, NULL);
        struct delivery *delivery = fixture_delivery(1, subscription, NULL);
        struct client_response response = {.result = CLIENT_TIMEOUT, .retry_after_ms = -1};
        sending_judge(delivery, &response, &settings, 1);
        assert_int_equal(delivery->decision.action, count ? RETRY_AGAIN : RETRY_GIVE_UP);
        if (count)
            assert_in_range(delivery->decision.delay_ms, 40000, 60000);
        delivery_free(&delivery);
        subscription_unref(&subscription);
    }
}

static void test_what_is_kept_of_an_answer(void **state) {
    (void)state;
    static const struct {
        enum body_keep keep;
        int status_code;
        bool kept;
    } CASES[] = {{BODY_KEEP_ALL, 200, true},    {BODY_KEEP_ALL, 500, true},   {BODY_KEEP_FAILED, 200, false},
                 {BODY_KEEP_FAILED, 500, true}, {BODY_KEEP_NONE, 500, false}, {BODY_KEEP_NONE, 200, false}};
    struct subscription *subscription = fixture_subscription(1, "http://127.0.0.1/");
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct delivery *delivery = fixture_delivery(1, subscription, NULL);
        struct settings kept = settings;
        kept.response_body_keep = CASES[i].keep;
        struct client_response response = {.result = CLIENT_ANSWERED,
                                           .status_code = CASES[i].status_code,
                                           .retry_after_ms = -1,
                                           .body = SPAN_LITERAL("a\0b\xff"
                                                                "c")};
        sending_judge(delivery, &response, &kept, 1);
        assert_int_equal(delivery->response_body != NULL, CASES[i].kept);
        if (CASES[i].kept) {
            struct span body = {delivery->response_body, delivery->response_body_len};
            assert_null(memchr(body.data, '\0', body.len)); /* safe for PostgreSQL's text */
            assert_int_equal(utf8_valid_prefix(body), body.len);
        }
        delivery_free(&delivery);
    }
    subscription_unref(&subscription);
}

/* ---- batches ---- */

#define BATCH_ID "00000000-0000-7000-8000-00000000004d"

/* Events of these payloads, with a trace header each. */
static struct event *batch_of(const char *const *payloads, size_t count) {
    struct event *members[8];
    struct event_header trace = {SPAN_LITERAL("traceparent"), SPAN_LITERAL("00-1-2-01")};
    struct event_rules rules = {.topic_prefix = SPAN_LITERAL("events.")};
    for (size_t i = 0; i < count; i++) {
        struct buffer value;
        struct event_rejection rejection;
        buffer_init(&value, 8 * 1024 * 1024);
        buffer_printf(&value, "{\"id\":\"e%zu\",\"workspace_id\":\"w1\",\"payload\":", i);
        buffer_text(&value, payloads[i]);
        buffer_char(&value, '}');
        struct event_record record = {.topic = SPAN_LITERAL(TOPIC),
                                      .offset = (int64_t)i,
                                      .timestamp_ms = RECORD_TIME_MS,
                                      .value = buffer_view(&value),
                                      .headers = &trace,
                                      .header_count = 1};
        assert_int_equal(event_read(&record, &rules, &members[i], &rejection), EVENT_ACCEPTED);
        buffer_deinit(&value);
    }
    struct uuid id = fixture_uuid(0x4d);
    struct event *batch = batch_new(&id, members, count);
    for (size_t i = 0; i < count; i++)
        event_unref(&members[i]);
    return batch;
}

static void test_a_batch_is_an_array_with_one_id_and_one_signature(void **state) {
    (void)state;
    static const char *const PAYLOADS[] = {"1", "{\"b\":1.0,\"1\":2}", "\"\\u0041\""};
    struct signer *signer = NULL;
    assert_int_equal(signer_new(&SPAN_LITERAL(SECRET), 1, &signer, &error), STATUS_OK);
    for (int hex = 0; hex < 2; hex++) {
        struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
        spec.signature_style = hex ? SIGNATURE_BOTH : SIGNATURE_STANDARD;
        struct made made = make(&spec, batch_of(PAYLOADS, 3), NULL);
        struct span body = buffer_view(&made.sending->body);
        assert_int_equal(made.status, STATUS_OK);
        assert_true(span_is(body, hex ? "[1,{\"1\":2,\"b\":1},\"A\"]" : "[1,{\"b\":1.0,\"1\":2},\"\\u0041\"]"));
        assert_string_equal(header(&made, "webhook-id"), BATCH_ID);
        assert_string_equal(header(&made, "webhook-batch-size"), "3");
        assert_string_equal(header(&made, "content-type"), "application/json");
        assert_null(header(&made, "traceparent"));
        assert_true(signer_verify_standard(signer, SPAN_LITERAL(BATCH_ID), 1700000123, body,
                                           span_of(header(&made, "webhook-signature"))));
        if (hex)
            assert_true(signer_verify_hex(signer, body, span_of(header(&made, "x-hookcast-signature"))));
        unmake(&made);
    }
    signer_free(&signer);
}

static void test_a_batch_of_one_is_an_array_too(void **state) {
    (void)state;
    static const char *const PAYLOADS[] = {"1"};
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    struct made made = make(&spec, batch_of(PAYLOADS, 1), NULL);
    assert_true(span_is(buffer_view(&made.sending->body), "[1]"));
    assert_string_equal(header(&made, "webhook-batch-size"), "1");
    assert_string_equal(header(&made, "traceparent"), "00-1-2-01");
    unmake(&made);
}

static void test_batches_of_cloudevents_have_a_type_of_their_own(void **state) {
    (void)state;
    static const char *const PAYLOADS[] = {"1", "2"};
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.format = SPAN_LITERAL("cloudevents");
    struct made made = make(&spec, batch_of(PAYLOADS, 2), NULL);
    assert_string_equal(header(&made, "content-type"), "application/cloudevents-batch+json");
    unmake(&made);
    made = make(&spec, fixture_event(1), NULL);
    assert_string_equal(header(&made, "content-type"), "application/cloudevents+json");
    assert_null(header(&made, "webhook-batch-size"));
    unmake(&made);
}

static void test_a_batch_longer_than_wanted_is_to_be_split(void **state) {
    (void)state;
    char *text = mem_alloc(5 * 1024 * 1024);
    const char *payloads[] = {text, text};
    memset(text, 'x', 600);
    memcpy(text, "\"", 1);
    memcpy(text + 599, "\"", 2);
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.batch_max_bytes = 1203; /* exactly: [ 600 , 600 ] */
    struct made made = make(&spec, batch_of(payloads, 2), NULL);
    assert_int_equal(made.status, STATUS_OK);
    assert_int_equal(made.sending->body.len, 1203);
    unmake(&made);
    spec.batch_max_bytes = 1202;
    made = make(&spec, batch_of(payloads, 2), NULL);
    assert_int_equal(made.status, STATUS_CONFLICT);
    unmake(&made);
    memset(text + 1, 'x', 4999);
    memcpy(text + 4999, "\"", 2);
    made = make(&spec, batch_of(payloads, 1), NULL);
    assert_int_equal(made.status, STATUS_OK); /* alone it goes as it is */
    unmake(&made);
    /* More than any body may have. */
    memset(text + 1, 'x', 5 * 1024 * 1024 - 3);
    memcpy(text + 5 * 1024 * 1024 - 2, "\"", 2);
    spec.signature_style = SIGNATURE_HEX;
    made = make(&spec, batch_of(payloads, 2), NULL);
    assert_int_equal(made.status, STATUS_CONFLICT);
    unmake(&made);
    mem_free(text);
}

static void test_a_413_splits_a_batch_of_more_than_one(void **state) {
    (void)state;
    static const char *const PAYLOADS[] = {"1", "2"};
    struct subscription *subscription = fixture_subscription(1, "http://127.0.0.1/");
    struct client_response response = {.result = CLIENT_ANSWERED, .status_code = 413, .retry_after_ms = -1};
    for (size_t count = 1; count <= 2; count++) {
        struct event *batch = batch_of(PAYLOADS, count);
        struct delivery *delivery = delivery_new(batch, subscription, NULL);
        sending_judge(delivery, &response, &settings, 1);
        assert_int_equal(delivery->decision.action, count > 1 ? RETRY_SPLIT : RETRY_AGAIN);
        delivery_free(&delivery);
        event_unref(&batch);
    }
    subscription_unref(&subscription);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_body_and_the_headers_of_every_webhook),
        cmocka_unit_test(test_each_signature_style),
        cmocka_unit_test(test_the_hex_style_spells_as_javascript_does),
        cmocka_unit_test(test_trace_and_own_headers_travel),
        cmocka_unit_test(test_a_body_without_end_is_not_sent),
        cmocka_unit_test(test_what_answers_mean),
        cmocka_unit_test(test_a_schedule_of_its_own_goes_before_the_setting),
        cmocka_unit_test(test_what_is_kept_of_an_answer),
        cmocka_unit_test(test_a_batch_is_an_array_with_one_id_and_one_signature),
        cmocka_unit_test(test_a_batch_of_one_is_an_array_too),
        cmocka_unit_test(test_batches_of_cloudevents_have_a_type_of_their_own),
        cmocka_unit_test(test_a_batch_longer_than_wanted_is_to_be_split),
        cmocka_unit_test(test_a_413_splits_a_batch_of_more_than_one),
    };
    return cmocka_run_group_tests(tests, open_keyring, close_keyring);
}
