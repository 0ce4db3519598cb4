/* Days are counted in the proleptic Gregorian calendar, in 400-year cycles of 146,097 days. The C library's gmtime and
 * timegm would do the same under a lock of the whole process, and are called for every event. */
#include "base/clock.h"

#include <time.h>

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define DAY_MS (24 * 60 * MINUTE_MS)
#define DAYS_IN_4_YEARS 1461
#define DAYS_IN_100_YEARS 36524
#define DAYS_IN_400_YEARS 146097
#define EPOCH_DAY 719162 /* 1970-01-01, where 0001-01-01 is day 0 */

struct date {
    int64_t year;
    int month; /* 1-12 */
    int day;   /* 1-31 */
};

struct time_of_day {
    int hour;
    int minute;
    int second; /* 60 is a leap second */
    int ms;
};

/* Days of a year before its month, the year being no leap year. */
static const int DAYS_BEFORE[13] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static int64_t read_ms(clockid_t id) {
    struct timespec now;
    CHECK(clock_gettime(id, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void) {
    return read_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void) {
    return read_ms(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_before_month(int64_t year, int month) {
    return DAYS_BEFORE[month - 1] + (month > 2 && is_leap(year));
}

static int days_in_month(int64_t year, int month) {
    return DAYS_BEFORE[month] - DAYS_BEFORE[month - 1] + (month == 2 && is_leap(year));
}

/* Milliseconds since 1970 at the beginning of a day of the year 1 or later. */
static int64_t midnight_ms(struct date date) {
    int64_t before = date.year - 1;
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400;
    days += days_before_month(date.year, date.month) + date.day - 1;
    return (days - EPOCH_DAY) * DAY_MS;
}

static struct date date_of_day(int64_t days_since_1970) {
    int64_t days = days_since_1970 + EPOCH_DAY;
    int64_t cycle = days / DAYS_IN_400_YEARS - (days % DAYS_IN_400_YEARS < 0);
    int rest = (int)(days - cycle * DAYS_IN_400_YEARS);
    int centuries = rest / DAYS_IN_100_YEARS < 3 ? rest / DAYS_IN_100_YEARS : 3;
    rest -= centuries * DAYS_IN_100_YEARS;
    int fours = rest / DAYS_IN_4_YEARS;
    rest -= fours * DAYS_IN_4_YEARS;
    int years = rest / 365 < 3 ? rest / 365 : 3;
    rest -= years * 365;
    struct date date = {.year = cycle * 400 + centuries * 100 + fours * 4 + years + 1, .month = 1};
    while (date.month < 12 && days_before_month(date.year, date.month + 1) <= rest) {
        date.month++;
    }
    date.day = rest - days_before_month(date.year, date.month) + 1;
    return date;
}

static char *put_digits(char *at, int64_t value, int count) {
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

void clock_format_iso(int64_t wall_ms, struct buffer *out) {
    int64_t day = wall_ms / DAY_MS - (wall_ms % DAY_MS < 0);
    int ms = (int)(wall_ms % DAY_MS + (wall_ms % DAY_MS < 0 ? DAY_MS : 0));
    struct date date = date_of_day(day);
    char text[40];
    char *at = text;
    if (date.year >= 0 && date.year <= 9999) {
        at = put_digits(at, date.year, 4);
    } else {
        *at++ = date.year < 0 ? '-' : '+';
        at = put_digits(at, date.year < 0 ? -date.year : date.year, 9);
    }
    *at++ = '-';
    at = put_digits(at, date.month, 2);
    *at++ = '-';
    at = put_digits(at, date.day, 2);
    *at++ = 'T';
    at = put_digits(at, ms / 3600000, 2);
    *at++ = ':';
    at = put_digits(at, ms / 60000 % 60, 2);
    *at++ = ':';
    at = put_digits(at, ms / 1000 % 60, 2);
    if (ms % 1000) {
        *at++ = '.';
        at = put_digits(at, ms % 1000, 3);
    }
    *at++ = 'Z';
    buffer_append(out, text, (size_t)(at - text));
}

/* The take_… functions read one thing from the front of text, and leave text alone when it isn't there. */
static bool take_char(struct span *text, char c) {
    if (!text->len || text->data[0] != c) {
        return false;
    }
    *text = (struct span){text->data + 1, text->len - 1};
    return true;
}

static bool take_digits(struct span *text, size_t count, int *ret) {
    if (text->len < count) {
        return false;
    }
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        value = value * 10 + text->data[i] - '0';
    }
    *text = (struct span){text->data + count, text->len - count};
    *ret = value;
    return true;
}

static bool take_word(struct span *text, const char *word) {
    struct span span = span_of(word);
    if (!span_has_prefix(*text, span)) {
        return false;
    }
    *text = (struct span){text->data + span.len, text->len - span.len};
    return true;
}

static bool date_is_valid(struct date date) {
    return date.year >= 1 && date.month >= 1 && date.month <= 12 && date.day >= 1 &&
           date.day <= days_in_month(date.year, date.month);
}

static bool time_is_valid(struct time_of_day time) {
    return time.hour <= 23 && time.minute <= 59 && time.second <= 60;
}

static int64_t time_ms(struct time_of_day time) {
    return (time.hour * 60 + time.minute) * MINUTE_MS + time.second * SECOND_MS + time.ms;
}

/* ".1" to ".123456789", of which three digits count. */
static bool take_fraction(struct span *text, int *ret_ms) {
    int ms = 0;
    int scale = 100;
    int digit;
    int count = 0;
    for (; take_digits(text, 1, &digit); count++) {
        ms += digit * scale;
        scale /= 10;
    }
    *ret_ms = ms;
    return count >= 1 && count <= 9;
}

static bool take_iso_time(struct span *text, struct time_of_day *time) {
    *time = (struct time_of_day){0};
    if (!take_digits(text, 2, &time->hour) || !take_char(text, ':') || !take_digits(text, 2, &time->minute)) {
        return false;
    }
    if (take_char(text, ':')) {
        if (!take_digits(text, 2, &time->second)) {
            return false;
        }
        if ((take_char(text, '.') || take_char(text, ',')) && !take_fraction(text, &time->ms)) {
            return false;
        }
    }
    return time_is_valid(*time);
}

/* "Z", "+01:30", "+0130", "+01", or nothing. */
static bool take_zone(struct span *text, int64_t *ret_offset_ms) {
    *ret_offset_ms = 0;
    if (!text->len || take_char(text, 'Z') || take_char(text, 'z')) {
        return true;
    }
    bool west = take_char(text, '-');
    int hours;
    int minutes = 0;
    if ((!west && !take_char(text, '+')) || !take_digits(text, 2, &hours)) {
        return false;
    }
    bool colon = take_char(text, ':');
    if ((colon || text->len) && !take_digits(text, 2, &minutes)) {
        return false;
    }
    int64_t offset_ms = (hours * 60 + minutes) * MINUTE_MS;
    *ret_offset_ms = west ? -offset_ms : offset_ms;
    return hours <= 23 && minutes <= 59;
}

enum status clock_parse_iso(struct span text, int64_t *ret_wall_ms, bool *ret_bare_date) {
    struct span rest = text;
    struct date date;
    int year;
    if (!take_digits(&rest, 4, &year) || !take_char(&rest, '-') || !take_digits(&rest, 2, &date.month) ||
        !take_char(&rest, '-') || !take_digits(&rest, 2, &date.day)) {
        return STATUS_INVALID;
    }
    date.year = year;
    if (!date_is_valid(date)) {
        return STATUS_INVALID;
    }
    bool bare = rest.len == 0;
    int64_t ms = midnight_ms(date);
    if (!bare) {
        struct time_of_day time;
        int64_t offset_ms;
        bool separated = take_char(&rest, 'T') || take_char(&rest, 't') || take_char(&rest, ' ');
        if (!separated || !take_iso_time(&rest, &time) || !take_zone(&rest, &offset_ms) || rest.len) {
            return STATUS_INVALID;
        }
        ms += time_ms(time) - offset_ms;
        /* Leap seconds end a day of UTC; the count since 1970 has no place for them but the next second. */
        bool leap = time.second == 60;
        if (leap && (ms - time.ms) % DAY_MS != 0) {
            return STATUS_INVALID;
        }
    }
    *ret_wall_ms = ms;
    if (ret_bare_date) {
        *ret_bare_date = bare;
    }
    return STATUS_OK;
}

static bool take_month(struct span *text, int *ret_month) {
    static const char *const names[12] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int i = 0; i < 12; i++) {
        if (take_word(text, names[i])) {
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

/* ret_long: the name was written out, as only the form of RFC 850 does. */
static bool take_weekday(struct span *text, bool *ret_long) {
    static const char *const names[7] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    for (int i = 0; i < 7; i++) {
        if (take_word(text, names[i])) {
            *ret_long = true;
            return true;
        }
        struct span abbreviation = {names[i], 3};
        if (span_has_prefix(*text, abbreviation)) {
            *text = (struct span){text->data + 3, text->len - 3};
            *ret_long = false;
            return true;
        }
    }
    return false;
}

static bool take_http_time(struct span *text, struct time_of_day *time) {
    *time = (struct time_of_day){0};
    return take_digits(text, 2, &time->hour) && take_char(text, ':') && take_digits(text, 2, &time->minute) &&
           take_char(text, ':') && take_digits(text, 2, &time->second) && time_is_valid(*time);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", after the comma */
static bool take_imf_fixdate(struct span *text, struct date *date, struct time_of_day *time) {
    int year;
    if (!take_digits(text, 2, &date->day) || !take_char(text, ' ') || !take_month(text, &date->month) ||
        !take_char(text, ' ') || !take_digits(text, 4, &year) || !take_char(text, ' ') || !take_http_time(text, time)) {
        return false;
    }
    date->year = year;
    return take_word(text, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", after the comma. RFC 9110 guesses the century from the current date; taking 70-99
 * as the last one needs no clock and differs only for dates decades away. */
static bool take_rfc850(struct span *text, struct date *date, struct time_of_day *time) {
    int year;
    if (!take_digits(text, 2, &date->day) || !take_char(text, '-') || !take_month(text, &date->month) ||
        !take_char(text, '-') || !take_digits(text, 2, &year) || !take_char(text, ' ') || !take_http_time(text, time)) {
        return false;
    }
    date->year = year < 70 ? 2000 + year : 1900 + year;
    return take_word(text, " GMT");
}

/* "Sun Nov  6 08:49:37 1994", after the weekday */
static bool take_asctime(struct span *text, struct date *date, struct time_of_day *time) {
    int year;
    if (!take_char(text, ' ') || !take_month(text, &date->month) || !take_char(text, ' ')) {
        return false;
    }
    size_t digits = take_char(text, ' ') ? 1 : 2;
    if (!take_digits(text, digits, &date->day) || !take_char(text, ' ') || !take_http_time(text, time) ||
        !take_char(text, ' ') || !take_digits(text, 4, &year)) {
        return false;
    }
    date->year = year;
    return true;
}

enum status clock_parse_http_date(struct span text, int64_t *ret_wall_ms) {
    struct span rest = text;
    struct date date = {0};
    struct time_of_day time = {0};
    bool long_name;
    if (!take_weekday(&rest, &long_name)) {
        return STATUS_INVALID;
    }
    bool taken;
    if (take_word(&rest, ", ")) {
        taken = long_name ? take_rfc850(&rest, &date, &time) : take_imf_fixdate(&rest, &date, &time);
    } else {
        taken = !long_name && take_asctime(&rest, &date, &time);
    }
    if (!taken || rest.len || !date_is_valid(date)) {
        return STATUS_INVALID;
    }
    *ret_wall_ms = midnight_ms(date) + time_ms(time);
    return STATUS_OK;
}
