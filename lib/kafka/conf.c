#include "kafka/conf.h"

#include "base/memory.h"
#include <librdkafka/rdkafka.h>

static struct span trim(struct span span) {
    while (span.len > 0 && strchr(" \t\r", span.data[0])) {
        span.data++;
        span.len--;
    }
    while (span.len > 0 && strchr(" \t\r", span.data[span.len - 1]))
        span.len--;
    return span;
}

static enum status set_own(rd_kafka_conf_t *conf, const struct conf_property *property, struct error *error) {
    char text[256];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, property->name, property->value, text, sizeof(text));
    if (result == RD_KAFKA_CONF_OK || (result == RD_KAFKA_CONF_UNKNOWN && property->kind == CONF_IF_KNOWN))
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s: %s", property->name, text);
}

static bool refused(const struct conf_property *properties, const char *name) {
    for (const struct conf_property *property = properties; property->name; property++)
        if (strcmp(property->name, name) == 0)
            return property->kind == CONF_ESSENTIAL || property->kind == CONF_RESERVED;
    return false;
}

static enum status set_named(rd_kafka_conf_t *conf, const struct conf_property *properties, const char *name,
                             const char *value, int line, struct error *error) {
    if (refused(properties, name))
        return error_set(error, STATUS_INVALID, "line %d: \"%s\" is set by hookcast itself and can't be changed", line,
                         name);
    /* librdkafka's text is not passed on: for some properties it repeats the value, which may be a secret. */
    switch (rd_kafka_conf_set(conf, name, value, NULL, 0)) {
    case RD_KAFKA_CONF_OK:
        return STATUS_OK;
    case RD_KAFKA_CONF_UNKNOWN:
        return error_set(error, STATUS_INVALID, "line %d: librdkafka %s knows no property \"%s\"", line,
                         rd_kafka_version_str(), name);
    default:
        return error_set(error, STATUS_INVALID, "line %d: librdkafka does not accept the value of \"%s\"", line, name);
    }
}

static enum status set_line(rd_kafka_conf_t *conf, const struct conf_property *properties, struct span text, int line,
                            struct error *error) {
    text = trim(text);
    if (text.len == 0 || text.data[0] == '#')
        return STATUS_OK;
    const char *equals = memchr(text.data, '=', text.len);
    if (!equals)
        return error_set(error, STATUS_INVALID, "line %d: expected name=value", line);
    struct span before = trim((struct span){text.data, (size_t)(equals - text.data)});
    struct span after = trim((struct span){equals + 1, text.len - (size_t)(equals - text.data) - 1});
    if (before.len == 0 || before.len > 100)
        return error_set(error, STATUS_INVALID, "line %d: expected name=value", line);
    char *name = mem_strndup(before.data, before.len);
    char *value = mem_strndup(after.data, after.len);
    enum status status = set_named(conf, properties, name, value, line, error);
    mem_free(name);
    mem_wipe_free(value, after.len);
    return status;
}

enum status conf_fill(struct rd_kafka_conf_s *conf, const struct conf_property *properties, const char *lines,
                      struct error *error) {
    for (const struct conf_property *property = properties; property->name; property++) {
        if (property->kind == CONF_RESERVED)
            continue;
        enum status status = set_own(conf, property, error);
        if (status != STATUS_OK)
            return status;
    }
    int number = 1;
    for (const char *line = lines; line && *line; number++) {
        size_t len = strcspn(line, "\n");
        enum status status = set_line(conf, properties, (struct span){line, len}, number, error);
        if (status != STATUS_OK)
            return status;
        line += len + (line[len] == '\n');
    }
    return STATUS_OK;
}
