#include "api/export_format.h"

static const char *const NAMES[] = {[EXPORT_CSV] = "csv", [EXPORT_NDJSON] = "ndjson"};

const char *export_format_name(enum export_format format) {
    return NAMES[format];
}

bool export_format_find(struct span name, enum export_format *ret_format) {
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++) {
        if (!span_is(name, NAMES[i]))
            continue;
        *ret_format = (enum export_format)i;
        return true;
    }
    return false;
}

/* ---- CSV ---- */

/* A line in the making. */
struct line {
    struct buffer *out;
    bool begun;
};

static void separate(struct line *line) {
    if (line->begun)
        buffer_char(line->out, ',');
    line->begun = true;
}

/* What spreadsheets take for the beginning of a formula, or throw away before they look for one. */
static bool looks_like_formula(struct span text) {
    static const char FIRST[] = {'=', '+', '-', '@', '\t', '\r', '\n'};
    static const struct span WIDE[] = {
        {"\xEF\xBC\x9D", 3}, {"\xEF\xBC\x8B", 3}, {"\xEF\xBC\x8D", 3}, {"\xEF\xBC\xA0", 3}};
    if (text.len > 0 && memchr(FIRST, text.data[0], sizeof(FIRST)))
        return true;
    for (size_t i = 0; i < sizeof(WIDE) / sizeof(*WIDE); i++)
        if (span_has_prefix(text, WIDE[i]))
            return true;
    return false;
}

static bool needs_quotes(struct span text) {
    if (text.len == 0 || text.data[0] == ' ' || text.data[text.len - 1] == ' ')
        return true;
    return memchr(text.data, ',', text.len) || memchr(text.data, '"', text.len) || memchr(text.data, '\n', text.len) ||
           memchr(text.data, '\r', text.len);
}

static void write_quoted(struct span text, bool formula, struct buffer *out) {
    buffer_text(out, formula ? "\"'" : "\"");
    while (text.len > 0) {
        const char *quote = memchr(text.data, '"', text.len);
        size_t len = quote ? (size_t)(quote - text.data) + 1 : text.len;
        buffer_append(out, text.data, len);
        if (quote)
            buffer_char(out, '"');
        text = (struct span){text.data + len, text.len - len};
    }
    buffer_char(out, '"');
}

static void csv_field(void *ctx, const char *name, struct span value, bool text) {
    (void)name;
    struct line *line = ctx;
    separate(line);
    if (!value.data)
        return;
    bool formula = text && looks_like_formula(value);
    if (formula || needs_quotes(value))
        write_quoted(value, formula, line->out);
    else
        buffer_span(line->out, value);
}

static void csv_name(void *ctx, const char *name, struct span value, bool text) {
    (void)value, (void)text;
    struct line *line = ctx;
    separate(line);
    buffer_text(line->out, name);
}

static void csv_row(const struct log_query_row *row, struct span body, struct buffer *out) {
    struct line line = {.out = out};
    log_view_before(row, csv_field, &line);
    csv_field(&line, LOG_VIEW_BODY, span_is(body, "null") ? SPAN_NONE : body, true);
    log_view_after(row, csv_field, &line);
    buffer_text(out, "\r\n");
}

/* ---- NDJSON ---- */

/* Inside a JSON string a line break is escaped: one in between is only space, and here would end the line. */
static void write_on_one_line(struct span json, struct buffer *out) {
    while (json.len > 0) {
        size_t len = 0;
        while (len < json.len && json.data[len] != '\n' && json.data[len] != '\r')
            len++;
        buffer_append(out, json.data, len);
        if (len < json.len)
            buffer_char(out, ' ');
        len += len < json.len;
        json = (struct span){json.data + len, json.len - len};
    }
}

static void ndjson_row(const struct log_query_row *row, struct span body, struct buffer *out) {
    log_view_begin(row, out);
    write_on_one_line(body, out);
    log_view_end(row, out);
    buffer_char(out, '\n');
}

/* ---- either ---- */

void export_format_begin(enum export_format format, struct buffer *out) {
    static const struct log_query_row NOTHING = {.attempt = 0};
    struct line line = {.out = out};
    if (format != EXPORT_CSV)
        return;
    log_view_before(&NOTHING, csv_name, &line);
    csv_name(&line, LOG_VIEW_BODY, SPAN_NONE, true);
    log_view_after(&NOTHING, csv_name, &line);
    buffer_text(out, "\r\n");
}

void export_format_row(enum export_format format, const struct log_query_row *row, struct span body,
                       struct buffer *out) {
    if (format == EXPORT_CSV)
        csv_row(row, body, out);
    else
        ndjson_row(row, body, out);
}
