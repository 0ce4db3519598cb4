/* A tag is read subtag by subtag. What a subtag is follows from its shape and from what went before it: the parts of a
 * tag come in the order of `enum part`, and each but variants and extensions at most once. */
#include "core/language.h"
#include <stdint.h>
#include <strings.h>

enum part { PART_LANGUAGE, PART_EXTENDED, PART_SCRIPT, PART_REGION, PART_VARIANT, PART_EXTENSION, PART_PRIVATE };

struct tag {
    struct span language, extended, script, region; /* absent where the tag has none */
    int extended_count;
    enum part part; /* the last one that was read */
    bool complete;  /* false: the last subtag can't stand at the end */
};

static const char *const TAGS[LANGUAGE_COUNT] = {"en", "zh-TW", "zh-CN", "ja", "fr", "de", "es", "vi"};

const char *language_tag(enum language language) {
    CHECK(language < LANGUAGE_COUNT);
    return TAGS[language];
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool all(struct span text, bool (*is)(char)) {
    for (size_t i = 0; i < text.len; i++)
        if (!is(text.data[i]))
            return false;
    return true;
}

static bool is_letter_or_digit(char c) {
    return is_letter(c) || is_digit(c);
}

static bool is_word(struct span text, const char *word) {
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static bool is_one_of(struct span text, const char *const *words) {
    for (; *words; words++)
        if (is_word(text, *words))
            return true;
    return false;
}

/* Tags of old that follow no rule (RFC 5646, 2.1, "irregular"). */
static bool is_irregular(struct span tag) {
    static const char *const IRREGULAR[] = {"en-GB-oed", "i-ami", "i-bnn",     "i-default", "i-enochian", "i-hak",
                                            "i-klingon", "i-lux", "i-mingo",   "i-navajo",  "i-pwn",      "i-tao",
                                            "i-tay",     "i-tsu", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE",  NULL};
    return is_one_of(tag, IRREGULAR);
}

static bool take(struct tag *tag, enum part part, struct span subtag, struct span *ret_subtag) {
    tag->part = part;
    tag->complete = true;
    if (ret_subtag)
        *ret_subtag = subtag;
    return true;
}

static bool read_first(struct tag *tag, struct span subtag) {
    if (is_word(subtag, "x")) {
        tag->part = PART_PRIVATE;
        return true;
    }
    return subtag.len >= 2 && all(subtag, is_letter) && take(tag, PART_LANGUAGE, subtag, &tag->language);
}

static bool read_next(struct tag *tag, struct span subtag) {
    if (tag->part == PART_PRIVATE)
        return take(tag, PART_PRIVATE, subtag, NULL);
    if (subtag.len == 1) {
        bool allowed = tag->complete; /* an extension says something, too, before the next begins */
        tag->part = is_word(subtag, "x") ? PART_PRIVATE : PART_EXTENSION;
        tag->complete = false;
        return allowed;
    }
    if (tag->part == PART_EXTENSION)
        return take(tag, PART_EXTENSION, subtag, NULL);
    bool letters = all(subtag, is_letter);
    if (subtag.len == 3 && letters && tag->part <= PART_EXTENDED && tag->language.len <= 3 && tag->extended_count < 3)
        return take(tag, PART_EXTENDED, subtag, tag->extended_count++ == 0 ? &tag->extended : NULL);
    if (subtag.len == 4 && letters && tag->part < PART_SCRIPT)
        return take(tag, PART_SCRIPT, subtag, &tag->script);
    bool region = (subtag.len == 2 && letters) || (subtag.len == 3 && all(subtag, is_digit));
    if (region && tag->part < PART_REGION)
        return take(tag, PART_REGION, subtag, &tag->region);
    bool variant = subtag.len >= 5 || (subtag.len == 4 && is_digit(subtag.data[0]));
    return variant && take(tag, PART_VARIANT, subtag, NULL);
}

static bool read_tag(struct span text, struct tag *ret_tag) {
    struct tag tag = {.complete = false};
    for (size_t at = 0, len; at <= text.len; at += len + 1) {
        const char *end = memchr(text.data + at, '-', text.len - at);
        len = end ? (size_t)(end - text.data) - at : text.len - at;
        struct span subtag = {text.data + at, len};
        if (len < 1 || len > 8 || !all(subtag, is_letter_or_digit))
            return false;
        if (!(at == 0 ? read_first(&tag, subtag) : read_next(&tag, subtag)))
            return false;
    }
    *ret_tag = tag;
    return tag.complete;
}

static enum language chinese(const struct tag *tag, bool cantonese) {
    static const char *const TRADITIONAL[] = {"TW", "HK", "MO", NULL};
    if (is_word(tag->script, "Hant"))
        return LANGUAGE_ZH_TW;
    if (is_word(tag->script, "Hans"))
        return LANGUAGE_ZH_CN;
    bool traditional = tag->region.data ? is_one_of(tag->region, TRADITIONAL) : cantonese;
    return traditional ? LANGUAGE_ZH_TW : LANGUAGE_ZH_CN;
}

static enum language look_up(const struct tag *tag) {
    if (is_word(tag->language, "zh"))
        return chinese(tag, is_word(tag->extended, "yue"));
    if (is_word(tag->language, "cmn") || is_word(tag->language, "yue"))
        return chinese(tag, is_word(tag->language, "yue"));
    for (int i = 0; i < LANGUAGE_COUNT; i++)
        if (is_word(tag->language, TAGS[i]))
            return (enum language)i;
    return LANGUAGE_EN;
}

enum status language_parse(struct span text, enum language *ret_language, struct error *error) {
    struct tag tag;
    if (text.len > 0 && is_irregular(text))
        *ret_language = LANGUAGE_EN;
    else if (text.len > 0 && read_tag(text, &tag))
        *ret_language = look_up(&tag);
    else if (text.len > 0 && memchr(text.data, '_', text.len))
        return error_set(error, STATUS_INVALID, "expected a language tag with \"-\", not \"_\", such as zh-TW");
    else
        return error_set(error, STATUS_INVALID, "expected a language tag (BCP 47) such as en, de, en-US or zh-TW");
    return STATUS_OK;
}
