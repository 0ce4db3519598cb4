/* docs/settings.md has one row for each setting of the table, in its order and in its words. */
#include "core/settings_table.h"

#include "base/memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PAGE_BYTES (256 * 1024)

/* The page, found from the folder of the tests' data. */
static char *read_page(void) {
    char path[1024];
    const char *tests = strstr(TEST_DATA_DIR, "/tests/data");
    assert_non_null(tests);
    snprintf(path, sizeof(path), "%.*s/docs/settings.md", (int)(tests - TEST_DATA_DIR), TEST_DATA_DIR);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    char *text = mem_calloc(1, PAGE_BYTES);
    size_t len = fread(text, 1, PAGE_BYTES - 1, file);
    fclose(file);
    assert_in_range(len, 1, PAGE_BYTES - 2);
    return text;
}

static void put_row(struct buffer *out, const struct setting *setting) {
    char variable[SETTING_VARIABLE_BYTES];
    setting_variable(setting, variable);
    buffer_printf(out, "| `%s` | ", variable);
    if (setting->flags & SETTING_NO_OPTION)
        buffer_text(out, "none");
    else
        buffer_printf(out, "`--%s`", setting->option);
    buffer_text(out, " | ");
    setting_expects(setting, out);
    buffer_text(out, " | ");
    const char *mark = setting->standard_text || !*setting->standard ? "" : "`";
    const char *standard = setting->standard_text ? setting->standard_text : setting->standard;
    buffer_printf(out, "%s%s%s | %s |\n", mark, *standard ? standard : "none", mark, setting->help);
}

static void test_the_page_has_a_row_for_each_setting(void **state) {
    (void)state;
    char *page = read_page();
    const char *at = page;
    const struct setting *table;
    size_t count = settings_table(&table);
    for (size_t i = 0; i < count; i++) {
        struct buffer row;
        buffer_init(&row, 4096);
        put_row(&row, &table[i]);
        const char *found = strstr(at, row.data);
        if (!found)
            fail_msg("docs/settings.md lacks, at its place, the row\n%s", row.data);
        at = found + row.len;
        buffer_deinit(&row);
    }
    mem_free(page);
}

static void test_the_page_has_no_row_besides(void **state) {
    (void)state;
    char *page = read_page();
    const struct setting *table;
    size_t count = settings_table(&table), rows = 0;
    for (const char *at = page; (at = strstr(at, "\n| `HOOKCAST_")); at++)
        rows++;
    assert_int_equal(rows, count);
    mem_free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_page_has_a_row_for_each_setting),
        cmocka_unit_test(test_the_page_has_no_row_besides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
