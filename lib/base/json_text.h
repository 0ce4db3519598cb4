/* The two ways between a JSON string as it is written and the text that it means. Any thread. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include "base/buffer.h"

/* Appends what a string that json_scan has accepted means (escapes undone, as UTF-8; a lone surrogate becomes U+FFFD).
 * With its quotes or, as a member's name comes, without. Never longer than what is written. */
void json_unescape(struct span string_text, struct buffer *out);

/* Appends text as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD, one per maximal subpart. Of the rest
 * only what must be escaped is. */
void json_quote(struct span text, struct buffer *out);

#endif
