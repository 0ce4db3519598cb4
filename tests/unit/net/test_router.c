#include "net/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct route ROUTES[] = {
    {"GET", "/", "root"},
    {"GET", "/api/v1/workspaces/{workspace_id}/logs/{subscription_id}", "logs of one"},
    {"GET", "/api/v1/workspaces/{workspace_id}/logs", "logs"},
    {"POST", "/api/v1/workspaces/{workspace_id}/logs/export", "export"},
    {"GET", "/api/v1/workspaces/{workspace_id}/subscription/{id}", "get"},
    {"PATCH", "/api/v1/workspaces/{workspace_id}/subscription/{id}", "patch"},
    {"DELETE", "/api/v1/workspaces/{workspace_id}/subscription/{id}", "delete"},
    {"PUT", "/api/v1/user/webhook/", "webhook"},
    {"GET", "/api/v1/{any}/special", "named first"},
    {"GET", "/api/v1/exact/{any}", "literal first"},
};

static struct router *router;
static struct route_params params;
static struct buffer allow;

static int setup(void **state) {
    (void)state;
    router = router_new(ROUTES, sizeof(ROUTES) / sizeof(*ROUTES));
    buffer_init(&allow, 256);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    router_free(&router);
    buffer_deinit(&allow);
    return 0;
}

static enum status find(const char *method, const char *path, const char **ret_name) {
    const struct route *route = NULL;
    buffer_reset(&allow);
    enum status status = router_find(router, method, span_of(path), &route, &params, &allow);
    *ret_name = route ? route->handler : "";
    return status;
}

static void expect_route(const char *method, const char *path, const char *name) {
    const char *found;
    enum status status = find(method, path, &found);
    if (status != STATUS_OK || strcmp(found, name) != 0)
        fail_msg("%s %s: status %d, \"%s\"", method, path, status, found);
}

static void expect_none(const char *method, const char *path) {
    const char *found;
    if (find(method, path, &found) != STATUS_NOT_FOUND)
        fail_msg("%s %s: \"%s\"", method, path, found);
}

static void expect_params(const char *first, const char *second) {
    assert_int_equal(params.count, second ? 2 : 1);
    assert_true(span_is(params.values[0], first));
    if (second)
        assert_true(span_is(params.values[1], second));
}

static void test_paths(void **state) {
    (void)state;
    expect_route("GET", "/", "root");
    expect_route("GET", "/api/v1/workspaces/7/logs", "logs");
    expect_params("7", NULL);
    assert_true(span_is(params.names[0], "workspace_id"));
    expect_route("GET", "/api/v1/workspaces/7/subscription/abc", "get");
    expect_params("7", "abc");
    assert_true(span_is(params.names[1], "id"));
    expect_route("DELETE", "/api/v1/workspaces/7/subscription/abc", "delete");
    expect_none("GET", "/api/v1/workspaces");
    expect_none("GET", "/api/v1/workspaces/7/logs/1/2");
    expect_none("GET", "/API/v1/workspaces/7/logs");
    expect_none("GET", "");
    expect_none("GET", "*");
    expect_none("GET", "api/v1/workspaces/7/logs");
}

static void test_slashes(void **state) {
    (void)state;
    expect_route("GET", "/api/v1/workspaces/7/logs/", "logs");
    expect_route("PUT", "/api/v1/user/webhook/", "webhook");
    expect_route("PUT", "/api/v1/user/webhook", "webhook");
    expect_none("GET", "/api/v1/workspaces//logs");
    expect_none("GET", "/api/v1/workspaces/7/logs//");
    expect_none("GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19");
}

static void test_a_literal_segment_goes_first(void **state) {
    (void)state;
    expect_route("POST", "/api/v1/workspaces/7/logs/export", "export");
    const char *found;
    assert_int_equal(find("GET", "/api/v1/workspaces/7/logs/export", &found), STATUS_CONFLICT);
    expect_route("GET", "/api/v1/exact/special", "literal first");
    expect_route("GET", "/api/v1/other/special", "named first");
}

static void test_methods(void **state) {
    (void)state;
    const char *found;
    assert_int_equal(find("PUT", "/api/v1/workspaces/7/subscription/abc", &found), STATUS_CONFLICT);
    assert_string_equal(allow.data, "GET, PATCH, DELETE");
    assert_int_equal(find("PATCH", "/api/v1/workspaces/7/logs/export", &found), STATUS_CONFLICT);
    assert_string_equal(allow.data, "POST");
    assert_int_equal(find("GET", "/api/v1/exact/special", &found), STATUS_OK);
    assert_int_equal(allow.len, 0);
    assert_int_equal(find("PUT", "/api/v1/exact/special", &found), STATUS_CONFLICT);
    assert_string_equal(allow.data, "GET");
    expect_route("HEAD", "/api/v1/workspaces/7/logs", "logs");
    assert_int_equal(find("get", "/", &found), STATUS_CONFLICT);
}

static void test_decoding(void **state) {
    (void)state;
    expect_route("GET", "/api/v1/workspaces/a%2Fb/subscription/%c3%A9%20x+y", "get");
    expect_params("a/b", "\xc3\xa9 x+y");
    expect_route("GET", "/api/v1/workspaces/%2525/%6Cogs", "logs");
    expect_params("%25", NULL);
    expect_none("GET", "/api/v1/workspaces/%/logs");
    expect_none("GET", "/api/v1/workspaces/%2/logs");
    expect_none("GET", "/api/v1/workspaces/%zz/logs");
    expect_none("GET", "/api/v1/workspaces/a%00b/logs");
    char longest[1100 + 40] = "/api/v1/workspaces/%41";
    memset(longest + 22, 'x', 1023);
    strncat(longest, "/logs", 6);
    expect_route("GET", longest, "logs");
    assert_int_equal(params.values[0].len, 1024);
    longest[22 + 1023] = 'x';
    memcpy(longest + 22 + 1024, "/logs", 6);
    expect_none("GET", longest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_a_literal_segment_goes_first),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_decoding),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
