/* How a value of the event stands to an operand of the filter. */
#include "webhook/filter_private.h"

#include <stdio.h>
#include <stdlib.h>

/* No double and no middle between two doubles has more significant digits (binary64: 767); those beyond only say that
 * there is something. */
#define DIGITS_MAX 768
#define EXPONENT_MAX 1000000 /* past any double, far from overflow; more digits than that do not fit into an event */
#define QUICK_DIGITS 18      /* any integer of so many digits fits 64 bits */

/* --- Numbers --- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool quick_integer(struct span text, int64_t *ret_integer) {
    bool negative = text.data[0] == '-';
    if (text.len - negative > QUICK_DIGITS) {
        return false;
    }
    int64_t integer = 0;
    for (size_t i = negative; i < text.len; i++) {
        if (!is_digit(text.data[i])) {
            return false;
        }
        integer = integer * 10 + (text.data[i] - '0');
    }
    *ret_integer = negative ? -integer : integer;
    return true;
}

static long exponent_of(struct span text) {
    bool negative = text.len && text.data[0] == '-';
    long exponent = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_digit(text.data[i]) && exponent < EXPONENT_MAX) {
            exponent = exponent * 10 + (text.data[i] - '0');
        }
    }
    return negative ? -exponent : exponent;
}

/* Rewritten as "digits e exponent": of bounded length, with the NUL that strtod wants, and without a point, which means
 * something else in other locales. */
static double real_of(struct span text) {
    char digits[DIGITS_MAX + 32];
    size_t len = 0;
    long scale = 0;
    bool fraction = false, rest = false;
    bool negative = text.data[0] == '-';
    size_t i = negative;
    for (; i < text.len && (text.data[i] | 0x20) != 'e'; i++) {
        char c = text.data[i];
        if (c == '.') {
            fraction = true;
            continue;
        }
        bool kept = len < DIGITS_MAX;
        if (kept && (len || c != '0')) {
            digits[len++] = c;
        }
        rest = rest || (!kept && c != '0');
        scale += (kept ? 0 : 1) - (fraction ? 1 : 0);
    }
    if (rest) {
        digits[len++] = '1';
        scale--;
    }
    if (i < text.len) {
        scale += exponent_of((struct span){text.data + i + 1, text.len - i - 1});
    }
    if (!len) {
        return 0;
    }
    snprintf(digits + len, sizeof(digits) - len, "e%ld", scale);
    double real = strtod(digits, NULL);
    return negative ? -real : real;
}

void filter_settle(struct datum *datum) {
    if (datum->kind != DATUM_NUMBER) {
        return;
    }
    struct span text = datum->text;
    int64_t integer;
    if (quick_integer(text, &integer) || json_int64(text, &integer) == STATUS_OK) {
        datum->kind = DATUM_INTEGER;
        datum->integer = integer;
    } else {
        datum->kind = DATUM_REAL;
        datum->real = real_of(text);
    }
}

/* --- Order --- */

static int order_reals(double a, double b) {
    return (a > b) - (a < b);
}

static int order_integers(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

/* How the datum stands to the operand, a number or a string. False: their types differ. */
static bool order_of(const struct filter_condition *condition, struct datum *datum, int *ret_order) {
    filter_settle(datum);
    if (condition->kind == DATUM_STRING) {
        if (datum->kind != DATUM_STRING) {
            return false;
        }
        *ret_order = datum->escaped ? json_text_compare(datum->text, condition->text)
                                    : span_compare(datum->text, condition->text);
        return true;
    }
    if (datum->kind != DATUM_INTEGER && datum->kind != DATUM_REAL) {
        return false;
    }
    if (datum->kind == DATUM_INTEGER && condition->kind == DATUM_INTEGER) {
        *ret_order = order_integers(datum->integer, condition->integer);
    } else {
        double a = datum->kind == DATUM_INTEGER ? (double)datum->integer : datum->real;
        double b = condition->kind == DATUM_INTEGER ? (double)condition->integer : condition->real;
        *ret_order = order_reals(a, b);
    }
    return true;
}

static bool equals(const struct filter_condition *condition, struct datum *datum) {
    switch (condition->kind) {
    case DATUM_STRING:
        if (datum->kind == DATUM_STRING && !datum->escaped) {
            return span_equal(datum->text, condition->text);
        }
        break;
    case DATUM_INTEGER:
    case DATUM_REAL:
        break;
    default:
        return datum->kind == (enum datum_kind)condition->kind;
    }
    int order;
    return order_of(condition, datum, &order) && order == 0;
}

/* --- in --- */

static bool integer_in(const struct filter_set *set, int64_t wanted) {
    size_t low = 0, high = set->integer_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->integers[middle] == wanted) {
            return true;
        }
        if (set->integers[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* Among the integers too, when they are to be compared as doubles: their order stays. */
static bool real_in(const struct filter_set *set, double wanted, bool among_integers) {
    size_t low = 0, high = among_integers ? set->integer_count : set->real_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = order_reals(wanted, among_integers ? (double)set->integers[middle] : set->reals[middle]);
        if (order == 0) {
            return true;
        }
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static bool text_in(const struct filter_set *set, const struct datum *datum) {
    size_t len = datum->escaped ? json_text_len(datum->text) : datum->text.len;
    size_t low = 0, high = set->text_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct span text = set->texts[middle];
        int order = len != text.len  ? (len < text.len ? -1 : 1)
                    : datum->escaped ? json_text_compare(datum->text, text)
                                     : filter_text_order(datum->text, text);
        if (order == 0) {
            return true;
        }
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static bool is_in(const struct filter_set *set, struct datum *datum) {
    filter_settle(datum);
    switch (datum->kind) {
    case DATUM_NULL:
        return set->null_in;
    case DATUM_FALSE:
        return set->false_in;
    case DATUM_TRUE:
        return set->true_in;
    case DATUM_INTEGER:
        return integer_in(set, datum->integer) || real_in(set, (double)datum->integer, false);
    case DATUM_REAL:
        return real_in(set, datum->real, false) || real_in(set, datum->real, true);
    case DATUM_STRING:
        return text_in(set, datum);
    default:
        return false;
    }
}

/* --- Conditions --- */

static bool has_prefix(const struct filter_condition *condition, const struct datum *datum) {
    if (datum->kind != DATUM_STRING) {
        return false;
    }
    return datum->escaped ? json_text_has_prefix(datum->text, condition->text)
                          : span_has_prefix(datum->text, condition->text);
}

bool filter_holds(const struct filter_condition *condition, struct datum *datum) {
    int order;
    switch ((enum filter_operator)condition->op) {
    case OP_EQ:
        return equals(condition, datum);
    case OP_NE:
        return !equals(condition, datum);
    case OP_IN:
        return is_in(condition->set, datum);
    case OP_GT:
        return order_of(condition, datum, &order) && order > 0;
    case OP_GTE:
        return order_of(condition, datum, &order) && order >= 0;
    case OP_LT:
        return order_of(condition, datum, &order) && order < 0;
    case OP_LTE:
        return order_of(condition, datum, &order) && order <= 0;
    case OP_PREFIX:
        return has_prefix(condition, datum);
    case OP_EXISTS:
        return (datum->kind != DATUM_MISSING) == (condition->kind == DATUM_TRUE);
    }
    return false;
}
