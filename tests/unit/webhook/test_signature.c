#include "webhook/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The test vector of Standard Webhooks 1.0. */
#define SECRET SPAN_LITERAL("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
#define ID SPAN_LITERAL("msg_p5jXN8AQM9LWM0D4loKWxJek")
#define TIMESTAMP 1614265330
#define BODY SPAN_LITERAL("{\"test\": 2432232314}")
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static struct signer *signer_of(const struct span *secrets, size_t count) {
    struct signer *signer = NULL;
    struct error error;
    if (signer_new(secrets, count, &signer, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return signer;
}

static void signs_the_standard_vector(void **state) {
    (void)state;
    struct signer *signer = signer_of(&SECRET, 1);
    struct buffer out;
    buffer_init(&out, 256);
    for (int i = 0; i < 2; i++) { /* and again with the same signer */
        buffer_reset(&out);
        signer_standard(signer, ID, TIMESTAMP, BODY, &out);
        assert_string_equal(out.data, SIGNATURE);
    }
    buffer_deinit(&out);
    signer_free(&signer);
    assert_null(signer);
    signer_free(&signer);
}

static void signs_with_every_secret_newest_first(void **state) {
    (void)state;
    const struct span secrets[] = {SPAN_LITERAL("a secret of text"), SECRET};
    struct signer *both = signer_of(secrets, 2);
    struct signer *newest = signer_of(secrets, 1);
    struct buffer out, first;
    buffer_init(&out, 256);
    buffer_init(&first, 256);
    signer_standard(both, ID, TIMESTAMP, BODY, &out);
    signer_standard(newest, ID, TIMESTAMP, BODY, &first);
    buffer_text(&first, " " SIGNATURE);
    assert_string_equal(out.data, first.data);

    buffer_reset(&out);
    buffer_reset(&first);
    signer_hex(both, BODY, &out);
    signer_hex(newest, BODY, &first);
    assert_string_equal(out.data, first.data);
    buffer_deinit(&out);
    buffer_deinit(&first);
    signer_free(&both);
    signer_free(&newest);
}

static void signs_in_hex(void **state) {
    (void)state;
    /* printf '{"a":1}' | openssl dgst -sha256 -hmac 'kakiyo-secret' */
    struct span secret = SPAN_LITERAL("kakiyo-secret");
    struct signer *signer = signer_of(&secret, 1);
    struct buffer out;
    buffer_init(&out, 256);
    signer_hex(signer, SPAN_LITERAL("{\"a\":1}"), &out);
    assert_string_equal(out.data, "sha256=943123bcfe29901896af43e76bd67f7eb35d846c7c59a381ef0b6dd7d4f58217");
    assert_true(signer_verify_hex(signer, SPAN_LITERAL("{\"a\":1}"), buffer_view(&out)));
    assert_false(signer_verify_hex(signer, SPAN_LITERAL("{\"a\":2}"), buffer_view(&out)));
    assert_false(signer_verify_hex(signer, SPAN_LITERAL("{\"a\":1}"), SPAN_LITERAL("sha256=")));
    assert_false(signer_verify_hex(signer, SPAN_LITERAL("{\"a\":1}"), SPAN_NONE));
    out.data[20] ^= 1;
    assert_false(signer_verify_hex(signer, SPAN_LITERAL("{\"a\":1}"), buffer_view(&out)));
    buffer_deinit(&out);
    signer_free(&signer);
}

static bool verifies(const struct span *secrets, size_t count, const char *header) {
    struct signer *signer = signer_of(secrets, count);
    bool valid = signer_verify_standard(signer, ID, TIMESTAMP, BODY, span_of(header));
    signer_free(&signer);
    return valid;
}

static void verifies_any_signature_by_any_secret(void **state) {
    (void)state;
    const struct span secrets[] = {SPAN_LITERAL("a secret of text"), SECRET};
    assert_true(verifies(secrets, 2, SIGNATURE));
    assert_true(verifies(secrets + 1, 1, SIGNATURE));
    assert_false(verifies(secrets, 1, SIGNATURE));
    assert_true(verifies(secrets, 2, "v1a,xyz v1,AAAA " SIGNATURE " v2,b"));
    assert_true(verifies(secrets, 2, "  " SIGNATURE " "));
    assert_false(verifies(secrets, 2, ""));
    assert_false(verifies(secrets, 2, "v1,"));
    assert_false(verifies(secrets, 2,
                          "v2"
                          ","
                          "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    assert_false(verifies(secrets, 2, SIGNATURE "x"));
    assert_false(verifies(secrets, 2, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1Oe="));

    struct signer *signer = signer_of(secrets, 2);
    struct span header = SPAN_LITERAL(SIGNATURE);
    assert_false(signer_verify_standard(signer, ID, TIMESTAMP + 1, BODY, header));
    assert_false(signer_verify_standard(signer, SPAN_LITERAL("msg"), TIMESTAMP, BODY, header));
    assert_false(signer_verify_standard(signer, ID, TIMESTAMP, SPAN_LITERAL("{}"), header));
    signer_free(&signer);
}

static void assert_refused(struct span secret, const char *reason) {
    struct buffer key;
    buffer_init(&key, 1024);
    struct error error = {""};
    assert_int_equal(signature_key(secret, &key, &error), STATUS_INVALID);
    assert_int_equal(key.len, 0);
    assert_string_equal(error.text, reason);
    buffer_deinit(&key);
    struct signer *signer = NULL;
    const struct span secrets[] = {SECRET, secret};
    assert_int_equal(signer_new(secrets, 2, &signer, &error), STATUS_INVALID);
    assert_null(signer);
    assert_string_equal(error.text, reason);
}

static void a_wrong_secret_is_refused_and_never_shown(void **state) {
    (void)state;
    char text[600];
    memset(text, 'x', sizeof(text));
    assert_refused((struct span){text, 7}, "secret: 7 bytes, expected 8 to 512");
    assert_refused((struct span){text, 513}, "secret: 513 bytes, expected 8 to 512");
    assert_refused(SPAN_LITERAL("12345678\xff"), "secret: not UTF-8");
    assert_refused(SPAN_LITERAL("whsec_"), "secret: 0 bytes after whsec_, expected 24 to 64");
    assert_refused(SPAN_LITERAL("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"), "secret: what follows whsec_ is not base64");
    assert_refused(SPAN_LITERAL("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-w"), "secret: what follows whsec_ is not base64");
    assert_refused(SPAN_LITERAL("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ=="),
                   "secret: 22 bytes after whsec_, expected 24 to 64");
    memcpy(text, "whsec_", 6);
    assert_refused((struct span){text, 6 + 88}, "secret: 66 bytes after whsec_, expected 24 to 64");
    assert_refused((struct span){text, 6 + 92}, "secret: more than 64 bytes after whsec_");

    struct signer *signer = NULL;
    struct error error;
    struct span many[SIGNATURE_MAX_SECRETS + 1];
    for (size_t i = 0; i < SIGNATURE_MAX_SECRETS + 1; i++) {
        many[i] = SECRET;
    }
    assert_int_equal(signer_new(many, 0, &signer, &error), STATUS_INVALID);
    assert_int_equal(signer_new(many, SIGNATURE_MAX_SECRETS + 1, &signer, &error), STATUS_INVALID);
}

static void secrets_become_keys(void **state) {
    (void)state;
    struct buffer key;
    buffer_init(&key, 1024);
    assert_int_equal(signature_key(SPAN_LITERAL("p\xc3\xa4sswort"), &key, NULL), STATUS_OK);
    assert_string_equal(key.data, "p\xc3\xa4sswort");
    buffer_reset(&key);
    assert_int_equal(signature_key(SECRET, &key, NULL), STATUS_OK);
    assert_int_equal(key.len, 24);
    assert_memory_equal(key.data, "\x31\xf2\x90\xf6\xbf\x06", 6);

    struct buffer secret, other;
    buffer_init(&secret, 256);
    buffer_init(&other, 256);
    signature_new_secret(&secret);
    signature_new_secret(&other);
    assert_string_not_equal(secret.data, other.data);
    buffer_reset(&key);
    assert_int_equal(signature_key(buffer_view(&secret), &key, NULL), STATUS_OK);
    assert_int_equal(key.len, 32);
    buffer_deinit(&secret);
    buffer_deinit(&other);
    buffer_deinit(&key);
}

/* The keys of RFC 8032, 7.1, tests 1 and 2, and what they make of the standard vector. */
#define KEY_1                                                                                                          \
    SPAN_LITERAL("whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==")
#define KEY_2                                                                                                          \
    SPAN_LITERAL("whsk_TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs9QBfD6EOJWpK3CqdNG368nJgszy7ElozAzVXxKvRmDA==")
#define PUBLIC_1 "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define PUBLIC_2 "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
#define SIGNATURE_1 "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
#define SIGNATURE_2 "v1a,7anDmyOh9LNskt5GJUTacHmbvyUkT0/S1jnxFAp+h2hcVXnQLWhtWA2+wP6vO0AUwEYP23IIZVuneGRhNj7hDQ=="

static void signs_with_private_keys_too(void **state) {
    (void)state;
    struct signer *signer = signer_of(&SECRET, 1);
    struct buffer out;
    struct error error;
    buffer_init(&out, 4096);
    assert_int_equal(signer_add_key(signer, KEY_2, &error), STATUS_OK);
    signer_standard(signer, ID, TIMESTAMP, BODY, &out);
    assert_string_equal(out.data, SIGNATURE " " SIGNATURE_2);
    assert_int_equal(signer_add_key(signer, KEY_1, &error), STATUS_OK);
    for (int i = 0; i < 2; i++) { /* and again with the same signer */
        buffer_reset(&out);
        signer_standard(signer, ID, TIMESTAMP, BODY, &out);
        assert_string_equal(out.data, SIGNATURE " " SIGNATURE_2 " " SIGNATURE_1);
    }
    assert_true(signer_verify_standard(signer, ID, TIMESTAMP, BODY, buffer_view(&out)));
    buffer_reset(&out);
    signer_standard(signer, ID, TIMESTAMP, SPAN_NONE, &out);
    assert_null(strstr(out.data, SIGNATURE_1));
    while (signer_add_key(signer, KEY_1, &error) == STATUS_OK)
        continue;
    assert_string_equal(error.text, "more than 5 private keys");
    buffer_deinit(&out);
    signer_free(&signer);
}

static bool key_verifies(const char *public_key, struct span body, const char *header) {
    uint8_t key[ED25519_PUBLIC_BYTES];
    struct error error;
    if (signature_read_public_key(span_of(public_key), key, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return signature_verify_asymmetric(key, ID, TIMESTAMP, body, span_of(header));
}

static void verifies_by_the_public_key(void **state) {
    (void)state;
    assert_true(key_verifies(PUBLIC_1, BODY, SIGNATURE_1));
    assert_true(key_verifies(PUBLIC_2, BODY, SIGNATURE " " SIGNATURE_1 " " SIGNATURE_2));
    assert_true(key_verifies(PUBLIC_1, BODY, "  v1a,x v1a, " SIGNATURE_2 " " SIGNATURE_1 " "));
    assert_false(key_verifies(PUBLIC_1, BODY, SIGNATURE " " SIGNATURE_2));
    assert_false(key_verifies(PUBLIC_1, SPAN_LITERAL("{}"), SIGNATURE_1));
    assert_false(key_verifies(PUBLIC_1, SPAN_NONE, SIGNATURE_1));
    assert_false(key_verifies(PUBLIC_1, BODY, ""));
    assert_false(key_verifies(PUBLIC_1, BODY, SIGNATURE_1 "x"));
    assert_false(key_verifies(PUBLIC_1, BODY, &SIGNATURE_1[1]));
    uint8_t key[ED25519_PUBLIC_BYTES];
    assert_int_equal(signature_read_public_key(SPAN_LITERAL(PUBLIC_1), key, NULL), STATUS_OK);
    assert_false(signature_verify_asymmetric(key, ID, TIMESTAMP + 1, BODY, SPAN_LITERAL(SIGNATURE_1)));
    assert_false(signature_verify_asymmetric(key, SPAN_NONE, TIMESTAMP, BODY, SPAN_LITERAL(SIGNATURE_1)));
}

static void keys_are_made_and_read(void **state) {
    (void)state;
    struct buffer one, other, public;
    buffer_init(&one, 256);
    buffer_init(&other, 256);
    buffer_init(&public, 256);
    signature_new_key(&one);
    signature_new_key(&other);
    assert_string_not_equal(one.data, other.data);
    struct signer *signer = signer_of(&SECRET, 1);
    assert_int_equal(signer_add_key(signer, buffer_view(&one), NULL), STATUS_OK);
    signer_free(&signer);
    assert_int_equal(signature_public_key(KEY_1, &public, NULL), STATUS_OK);
    assert_string_equal(public.data, PUBLIC_1);
    buffer_deinit(&one);
    buffer_deinit(&other);
    buffer_deinit(&public);
}

static void a_wrong_key_is_refused_and_never_shown(void **state) {
    (void)state;
    static const struct span WRONG[] = {{"whsk_", 5},
                                        {"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwj=", 56},
                                        {PUBLIC_1, sizeof(PUBLIC_1) - 1},
                                        {NULL, 0}};
    struct signer *signer = signer_of(&SECRET, 1);
    struct error error;
    struct buffer out;
    buffer_init(&out, 256);
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        assert_int_equal(signer_add_key(signer, WRONG[i], &error), STATUS_INVALID);
        assert_null(strstr(error.text, "MfKQ"));
        assert_int_equal(signature_public_key(WRONG[i], &out, &error), STATUS_INVALID);
    }
    char halves[128]; /* of two keys */
    (void)snprintf(halves, sizeof(halves), "%.45s%s", KEY_1.data, KEY_2.data + 45);
    assert_int_equal(signer_add_key(signer, span_of(halves), &error), STATUS_INVALID);
    assert_int_equal(out.len, 0);
    signer_standard(signer, ID, TIMESTAMP, BODY, &out);
    assert_string_equal(out.data, SIGNATURE);
    uint8_t key[ED25519_PUBLIC_BYTES];
    assert_int_equal(signature_read_public_key(KEY_1, key, &error), STATUS_INVALID);
    assert_string_equal(error.text, "this is a private key; the public one begins with whpk_");
    assert_int_equal(signature_read_public_key(SPAN_LITERAL("whpk_11qYAYKxCrfVS"), key, &error), STATUS_INVALID);
    assert_int_equal(signature_read_public_key(SPAN_NONE, key, &error), STATUS_INVALID);
    assert_string_equal(error.text, "a public key is whpk_ and base64 of 32 bytes");
    buffer_deinit(&out);
    signer_free(&signer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_the_standard_vector),
        cmocka_unit_test(signs_with_every_secret_newest_first),
        cmocka_unit_test(signs_in_hex),
        cmocka_unit_test(verifies_any_signature_by_any_secret),
        cmocka_unit_test(a_wrong_secret_is_refused_and_never_shown),
        cmocka_unit_test(secrets_become_keys),
        cmocka_unit_test(signs_with_private_keys_too),
        cmocka_unit_test(verifies_by_the_public_key),
        cmocka_unit_test(keys_are_made_and_read),
        cmocka_unit_test(a_wrong_key_is_refused_and_never_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
