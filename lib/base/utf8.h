/* UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing past U+10FFFF. Any thread. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/buffer.h"

/* What replaces a part that is not valid: U+FFFD. */
#define UTF8_REPLACEMENT SPAN_LITERAL("\xEF\xBF\xBD")

/* Bytes that the first character of text takes (text.len > 0). ret_valid false: as many bytes as stand for one
 * replacement character, that is the maximal subpart of an ill-formed sequence (Unicode, section 3.9). */
size_t utf8_next(struct span text, bool *ret_valid);

/* Appends a code point; a surrogate or a number past U+10FFFF as U+FFFD. */
void utf8_encode(uint32_t code_point, struct buffer *out);
/* The same into an array; returns how many bytes it takes. */
size_t utf8_put(uint32_t code_point, char out[4]);

/* Length of the longest prefix of text that is valid UTF-8 (so text.len when all of it is). */
size_t utf8_valid_prefix(struct span text);

/* Appends text as valid UTF-8 without NUL: invalid parts and NUL become U+FFFD. For PostgreSQL's text. */
void utf8_clean(struct span text, struct buffer *out);

/* The same as a string of its own (mem_free). */
char *utf8_clean_dup(struct span text, size_t *ret_len);

#endif
