#include "api/body_json.h"
#include <jansson.h>
#include <math.h>

#define FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)
#define EXACT 9007199254740992.0 /* 2^53: up to there a double tells each integer from the next */

/* What was read as reals for the sake of one number: those that are whole are integers again. */
static json_t *restored(json_t *value) {
    double number = json_real_value(value);
    if (json_is_real(value) && fabs(number) < EXACT && floor(number) == number)
        return json_integer((json_int_t)number);
    return NULL;
}

static void restore_inside(json_t *json) {
    const char *name;
    json_t *value, *whole;
    size_t index;
    void *next;
    json_object_foreach_safe(json, next, name, value) {
        if ((whole = restored(value)))
            json_object_set_new(json, name, whole);
        else
            restore_inside(value);
    }
    json_array_foreach(json, index, value) {
        if ((whole = restored(value)))
            json_array_set_new(json, index, whole);
        else
            restore_inside(value);
    }
}

enum status body_json_read(struct span body, struct json_t **ret_json, struct error *error) {
    json_error_t why;
    const char *text = body.data ? body.data : "";
    json_t *json = json_loadb(text, body.len, FLAGS, &why);
    bool overflow = !json && json_error_code(&why) == json_error_numeric_overflow;
    if (overflow && (json = json_loadb(text, body.len, FLAGS | JSON_DECODE_INT_AS_REAL, &why)))
        restore_inside(json);
    if (json) {
        *ret_json = json;
        return STATUS_OK;
    }
    if (json_error_code(&why) == json_error_numeric_overflow)
        return error_set(error, STATUS_INVALID, "The body has a number that is too large: line %d, column %d.",
                         why.line, why.column);
    return error_set(error, STATUS_INVALID, "The body is not JSON: line %d, column %d%s.", why.line, why.column,
                     json_error_code(&why) == json_error_duplicate_key ? ", a name stands twice" : "");
}
