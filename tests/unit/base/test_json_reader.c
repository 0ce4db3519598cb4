#include "base/json_reader.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Everything that the reader enters, written compactly. */
static void write_read(struct json_reader *reader, struct buffer *out) {
    enum json_type type = json_reader_type(reader);
    bool first = true;
    if (type == JSON_OBJECT) {
        struct span name;
        bool escaped;
        buffer_char(out, '{');
        while (json_reader_member(reader, &name, &escaped)) {
            assert_int_equal(escaped, name.len && memchr(name.data, '\\', name.len));
            buffer_text(out, first ? "\"" : ",\"");
            buffer_span(out, name);
            buffer_text(out, "\":");
            write_read(reader, out);
            first = false;
        }
        buffer_char(out, '}');
    } else if (type == JSON_ARRAY) {
        buffer_char(out, '[');
        while (json_reader_element(reader)) {
            buffer_text(out, first ? "" : ",");
            write_read(reader, out);
            first = false;
        }
        buffer_char(out, ']');
    } else {
        struct json_value value = json_reader_value(reader), scanned;
        assert_int_equal(json_scan(value.text, NULL, NULL, &scanned, NULL), STATUS_OK);
        assert_true(value.type == scanned.type && value.type == type && value.escaped == scanned.escaped);
        buffer_span(out, value.text);
    }
}

static const char *const TEXTS[] = {
    "null",
    " true ",
    "\t-1.5e+3\n",
    "\"\"",
    "\"a\\\"b\\\\\"",
    "\"eight by\"",
    "\"eight bytes \\\\\\\" and then some\"",
    "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"",
    "[]",
    " [ ] ",
    "{}",
    " { } ",
    "[[],{},[[]],[{}]]",
    "[1,-2,3.5e1,true,false,null,\"x\"]",
    " [ 1 , [ 2 , [ 3 ] ] , { } ] ",
    "{\"a\":1,\"\\u0062\":{\"c\":[1,{\"d\":null}]},\"\":\"\"}",
    " { \"a\" : 1 , \"b\" : { \"c\" : [ 1 , { \"d\" : null } ] , \"e\" : \"}\" } , \"f\" : \"]\\\"}\" } ",
    "{\"text\":\"brackets ][}{ in a string, \\\"quoted\\\"\",\"b\":[\"[\",\"{\",[\"]\",\"}\"]],\"c\":[[[1]]]}",
    "{\"a\":1,\"a\":2}",
};

/* A copy of exactly that length, so that the address sanitizer sees every byte read past the end. */
static void with_copy(const char *text, void (*check)(struct span text)) {
    size_t len = strlen(text);
    char *copy = mem_copy(text, len);
    check((struct span){copy, len});
    mem_free(copy);
}

static void check_entered(struct span text) {
    struct buffer expected, actual;
    buffer_init(&expected, 1000);
    buffer_init(&actual, 1000);
    struct json_value value;
    assert_int_equal(json_scan(text, NULL, NULL, &value, NULL), STATUS_OK);
    json_compact(&value, &expected);
    struct json_reader reader;
    json_reader_init(&reader, text);
    write_read(&reader, &actual);
    if (!span_equal(buffer_view(&expected), buffer_view(&actual))) {
        fail_msg("%.*s: read as %.*s", SPAN_ARGS(text), SPAN_ARGS(buffer_view(&actual)));
    }
    buffer_deinit(&expected);
    buffer_deinit(&actual);
}

static void check_passed_over(struct span text) {
    struct json_value expected;
    assert_int_equal(json_scan(text, NULL, NULL, &expected, NULL), STATUS_OK);
    struct json_reader reader;
    json_reader_init(&reader, text);
    struct json_value actual = json_reader_value(&reader);
    assert_true(actual.type == expected.type && actual.escaped == expected.escaped && !actual.compact);
    assert_ptr_equal(actual.text.data, expected.text.data);
    assert_int_equal(actual.text.len, expected.text.len);
}

static void enters_everything(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        with_copy(TEXTS[i], check_entered);
    }
}

static void passes_over_values(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        with_copy(TEXTS[i], check_passed_over);
    }
}

/* Members are passed over as json_each_member hands them out, wherever in a run of eight bytes they lie. */
static bool compare_member(void *ctx, const struct json_member *member) {
    struct json_reader *reader = ctx;
    struct span name;
    bool escaped;
    assert_true(json_reader_member(reader, &name, &escaped));
    struct json_value value = json_reader_value(reader);
    assert_ptr_equal(name.data, member->name.data);
    assert_int_equal(name.len, member->name.len);
    assert_int_equal(escaped, member->name_escaped);
    assert_ptr_equal(value.text.data, member->value.text.data);
    assert_int_equal(value.text.len, member->value.text.len);
    assert_true(value.type == member->value.type && value.escaped == member->value.escaped);
    return true;
}

static void passes_over_members_at_any_offset(void **state) {
    (void)state;
    for (int shift = 0; shift < 24; shift++) {
        char text[300];
        snprintf(text, sizeof(text),
                 "{\"%.*s\":[\"]\",{\"x\":\"\\\\\"},[[%.*s]]],\"b\\\\\":\"%.*s\\\"\",\"c\" : %.*s , \"d\":{}}", shift,
                 "abcdefghijklmnopqrstuvwxyz", shift, "                          ", shift, "\xC3\xA4\xC3\xA4\xC3\xA4",
                 shift + 1, "12345678901234567890123456");
        if (json_scan(span_of(text), NULL, NULL, &(struct json_value){0}, NULL) != STATUS_OK) {
            continue; /* a character was cut in two */
        }
        struct json_reader reader;
        json_reader_init(&reader, span_of(text));
        json_each_member(span_of(text), compare_member, &reader);
        struct span name;
        bool escaped;
        assert_false(json_reader_member(&reader, &name, &escaped));
        assert_ptr_equal(reader.at, reader.end);
    }
}

/* Escapes, quotes and brackets on every place of a block, and on the edge between two. */
static void passes_over_long_values(void **state) {
    (void)state;
    for (int shift = 0; shift < 140; shift++) {
        char text[1000];
        int len =
            snprintf(text, sizeof(text),
                     "[\"%0*d\",\"\\\\\",\"\\\"]\",[{\"\\\\\\\"}\":[\"[{\"]}, \"%0*d\\\\\\\\\"],{\"%0*d\\\\\":{}}]",
                     shift, 0, shift, 0, 140 - shift, 0);
        with_copy(text, check_entered);
        with_copy(text, check_passed_over);
        snprintf(text + len, sizeof(text) - (size_t)len, ",\"]%0*d\"]", shift, 0);
        struct json_reader reader;
        json_reader_init(&reader, span_of(text));
        assert_int_equal(json_reader_value(&reader).text.len, len);
    }
}

static void leaves_what_it_entered(void **state) {
    (void)state;
    struct span text = SPAN_LITERAL("{\"a\":[0,[1,\"]\"],{\"b\":[2,{}]},3],\"c\":4}");
    struct json_reader reader;
    struct span name;
    bool escaped;
    json_reader_init(&reader, text);
    assert_true(json_reader_member(&reader, &name, &escaped));
    assert_true(json_reader_element(&reader));
    (void)json_reader_value(&reader);
    assert_true(json_reader_element(&reader)); /* before [1, …: only the array that was entered is left */
    json_reader_leave(&reader);
    assert_true(json_reader_member(&reader, &name, &escaped));
    assert_true(span_is(name, "c"));
    assert_true(span_is(json_reader_value(&reader).text, "4"));
    assert_false(json_reader_member(&reader, &name, &escaped));
    assert_ptr_equal(reader.at, reader.end);
}

/* Nothing of the kind was accepted; it must end, within the text. */
static void read_nonsense(struct json_reader *reader, int depth) {
    struct span name;
    bool escaped;
    switch (depth > 50 ? JSON_NULL : json_reader_type(reader)) {
    case JSON_OBJECT:
        while (json_reader_member(reader, &name, &escaped)) {
            read_nonsense(reader, depth + 1);
        }
        break;
    case JSON_ARRAY:
        while (json_reader_element(reader)) {
            read_nonsense(reader, depth + 1);
        }
        break;
    default:
        (void)json_reader_value(reader);
    }
}

static void check_ends(struct span text) {
    struct json_reader reader;
    json_reader_init(&reader, text);
    read_nonsense(&reader, 0);
    assert_true(reader.at <= reader.end);
    json_reader_leave(&reader);
    assert_true(reader.at <= reader.end);
}

static void what_was_never_accepted_does_no_harm(void **state) {
    (void)state;
    static const char *const texts[] = {"",      "{",        "{\"",     "{\"a",        "{\"a\"",   "{\"a\":", "[",
                                        "[,,,]", "{,,,}",    "[1 2 3]", "{\"a\" 1}",   "{1:2}",    "}",       "]",
                                        "[}",    "{\"a\"]}", "\"\\",    "[\"\\\"]]]]", "[[[[[[[[", "{{{{{",   "tru"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        with_copy(texts[i], check_ends);
    }
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        char text[200];
        for (size_t len = 0; len < strlen(TEXTS[i]); len++) {
            snprintf(text, sizeof(text), "%.*s", (int)len, TEXTS[i]);
            with_copy(text, check_ends);
        }
    }
    struct json_reader reader;
    json_reader_init(&reader, SPAN_NONE);
    assert_int_equal(json_reader_value(&reader).text.len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enters_everything),
        cmocka_unit_test(passes_over_values),
        cmocka_unit_test(passes_over_members_at_any_offset),
        cmocka_unit_test(passes_over_long_values),
        cmocka_unit_test(leaves_what_it_entered),
        cmocka_unit_test(what_was_never_accepted_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
