#include "api/export_pieces.h"
#include "api/export_request.h"
#include "api/log_reader.h"
#include "base/gzip.h"
#include "base/memory.h"

#define PIECE_BYTES ((size_t)1024 * 1024) /* before it is compressed */
#define PIECE_MAX_ROWS 5000
#define BODY_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define PLAIN_MAX_BYTES ((size_t)64 * 1024 * 1024) /* a piece and one row, however long */

struct export_pieces {
    struct export_request request;
    struct log_place after;
    struct log_reader *reader;
    struct gzip *gzip;
    struct buffer body, plain, packed;
    bool begun; /* the file has something */
};

static struct log_reader *make_reader(struct export_pieces *pieces, const struct export_job *job,
                                      const struct settings *settings) {
    struct log_query_settings query = {.filter = pieces->request.filter, .order = LOG_BY_TIME};
    query.filter.workspace_id = job->workspace_id;
    query.filter.from_us = job->since_us;
    query.filter.until_us = job->until_us;
    if (job->begun) {
        pieces->after = (struct log_place){.at_us = job->at_us, .id = job->last_id};
        query.after = &pieces->after;
    }
    return log_reader_new(&query, settings);
}

enum status export_pieces_new(const struct export_job *job, const struct settings *settings,
                              struct export_pieces **ret_pieces, struct error *error) {
    struct export_pieces *pieces = mem_calloc(1, sizeof(*pieces));
    enum status status = export_request_load(job->request, &pieces->request, error);
    if (status != STATUS_OK) {
        mem_free(pieces);
        return status;
    }
    pieces->begun = job->chunks > 0;
    pieces->reader = make_reader(pieces, job, settings);
    pieces->gzip = gzip_new();
    buffer_init(&pieces->body, BODY_MAX_BYTES);
    buffer_init(&pieces->plain, PLAIN_MAX_BYTES);
    buffer_init(&pieces->packed, PLAIN_MAX_BYTES + PLAIN_MAX_BYTES / 8);
    *ret_pieces = pieces;
    return STATUS_OK;
}

void export_pieces_free(struct export_pieces **pieces_ptr) {
    struct export_pieces *pieces = *pieces_ptr;
    *pieces_ptr = NULL;
    if (!pieces)
        return;
    log_reader_free(&pieces->reader);
    gzip_free(&pieces->gzip);
    buffer_deinit(&pieces->body);
    buffer_deinit(&pieces->plain);
    buffer_deinit(&pieces->packed);
    export_request_deinit(&pieces->request);
    mem_free(pieces);
}

enum status export_pieces_count(struct export_pieces *pieces, struct connection *connection, int64_t *ret_total,
                                struct error *error) {
    enum status status = log_query_open(connection, error);
    if (status == STATUS_OK)
        status = log_query_close(connection, log_reader_count(pieces->reader, connection, ret_total, error), error);
    return status;
}

static enum status write_row(struct export_pieces *pieces, struct connection *connection,
                             const struct log_query_row *row, struct error *error) {
    buffer_reset(&pieces->body);
    enum status status = log_reader_body(pieces->reader, connection, row, &pieces->body, error);
    if (status == STATUS_OK)
        export_format_row(pieces->request.format, row, buffer_view(&pieces->body), &pieces->plain);
    if (status == STATUS_OK && (pieces->body.overflowed || pieces->plain.overflowed))
        status = error_set(error, STATUS_INVALID, "a row of the log is too long to be exported");
    return status;
}

static enum status fill(struct export_pieces *pieces, struct connection *connection, struct export_piece *piece,
                        struct error *error) {
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !piece->end && pieces->plain.len < PIECE_BYTES && piece->rows < PIECE_MAX_ROWS) {
        struct log_query_row row;
        status = log_reader_next(pieces->reader, connection, &row, &piece->end, error);
        if (status != STATUS_OK || piece->end)
            break;
        status = write_row(pieces, connection, &row, error);
        piece->rows++;
        piece->at_us = row.created_at_us;
        piece->last_id = row.id;
    }
    return status;
}

/* A file has one member at the least: nothing at all would be no gzip file. */
enum status export_pieces_next(struct export_pieces *pieces, struct connection *connection,
                               struct export_piece *ret_piece, struct error *error) {
    struct export_piece piece = {.rows = 0};
    buffer_reset(&pieces->plain);
    buffer_reset(&pieces->packed);
    if (!pieces->begun)
        export_format_begin(pieces->request.format, &pieces->plain);
    enum status status = log_query_open(connection, error);
    if (status == STATUS_OK)
        status = log_query_close(connection, fill(pieces, connection, &piece, error), error);
    if (status != STATUS_OK)
        return status;
    if (pieces->plain.len > 0 || !pieces->begun)
        gzip_member(pieces->gzip, buffer_view(&pieces->plain), &pieces->packed);
    CHECK(!pieces->packed.overflowed);
    pieces->begun = true;
    piece.bytes = buffer_view(&pieces->packed);
    *ret_piece = piece;
    return STATUS_OK;
}
