/* The two ways between a JSON string as it is written and the text that it means. Any thread. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include "base/buffer.h"

/* Appends what a string that json_scan has accepted means (escapes undone, as UTF-8; a lone surrogate becomes U+FFFD).
 * With its quotes or, as a member's name comes, without. Never longer than what is written. */
void json_unescape(struct span string_text, struct buffer *out);

/* The same without a buffer, piece by piece. rest: a string's inside, without its quotes; the next piece of what it
 * means is taken off it: a run of the text itself, or one escape's character, which lies in `escape`. Empty: the end.
 */
struct span json_text_piece(struct span *rest, char escape[4]);
/* What the string means against `plain`, in the order of bytes, which is that of code points: below 0, 0 or above. With
 * its quotes or without, as json_unescape takes it; so do the next two. */
int json_text_compare(struct span string_text, struct span plain);
bool json_text_has_prefix(struct span string_text, struct span prefix);
size_t json_text_len(struct span string_text);

/* Appends text as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD, one per maximal subpart. Of the rest
 * only what must be escaped is. */
void json_quote(struct span text, struct buffer *out);

#endif
