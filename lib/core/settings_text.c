/* What the settings that are text accept: enough to catch a slip at start and to name it. What the text means is for
 * the module that uses it. Where the default is empty, so may the value be. */
#include "core/settings_table.h"

#include "base/crypto.h"
#include "base/memory.h"
#include <arpa/inet.h>
#include <regex.h>

typedef bool item_fn(struct span item);

/* One line: no control characters, no NUL. */
static bool is_line(struct span text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_word(struct span text) {
    return text.len > 0 && is_line(text) && !memchr(text.data, ' ', text.len);
}

static struct span skip(struct span text, size_t count) {
    return (struct span){text.data + count, text.len - count};
}

static bool each_item(struct span list, item_fn *accepts) {
    for (;;) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        if (!accepts((struct span){list.data, len}))
            return false;
        if (!comma)
            return true;
        list = skip(list, len + 1);
    }
}

static bool is_number(struct span text, int most) {
    int value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
        if (value > most)
            return false;
    }
    return text.len > 0;
}

static bool is_address(int family, struct span text) {
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (text.len >= sizeof(address))
        return false;
    memcpy(address, text.data, text.len);
    address[text.len] = '\0';
    return strlen(address) == text.len && inet_pton(family, address, bytes) == 1;
}

/* "name:9092", "[::1]:9092"; the port may be left out when it is optional. */
static bool is_host_port(struct span text, bool port_optional) {
    if (!is_word(text))
        return false;
    struct span port;
    if (text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.len);
        size_t len = end ? (size_t)(end - text.data) : 0;
        if (!end || !is_address(AF_INET6, (struct span){text.data + 1, len - 1}))
            return false;
        port = skip(text, len + 1);
    } else {
        const char *colon = memchr(text.data, ':', text.len);
        size_t len = colon ? (size_t)(colon - text.data) : text.len;
        if (len == 0 || memchr(text.data, '/', len))
            return false;
        port = skip(text, len);
    }
    if (port.len == 0)
        return port_optional;
    return port.data[0] == ':' && is_number(skip(port, 1), 65535);
}

static bool is_broker(struct span text) {
    /* librdkafka takes a protocol before the name: SSL://kafka:9093. */
    const char *mark = memmem(text.data, text.len, "://", 3);
    return is_host_port(mark ? skip(text, (size_t)(mark - text.data) + 3) : text, true);
}

bool text_is_database_url(struct span text) {
    return is_line(text) &&
           (span_has_prefix(text, SPAN_LITERAL("postgresql://")) ||
            span_has_prefix(text, SPAN_LITERAL("postgres://")) || (text.len > 0 && memchr(text.data, '=', text.len)));
}

bool text_is_brokers(struct span text) {
    return each_item(text, is_broker);
}

bool text_is_properties(struct span text) {
    while (text.len) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t len = newline ? (size_t)(newline - text.data) : text.len;
        struct span line = {text.data, len};
        if (len && (!is_line(line) || !memchr(line.data, '=', len) || line.data[0] == '='))
            return false;
        text = skip(text, newline ? len + 1 : len);
    }
    return true;
}

bool text_is_name(struct span text) {
    return text.len <= 255 && is_word(text);
}

static bool is_topic(struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c)) || !c)
            return false;
    }
    return text.len > 0 && text.len <= 249;
}

bool text_is_topic_prefix(struct span text) {
    /* The type's 200 characters must fit behind it. */
    return is_topic(text) && text.len <= 49;
}

bool text_is_topics(struct span text) {
    if (text.len == 0)
        return true;
    if (text.data[0] != '^')
        return each_item(text, is_topic);
    if (!is_line(text))
        return false;
    char *pattern = mem_strndup(text.data, text.len);
    regex_t regex;
    bool compiles = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0;
    if (compiles)
        regfree(&regex);
    mem_free(pattern);
    return compiles;
}

bool text_is_listen(struct span text) {
    return is_host_port(text, false);
}

bool text_is_web_url(struct span text) {
    struct span https = SPAN_LITERAL("https://"), http = SPAN_LITERAL("http://");
    struct span rest = span_has_prefix(text, https)  ? skip(text, https.len)
                       : span_has_prefix(text, http) ? skip(text, http.len)
                                                     : SPAN_NONE;
    return rest.len > 0 && is_word(rest) && rest.data[0] != '/' && rest.data[0] != ':';
}

bool text_is_secret_key(struct span text) {
    if (text.len == 0)
        return true;
    struct keyring *keyring = NULL;
    bool valid = keyring_new(text, &keyring, NULL) == STATUS_OK;
    keyring_free(&keyring);
    return valid;
}

static bool is_net(struct span text) {
    const char *slash = memchr(text.data, '/', text.len);
    if (!slash)
        return false;
    struct span address = {text.data, (size_t)(slash - text.data)}, bits = skip(text, address.len + 1);
    return (is_address(AF_INET, address) && is_number(bits, 32)) ||
           (is_address(AF_INET6, address) && is_number(bits, 128));
}

bool text_is_nets(struct span text) {
    return text.len == 0 || each_item(text, is_net);
}

bool text_is_file(struct span text) {
    return is_line(text);
}

bool text_is_ip(struct span text) {
    return text.len == 0 || is_address(AF_INET, text) || is_address(AF_INET6, text);
}

bool text_is_smtp_url(struct span text) {
    struct span plain = SPAN_LITERAL("smtp://"), tls = SPAN_LITERAL("smtps://");
    if (text.len == 0)
        return true;
    return is_word(text) && ((span_has_prefix(text, plain) && text.len > plain.len) ||
                             (span_has_prefix(text, tls) && text.len > tls.len));
}

bool text_is_mail_address(struct span text) {
    if (text.len == 0)
        return true;
    const char *at = memchr(text.data, '@', text.len);
    return is_word(text) && !memchr(text.data, '<', text.len) && at && at > text.data && at + 1 < text.data + text.len;
}
