#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/idempotency.h"
#include "store_fixture.h"
#include <pthread.h>

#define LEASE_MS 60000

static struct idempotency request_of(const char *workspace, const char *key, const char *body) {
    struct idempotency request = {.workspace_id = span_of(workspace), .key = span_of(key), .owner = uuid_new(1)};
    crypto_sha256(span_of(body), request.body_hash);
    return request;
}

static enum idempotency_state begun(const struct idempotency *request, int64_t lease_ms) {
    enum idempotency_state state = IDEMPOTENCY_MINE;
    struct result *answer = NULL;
    ok(idempotency_begin(connection, request, lease_ms, &state, &answer, &error));
    assert_int_equal(answer != NULL, state == IDEMPOTENCY_ANSWERED);
    result_free(&answer);
    return state;
}

static void test_the_first_answer_is_every_answer(void **state) {
    (void)state;
    struct idempotency first = request_of("w", "k", "body"), again = request_of("w", "k", "body");
    struct idempotency other = request_of("w", "k", "another body"), elsewhere = request_of("v", "k", "another body");
    assert_int_equal(begun(&first, LEASE_MS), IDEMPOTENCY_MINE);
    assert_int_equal(begun(&again, LEASE_MS), IDEMPOTENCY_UNDER_WAY);
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_OTHER_BODY);
    assert_int_equal(begun(&elsewhere, LEASE_MS), IDEMPOTENCY_MINE);
    ok(idempotency_finish(connection, &first, 202, SPAN_LITERAL("{\"events\":[]}"), &error));
    enum idempotency_state what;
    struct result *answer = NULL;
    ok(idempotency_begin(connection, &again, LEASE_MS, &what, &answer, &error));
    assert_int_equal(what, IDEMPOTENCY_ANSWERED);
    int status;
    assert_true(span_is(idempotency_answer(answer, &status), "{\"events\":[]}"));
    assert_int_equal(status, 202);
    result_free(&answer);
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_OTHER_BODY);
    ok(idempotency_forget(connection, &first, &error));
    assert_int_equal(begun(&again, LEASE_MS), IDEMPOTENCY_ANSWERED);
}

static void test_what_failed_is_forgotten(void **state) {
    (void)state;
    struct idempotency first = request_of("w", "k", "body"), other = request_of("w", "k", "another body");
    assert_int_equal(begun(&first, LEASE_MS), IDEMPOTENCY_MINE);
    ok(idempotency_forget(connection, &other, &error)); /* not its own */
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_OTHER_BODY);
    ok(idempotency_forget(connection, &first, &error));
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_MINE);
}

static void test_a_lease_that_ran_out_is_taken_over(void **state) {
    (void)state;
    struct idempotency first = request_of("w", "k", "body"), second = request_of("w", "k", "body");
    assert_int_equal(begun(&first, LEASE_MS), IDEMPOTENCY_MINE);
    exec_sql("UPDATE idempotency_keys SET lease_until = now() - interval '1 s'");
    assert_int_equal(begun(&second, LEASE_MS), IDEMPOTENCY_MINE);
    assert_int_equal(idempotency_finish(connection, &first, 202, SPAN_LITERAL("{}"), &error), STATUS_CONFLICT);
    ok(idempotency_forget(connection, &first, &error));
    ok(idempotency_finish(connection, &second, 202, SPAN_LITERAL("{}"), &error));
    assert_int_equal(begun(&first, LEASE_MS), IDEMPOTENCY_ANSWERED);
}

static void test_a_key_lasts_a_day(void **state) {
    (void)state;
    struct idempotency first = request_of("w", "k", "body"), other = request_of("w", "k", "another body");
    assert_int_equal(begun(&first, LEASE_MS), IDEMPOTENCY_MINE);
    ok(idempotency_finish(connection, &first, 202, SPAN_LITERAL("{}"), &error));
    exec_sql("UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'");
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_OTHER_BODY);
    exec_sql("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 minute'");
    assert_int_equal(begun(&other, LEASE_MS), IDEMPOTENCY_MINE);
    /* Others' old ones go by and by. */
    exec_sql(
        "INSERT INTO idempotency_keys (workspace_id, key, body_hash, owner, lease_until, created_at) "
        "SELECT 'x', n::text, '', gen_random_uuid(), now(), now() - interval '2 days' FROM generate_series(1, 12) n");
    for (int i = 0; i < 3; i++) {
        char key[16];
        snprintf(key, sizeof(key), "n%d", i);
        struct idempotency more = request_of("w", key, "");
        assert_int_equal(begun(&more, LEASE_MS), IDEMPOTENCY_MINE);
    }
    expect_sql("SELECT count(*) FROM idempotency_keys WHERE workspace_id = 'x'", "0");
    expect_sql("SELECT count(*) FROM idempotency_keys WHERE workspace_id = 'w'", "4");
}

static void *race(void *ctx) {
    int *mine = ctx;
    struct error own;
    struct connection *other = pg_fixture_connect(database);
    struct idempotency request = request_of("w", "k", "body");
    enum idempotency_state state = IDEMPOTENCY_UNDER_WAY;
    struct result *answer = NULL;
    if (idempotency_begin(other, &request, LEASE_MS, &state, &answer, &own) == STATUS_OK)
        *mine = state == IDEMPOTENCY_MINE;
    result_free(&answer);
    connection_free(&other);
    return NULL;
}

static void test_of_many_at_once_one_is_first(void **state) {
    (void)state;
    pthread_t threads[20];
    int mine[20], count = 0;
    for (int i = 0; i < 20; i++) {
        mine[i] = -1;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &mine[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        pthread_join(threads[i], NULL);
        assert_int_not_equal(mine[i], -1);
        count += mine[i];
    }
    assert_int_equal(count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_the_first_answer_is_every_answer),   STORE_TEST(test_what_failed_is_forgotten),
        STORE_TEST(test_a_lease_that_ran_out_is_taken_over), STORE_TEST(test_a_key_lasts_a_day),
        STORE_TEST(test_of_many_at_once_one_is_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
