/* Reading the settings: first it is gathered what was given, and where; then each setting that concerns the command is
 * read once, from the place that wins. So an option mends a variable that is wrong. */
#include "core/settings.h"

#include "base/json_scan.h"
#include "base/memory.h"
#include "core/cores.h"
#include "core/log.h"
#include "core/nearest.h"
#include "core/settings_table.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_FILE_BYTES (64 * 1024)
#define SHOWN_BYTES 60 /* of a wrong value */

/* What was given for a setting. */
struct given {
    char *text; /* NULL: nothing */
    size_t len;
    char source[SETTING_VARIABLE_BYTES + 8]; /* "--timeout", "HOOKCAST_TIMEOUT", "HOOKCAST_TIMEOUT_FILE" */
};

struct reading {
    const struct setting *table;
    size_t count;
    struct given *given; /* one for each row of the table */
    struct settings_command *command;
    struct error *error;
};

static void give(struct given *given, struct span text, const char *prefix, const char *name) {
    if (given->text)
        mem_wipe_free(given->text, given->len);
    given->text = mem_strndup(text.data, text.len);
    given->len = text.len;
    snprintf(given->source, sizeof(given->source), "%s%s", prefix, name);
}

/* The file's text without one newline at its end. */
static enum status give_file(struct given *given, const char *source, const char *path, struct error *error) {
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, STATUS_INVALID, "%s: cannot open \"%.200s\": %s", source, path, strerror(errno));
    char *text = mem_alloc(MAX_FILE_BYTES + 1);
    size_t len = fread(text, 1, MAX_FILE_BYTES + 1, file);
    bool failed = ferror(file);
    int why = errno;
    fclose(file);
    if (len > 0 && len <= MAX_FILE_BYTES && !failed)
        give(given, (struct span){text, len - (text[len - 1] == '\n')}, "", source);
    else if (!failed && len == 0)
        give(given, SPAN_LITERAL(""), "", source);
    mem_wipe_free(text, MAX_FILE_BYTES + 1);
    if (failed)
        return error_set(error, STATUS_INVALID, "%s: cannot read \"%.200s\": %s", source, path, strerror(why));
    if (len > MAX_FILE_BYTES)
        return error_set(error, STATUS_INVALID, "%s: expected at most 64 KiB in \"%.200s\"", source, path);
    return STATUS_OK;
}

/* An empty variable is one that is not set: compose files and unit files leave such. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static enum status read_environment(struct reading *reading) {
    for (size_t i = 0; i < reading->count; i++) {
        if (!setting_concerns(&reading->table[i], reading->command))
            continue;
        char name[SETTING_VARIABLE_BYTES], file_name[SETTING_VARIABLE_BYTES + 8];
        setting_variable(&reading->table[i], name);
        snprintf(file_name, sizeof(file_name), "%s_FILE", name);
        const char *value = variable(name), *path = variable(file_name);
        if (value && path)
            return error_set(reading->error, STATUS_INVALID, "%s and %s: expected only one of them, got both", name,
                             file_name);
        if (value)
            give(&reading->given[i], span_of(value), "", name);
        if (path && give_file(&reading->given[i], file_name, path, reading->error) != STATUS_OK)
            return STATUS_INVALID;
    }
    return STATUS_OK;
}

static struct settings_option *find_option(const struct settings_command *command, struct span name) {
    for (size_t i = 0; i < command->option_count; i++)
        if (span_is(name, command->options[i].name))
            return &command->options[i];
    return NULL;
}

static size_t find_setting(const struct reading *reading, struct span name) {
    size_t i = 0;
    while (i < reading->count && !span_is(name, reading->table[i].option))
        i++;
    return i;
}

/* name: without the dashes. */
static enum status unknown_option(const struct reading *reading, struct span name) {
    const char *command = reading->command->name;
    size_t at = find_setting(reading, name);
    if (at < reading->count && (reading->table[at].flags & SETTING_NO_OPTION)) {
        char var[SETTING_VARIABLE_BYTES];
        setting_variable(&reading->table[at], var);
        return error_set(reading->error, STATUS_INVALID,
                         "--%.*s: a secret is no option, others could see it; set %s or %s_FILE", SPAN_ARGS(name), var,
                         var);
    }
    if (at < reading->count)
        return error_set(reading->error, STATUS_INVALID, "--%.*s: does not concern \"hookcast %s\"", SPAN_ARGS(name),
                         command);
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < reading->command->option_count; i++)
        nearest_offer(&nearest, reading->command->options[i].name);
    for (size_t i = 0; i < reading->count; i++)
        if (setting_concerns(&reading->table[i], reading->command) && !(reading->table[i].flags & SETTING_NO_OPTION))
            nearest_offer(&nearest, reading->table[i].option);
    if (nearest.best)
        return error_set(reading->error, STATUS_INVALID, "--%.*s: no such option; did you mean --%s?",
                         (int)(name.len < SHOWN_BYTES ? name.len : SHOWN_BYTES), name.data, nearest.best);
    return error_set(reading->error, STATUS_INVALID, "--%.*s: no such option; \"hookcast %s --help\" lists them",
                     (int)(name.len < SHOWN_BYTES ? name.len : SHOWN_BYTES), name.data, command);
}

/* The value of a boolean setting may be left out, and then the next argument is no value unless it looks like one. */
static bool is_bool_word(const char *text) {
    return text && (strcmp(text, "0") == 0 || strcmp(text, "1") == 0 || strcmp(text, "true") == 0 ||
                    strcmp(text, "false") == 0);
}

/* One option at argv[*at]; *at moves to the next argument. next: the argument behind it, or NULL. */
static enum status read_option(struct reading *reading, const char *arg, const char *next, int *at) {
    struct span name = span_of(arg + 2);
    const char *equals = strchr(arg + 2, '=');
    const char *value = equals ? equals + 1 : NULL;
    if (equals)
        name.len = (size_t)(equals - name.data);
    (*at)++;

    struct settings_option *option = find_option(reading->command, name);
    size_t row = option ? 0 : find_setting(reading, name);
    if (!option && (row == reading->count || !setting_concerns(&reading->table[row], reading->command) ||
                    (reading->table[row].flags & SETTING_NO_OPTION)))
        return unknown_option(reading, name);
    if (option && !option->argument && value)
        return error_set(reading->error, STATUS_INVALID, "--%s: expected no value, got one", option->name);
    if (option && !option->argument)
        value = "1";
    if (!option && !value && reading->table[row].type == SETTING_BOOL && !is_bool_word(next))
        value = "1";
    if (!value) {
        if (!next)
            return error_set(reading->error, STATUS_INVALID, "--%.*s: expected a value, got none", SPAN_ARGS(name));
        value = next;
        (*at)++;
    }
    if (option)
        option->value = value;
    else
        give(&reading->given[row], span_of(value), "--", reading->table[row].option);
    return STATUS_OK;
}

/* Options may stand anywhere before "--"; the other arguments are moved behind them, in their order. */
static enum status read_arguments(struct reading *reading, int argc, char **argv, int *ret_first) {
    char **rest = mem_calloc((size_t)argc + 1, sizeof(*rest));
    int rest_count = 0, at = 0;
    enum status status = STATUS_OK;
    while (at < argc && status == STATUS_OK) {
        char *arg = argv[at];
        if (strcmp(arg, "--") == 0) {
            for (at++; at < argc; at++)
                rest[rest_count++] = argv[at];
        } else if (arg[0] == '-' && arg[1] == '-') {
            status = read_option(reading, arg, at + 1 < argc ? argv[at + 1] : NULL, &at);
        } else if (arg[0] == '-' && arg[1]) {
            status = error_set(reading->error, STATUS_INVALID,
                               "%.60s: no such option; \"hookcast %s --help\" lists them", arg, reading->command->name);
        } else {
            rest[rest_count++] = argv[at++];
        }
    }
    if (status == STATUS_OK) {
        *ret_first = argc - rest_count;
        for (int i = 0; i < rest_count; i++)
            argv[argc - rest_count + i] = rest[i];
    }
    mem_free(rest);
    return status;
}

static void put_shown(struct buffer *out, struct span value) {
    size_t len = value.len;
    if (len > SHOWN_BYTES)
        for (len = SHOWN_BYTES; len > 0 && ((unsigned char)value.data[len] & 0xc0) == 0x80;)
            len--;
    struct buffer clean;
    buffer_init(&clean, 4 * SHOWN_BYTES);
    utf8_clean((struct span){value.data, len}, &clean);
    for (size_t i = 0; i < clean.len; i++)
        buffer_char(out, (unsigned char)clean.data[i] < ' ' || clean.data[i] == 0x7f ? '?' : clean.data[i]);
    if (len < value.len)
        buffer_text(out, "…");
    buffer_deinit(&clean);
}

static enum status wrong_value(const struct setting *setting, const struct given *given, struct error *error) {
    struct buffer text;
    buffer_init(&text, sizeof(error->text) - 1);
    buffer_printf(&text, "%s: expected ", given->source);
    setting_expects(setting, &text);
    if (!(setting->flags & SETTING_SECRET)) {
        buffer_text(&text, ", got \"");
        put_shown(&text, (struct span){given->text, given->len});
        buffer_char(&text, '"');
    }
    error_set(error, STATUS_INVALID, "%s", buffer_view(&text).data);
    buffer_deinit(&text);
    return STATUS_INVALID;
}

static void set_defaults(struct settings *settings, const struct reading *reading) {
    *settings = (struct settings){0};
    for (size_t i = 0; i < reading->count; i++)
        if (reading->table[i].standard)
            CHECK(setting_read(&reading->table[i], span_of(reading->table[i].standard), settings));
    int64_t cores = cores_granted();
    settings->lanes = cores < SETTINGS_MAX_LANES ? cores : SETTINGS_MAX_LANES;
}

static enum status check_together(const struct settings *settings, const struct reading *reading) {
    unsigned use = reading->command->use;
    if ((use & USE_SECRETS) && !*settings->secret_key && !settings->insecure_dev)
        return error_set(reading->error, STATUS_INVALID,
                         "HOOKCAST_SECRET_KEY: expected 32 bytes in base64 (openssl rand -base64 32), got nothing; "
                         "for development HOOKCAST_INSECURE_DEV=1 does without");
    if ((use & USE_MAIL) && *settings->smtp_url && !*settings->mail_from)
        return error_set(reading->error, STATUS_INVALID,
                         "HOOKCAST_MAIL_FROM: expected an e-mail address since HOOKCAST_SMTP_URL is set, got nothing");
    return STATUS_OK;
}

static enum status read_all(struct settings *settings, struct reading *reading, int argc, char **argv, int *ret_first) {
    if (read_environment(reading) != STATUS_OK || read_arguments(reading, argc, argv, ret_first) != STATUS_OK)
        return STATUS_INVALID;
    for (size_t i = 0; i < reading->count; i++) {
        const struct given *given = &reading->given[i];
        if (given->text && !setting_read(&reading->table[i], (struct span){given->text, given->len}, settings))
            return wrong_value(&reading->table[i], given, reading->error);
    }
    if (settings->payload_retention_ms == 0)
        settings->payload_retention_ms = settings->retention_ms;
    return check_together(settings, reading);
}

/* A variable that looks like ours and is none is most likely a slip. */
static void warn_unknown_variables(const struct reading *reading) {
    struct span prefix = SPAN_LITERAL("HOOKCAST_"), suffix = SPAN_LITERAL("_FILE");
    for (char **entry = environ; *entry; entry++) {
        struct span name = {*entry, strcspn(*entry, "=")};
        if (!span_has_prefix(name, prefix))
            continue;
        struct span base = name;
        if (name.len > suffix.len && memcmp(name.data + name.len - suffix.len, suffix.data, suffix.len) == 0)
            base.len -= suffix.len;
        struct nearest nearest = nearest_to(name);
        char known[SETTING_VARIABLE_BYTES], best[SETTING_VARIABLE_BYTES] = "";
        bool found = false;
        for (size_t i = 0; i < reading->count && !found; i++) {
            setting_variable(&reading->table[i], known);
            found = span_is(name, known) || span_is(base, known);
            nearest_offer(&nearest, known);
            if (nearest.best == known) {
                memcpy(best, known, sizeof(best));
                nearest.best = best;
            }
        }
        if (!found)
            log_warn("settings", "unknown variable", LOG_SPAN("variable", name), LOG_TEXT("nearest", best));
    }
}

enum status settings_load(struct settings *settings, struct settings_command *command, int argc, char **argv,
                          int *ret_first, struct error *error) {
    struct reading reading = {.command = command, .error = error};
    reading.count = settings_table(&reading.table);
    reading.given = mem_calloc(reading.count, sizeof(*reading.given));
    set_defaults(settings, &reading);
    enum status status = read_all(settings, &reading, argc, argv, ret_first);
    for (size_t i = 0; i < reading.count; i++)
        if (reading.given[i].text)
            mem_wipe_free(reading.given[i].text, reading.given[i].len);
    mem_free(reading.given);
    if (status != STATUS_OK) {
        settings_deinit(settings);
        return status;
    }
    log_setup((enum log_level)settings->log_level, settings->log_json);
    warn_unknown_variables(&reading);
    return STATUS_OK;
}

void settings_deinit(struct settings *settings) {
    const struct setting *table;
    size_t count = settings_table(&table);
    for (size_t i = 0; i < count; i++) {
        if (table[i].type != SETTING_TEXT)
            continue;
        char **text = (char **)((char *)settings + table[i].offset);
        if (*text)
            mem_wipe_free(*text, strlen(*text));
        *text = NULL;
    }
}
