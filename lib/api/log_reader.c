#include "api/log_reader.h"
#include "api/log_bodies.h"
#include "base/memory.h"

#define PAGE_FIRST_ROWS 100
#define PAGE_MAX_ROWS 500
#define PAGE_MIN_ROWS 10
#define PAGE_BYTES (4 * 1024 * 1024) /* aimed at */

struct log_reader {
    struct log_query *query;
    struct log_bodies *bodies;
    struct result *rows; /* read and not all given */
    int row, page_rows;
    int64_t page_bytes; /* of what was given of them */
};

struct log_reader *log_reader_new(const struct log_query_settings *query, const struct settings *settings) {
    struct log_reader *reader = mem_calloc(1, sizeof(*reader));
    reader->query = log_query_new(query);
    reader->bodies = log_bodies_new(settings);
    reader->page_rows = PAGE_FIRST_ROWS;
    return reader;
}

void log_reader_free(struct log_reader **reader_ptr) {
    struct log_reader *reader = *reader_ptr;
    *reader_ptr = NULL;
    if (!reader)
        return;
    log_query_free(&reader->query);
    log_bodies_free(&reader->bodies);
    result_free(&reader->rows);
    mem_free(reader);
}

enum status log_reader_count(struct log_reader *reader, struct connection *connection, int64_t *ret_total,
                             struct error *error) {
    return log_query_count(reader->query, connection, ret_total, error);
}

/* As many rows as took PAGE_BYTES last time. */
static void fit_page(struct log_reader *reader) {
    int64_t rows = reader->page_bytes > 0 ? reader->row * (int64_t)PAGE_BYTES / reader->page_bytes : PAGE_MAX_ROWS;
    reader->page_rows = rows > PAGE_MAX_ROWS ? PAGE_MAX_ROWS : rows < PAGE_MIN_ROWS ? PAGE_MIN_ROWS : (int)rows;
    reader->page_bytes = 0;
    reader->row = 0;
}

static enum status read_page(struct log_reader *reader, struct connection *connection, struct error *error) {
    if (reader->rows)
        fit_page(reader);
    result_free(&reader->rows);
    enum status status = log_query_next(reader->query, connection, reader->page_rows, &reader->rows, error);
    if (status == STATUS_OK && reader->rows)
        status = log_bodies_load(reader->bodies, connection, reader->rows, error);
    return status;
}

enum status log_reader_next(struct log_reader *reader, struct connection *connection, struct log_query_row *ret_row,
                            bool *ret_end, struct error *error) {
    if (!reader->rows || reader->row == result_rows(reader->rows)) {
        enum status status = read_page(reader, connection, error);
        if (status != STATUS_OK)
            return status;
    }
    *ret_end = !reader->rows;
    if (reader->rows) {
        log_query_row_read(reader->rows, reader->row++, ret_row);
        reader->page_bytes += (int64_t)ret_row->response_body.len;
    }
    return STATUS_OK;
}

enum status log_reader_body(struct log_reader *reader, struct connection *connection, const struct log_query_row *row,
                            struct buffer *out, struct error *error) {
    size_t before = out->len;
    enum status status = log_bodies_write(reader->bodies, connection, row, out, error);
    reader->page_bytes += (int64_t)(out->len - before);
    return status;
}

void log_reader_place(const struct log_reader *reader, const struct log_query_row *row, struct log_place *ret_place) {
    log_query_place(reader->query, row, ret_place);
}
