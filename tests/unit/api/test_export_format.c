#include "api/export_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEADER                                                                                                         \
    "id,workspace_id,event_id,subscription_id,event_type,webhook_url,delivery_status,status_code,response_body,"       \
    "delivered_event_obj,created_at,attempt,error,error_code,duration_ms,next_attempt_at,given_up,batch_id,replay,"    \
    "test,sent_at,event_key\r\n"
#define ID "00000000-0000-7000-8000-00000000000"

static struct uuid numbered(int number) {
    struct uuid uuid = {{0}};
    uuid.bytes[6] = 0x70;
    uuid.bytes[8] = 0x80;
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

static struct log_query_row plain_row(void) {
    return (struct log_query_row){
        .created_at_us = INT64_C(1710084600123456),
        .id = numbered(1),
        .event_key = numbered(2),
        .subscription_id = numbered(3),
        .workspace_id = SPAN_LITERAL("w1"),
        .event_id = SPAN_LITERAL("e1"),
        .event_type = SPAN_LITERAL("message.new"),
        .webhook_url = SPAN_LITERAL("https://example.com/"),
        .delivery_status = SPAN_LITERAL("success"),
        .status_code = 200,
        .response_body = SPAN_LITERAL("ok"),
        .attempt = 1,
        .duration_ms = 12,
        .sent_at_ms = INT64_C(1710084600000),
    };
}

static void expect_row(enum export_format format, const struct log_query_row *row, const char *body,
                       const char *wanted) {
    struct buffer out;
    buffer_init(&out, 65536);
    export_format_row(format, row, span_of(body), &out);
    assert_string_equal(buffer_view(&out).data, wanted);
    buffer_deinit(&out);
}

static void test_names(void **state) {
    (void)state;
    enum export_format format = EXPORT_CSV;
    assert_true(export_format_find(SPAN_LITERAL("ndjson"), &format) && format == EXPORT_NDJSON);
    assert_true(export_format_find(SPAN_LITERAL("csv"), &format) && format == EXPORT_CSV);
    assert_false(export_format_find(SPAN_LITERAL("CSV"), &format) || export_format_find(SPAN_NONE, &format));
    assert_string_equal(export_format_name(EXPORT_NDJSON), "ndjson");
}

static void test_a_file_begins_with_the_names_of_the_fields(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 4096);
    export_format_begin(EXPORT_NDJSON, &out);
    assert_int_equal(out.len, 0);
    export_format_begin(EXPORT_CSV, &out);
    assert_string_equal(out.data, HEADER);
    buffer_deinit(&out);
}

static void test_a_row_in_both(void **state) {
    (void)state;
    struct log_query_row row = plain_row();
    expect_row(EXPORT_CSV, &row, "{\"a\":1}",
               ID "1,w1,e1," ID "3,message.new,https://example.com/,success,200,ok,\"{\"\"a\"\":1}\","
                  "2024-03-10T15:30:00.123456,1,,,12,,false,,false,false,2024-03-10T15:30:00Z," ID "2\r\n");
    expect_row(EXPORT_NDJSON, &row, "{\"a\":1}",
               "{\"id\":\"" ID "1\",\"workspace_id\":\"w1\",\"event_id\":\"e1\",\"subscription_id\":\"" ID
               "3\",\"event_type\":\"message.new\",\"webhook_url\":\"https://example.com/\",\"delivery_status\":"
               "\"success\",\"status_code\":\"200\",\"response_body\":\"ok\",\"delivered_event_obj\":{\"a\":1},"
               "\"created_at\":\"2024-03-10T15:30:00.123456\",\"attempt\":1,\"error\":null,\"error_code\":null,"
               "\"duration_ms\":12,\"next_attempt_at\":null,\"given_up\":false,\"batch_id\":null,\"replay\":false,"
               "\"test\":false,\"sent_at\":\"2024-03-10T15:30:00Z\",\"event_key\":\"" ID "2\"}\n");
}

/* What stands for a response body between the fields around it. */
static void expect_field(struct span value, const char *wanted) {
    struct log_query_row row = plain_row();
    struct buffer out;
    char around[600];
    row.response_body = value;
    buffer_init(&out, 65536);
    export_format_row(EXPORT_CSV, &row, SPAN_LITERAL("null"), &out);
    snprintf(around, sizeof(around), ",200,%s,,2024-03-10", wanted);
    if (!strstr(out.data, around))
        fail_msg("%s, expected %s in it", out.data, around);
    buffer_deinit(&out);
}

static void test_fields_of_csv(void **state) {
    (void)state;
    expect_field(SPAN_NONE, "");
    expect_field(SPAN_LITERAL(""), "\"\"");
    expect_field(SPAN_LITERAL("plain text"), "plain text");
    expect_field(SPAN_LITERAL(" a"), "\" a\"");
    expect_field(SPAN_LITERAL("a "), "\"a \"");
    expect_field(SPAN_LITERAL("a,b"), "\"a,b\"");
    expect_field(SPAN_LITERAL("say \"hi\""), "\"say \"\"hi\"\"\"");
    expect_field(SPAN_LITERAL("\""), "\"\"\"\"");
    expect_field(SPAN_LITERAL("a\nb\r\nc"), "\"a\nb\r\nc\"");
    expect_field(SPAN_LITERAL("\xe4\xb8\xad\xe6\x96\x87"), "\xe4\xb8\xad\xe6\x96\x87");
}

static void test_no_field_is_a_formula(void **state) {
    (void)state;
    expect_field(SPAN_LITERAL("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
    expect_field(SPAN_LITERAL("+1"), "\"'+1\"");
    expect_field(SPAN_LITERAL("-1"), "\"'-1\"");
    expect_field(SPAN_LITERAL("@SUM(A1)"), "\"'@SUM(A1)\"");
    expect_field(SPAN_LITERAL("\t=1"), "\"'\t=1\"");
    expect_field(SPAN_LITERAL("\r=1"), "\"'\r=1\"");
    expect_field(SPAN_LITERAL("\n=1"), "\"'\n=1\"");
    expect_field(SPAN_LITERAL("\xEF\xBC\x9D"
                              "1"),
                 "\"'\xEF\xBC\x9D"
                 "1\"");
    expect_field(SPAN_LITERAL("=\"a\""), "\"'=\"\"a\"\"\"");
    expect_field(SPAN_LITERAL("1=1"), "1=1");
    struct log_query_row row = plain_row();
    struct buffer out;
    buffer_init(&out, 65536);
    export_format_row(EXPORT_CSV, &row, SPAN_LITERAL("-5"), &out);
    assert_non_null(strstr(out.data, ",ok,\"'-5\","));
    buffer_deinit(&out);
}

/* A line break between two tokens would end the line. */
static void test_a_row_is_a_line(void **state) {
    (void)state;
    struct log_query_row row = plain_row();
    struct buffer out;
    row.response_body = SPAN_LITERAL("a\nb");
    buffer_init(&out, 65536);
    export_format_row(EXPORT_NDJSON, &row, SPAN_LITERAL("{\n\"a\":\r\n\"b\\n\"}\n"), &out);
    assert_non_null(strstr(out.data, ":{ \"a\":  \"b\\n\"} ,\"created_at\""));
    assert_non_null(strstr(out.data, "\"a\\nb\""));
    assert_ptr_equal(memchr(out.data, '\n', out.len), out.data + out.len - 1);
    buffer_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_file_begins_with_the_names_of_the_fields),
        cmocka_unit_test(test_a_row_in_both),
        cmocka_unit_test(test_fields_of_csv),
        cmocka_unit_test(test_no_field_is_a_formula),
        cmocka_unit_test(test_a_row_is_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
