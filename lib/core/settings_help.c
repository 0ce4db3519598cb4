/* The page that --help prints: names on the left, words on the right, 100 columns. */
#include "core/settings_table.h"

#include "base/memory.h"
#include <stdio.h>

#define RIGHT 32
#define WIDTH 100
#define PAGE_BYTES (64 * 1024)

/* Columns that UTF-8 takes, as far as these pages use it: one a character. */
static size_t columns(struct span text) {
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

static void pad(struct buffer *out, size_t from, size_t to) {
    for (; from < to; from++)
        buffer_char(out, ' ');
}

/* Words from column RIGHT on, broken at spaces, and a newline. `at`: the column where the line stands. */
static void put_words(struct buffer *out, size_t at, struct span text) {
    bool first = true;
    while (text.len) {
        const char *space = memchr(text.data, ' ', text.len);
        struct span word = {text.data, space ? (size_t)(space - text.data) : text.len};
        size_t width = columns(word);
        if (first || at + 1 + width > WIDTH) {
            if (at > RIGHT || !first) {
                buffer_char(out, '\n');
                at = 0;
            }
            pad(out, at, RIGHT);
            at = RIGHT;
        } else {
            buffer_char(out, ' ');
            at++;
        }
        buffer_span(out, word);
        at += width;
        first = false;
        size_t used = word.len + (space != NULL);
        text = (struct span){text.data + used, text.len - used};
    }
    buffer_char(out, '\n');
}

/* "  --name ARGUMENT", and the words beside it. */
static void put_entry(struct buffer *out, const char *name, const char *argument, struct span words) {
    size_t begin = out->len;
    buffer_printf(out, "  --%s%s%s", name, argument ? " " : "", argument ? argument : "");
    size_t at = columns((struct span){out->data + begin, out->len - begin});
    /* Two columns of air, or the words begin on the next line. */
    put_words(out, at + 2 > RIGHT ? RIGHT + 1 : at, words);
}

static void put_setting(struct buffer *out, const struct setting *setting) {
    char variable[SETTING_VARIABLE_BYTES];
    setting_variable(setting, variable);
    if (setting->flags & SETTING_NO_OPTION) {
        buffer_text(out, "  (no option)");
        put_words(out, strlen("  (no option)"), span_of(variable));
    } else {
        put_entry(out, setting->option, setting->type == SETTING_BOOL ? "[0|1]" : setting->argument, span_of(variable));
    }
    put_words(out, 0, span_of(setting->help));

    struct buffer value;
    buffer_init(&value, 1024);
    buffer_text(&value, "Value: ");
    setting_expects(setting, &value);
    const char *standard = setting->standard_text ? setting->standard_text : setting->standard;
    buffer_printf(&value, ". Default: %s.", *standard ? standard : "none");
    put_words(out, 0, buffer_view(&value));
    buffer_deinit(&value);
}

static void put_page(struct buffer *out, const struct settings_command *command) {
    buffer_printf(out, "Usage: hookcast %s [OPTION…]%s%s\n\n%s\n", command->name, *command->arguments ? " " : "",
                  command->arguments, command->summary);
    if (command->text && *command->text) {
        size_t len = strlen(command->text);
        buffer_printf(out, "\n%s%s", command->text, command->text[len - 1] == '\n' ? "" : "\n");
    }
    buffer_text(out, "\nOptions:\n");
    for (size_t i = 0; i < command->option_count; i++)
        put_entry(out, command->options[i].name, command->options[i].argument, span_of(command->options[i].help));
    put_entry(out, "help", NULL, SPAN_LITERAL("Prints this page."));

    buffer_text(out,
                "\nSettings. Each is an option and an environment variable; the option wins. VARIABLE_FILE names a\n"
                "file that holds the value. Durations: 300ms, 5s, 5m, 2h, 30d; sizes: 512, 16KiB, 1MiB, 2GiB.\n");
    const struct setting *table;
    size_t count = settings_table(&table);
    for (size_t i = 0; i < count; i++)
        if (setting_concerns(&table[i], command))
            put_setting(out, &table[i]);
    buffer_text(out, "\nExit status: 0 done, 1 failed, 2 wrong usage.\n");
}

bool settings_wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

void settings_help(const struct settings_command *command) {
    struct buffer page;
    buffer_init(&page, PAGE_BYTES);
    put_page(&page, command);
    fwrite(page.data, 1, page.len, stdout);
    fflush(stdout);
    buffer_deinit(&page);
}
