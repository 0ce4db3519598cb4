#include "store/workspaces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

static void test_which_ids_are_valid(void **state) {
    (void)state;
    char longest[WORKSPACE_ID_MAX_BYTES + 2];
    memset(longest, 'x', sizeof(longest));
    assert_true(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES}));
    assert_false(workspace_id_valid((struct span){longest, WORKSPACE_ID_MAX_BYTES + 1}));
    assert_true(workspace_id_valid(SPAN_LITERAL("a b/\xc3\xa4")));
    assert_false(workspace_id_valid(SPAN_LITERAL("")));
    assert_false(workspace_id_valid(SPAN_LITERAL("a\n")));
    assert_false(workspace_id_valid(SPAN_LITERAL("a\0b")));
    assert_false(workspace_id_valid(SPAN_LITERAL("\xff")));
}

static void test_a_workspace_is_made_once_and_named_when_a_name_comes(void **state) {
    (void)state;
    bool exists = true;
    ok(workspaces_exists(connection, SPAN_LITERAL("w"), &exists, &error));
    assert_false(exists);
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_NONE, &error));
    ok(workspaces_exists(connection, SPAN_LITERAL("w"), &exists, &error));
    assert_true(exists);
    expect_sql("SELECT coalesce(name, '-') FROM workspaces", "-");
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_LITERAL("Name"), &error));
    ok(workspaces_ensure(connection, SPAN_LITERAL("w"), SPAN_NONE, &error));
    expect_sql("SELECT string_agg(name, ',') FROM workspaces", "Name");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_ids_are_valid),
        STORE_TEST(test_a_workspace_is_made_once_and_named_when_a_name_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
