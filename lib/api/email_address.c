#include "api/email_address.h"

static bool in_local_part(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(".!#$%&'*+-/=?^_`{|}~", c));
}

static bool in_label(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Words of the characters, with single points between them and none at an end. */
static bool is_dotted(struct span text, bool (*takes)(char)) {
    if (text.len == 0 || text.data[0] == '.' || text.data[text.len - 1] == '.')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '.' && !takes(text.data[i]))
            return false;
        if (text.data[i] == '.' && text.data[i - 1] == '.')
            return false;
    }
    return true;
}

bool email_address_valid(struct span text) {
    const char *at = text.data ? memchr(text.data, '@', text.len) : NULL;
    if (!at || text.len > EMAIL_ADDRESS_MAX_BYTES)
        return false;
    struct span local = {text.data, (size_t)(at - text.data)};
    struct span domain = {at + 1, text.len - local.len - 1};
    return local.len <= 64 && is_dotted(local, in_local_part) && is_dotted(domain, in_label);
}
