/* A JSON text as JavaScript's JSON.stringify(JSON.parse(text)) writes it (ECMA-262, 25.5): integer-like names first and
 * ascending, the last of duplicate names at the place of the first, numbers as doubles in their shortest form, escapes
 * as JSON.stringify chooses them, lone surrogates as \udxxx. For receivers who sign again what they parsed. Any thread.
 */
#ifndef WEBHOOK_JS_JSON_H
#define WEBHOOK_JS_JSON_H

#include "base/json_scan.h"

/* Appends. `value` was accepted by json_scan, or written by format_render from what was. */
void js_json_write(struct span value, struct buffer *out);

/* Number::toString(10) of a double; NaN and infinities as JSON has them: null. */
void js_json_number(double number, struct buffer *out);

#endif
