#include "check_report.h"

#include <stdio.h>

PRINTF(3, 0) static void line(const char *outcome, const char *subject, const char *format, va_list arguments) {
    char text[1024];
    vsnprintf(text, sizeof(text), format, arguments);
    printf("%-4s  %-12s  %s\n", outcome, subject, text);
    fflush(stdout);
}

void report_ok(struct report *report, const char *subject, const char *format, ...) {
    (void)report;
    va_list arguments;
    va_start(arguments, format);
    line("ok", subject, format, arguments);
    va_end(arguments);
}

void report_warn(struct report *report, const char *subject, const char *format, ...) {
    report->warnings++;
    va_list arguments;
    va_start(arguments, format);
    line("warn", subject, format, arguments);
    va_end(arguments);
}

void report_fail(struct report *report, const char *subject, const char *format, ...) {
    report->failures++;
    va_list arguments;
    va_start(arguments, format);
    line("FAIL", subject, format, arguments);
    va_end(arguments);
}
