#include "base/memory.h"
#include "base/utf8.h"
#include "core/language.h"
#include "dispatch/mail_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct buffer subject, text;
static struct error error;
static struct span link;

static int open_buffers(void **state) {
    (void)state;
    link = SPAN_NONE;
    buffer_init(&subject, 512);
    buffer_init(&text, 65536);
    return 0;
}

static int close_buffers(void **state) {
    (void)state;
    buffer_deinit(&subject);
    buffer_deinit(&text);
    return 0;
}

static enum status write_mail(const char *kind, const char *about) {
    const struct mail_about mail = {span_of(kind), SPAN_LITERAL("acme/1"), span_of(about), "https://hooks.example.com/",
                                    link};
    buffer_reset(&subject);
    buffer_reset(&text);
    return mail_text_write(&mail, &subject, &text, &error);
}

static void expect(const char *part) {
    if (!strstr(text.data, part))
        fail_msg("not in the text: %s\n%s", part, text.data);
}

#define ABOUT                                                                                                          \
    "\"subscription_id\": \"0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e\", \"webhook_url\": "                                 \
    "\"https://example.com/hook?token=hidden#x\", \"failing_since\": 1760000000123, \"last_success_at\": "             \
    "1759999000000"

static void test_each_kind(void **state) {
    (void)state;
    assert_int_equal(write_mail("subscription.failing", "{\"name\": \"CRM\", " ABOUT "}"), STATUS_OK);
    assert_string_equal(subject.data, "Your webhook is failing: CRM");
    expect("since 2025-10-09T08:53:20Z has failed");
    expect("\nSubscription: CRM (0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e)\n");
    expect("\nWorkspace: acme/1\n");
    expect("\nEndpoint: https://example.com/hook\n");
    expect("\nLast success: 2025-10-09T08:36:40Z\n");
    expect("\nhttps://hooks.example.com/api/v1/workspaces/acme%2F1/logs/0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e\n");
    assert_null(strstr(text.data, "hidden"));

    assert_int_equal(write_mail("subscription.disabled",
                                "{\"name\": null, \"disabled_reason\": \"the endpoint answered 410 Gone\", " ABOUT "}"),
                     STATUS_OK);
    assert_string_equal(subject.data, "Your webhook was disabled: 0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e");
    expect("\nReason: the endpoint answered 410 Gone.\n");
    expect("\n  PATCH https://hooks.example.com/api/v1/workspaces/acme%2F1/subscription/0192d1a4-");
    expect("\n  {\"is_enabled\": true, \"updated_by\": \"you\"}\n");

    assert_int_equal(write_mail("subscription.recovered", "{\"name\": \"\", \"last_success_at\": null, " ABOUT "}"),
                     STATUS_OK);
    assert_string_equal(subject.data, "Your webhook works again: 0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e");
    assert_null(strchr(text.data, '{'));
}

static void test_names_are_one_line_and_not_long(void **state) {
    (void)state;
    struct buffer about;
    buffer_init(&about, 4096);
    buffer_text(&about, "{\"name\": \"a\\r\\nBcc: eve@example.org ");
    for (int i = 0; i < 100; i++)
        buffer_text(&about, "\xc3\xa9");
    buffer_text(&about, "\"}");
    assert_int_equal(write_mail("subscription.failing", about.data), STATUS_OK);
    assert_null(strchr(subject.data, '\n'));
    assert_null(strchr(subject.data, '\r'));
    assert_in_range(subject.len, 140, 150);
    assert_string_equal(subject.data + subject.len - 5, "\xc3\xa9\xe2\x80\xa6");
    buffer_deinit(&about);
}

static void test_what_is_missing(void **state) {
    (void)state;
    assert_int_equal(write_mail("subscription.disabled", "{}"), STATUS_OK);
    expect("Subscription: unknown (unknown)");
    expect("Last success: none that is known");
    assert_int_equal(write_mail("subscription.other", "{}"), STATUS_INVALID);
    assert_string_equal(error.text, "there is no mail of the kind \"subscription.other\"");
}

#define LINK "https://hooks.example.com/api/v1/exports/0192d1a4-0000-7c0b-9d2e-6b8f0a1c2d3e?expires=1&signature=ab"
#define EXPORT                                                                                                         \
    "\"job_id\": \"0192d1a4-0000-7c0b-9d2e-6b8f0a1c2d3e\", \"format\": \"csv\", \"rows\": 1234567, \"size\": "         \
    "34567890, "                                                                                                       \
    "\"expires_at_ms\": 1795887359999, \"start\": 1709251200000, \"end\": \"2024-03-31T23:59:59.999Z\", "              \
    "\"error\": \"more than 10000000 rows\""

static void check_export(enum language language, const char *kind, const char *const *parts) {
    char about[1024];
    (void)snprintf(about, sizeof(about), "{\"lang\": \"%s\", " EXPORT "}", language_tag(language));
    assert_int_equal(write_mail(kind, about), STATUS_OK);
    assert_false(subject.overflowed || text.overflowed);
    assert_in_range(subject.len, 10, 120);
    assert_null(strpbrk(subject.data, "\r\n{}"));
    assert_null(strpbrk(text.data, "\r{}"));
    assert_null(strstr(text.data, "unknown"));
    assert_int_equal(utf8_valid_prefix(buffer_view(&subject)), subject.len);
    assert_int_equal(utf8_valid_prefix(buffer_view(&text)), text.len);
    assert_int_equal(text.data[text.len - 1], '\n');
    for (; *parts; parts++)
        expect(*parts);
}

static void test_exports_in_every_language(void **state) {
    (void)state;
    static const char *const READY[] = {"\n" LINK "\n",
                                        "2026-11-28 17:35 UTC",
                                        "1234567\n",
                                        "CSV",
                                        "33 MiB\n",
                                        "acme/1\n",
                                        "2024-03-01 00:00:00 UTC ",
                                        " 2024-03-31 23:59:59 UTC\n",
                                        "0192d1a4-0000-7c0b-9d2e-6b8f0a1c2d3e\n",
                                        "7-Zip",
                                        "gzip",
                                        NULL};
    static const char *const FAILED[] = {"more than 10000000 rows\n",
                                         "acme/1\n",
                                         "2024-03-01 00:00:00 UTC ",
                                         " 2024-03-31 23:59:59 UTC\n",
                                         "0192d1a4-0000-7c0b-9d2e-6b8f0a1c2d3e\n",
                                         NULL};
    char *subjects[2 * LANGUAGE_COUNT];
    for (int i = 0; i < LANGUAGE_COUNT; i++) {
        link = SPAN_LITERAL(LINK);
        check_export((enum language)i, "export.ready", READY);
        subjects[2 * i] = buffer_take(&subject, NULL);
        link = SPAN_NONE;
        check_export((enum language)i, "export.failed", FAILED);
        assert_null(strstr(text.data, "://"));
        subjects[2 * i + 1] = buffer_take(&subject, NULL);
    }
    for (int i = 0; i < 2 * LANGUAGE_COUNT; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(subjects[i], subjects[k]);
    for (int i = 0; i < 2 * LANGUAGE_COUNT; i++)
        mem_free(subjects[i]);
}

static void subject_in(const char *about, const char *expected) {
    assert_int_equal(write_mail("export.failed", about), STATUS_OK);
    assert_string_equal(subject.data, expected);
}

static void test_an_exports_language(void **state) {
    (void)state;
    static const char ENGLISH[] = "Your webhook log export failed";
    subject_in("{\"lang\": \"de-AT\"}", "Ihr Export der Webhook-Protokolle ist fehlgeschlagen");
    subject_in("{\"lang\": \"zh-HK\"}", "您的 Webhook 傳送記錄匯出失敗");
    subject_in("{\"lang\": \"ko\"}", ENGLISH);
    subject_in("{\"lang\": null}", ENGLISH);
    subject_in("{\"lang\": \"\"}", ENGLISH);
    subject_in("{\"lang\": \"no tag\"}", ENGLISH);
    subject_in("{}", ENGLISH);
}

static void test_an_export_of_which_little_is_known(void **state) {
    (void)state;
    assert_int_equal(write_mail("export.ready", "{}"), STATUS_INVALID);
    assert_string_equal(error.text, "there is no link for it");
    assert_int_equal(subject.len + text.len, 0);
    link = SPAN_LITERAL(LINK);
    assert_int_equal(write_mail("export.ready", "{\"start\": null, \"end\": null, \"rows\": -1, \"size\": 10239, "
                                                "\"format\": \"ndjson\"}"),
                     STATUS_OK);
    expect("Period: oldest entry – time of the export\n");
    expect("Rows: unknown\nFile: NDJSON, compressed with gzip, 10239 B\n");
    expect("here until unknown:\n" LINK "\n");
    assert_int_equal(write_mail("export.failed", "{\"start\": \"2024-03-01T02:00:00+02:00\", \"end\": \"2024-03-31\"}"),
                     STATUS_OK);
    expect("Period: 2024-03-01 00:00:00 UTC – 2024-03-31\n");
    assert_int_equal(write_mail("export.failed", "{\"start\": \"some \\t day\", \"end\": \"\"}"), STATUS_OK);
    expect("Period: some   day – \n");
    assert_int_equal(write_mail("export.failed", "{\"error\": \"two\\nlines\"}"), STATUS_OK);
    expect("\nReason: two lines\n");
    assert_int_equal(write_mail("export.other", "{}"), STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_kind, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_names_are_one_line_and_not_long, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_what_is_missing, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_exports_in_every_language, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_an_exports_language, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_an_export_of_which_little_is_known, open_buffers, close_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
