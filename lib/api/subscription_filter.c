#include "api/subscription_filter.h"
#include "webhook/filter.h"

enum status subscription_filter_find(struct span body, struct span *ret_filter, struct error *error) {
    struct json_value whole, found;
    struct filter *filter = NULL;
    enum status status = json_scan(body, NULL, NULL, &whole, error);
    if (status != STATUS_OK)
        return status;
    if (!json_find(whole.text, SPAN_LITERAL("filter"), &found))
        return error_set(error, STATUS_INVALID, "the body has none");
    status = filter_compile(found.text, &filter, error);
    filter_unref(&filter);
    if (status == STATUS_OK)
        *ret_filter = found.text;
    return status;
}
