#include "store/export_link.h"

#define PURPOSE SPAN_LITERAL("links to exports")
#define EXPIRES_MAX_DIGITS 12

static void write_signed(const struct uuid *job_id, int64_t expires_at_s, struct buffer *out) {
    char id[UUID_TEXT_LEN + 1];
    uuid_format(job_id, id);
    buffer_init(out, sizeof(id) + 32);
    buffer_printf(out, "%s ", id);
    buffer_int(out, expires_at_s);
}

void export_link_write(const struct keyring *keyring, const char *public_url, const struct uuid *job_id,
                       int64_t expires_at_s, struct buffer *out) {
    char id[UUID_TEXT_LEN + 1];
    uint8_t mac[SHA256_BYTES];
    struct span base = span_of(public_url);
    struct buffer text;
    write_signed(job_id, expires_at_s, &text);
    keyring_mac(keyring, PURPOSE, buffer_view(&text), mac);
    buffer_deinit(&text);
    while (base.len > 0 && base.data[base.len - 1] == '/')
        base.len--;
    uuid_format(job_id, id);
    buffer_span(out, base);
    buffer_printf(out, "/api/v1/exports/%s?expires=", id);
    buffer_int(out, expires_at_s);
    buffer_text(out, "&signature=");
    hex_encode((struct span){(const char *)mac, sizeof(mac)}, out);
}

/* One spelling of each number: what was signed is written again from what was read. */
static bool read_expires(struct span text, int64_t *ret_s) {
    int64_t s = 0;
    if (text.len == 0 || text.len > EXPIRES_MAX_DIGITS || text.data[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        s = s * 10 + (text.data[i] - '0');
    }
    *ret_s = s;
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_signature(struct span text, uint8_t out[SHA256_BYTES]) {
    if (text.len != (size_t)2 * SHA256_BYTES)
        return false;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool export_link_verify(const struct keyring *keyring, const struct uuid *job_id, struct span expires,
                        struct span signature, int64_t *ret_expires_at_s) {
    uint8_t mac[SHA256_BYTES];
    struct buffer text;
    int64_t expires_at_s;
    if (!read_expires(expires, &expires_at_s) || !read_signature(signature, mac))
        return false;
    write_signed(job_id, expires_at_s, &text);
    bool genuine =
        keyring_mac_fits(keyring, PURPOSE, buffer_view(&text), (struct span){(const char *)mac, sizeof(mac)});
    buffer_deinit(&text);
    if (genuine)
        *ret_expires_at_s = expires_at_s;
    return genuine;
}
