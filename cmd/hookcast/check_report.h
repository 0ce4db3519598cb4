/* What `hookcast check` finds, one line each on standard output as it is found: ok, warn or FAIL, the subject, and
 * plain words, which say for warn and FAIL what to do next. One thread. */
#ifndef HOOKCAST_CHECK_REPORT_H
#define HOOKCAST_CHECK_REPORT_H

#include "base/error.h"

struct report {
    int warnings;
    int failures;
};

void report_ok(struct report *report, const char *subject, const char *format, ...) PRINTF(3, 4);
void report_warn(struct report *report, const char *subject, const char *format, ...) PRINTF(3, 4);
void report_fail(struct report *report, const char *subject, const char *format, ...) PRINTF(3, 4);

#endif
