#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/subscription_delivery.h"
#include "api/subscription_fields.h"
#include "call_fixture.h"
#include "core/settings.h"

static const struct settings SETTINGS = {.allow_http = false};

/* The body, without its braces, as a change of the row. */
static struct call *change(struct subscription_row *row, const char *members) {
    static char body[40000];
    struct subscription_change wanted = {.create = false};
    snprintf(body, sizeof(body), "{\"updated_by\": \"me\"%s%s}", *members ? ", " : "", members);
    struct call *call = call_fixture(body);
    call->settings = &SETTINGS;
    subscription_fields_read(call, row, &wanted);
    return call;
}

static struct subscription_row plain_row(const char *mode) {
    return (struct subscription_row){.type = span_of("SEASALT"),
                                     .status = span_of("active"),
                                     .signature_style = span_of("standard"),
                                     .payload_format = span_of("seanotify"),
                                     .delivery_mode = span_of(mode),
                                     .delay_ms = strcmp(mode, "delayed") == 0 ? 60000 : 0,
                                     .retry_count = -1};
}

static void accepts(struct subscription_row *row, const char *members) {
    struct call *call = change(row, members);
    if (call->errors)
        fail_msg("%s: %s", members, json_dumps(call->errors, 0));
    /* What lies in the call is gone with it, as after the answer. */
    row->delivery_mode = span_is(row->delivery_mode, "delayed")   ? span_of("delayed")
                         : span_is(row->delivery_mode, "batched") ? span_of("batched")
                                                                  : span_of("immediate");
    call_free(&call);
}

static void refuses(const char *mode, const char *members, const char *field, const char *says) {
    struct subscription_row row = plain_row(mode);
    struct call *call = change(&row, members);
    const char *message = call_fixture_error(call, field);
    if (!message[0] || !strstr(message, says))
        fail_msg("%s: \"%s\"", members, message);
    call_free(&call);
}

static void test_limits_of_every_number(void **state) {
    (void)state;
    struct subscription_row row = plain_row("delayed");
    accepts(&row, "\"delay_seconds\": 1");
    assert_int_equal(row.delay_ms, 1000);
    accepts(&row, "\"delay_seconds\": 2592000");
    assert_int_equal(row.delay_ms, SUBSCRIPTION_MAX_DELAY_MS);
    accepts(&row, "\"delay_seconds\": 1.2344");
    assert_int_equal(row.delay_ms, 1234);
    row = plain_row("batched");
    accepts(&row, "\"batch_max_events\": 1, \"batch_max_bytes\": 1024, \"batch_max_wait_seconds\": 1");
    assert_true(row.batch_max_events == 1 && row.batch_max_bytes == 1024 && row.batch_max_wait_ms == 1000);
    accepts(&row, "\"batch_max_events\": 1000, \"batch_max_bytes\": 1048576, \"batch_max_wait_seconds\": 86400");
    assert_true(row.batch_max_events == 1000 && row.batch_max_bytes == 1048576);
    assert_int_equal(row.batch_max_wait_ms, 86400000);
    accepts(&row, "\"batch_max_events\": null, \"batch_max_bytes\": null, \"batch_max_wait_seconds\": null");
    assert_true(row.batch_max_events == 0 && row.batch_max_bytes == 0 && row.batch_max_wait_ms == 0);
    accepts(&row, "\"rate_limit_per_second\": 100000");
    assert_int_equal(row.rate_per_second, 100000);
    accepts(&row, "\"rate_limit_per_second\": 1");
    accepts(&row, "\"rate_limit_per_second\": null");
    assert_int_equal(row.rate_per_second, 0);

    static const char *const DELAYS[] = {"0", "0.9999", "-1", "2592000.1", "1e300", "\"5s\"", "true", "[]"};
    for (size_t i = 0; i < sizeof(DELAYS) / sizeof(*DELAYS); i++) {
        char members[100];
        snprintf(members, sizeof(members), "\"delay_seconds\": %s", DELAYS[i]);
        refuses("delayed", members, "delay_seconds", "from 1 to 2592000");
    }
    refuses("batched", "\"batch_max_wait_seconds\": 86400.1", "batch_max_wait_seconds", "from 1 to 86400");
    refuses("batched", "\"batch_max_wait_seconds\": 0.5", "batch_max_wait_seconds", "from 1 to 86400");
    refuses("batched", "\"batch_max_events\": 0", "batch_max_events", "from 1 to 1000");
    refuses("batched", "\"batch_max_events\": 1001", "batch_max_events", "from 1 to 1000");
    refuses("batched", "\"batch_max_events\": 1.0", "batch_max_events", "integer");
    refuses("batched", "\"batch_max_bytes\": 1023", "batch_max_bytes", "from 1024 to 1048576");
    refuses("batched", "\"batch_max_bytes\": 1048577", "batch_max_bytes", "from 1024 to 1048576");
    refuses("immediate", "\"rate_limit_per_second\": 0", "rate_limit_per_second", "from 1 to 100000");
    refuses("immediate", "\"rate_limit_per_second\": 100001", "rate_limit_per_second", "from 1 to 100000");
    refuses("immediate", "\"rate_limit_per_second\": \"5\"", "rate_limit_per_second", "integer");
    refuses("immediate", "\"delivery_mode\": \"later\"", "delivery_mode", "immediate, delayed, batched");
    refuses("immediate", "\"delivery_mode\": null", "delivery_mode", "immediate, delayed, batched");
}

static void test_contradictions_name_the_field(void **state) {
    (void)state;
    refuses("immediate", "\"delay_seconds\": 5", "delay_seconds", "delivery_mode delayed alone");
    refuses("immediate", "\"delivery_mode\": \"delayed\"", "delay_seconds", "wants it");
    refuses("delayed", "\"delay_seconds\": null", "delay_seconds", "wants it");
    refuses("batched", "\"delay_seconds\": 5", "delay_seconds", "delayed alone");
    refuses("delayed", "\"delivery_mode\": \"batched\", \"delay_seconds\": 5", "delay_seconds", "delayed alone");
    static const char *const BATCH[][2] = {{"batch_max_events", "\"batch_max_events\": 5"},
                                           {"batch_max_bytes", "\"batch_max_bytes\": 5000"},
                                           {"batch_max_wait_seconds", "\"batch_max_wait_seconds\": 5"}};
    for (size_t i = 0; i < 3; i++) {
        refuses("immediate", BATCH[i][1], BATCH[i][0], "batched alone");
        refuses("delayed", BATCH[i][1], BATCH[i][0], "batched alone");
    }
    refuses("batched", "\"delivery_mode\": \"immediate\", \"batch_max_events\": 5", "batch_max_events",
            "batched alone");
}

static void test_leaving_a_mode_drops_what_belongs_to_it(void **state) {
    (void)state;
    struct subscription_row row = plain_row("delayed");
    accepts(&row, "\"name\": null");
    assert_true(span_is(row.delivery_mode, "delayed") && row.delay_ms == 60000);
    accepts(&row, "\"delivery_mode\": \"batched\", \"batch_max_events\": 5");
    assert_true(span_is(row.delivery_mode, "batched") && row.delay_ms == 0 && row.batch_max_events == 5);
    row.batch_max_bytes = 2000;
    row.batch_max_wait_ms = 3000;
    accepts(&row, "\"batch_max_events\": 6, \"delay_seconds\": null");
    assert_true(row.batch_max_events == 6 && row.batch_max_bytes == 2000 && row.batch_max_wait_ms == 3000);
    accepts(&row, "\"delivery_mode\": \"immediate\"");
    assert_true(row.batch_max_events == 0 && row.batch_max_bytes == 0 && row.batch_max_wait_ms == 0);
    accepts(&row, "\"delivery_mode\": \"delayed\", \"delay_seconds\": 5, \"batch_max_events\": null");
    assert_int_equal(row.delay_ms, 5000);
    accepts(&row, "\"delivery_mode\": \"immediate\", \"delay_seconds\": null");
    assert_int_equal(row.delay_ms, 0);
}

static void test_a_filter_is_kept_as_it_was_written(void **state) {
    (void)state;
    struct subscription_row row = plain_row("immediate");
    struct call *call = change(&row, "\"filter\":  { \"payload.b\" : 1.50,\n \"payload.a\": {\"in\": [\"\\u00e4\"]} }");
    assert_null(call->errors);
    assert_true(span_is(row.filter, "{ \"payload.b\" : 1.50,\n \"payload.a\": {\"in\": [\"\\u00e4\"]} }"));
    call_free(&call);
    call = change(&row, "\"f\\u0069lter\": {\"id\": 5}");
    assert_true(!call->errors && span_is(row.filter, "{\"id\": 5}"));
    call_free(&call);
    accepts(&row, "\"filter\": null");
    assert_null(row.filter.data);
    refuses("immediate", "\"filter\": []", "filter", "expected a JSON object");
    refuses("immediate", "\"filter\": \"{}\"", "filter", "expected a JSON object");
    refuses("immediate", "\"filter\": {\"any\": [{\"payload.a\": 1}, {\"payload.b\": {\"gtt\": 5}}]}", "filter",
            "any[1].payload.b");
    refuses("immediate", "\"filter\": {\"payloads.a\": 1}", "filter", "payloads");
}

static void test_addresses_for_mail(void **state) {
    (void)state;
    static const char *const GOOD[] = {"ops@example.com", "o'neil+hooks=1@a-b.example.co.uk", "root@localhost",
                                       "a.b@c.d"};
    static const char *const BAD[] = {
        "\"\"",
        "5",
        "\"ops\"",
        "\"@example.com\"",
        "\"ops@\"",
        "\"a@b@c\"",
        "\"a b@c.d\"",
        "\"a@b..c\"",
        "\".a@b.c\"",
        "\"a.@b.c\"",
        "\"a@b.c\\r\\n\"",
        "\"<a@b.c>\"",
        "\"a@b.c,d@e.f\"",
        "\"\\u00e4@example.com\"",
        "\"a@ex_ample.com\"",
    };
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(*GOOD); i++) {
        char members[200];
        struct subscription_row row = plain_row("immediate");
        snprintf(members, sizeof(members), "\"notify_email\": \"%s\"", GOOD[i]);
        struct call *call = change(&row, members);
        assert_true(!call->errors && span_is(row.notify_email, GOOD[i]));
        call_free(&call);
        accepts(&row, "\"notify_email\": null");
        assert_null(row.notify_email.data);
    }
    for (size_t i = 0; i < sizeof(BAD) / sizeof(*BAD); i++) {
        char members[200];
        snprintf(members, sizeof(members), "\"notify_email\": %s", BAD[i]);
        refuses("immediate", members, "notify_email", "e-mail address");
    }
    char members[400];
    snprintf(members, sizeof(members), "\"notify_email\": \"%.65s@b.c\"",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    refuses("immediate", members, "notify_email", "e-mail address");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_of_every_number),
        cmocka_unit_test(test_contradictions_name_the_field),
        cmocka_unit_test(test_leaving_a_mode_drops_what_belongs_to_it),
        cmocka_unit_test(test_a_filter_is_kept_as_it_was_written),
        cmocka_unit_test(test_addresses_for_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
