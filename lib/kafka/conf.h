/* librdkafka's properties: what hookcast sets itself, and what the operator adds. Private to this room. Any thread. */
#ifndef KAFKA_CONF_H
#define KAFKA_CONF_H

#include "base/buffer.h"

struct rd_kafka_conf_s;

struct conf_property {
    const char *name;
    const char *value;
    enum {
        CONF_DEFAULT,   /* the operator may say otherwise */
        CONF_ESSENTIAL, /* the operator may not set it: hookcast's promises hang on it */
        CONF_RESERVED,  /* neither hookcast nor the operator sets it; value is NULL */
        CONF_IF_KNOWN,  /* a default that older versions of librdkafka do not know */
    } kind;
};

/* Sets `properties` (ended by a NULL name), then the operator's `lines`: one name=value a line; blank lines and lines
 * that begin with # are skipped. STATUS_INVALID: error names the property and the line, and never shows a value. */
MUST_USE enum status conf_fill(struct rd_kafka_conf_s *conf, const struct conf_property *properties, const char *lines,
                               struct error *error);

#endif
