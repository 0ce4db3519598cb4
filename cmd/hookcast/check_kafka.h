/* The part of `hookcast check` that asks Kafka. */
#ifndef HOOKCAST_CHECK_KAFKA_H
#define HOOKCAST_CHECK_KAFKA_H

#include "check_report.h"
#include "core/settings.h"

/* Joins no group, commits nothing. */
void check_kafka(struct report *report, const struct settings *settings);

#endif
