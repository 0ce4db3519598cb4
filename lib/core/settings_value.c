/* How a value is read, by its type. */
#include "core/settings_table.h"

#include "base/memory.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit DURATIONS[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {0}};
static const struct unit SIZES[] = {
    {"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"", 1}, {0}};

/* Digits; ret_rest is what follows them. */
static bool read_digits(struct span text, int64_t *ret_value, struct span *ret_rest) {
    int64_t value = 0;
    size_t i = 0;
    for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text.data[i] - '0', &value))
            return false;
    *ret_value = value;
    *ret_rest = (struct span){text.data + i, text.len - i};
    return i > 0;
}

static enum status read_with_unit(struct span text, const struct unit *units, int64_t *ret_value) {
    int64_t value;
    struct span unit;
    if (!read_digits(text, &value, &unit))
        return STATUS_INVALID;
    for (; units->name; units++) {
        if (!span_is(unit, units->name))
            continue;
        if (__builtin_mul_overflow(value, units->factor, &value))
            return STATUS_INVALID;
        *ret_value = value;
        return STATUS_OK;
    }
    return STATUS_INVALID;
}

enum status settings_parse_duration(struct span text, int64_t *ret_ms) {
    return read_with_unit(text, DURATIONS, ret_ms);
}

enum status settings_parse_size(struct span text, int64_t *ret_bytes) {
    return read_with_unit(text, SIZES, ret_bytes);
}

static bool read_bool(struct span text, int64_t *ret_value) {
    bool yes = span_is(text, "1") || span_is(text, "true");
    if (!yes && !span_is(text, "0") && !span_is(text, "false"))
        return false;
    *ret_value = yes;
    return true;
}

static bool read_integer(struct span text, int64_t *ret_value) {
    struct span rest;
    int64_t value;
    if (!read_digits(text, &value, &rest) || rest.len)
        return false;
    *ret_value = value;
    return true;
}

/* The names stand in the order of their values. */
static bool read_choice(struct span text, const char *names, int64_t *ret_value) {
    for (int64_t value = 0;; value++) {
        size_t len = strcspn(names, "|");
        if (span_equal(text, (struct span){names, len})) {
            *ret_value = value;
            return true;
        }
        if (!names[len])
            return false;
        names += len + 1;
    }
}

static bool read_durations(const struct setting *setting, struct span text, struct settings *settings) {
    int64_t schedule[SETTINGS_MAX_RETRIES], count = 0;
    for (bool more = true; more; count++) {
        const char *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if (count == SETTINGS_MAX_RETRIES ||
            settings_parse_duration((struct span){text.data, len}, &schedule[count]) != STATUS_OK ||
            schedule[count] < setting->min || schedule[count] > setting->max)
            return false;
        more = comma;
        text = (struct span){text.data + len + more, text.len - len - more};
    }
    memcpy(settings->retry_schedule_ms, schedule, (size_t)count * sizeof(*schedule));
    settings->retry_count = count;
    return true;
}

static bool read_number(const struct setting *setting, struct span text, int64_t *ret_value) {
    switch (setting->type) {
    case SETTING_BOOL:
        return read_bool(text, ret_value);
    case SETTING_INTEGER:
        return read_integer(text, ret_value);
    case SETTING_DURATION:
        return settings_parse_duration(text, ret_value) == STATUS_OK;
    case SETTING_SIZE:
        return settings_parse_size(text, ret_value) == STATUS_OK;
    case SETTING_CHOICE:
        return read_choice(text, setting->expects, ret_value);
    default:
        return false;
    }
}

/* The fields are of the types that fit them best: bool, enum, int64_t. */
static void store_number(const struct setting *setting, int64_t value, void *field) {
    if (setting->size == sizeof(bool))
        *(bool *)field = value != 0;
    else if (setting->size == sizeof(int64_t))
        *(int64_t *)field = value;
    else
        memcpy(field, &(unsigned){(unsigned)value}, sizeof(unsigned));
}

bool setting_read(const struct setting *setting, struct span text, struct settings *settings) {
    void *field = (char *)settings + setting->offset;
    if (setting->type == SETTING_DURATIONS)
        return read_durations(setting, text, settings);
    if (setting->type == SETTING_TEXT) {
        if (memchr(text.data, '\0', text.len) || !setting->check(text))
            return false;
        char **string = field;
        mem_free(*string);
        *string = mem_strndup(text.data, text.len);
        return true;
    }
    int64_t value;
    if (!read_number(setting, text, &value))
        return false;
    bool ranged = setting->type != SETTING_BOOL && setting->type != SETTING_CHOICE;
    if (ranged && (value < setting->min || value > setting->max))
        return false;
    store_number(setting, value, field);
    return true;
}

/* In the largest unit that says it without a fraction. */
static void put_with_unit(struct buffer *out, int64_t value, const struct unit *units, const char *zero) {
    if (value == 0) {
        buffer_text(out, zero);
        return;
    }
    while (units[1].name && value % units->factor != 0)
        units++;
    buffer_int(out, value / units->factor);
    buffer_text(out, units->name);
}

static void put_range(struct buffer *out, const struct setting *setting, const struct unit *units, const char *zero) {
    put_with_unit(out, setting->min, units, zero);
    buffer_text(out, " to ");
    put_with_unit(out, setting->max, units, zero);
}

static void put_choices(struct buffer *out, const char *names) {
    buffer_text(out, "one of ");
    for (; *names; names++) {
        if (*names == '|')
            buffer_text(out, ", ");
        else
            buffer_char(out, *names);
    }
}

void setting_expects(const struct setting *setting, struct buffer *out) {
    switch (setting->type) {
    case SETTING_TEXT:
        buffer_text(out, setting->expects);
        break;
    case SETTING_BOOL:
        buffer_text(out, "0 or 1");
        break;
    case SETTING_INTEGER:
        buffer_printf(out, "an integer from %lld to %lld", (long long)setting->min, (long long)setting->max);
        break;
    case SETTING_DURATION:
        buffer_text(out, "a duration from ");
        put_range(out, setting, DURATIONS, "0s");
        break;
    case SETTING_DURATIONS:
        buffer_printf(out, "1 to %d durations from ", SETTINGS_MAX_RETRIES);
        put_range(out, setting, DURATIONS, "0s");
        buffer_text(out, ", with commas");
        break;
    case SETTING_SIZE:
        buffer_text(out, "a size from ");
        put_range(out, setting, SIZES, "0");
        break;
    case SETTING_CHOICE:
        put_choices(out, setting->expects);
        break;
    }
}
