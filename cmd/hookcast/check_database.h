/* The part of `hookcast check` that asks PostgreSQL. */
#ifndef HOOKCAST_CHECK_DATABASE_H
#define HOOKCAST_CHECK_DATABASE_H

#include "check_report.h"
#include "core/settings.h"

/* Writes nothing that stays. */
void check_database(struct report *report, const struct settings *settings);

#endif
