#include "dispatch/mail_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct buffer subject, text;
static struct error error;

static int open_buffers(void **state) {
    (void)state;
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
    const struct mail_about mail = {span_of(kind), SPAN_LITERAL("acme/1"), span_of(about),
                                    "https://hooks.example.com/"};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_kind, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_names_are_one_line_and_not_long, open_buffers, close_buffers),
        cmocka_unit_test_setup_teardown(test_what_is_missing, open_buffers, close_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
