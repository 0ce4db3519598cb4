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
    assert_string_equal(text,
                        "{\"secret\":\"second secret\",\"public_key\":null,\"previous\":[{\"secret\":\"first secret\","
                        "\"public_key\":null,\"valid_until\":\"2023-11-15T22:13:20Z\"}]}");
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

static char *key_at(const json_t *secrets, size_t index) {
    const char *key = json_string_value(json_object_get(json_array_get(secrets, index), "key"));
    return key ? mem_strdup(key) : NULL;
}

static void test_a_private_key_goes_with_its_secret(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of("first secret"), NOW, 0);
    assert_false(subscription_secrets_set_asymmetric(secrets, false));
    assert_true(subscription_secrets_set_asymmetric(secrets, true));
    assert_false(subscription_secrets_set_asymmetric(secrets, true)); /* it stays as it is */
    assert_true(subscription_secrets_asymmetric(secrets));
    char *first = key_at(secrets, 0);
    subscription_secrets_put(secrets, span_of("second secret"), NOW, 0); /* replaced: not the key */
    char *still = key_at(secrets, 0);
    assert_string_equal(first, still);
    assert_int_equal(json_array_size(secrets), 1);
    subscription_secrets_put(secrets, span_of("third secret"), NOW, DAY); /* rotated: the key too */
    char *second = key_at(secrets, 0), *former = key_at(secrets, 1);
    assert_string_equal(former, first);
    assert_string_not_equal(second, first);
    secrets = later(secrets, NOW + DAY - 1);
    assert_int_equal(json_array_size(secrets), 2);
    secrets = later(secrets, NOW + DAY);
    assert_int_equal(json_array_size(secrets), 1);
    assert_true(subscription_secrets_asymmetric(secrets));
    subscription_secrets_put(secrets, SPAN_NONE, NOW + DAY, DAY);
    assert_true(subscription_secrets_set_asymmetric(secrets, false)); /* the former one goes too */
    assert_null(key_at(secrets, 0));
    assert_null(key_at(secrets, 1));
    subscription_secrets_put(secrets, SPAN_NONE, NOW + DAY, DAY);
    assert_false(subscription_secrets_asymmetric(secrets));
    mem_free(first);
    mem_free(still);
    mem_free(second);
    mem_free(former);
    json_decref(secrets);
}

static void test_a_client_sees_public_keys_alone(void **state) {
    (void)state;
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of("8 bytes!"), NOW, 0);
    subscription_secrets_set_asymmetric(secrets, true);
    struct span sealed = subscription_secrets_seal(keyring, &ID, secrets, arena);
    json_t *first = subscription_secrets_sealed_public_key(keyring, &ID, sealed);
    assert_memory_equal(json_string_value(first), "whpk_", 5);
    struct uuid other = {{9}};
    json_t *none = subscription_secrets_sealed_public_key(keyring, &other, sealed);
    assert_true(json_is_null(none));
    none = subscription_secrets_sealed_public_key(keyring, &ID, SPAN_NONE);
    assert_true(json_is_null(none));
    subscription_secrets_put(secrets, span_of("second secret"), NOW, DAY);
    json_t *second = subscription_secrets_public_key(secrets), *shown = subscription_secrets_json(secrets);
    assert_false(json_equal(first, second));
    assert_true(json_equal(json_object_get(shown, "public_key"), second));
    assert_true(
        json_equal(json_object_get(json_array_get(json_object_get(shown, "previous"), 0), "public_key"), first));
    char *text = json_dumps(shown, JSON_COMPACT);
    assert_null(strstr(text, "whsk_"));
    mem_free(text);
    json_decref(shown);
    json_decref(first);
    json_decref(second);
    json_decref(secrets);
}

static void test_with_private_keys_they_fit_into_the_row_too(void **state) {
    (void)state;
    char text[513];
    memset(text, 1, 512);
    text[512] = '\0';
    json_t *secrets = json_array();
    subscription_secrets_put(secrets, span_of(text), NOW, 0);
    subscription_secrets_set_asymmetric(secrets, true);
    for (int i = 0; i < 9; i++) {
        subscription_secrets_put(secrets, i > 4 ? span_of(text) : SPAN_NONE, NOW + i, DAY);
        assert_true(subscription_secrets_seal(keyring, &ID, secrets, arena).len <= SUBSCRIPTION_MAX_SECRETS_BYTES);
        assert_true(subscription_secrets_asymmetric(secrets));
    }
    assert_in_range(json_array_size(secrets), 2, 5);
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
        cmocka_unit_test(test_a_private_key_goes_with_its_secret),
        cmocka_unit_test(test_a_client_sees_public_keys_alone),
        cmocka_unit_test(test_with_private_keys_they_fit_into_the_row_too),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
