/* The thread that looks after the tables by day: makes days ahead, drops those past their retention (rule D1), and
 * the oldest one when the database is larger than HOOKCAST_DATABASE_MAX_SIZE. It has a
 * connection of its own, because taking a day off waits for whoever still reads it. */
#ifndef DISPATCH_UPKEEP_H
#define DISPATCH_UPKEEP_H

#include "core/settings.h"

struct upkeep;

struct upkeep *upkeep_new(const struct settings *settings);
void upkeep_start(struct upkeep *upkeep);
void upkeep_stop(struct upkeep *upkeep);
void upkeep_free(struct upkeep **upkeep);

#endif
