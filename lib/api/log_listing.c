#include "api/log_listing.h"
#include "api/log_bodies.h"
#include "api/log_cursor.h"
#include "api/log_reader.h"
#include "api/log_view.h"
#include "base/memory.h"

#define PIECE_BYTES (512 * 1024)

struct log_listing {
    struct log_query_settings settings; /* its texts are the reader's own business */
    struct log_reader *reader;
    int64_t written;
    bool counted;
    struct log_place last;
};

struct log_listing *log_listing_new(const struct log_query_settings *query, const struct settings *settings) {
    struct log_listing *listing = mem_calloc(1, sizeof(*listing));
    listing->settings = *query;
    listing->reader = log_reader_new(query, settings);
    return listing;
}

void log_listing_free(struct log_listing **listing_ptr) {
    struct log_listing *listing = *listing_ptr;
    *listing_ptr = NULL;
    if (!listing)
        return;
    log_reader_free(&listing->reader);
    mem_free(listing);
}

static enum status begin(struct log_listing *listing, struct connection *connection, struct buffer *out,
                         struct error *error) {
    int64_t total = 0;
    enum status status = log_reader_count(listing->reader, connection, &total, error);
    if (status == STATUS_OK) {
        listing->counted = true;
        buffer_text(out, "{\"total\":");
        buffer_int(out, total);
        buffer_text(out, ",\"data\":[");
    }
    return status;
}

/* A full page may have more behind it. */
static void end(const struct log_listing *listing, struct buffer *out) {
    char cursor[LOG_CURSOR_MAX_BYTES + 1];
    buffer_text(out, "],\"next_cursor\":");
    if (listing->settings.limit && listing->written == listing->settings.limit) {
        log_cursor_write(&listing->settings, &listing->last, cursor);
        buffer_printf(out, "\"%s\"}", cursor);
    } else {
        buffer_text(out, "null}");
    }
}

static enum status write_row(struct log_listing *listing, struct connection *connection,
                             const struct log_query_row *row, struct buffer *out, struct error *error) {
    if (listing->written++)
        buffer_char(out, ',');
    log_view_begin(row, out);
    enum status status = log_reader_body(listing->reader, connection, row, out, error);
    log_view_end(row, out);
    log_reader_place(listing->reader, row, &listing->last);
    return status;
}

/* Until the piece is long enough, or the rows end. */
static enum status fill(struct log_listing *listing, struct connection *connection, struct buffer *out, bool *ret_end,
                        struct error *error) {
    enum status status = listing->counted ? STATUS_OK : begin(listing, connection, out, error);
    *ret_end = false;
    while (status == STATUS_OK && !*ret_end && out->len < PIECE_BYTES) {
        struct log_query_row row;
        status = log_reader_next(listing->reader, connection, &row, ret_end, error);
        if (status == STATUS_OK && *ret_end)
            end(listing, out);
        else if (status == STATUS_OK)
            status = write_row(listing, connection, &row, out, error);
    }
    return status;
}

enum status log_listing_next(struct log_listing *listing, struct connection *connection, struct buffer *out,
                             bool *ret_end, struct error *error) {
    enum status status = log_query_open(connection, error);
    if (status == STATUS_OK)
        status = log_query_close(connection, fill(listing, connection, out, ret_end, error), error);
    return status;
}

enum status log_listing_one(struct connection *connection, const struct settings *settings, const struct result *rows,
                            struct buffer *out, struct error *error) {
    struct log_bodies *bodies = log_bodies_new(settings);
    struct log_query_row row;
    enum status status = log_bodies_load(bodies, connection, rows, error);
    log_query_row_read(rows, 0, &row);
    log_view_begin(&row, out);
    if (status == STATUS_OK)
        status = log_bodies_write(bodies, connection, &row, out, error);
    log_view_end(&row, out);
    log_bodies_free(&bodies);
    return status;
}
