/* Base64 with the URL's alphabet and without padding, of: a version, order, direction, null or not, time, id, value. */
#include "api/log_cursor.h"
#include "base/crypto.h"

#define VERSION 1
#define FIXED_BYTES (4 + 8 + 16)

static void put_order(const struct log_query_settings *settings, bool null, char *out) {
    out[0] = VERSION;
    out[1] = (char)settings->order;
    out[2] = settings->descending;
    out[3] = null;
}

void log_cursor_write(const struct log_query_settings *settings, const struct log_place *place, char *out) {
    char bytes[FIXED_BYTES + LOG_VALUE_MAX_BYTES];
    size_t len = strlen(place->value);
    put_order(settings, place->null, bytes);
    for (int i = 0; i < 8; i++)
        bytes[4 + i] = (char)((uint64_t)place->at_us >> (56 - 8 * i));
    memcpy(bytes + 12, place->id.bytes, 16);
    memcpy(bytes + FIXED_BYTES, place->value, len);
    struct buffer text;
    buffer_init(&text, LOG_CURSOR_MAX_BYTES);
    base64_encode((struct span){bytes, FIXED_BYTES + len}, &text);
    CHECK(!text.overflowed);
    size_t at = 0;
    for (; at < text.len && text.data[at] != '='; at++)
        out[at] = text.data[at] == '+' ? '-' : text.data[at] == '/' ? '_' : text.data[at];
    out[at] = '\0';
    buffer_deinit(&text);
}

static bool decode(struct span text, struct buffer *bytes) {
    char plain[LOG_CURSOR_MAX_BYTES + 4];
    size_t len = text.len;
    if (len == 0 || len > LOG_CURSOR_MAX_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text.data[i] == '+' || text.data[i] == '/' || text.data[i] == '=')
            return false;
        plain[i] = text.data[i] == '-' ? '+' : text.data[i] == '_' ? '/' : text.data[i];
    }
    while (len % 4)
        plain[len++] = '=';
    return base64_decode((struct span){plain, len}, bytes) == STATUS_OK;
}

enum status log_cursor_read(struct span text, const struct log_query_settings *settings, struct log_place *ret_place) {
    struct buffer bytes;
    struct log_place place = {.null = false};
    char order[4];
    buffer_init(&bytes, LOG_CURSOR_MAX_BYTES);
    bool right = decode(text, &bytes) && bytes.len >= FIXED_BYTES && bytes.len <= FIXED_BYTES + LOG_VALUE_MAX_BYTES;
    if (right) {
        size_t len = bytes.len - FIXED_BYTES;
        place.null = bytes.data[3] != 0;
        put_order(settings, place.null, order);
        right = memcmp(order, bytes.data, 4) == 0 && !memchr(bytes.data + FIXED_BYTES, '\0', len);
        uint64_t at = 0;
        for (int i = 0; i < 8; i++)
            at = at << 8 | (uint8_t)bytes.data[4 + i];
        place.at_us = (int64_t)at;
        memcpy(place.id.bytes, bytes.data + 12, 16);
        memcpy(place.value, bytes.data + FIXED_BYTES, len);
        for (size_t i = 0; i < len && settings->order == LOG_BY_STATUS_CODE; i++)
            right = right && len <= 5 && place.value[i] >= '0' && place.value[i] <= '9';
        /* Not beyond what a timestamp holds. */
        right = right && place.at_us >= 0 && place.at_us < INT64_C(4102444800000000);
    }
    buffer_deinit(&bytes);
    if (!right)
        return STATUS_INVALID;
    *ret_place = place;
    return STATUS_OK;
}
