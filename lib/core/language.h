/* The languages that hookcast writes to people in, and which of them suits a language tag. Pure; any thread. */
#ifndef CORE_LANGUAGE_H
#define CORE_LANGUAGE_H

#include "base/error.h"
#include "base/span.h"

enum language {
    LANGUAGE_EN, /* also for whoever asked for none of these */
    LANGUAGE_ZH_TW,
    LANGUAGE_ZH_CN,
    LANGUAGE_JA,
    LANGUAGE_FR,
    LANGUAGE_DE,
    LANGUAGE_ES,
    LANGUAGE_VI,
};
#define LANGUAGE_COUNT 8

/* Reads a tag: de, en-US, zh-Hant-HK. Upper and lower case are the same.
 * STATUS_INVALID: it isn't well-formed (RFC 5646, 2.2.9; "zh_TW", for one, is not); the error says so in words that can
 * stand behind the field's name, and repeats nothing of the tag.
 * Of a well-formed tag ret_language is what look-up finds (RFC 4647, 3.4): subtags are taken off its end until what is
 * left is a language above; English where that never is. A region or a script that is not ours is no mistake: fr-CA is
 * French. Chinese goes by its script where the tag names one, and else by its region: zh-Hant, zh-TW, zh-HK and zh-MO
 * are zh-TW; zh, zh-Hans, zh-CN and zh-SG are zh-CN. Cantonese (yue) is zh-TW and Mandarin (cmn) zh-CN, unless script
 * or region say otherwise. */
MUST_USE enum status language_parse(struct span tag, enum language *ret_language, struct error *error);

/* "en", "zh-TW", … */
const char *language_tag(enum language language);

#endif
