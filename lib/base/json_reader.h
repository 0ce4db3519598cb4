/* Reads a value that json_scan has accepted piece by piece, each byte once: the caller enters what it wants to see and
 * passes over the rest, which costs far less than scanning does. No allocation. Of text that was not accepted it may
 * hand out nonsense, but never reads past its end. One thread.
 *
 *   json_reader_init(&reader, text);
 *   while (json_reader_member(&reader, &name, &escaped)) {   the reader stands before the member's value, which is
 *       struct json_value value = json_reader_value(&reader);    passed over like this, or entered by a loop like this
 *   } */
#ifndef BASE_JSON_READER_H
#define BASE_JSON_READER_H

#include "base/json_scan.h"

struct json_reader {
    const char *at, *end;
};

/* Stands before the value. */
void json_reader_init(struct json_reader *reader, struct span text);

/* Of the value that the reader stands before. */
enum json_type json_reader_type(const struct json_reader *reader);

/* Standing before an object: enters it. Behind a member's value: goes on. True: ret_name (without quotes, as written)
 * is the next member's, and the reader stands before its value. False: there is none, and the reader stands behind the
 * object. */
bool json_reader_member(struct json_reader *reader, struct span *ret_name, bool *ret_escaped);
/* The same of an array's elements. */
bool json_reader_element(struct json_reader *reader);

/* Passes over the value and returns it; its `compact` is always false. */
struct json_value json_reader_value(struct json_reader *reader);

/* Passes over the rest of the innermost array or object that was entered. */
void json_reader_leave(struct json_reader *reader);

#endif
