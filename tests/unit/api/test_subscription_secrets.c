#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/subscription_secrets.h"
#include "base/crypto.h"
#include "call_fixture.h"
#include "webhook/subscription.h"
#include <stdio.h>

#define NOW 1700000000000LL
#define DAY SECRETS_ROTATION_MS

static struct keyring *keyring;
static struct arena *arena;
static const struct uuid ID = {{1, 2, 3}};

static int setup(void **state) {
    (void)state;
    struct error error;
    arena = arena_new(4096);
    return keyring_new(SPAN_LITERAL("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), &keyring, &error) == STATUS_OK
               ? 0
               : -1;
}

static int teardown(void **state) {
    (void)state;
    keyring_free(&keyring);
    arena_free(&arena);
    return 0;
}

/* As they are after sealing, and opening at a time. */
static json_t *later(json_t *secrets, int64_t now_ms) {
    struct error error;
    json_t *opened = NULL;
    struct span sealed = subscription_secrets_seal(keyring, &ID, secrets, arena);
    assert_int_equal(subscription_secrets_open(keyring, &ID, sealed, now_ms, &opened, &error), STATUS_OK);
    json_decref(secrets);
    return opened;
}

static const char *secret_at(const json_t *secrets, size_t index) {
    return json_string_value(json_object_get(json_array_get(secrets, index), "secret"));
}

static void test_without_any(void **state) {
    (void)state;
    json_t *secrets = later(json_array(), NOW);
    assert_int_equal(json_array_size(secrets), 0);
    assert_null(subscription_secrets_newest(secrets));
    assert_null(subscription_secrets_seal(keyring, &ID, secrets, arena).data);
    json_decref(secrets);
}

static void test_one_is_made(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, SPAN_NONE, NOW, 0);
    assert_memory_equal(subscription_secrets_newest(secrets), "whsec_", 6);
    assert_true(json_is_null(json_object_get(json_array_get(secrets, 0), "until_ms")));
    json_decref(secrets);
}

static void test_former_ones_end_after_a_day(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of("first secret"), NOW, DAY);
    subscription_secrets_put(secrets, span_of("second secret"), NOW, DAY);
    secrets = later(secrets, NOW + DAY / 2);
    subscription_secrets_put(secrets, span_of("third secret"), NOW + DAY / 2, DAY);
    secrets = later(secrets, NOW + DAY - 1);
    assert_int_equal(json_array_size(secrets), 3);
    assert_string_equal(secret_at(secrets, 0), "third secret");
    assert_string_equal(secret_at(secrets, 2), "first secret");
    secrets = later(secrets, NOW + DAY);
    assert_int_equal(json_array_size(secrets), 2);
    secrets = later(secrets, NOW + 100 * DAY);
    assert_int_equal(json_array_size(secrets), 1);
    assert_string_equal(subscription_secrets_newest(secrets), "third secret");
    json_decref(secrets);
}

static void test_a_replacement_ends_the_others_at_once(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of("first secret"), NOW, 0);
    subscription_secrets_put(secrets, span_of("second secret"), NOW, 0);
    assert_int_equal(json_array_size(secrets), 1);
    assert_string_equal(subscription_secrets_newest(secrets), "second secret");
    json_decref(secrets);
}

static void test_no_more_than_five(void **state) {
    (void)state;
    json_t *secrets = json_array();
    for (int i = 0; i < 9; i++) {
        char text[32];
        snprintf(text, sizeof(text), "secret number %d", i);
        subscription_secrets_put(secrets, span_of(text), NOW + i, DAY);
    }
    assert_int_equal(json_array_size(secrets), 5);
    assert_string_equal(secret_at(secrets, 0), "secret number 8");
    assert_string_equal(secret_at(secrets, 4), "secret number 4");
    json_decref(secrets);
}

static void test_they_fit_into_the_row(void **state) {
    (void)state;
    char text[513];
    memset(text, 1, 512);
    text[512] = '\0';
    json_t *secrets = json_array();
    for (int i = 0; i < 4; i++)
        subscription_secrets_put(secrets, span_of(text), NOW + i, DAY);
    assert_true(subscription_secrets_seal(keyring, &ID, secrets, arena).len <= SUBSCRIPTION_MAX_SECRETS_BYTES);
    assert_int_equal(json_array_size(secrets), 2);
    json_decref(secrets);
}

static void test_what_a_client_sees(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of("first secret"), NOW, DAY);
    subscription_secrets_put(secrets, span_of("second secret"), NOW, DAY);
    json_t *shown = subscription_secrets_json(secrets);
    char *text = json_dumps(shown, JSON_COMPACT);
    assert_string_equal(text, "{\"secret\":\"second secret\",\"previous\":[{\"secret\":\"first secret\","
                              "\"valid_until\":\"2023-11-15T22:13:20Z\"}]}");
    mem_free(text);
    json_decref(shown);
    json_decref(secrets);
}

static void test_they_open_for_their_subscription_only(void **state) {
    (void)state;
    struct error error;
    struct uuid other = {{9}};
    json_t *secrets = json_array(), *opened = NULL;
    subscription_secrets_put(secrets, span_of("first secret"), NOW, DAY);
    struct span sealed = subscription_secrets_seal(keyring, &ID, secrets, arena);
    assert_null(memmem(sealed.data, sealed.len, "first", 5));
    assert_int_equal(subscription_secrets_open(keyring, &other, sealed, NOW, &opened, &error), STATUS_INVALID);
    assert_null(opened);
    json_decref(secrets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_any),
        cmocka_unit_test(test_one_is_made),
        cmocka_unit_test(test_former_ones_end_after_a_day),
        cmocka_unit_test(test_a_replacement_ends_the_others_at_once),
        cmocka_unit_test(test_no_more_than_five),
        cmocka_unit_test(test_they_fit_into_the_row),
        cmocka_unit_test(test_what_a_client_sees),
        cmocka_unit_test(test_they_open_for_their_subscription_only),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
