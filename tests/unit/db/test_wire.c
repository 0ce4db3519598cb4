#include "db/params.h"
#include "db/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buffer out;

static int make_buffer(void **state) {
    (void)state;
    buffer_init(&out, 1 << 16);
    return 0;
}

static int drop_buffer(void **state) {
    (void)state;
    buffer_deinit(&out);
    return 0;
}

#define IS(literal)                                                                                                    \
    do {                                                                                                               \
        assert_int_equal(out.len, sizeof(literal) - 1);                                                                \
        assert_memory_equal(out.data, literal, sizeof(literal) - 1);                                                   \
        buffer_reset(&out);                                                                                            \
    } while (0)

static void test_values_carry_their_length(void **state) {
    (void)state;
    wire_null(&out);
    IS("\xff\xff\xff\xff");
    wire_bool(&out, true);
    IS("\0\0\0\x01\x01");
    wire_int2(&out, -2);
    IS("\0\0\0\x02\xff\xfe");
    wire_int4(&out, 0x01020304);
    IS("\0\0\0\x04\x01\x02\x03\x04");
    wire_int8(&out, INT64_MIN);
    IS("\0\0\0\x08\x80\0\0\0\0\0\0\0");
    wire_text(&out, SPAN_LITERAL("ab"));
    IS("\0\0\0\x02"
       "ab");
    wire_text(&out, SPAN_LITERAL(""));
    IS("\0\0\0\0");
    wire_text(&out, SPAN_NONE);
    IS("\xff\xff\xff\xff");
    wire_jsonb(&out, SPAN_LITERAL("{}"));
    IS("\0\0\0\x03\x01{}");
    wire_uuid(&out, NULL);
    IS("\xff\xff\xff\xff");
    wire_uuid(&out, &(struct uuid){{0xab, 0xcd}});
    IS("\0\0\0\x10\xab\xcd\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

static void test_timestamps_count_from_2000(void **state) {
    (void)state;
    wire_timestamp(&out, INT64_C(946684800001));
    IS("\0\0\0\x08\0\0\0\0\0\0\x03\xe8");
    assert_int_equal(wire_timestamp_ms(1000), INT64_C(946684800001));
    assert_int_equal(wire_timestamp_ms(-1), INT64_C(946684799999));
    assert_int_equal(wire_timestamp_ms(-1000), INT64_C(946684799999));
    assert_int_equal(wire_timestamp_ms(-1001), INT64_C(946684799998));
}

static void test_arrays_of_uuids(void **state) {
    (void)state;
    wire_uuid_array(&out, NULL, 0);
    IS("\xff\xff\xff\xff");
    struct uuid one = {{0x11}};
    wire_uuid_array(&out, &one, 0);
    IS("\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\x0b\x86");
    wire_uuid_array(&out, &one, 1);
    IS("\0\0\0\x28\0\0\0\x01\0\0\0\0\0\0\x0b\x86\0\0\0\x01\0\0\0\x01\0\0\0\x10\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

static void test_copy_frame(void **state) {
    (void)state;
    wire_copy_header(&out);
    IS("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0");
    wire_copy_row(&out, 3);
    IS("\0\x03");
    wire_copy_trailer(&out);
    IS("\xff\xff");
}

static void test_params_know_their_place(void **state) {
    (void)state;
    struct params params;
    params_init(&params);
    params_int4(&params, 7);
    params_text(&params, SPAN_NONE);
    params_text(&params, SPAN_LITERAL("xyz"));
    params_null(&params, PARAM_UUID);
    assert_int_equal(params.count, 4);
    assert_int_equal(params.lengths[0], 4);
    assert_memory_equal(params.data.data + params.offsets[0], "\0\0\0\x07", 4);
    assert_int_equal(params.lengths[1], -1);
    assert_int_equal(params.lengths[2], 3);
    assert_memory_equal(params.data.data + params.offsets[2], "xyz", 3);
    assert_int_equal(params.lengths[3], -1);
    assert_int_equal(params.types[3], 2950);
    params_reset(&params);
    assert_int_equal(params.count, 0);
    params_deinit(&params);
}

static void test_an_array_past_its_maximum_spoils_the_parameters(void **state) {
    (void)state;
    struct params params;
    struct param_array array;
    params_init(&params);
    array_init(&array, PARAM_TEXT, 16);
    array_text(&array, SPAN_LITERAL("0123456789ab"));
    params_array(&params, &array);
    assert_false(params.data.overflowed);
    assert_int_equal(params.lengths[0], 36);
    array_text(&array, SPAN_LITERAL("c"));
    params_reset(&params);
    params_array(&params, &array);
    assert_true(params.data.overflowed);
    array_deinit(&array);
    params_deinit(&params);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_carry_their_length),
        cmocka_unit_test(test_timestamps_count_from_2000),
        cmocka_unit_test(test_arrays_of_uuids),
        cmocka_unit_test(test_copy_frame),
        cmocka_unit_test(test_params_know_their_place),
        cmocka_unit_test(test_an_array_past_its_maximum_spoils_the_parameters),
    };
    return cmocka_run_group_tests(tests, make_buffer, drop_buffer);
}
