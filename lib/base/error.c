#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text cut in the middle of a UTF-8 character would be refused by those who show it. */
static void drop_cut_character(char *text, size_t len) {
    size_t tail = 0;
    while (tail < 3 && tail < len && ((unsigned char)text[len - 1 - tail] & 0xC0) == 0x80) {
        tail++;
    }
    if (tail == len) {
        return;
    }
    unsigned char lead = (unsigned char)text[len - 1 - tail];
    size_t wanted = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (tail < wanted) {
        text[len - 1 - tail] = '\0';
    }
}

/* Texts of libraries end in newlines and quote what a peer sent: one line stays one line. */
static void make_one_line(char *text) {
    size_t len = 0;
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            *c = ' ';
        }
        if (*c != ' ') {
            len = (size_t)(c - text) + 1;
        }
    }
    text[len] = '\0';
}

static void set_text(struct error *error, const char *text, int wanted) {
    memcpy(error->text, text, sizeof(error->text));
    if (wanted < 0) {
        error->text[0] = '\0';
    } else if ((size_t)wanted >= sizeof(error->text)) {
        drop_cut_character(error->text, sizeof(error->text) - 1);
    }
    make_one_line(error->text);
}

enum status error_set(struct error *error, enum status status, const char *format, ...) {
    if (!error) {
        return status;
    }
    /* Built aside, because the arguments may point into the old text. */
    char text[sizeof(error->text)] = "";
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    set_text(error, text, wanted);
    return status;
}

void error_context(struct error *error, const char *format, ...) {
    if (!error) {
        return;
    }
    char context[sizeof(error->text)] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    char text[sizeof(context) + sizeof(error->text) + 2];
    int wanted = snprintf(text, sizeof(text), "%s: %s", context, error->text);
    text[sizeof(error->text) - 1] = '\0';
    set_text(error, text, wanted);
}

void check_failed(const char *expression, const char *file, int line) {
    fprintf(stderr, "hookcast: %s:%d: bug: %s does not hold\n", file, line, expression);
    abort();
}
