#include "core/language.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *found(const char *tag) {
    enum language language = LANGUAGE_VI;
    struct error error;
    if (language_parse(span_of(tag), &language, &error) != STATUS_OK)
        fail_msg("%s: %s", tag, error.text);
    return language_tag(language);
}

static void refuse_span(struct span tag, const char *part) {
    enum language language = LANGUAGE_VI;
    struct error error = {""};
    if (language_parse(tag, &language, &error) != STATUS_INVALID)
        fail_msg("%.*s is taken", SPAN_ARGS(tag));
    assert_int_equal(language, LANGUAGE_VI);
    assert_non_null(strstr(error.text, part));
}

static void refuse(const char *tag) {
    refuse_span(span_of(tag), "BCP 47");
}

static void test_what_the_document_names(void **state) {
    (void)state;
    static const char *const EXPECTED[][2] = {{"en-US", "en"},      {"zh-TW", "zh-TW"}, {"zh-CN", "zh-CN"},
                                              {"ja-JP", "ja"},      {"fr-FR", "fr"},    {"de-DE", "de"},
                                              {"es", "es"},         {"vi-VN", "vi"},    {"en", "en"},
                                              {"DE-at-1996", "de"}, {"fr-CA", "fr"},    {"es-419", "es"}};
    for (size_t i = 0; i < sizeof(EXPECTED) / sizeof(*EXPECTED); i++)
        assert_string_equal(found(EXPECTED[i][0]), EXPECTED[i][1]);
}

static void test_chinese_by_script_then_region(void **state) {
    (void)state;
    static const char *const TAIWAN[] = {"zh-Hant", "zh-hant-CN",  "zh-HK",  "zh-MO",     "ZH-tw",
                                         "yue",     "zh-yue-Hant", "zh-yue", "zh-cmn-TW", "zh-HK-x-x-Hans"};
    static const char *const CHINA[] = {"zh",      "zh-Hans",    "zh-SG",          "zh-Hans-HK",
                                        "zh-MY",   "cmn",        "zh-cmn-Hans-CN", "yue-CN",
                                        "zh-Latn", "zh-min-nan", "zh-hakka"};
    for (size_t i = 0; i < sizeof(TAIWAN) / sizeof(*TAIWAN); i++)
        assert_string_equal(found(TAIWAN[i]), "zh-TW");
    for (size_t i = 0; i < sizeof(CHINA) / sizeof(*CHINA); i++)
        assert_string_equal(found(CHINA[i]), "zh-CN");
}

static void test_others_are_english(void **state) {
    (void)state;
    static const char *const OTHERS[] = {"ko",
                                         "pt-BR",
                                         "x-de",
                                         "i-klingon",
                                         "sgn-be-fr",
                                         "en-GB-oed",
                                         "deutsch",
                                         "und",
                                         "tlh-AQ",
                                         "sl-rozaj-biske",
                                         "sl-nedis",
                                         "mas",
                                         "hy-Latn-IT-arevela",
                                         "ar-aao",
                                         "art-lojban",
                                         "qaa-Qaaa-QM-x-southern",
                                         "aa-bbb-ccc-ddd-Eeee",
                                         "en-a-myext-b-another"};
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(*OTHERS); i++)
        assert_string_equal(found(OTHERS[i]), "en");
}

static void test_the_rest_of_a_tag_does_not_disturb(void **state) {
    (void)state;
    assert_string_equal(found("de-CH-x-phonebk"), "de");
    assert_string_equal(found("ja-u-ca-japanese"), "ja");
    assert_string_equal(found("de-DE-u-co-phonebk-x-a"), "de");
    assert_string_equal(found("vi-1994-foobar"), "vi");
    assert_string_equal(found("fr-Latn-FR-1606nict-a-bb-cc-x-y"), "fr");
    assert_string_equal(found("de-Latn-1996"), "de");
}

static void test_what_is_not_well_formed(void **state) {
    (void)state;
    static const char *const WRONG[] = {"",
                                        "-",
                                        "e",
                                        "en-",
                                        "-en",
                                        "en--US",
                                        "en-x",
                                        "x",
                                        "a-DE",
                                        "en-a",
                                        "en-a-x-b",
                                        "en-US-a",
                                        "de-DE-Latn",
                                        "en US",
                                        " en",
                                        "en ",
                                        "12",
                                        "e1",
                                        "abcdefghi",
                                        "de-419-DE",
                                        "en-US-GB",
                                        "en-Latn-Cyrl",
                                        "ar-a-aaa-b-b",
                                        "english-foo",
                                        "en-abc-def-ghi-jkl",
                                        "en-US.UTF-8",
                                        "*",
                                        "en-*",
                                        "fran\xc3\xa7",
                                        "en;q=1",
                                        "de,en",
                                        "en-US-abcdefghi",
                                        "i-other",
                                        "de-1"};
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++)
        refuse(WRONG[i]);
    refuse_span(SPAN_NONE, "BCP 47");
    refuse_span((struct span){"de\0AT", 5}, "BCP 47");
    refuse_span(SPAN_LITERAL("zh_TW"), "\"-\", not \"_\"");
    refuse_span(SPAN_LITERAL("en_US.UTF-8"), "\"-\", not \"_\"");
}

/* Under the sanitizer: nothing is read past the end. */
static void test_the_end_is_the_spans(void **state) {
    (void)state;
    static const char LONG[] = "zh-Hant-TW-x-abcdefgh";
    for (size_t len = 0; len < sizeof(LONG); len++) {
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        copy = realloc(copy, len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, LONG, len);
        enum language language;
        enum status status = language_parse((struct span){copy, len}, &language, NULL);
        assert_true(status == STATUS_OK || status == STATUS_INVALID);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_document_names), cmocka_unit_test(test_chinese_by_script_then_region),
        cmocka_unit_test(test_others_are_english),      cmocka_unit_test(test_the_rest_of_a_tag_does_not_disturb),
        cmocka_unit_test(test_what_is_not_well_formed), cmocka_unit_test(test_the_end_is_the_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
