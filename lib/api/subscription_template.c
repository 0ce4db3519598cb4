#include "api/subscription_template.h"
#include "webhook/format.h"

enum status subscription_template_check(struct span template_json, struct error *error) {
    if (template_json.len > FORMAT_TEMPLATE_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "is larger than %d bytes", FORMAT_TEMPLATE_MAX_BYTES);
    struct format *format = NULL;
    enum status status = format_compile(template_json, &format, error);
    format_unref(&format);
    return status;
}
