/* The program's log: one line an event on standard error, logfmt or JSON, never a secret. Any thread.
 *
 *   log_info("recorder", "PostgreSQL is back", LOG_INT("away_ms", away), LOG_TEXT("server", name));
 *   → time=2024-03-10T15:30:00.123Z level=info module=recorder msg="PostgreSQL is back" away_ms=2210 server=main
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "base/span.h"
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT } type;
    struct span text;
    int64_t number;
};

#define LOG_TEXT(name, value) ((struct log_field){(name), LOG_FIELD_TEXT, span_of(value), 0})
#define LOG_SPAN(name, value) ((struct log_field){(name), LOG_FIELD_TEXT, (value), 0})
#define LOG_INT(name, value) ((struct log_field){(name), LOG_FIELD_INT, SPAN_NONE, (value)})

void log_setup(enum log_level lowest, bool json);
void log_write(enum log_level level, const char *module, const char *message, const struct log_field *fields,
               size_t count);

#define LOG_AT(level, module, message, ...)                                                                            \
    log_write(level, module, message, (const struct log_field[]){{0}, ##__VA_ARGS__} + 1,                              \
              sizeof((const struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field) - 1)
#define log_debug(module, message, ...) LOG_AT(LOG_DEBUG, module, message, ##__VA_ARGS__)
#define log_info(module, message, ...) LOG_AT(LOG_INFO, module, message, ##__VA_ARGS__)
#define log_warn(module, message, ...) LOG_AT(LOG_WARN, module, message, ##__VA_ARGS__)
#define log_error(module, message, ...) LOG_AT(LOG_ERROR, module, message, ##__VA_ARGS__)

#endif
