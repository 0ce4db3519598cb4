/* A line is put together on the stack and written at once, so that lines of several threads, or of several processes
 * that share the descriptor, never mix: 4 KiB is what a pipe takes in one piece. A line that would be longer ends
 * early, but whole: the value that does not fit is cut with "…", its quote and the object are closed. */
#include "core/log.h"

#include "base/clock.h"
#include "base/json_scan.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define TAIL_BYTES 32 /* room to end any line: "…", a quote, a mark that fields are missing, a brace, a newline */
#define ELLIPSIS "\xe2\x80\xa6"

struct line {
    char text[LINE_BYTES];
    size_t len;
    bool json;
    bool full;
};

static atomic_int lowest_level = LOG_INFO;
static atomic_bool write_json = false;

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level lowest, bool json) {
    atomic_store_explicit(&lowest_level, (int)lowest, memory_order_relaxed);
    atomic_store_explicit(&write_json, json, memory_order_relaxed);
}

/* May use the tail: for what ends a value or a line. */
static void put_end(struct line *line, const char *data, size_t len) {
    CHECK(line->len + len <= LINE_BYTES);
    memcpy(line->text + line->len, data, len);
    line->len += len;
}

static bool put(struct line *line, const char *data, size_t len) {
    if (line->full || line->len + len > LINE_BYTES - TAIL_BYTES) {
        line->full = true;
        return false;
    }
    put_end(line, data, len);
    return true;
}

static size_t char_len(unsigned char lead) {
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* One character or its escape. C1 controls go too: terminals obey some of them. */
static bool put_char(struct line *line, const unsigned char *at, size_t len) {
    char escape[8];
    int escape_len = 0;
    if (*at == '"' || *at == '\\')
        escape_len = snprintf(escape, sizeof(escape), "\\%c", *at);
    else if (*at == '\n' || *at == '\r' || *at == '\t')
        escape_len = snprintf(escape, sizeof(escape), "\\%c", *at == '\n' ? 'n' : *at == '\r' ? 'r' : 't');
    else if (*at < 0x20 || *at == 0x7f)
        escape_len = snprintf(escape, sizeof(escape), "\\u%04x", *at);
    else if (*at == 0xc2 && at[1] < 0xa0)
        escape_len = snprintf(escape, sizeof(escape), "\\u%04x", at[1]);
    return escape_len ? put(line, escape, (size_t)escape_len) : put(line, (const char *)at, len);
}

/* A byte that is no UTF-8: JSON has no way to say it. */
static bool put_invalid(struct line *line, unsigned char byte) {
    char escape[8];
    int len =
        line->json ? snprintf(escape, sizeof(escape), "\\ufffd") : snprintf(escape, sizeof(escape), "\\x%02x", byte);
    return put(line, escape, (size_t)len);
}

static void put_quoted(struct line *line, struct span value) {
    /* More could not fit, and a cut character at the end is beyond what fits. */
    if (value.len > LINE_BYTES)
        value.len = LINE_BYTES;
    const unsigned char *at = (const unsigned char *)value.data, *end = at + value.len;
    bool fits = put(line, "\"", 1);
    while (fits && at < end) {
        const unsigned char *valid = at + utf8_valid_prefix((struct span){(const char *)at, (size_t)(end - at)});
        for (size_t len; fits && at < valid; at += len) {
            len = char_len(*at);
            fits = put_char(line, at, len);
        }
        if (fits && at < end)
            fits = put_invalid(line, *at++);
    }
    if (!fits)
        put_end(line, ELLIPSIS, 3);
    put_end(line, "\"", 1);
}

static bool is_plain(struct span value) {
    if (value.len == 0)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c <= ' ' || c >= 0x7f || c == '=' || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* False: the line has no room for this field, and none for any after it. */
static bool put_name(struct line *line, const char *name) {
    size_t name_len = strlen(name);
    /* With room for any number, and for the beginning of any text. */
    if (line->full || line->len + name_len + 28 > LINE_BYTES - TAIL_BYTES) {
        if (line->json)
            put_end(line, ",\"" ELLIPSIS "\":true", 11);
        else
            put_end(line, " " ELLIPSIS, 4);
        return false;
    }
    if (line->json) {
        put(line, line->len ? ",\"" : "{\"", 2);
        put(line, name, name_len);
        put(line, "\":", 2);
    } else {
        if (line->len)
            put(line, " ", 1);
        put(line, name, name_len);
        put(line, "=", 1);
    }
    return true;
}

static bool put_text(struct line *line, const char *name, struct span value) {
    if (!put_name(line, name))
        return false;
    if (!value.data) {
        if (line->json)
            put(line, "null", 4);
    } else if (!line->json && value.len < LINE_BYTES - TAIL_BYTES - line->len && is_plain(value)) {
        put(line, value.data, value.len);
    } else {
        put_quoted(line, value);
    }
    return true;
}

static bool put_int(struct line *line, const char *name, int64_t value) {
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)value);
    return put_name(line, name) && put(line, digits, (size_t)len);
}

static void put_time(struct line *line) {
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char text[40];
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(now_ms % 1000));
    put_text(line, "time", (struct span){text, len});
}

void log_write(enum log_level level, const char *module, const char *message, const struct log_field *fields,
               size_t count) {
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed))
        return;
    struct line line;
    line.len = 0;
    line.full = false;
    line.json = atomic_load_explicit(&write_json, memory_order_relaxed);
    put_time(&line);
    put_text(&line, "level", span_of(LEVELS[level]));
    put_text(&line, "module", span_of(module));
    bool room = put_text(&line, "msg", span_of(message));
    for (size_t i = 0; room && i < count; i++)
        room = fields[i].type == LOG_FIELD_INT ? put_int(&line, fields[i].name, fields[i].number)
                                               : put_text(&line, fields[i].name, fields[i].text);
    if (line.json)
        put_end(&line, "}", 1);
    put_end(&line, "\n", 1);

    int errno_before = errno;
    while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
        ;
    errno = errno_before;
}
