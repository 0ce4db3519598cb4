#include "api/json_member.h"
#include "base/json_scan.h"

struct span json_member_text(struct span object, const char *name) {
    struct json_value whole, value;
    struct error error;
    if (json_scan(object, NULL, NULL, &whole, &error) != STATUS_OK || !json_find(whole.text, span_of(name), &value))
        return SPAN_NONE;
    return value.text;
}
