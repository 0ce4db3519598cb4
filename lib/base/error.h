/* What can go wrong, in three kinds that are never mixed.
 *
 * - A bug in the program stops it: CHECK, in every build.
 * - The outside world gives an enum status, which must be used, and fills a struct error for people to read.
 * - Out of memory aborts, in base/memory.c alone.
 *
 * A code of a library is translated into a status by the module that wraps the library. Any thread. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* the input is wrong; trying again gives the same */
    STATUS_NOT_FOUND,   /* what was asked for is not there */
    STATUS_CONFLICT,    /* somebody else was first */
    STATUS_UNAVAILABLE, /* the other side is away or too slow; trying again may help */
    STATUS_FAILED,      /* the other side refused for a reason of its own */
};

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define NORETURN __attribute__((noreturn))

/* One line for people: what went wrong, without a secret, without a newline. */
struct error {
    char text[512];
};

/* Sets the text (error may be NULL) and returns status, so that a failing function ends in one line. Control characters
 * become spaces, spaces at the end go; what does not fit is cut. The arguments may point into the old text. */
enum status error_set(struct error *error, enum status status, const char *format, ...) PRINTF(3, 4);

/* Puts "context: " before the text. */
void error_context(struct error *error, const char *format, ...) PRINTF(2, 3);

NORETURN void check_failed(const char *expression, const char *file, int line);

#define CHECK(expression) ((expression) ? (void)0 : check_failed(#expression, __FILE__, __LINE__))

#endif
