#include "base/crypto.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) SPAN_LITERAL(literal)

#define KEY_1 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" /* 00 01 … 1f */
#define KEY_2 "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=" /* 20 21 … 3f */

static void assert_hex(const uint8_t bytes[SHA256_BYTES], const char *expected) {
    struct buffer hex;
    buffer_init(&hex, 2 * SHA256_BYTES);
    hex_encode((struct span){(const char *)bytes, SHA256_BYTES}, &hex);
    assert_string_equal(hex.data, expected);
    buffer_deinit(&hex);
}

/* FIPS 180-2 */
static void sha256_vectors(void **state) {
    (void)state;
    uint8_t digest[SHA256_BYTES];
    crypto_sha256(SPAN_NONE, digest);
    assert_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(TEXT("abc"), digest);
    assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(TEXT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), digest);
    assert_hex(digest, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void random_bytes_differ(void **state) {
    (void)state;
    uint8_t a[16] = {0};
    uint8_t b[16] = {0};
    crypto_random(a, sizeof(a));
    crypto_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    crypto_random(NULL, 0);
}

struct hmac_case {
    struct span key;
    struct span data;
    const char *mac;
};

/* RFC 4231 */
static const struct hmac_case HMAC_CASES[] = {
    {TEXT("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"), TEXT("Hi There"),
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {TEXT("Jefe"), TEXT("what do ya want for nothing?"),
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
};

static void hmac_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(HMAC_CASES); i++) {
        struct hmac *hmac = hmac_new(HMAC_CASES[i].key);
        uint8_t mac[SHA256_BYTES];
        for (int again = 0; again < 3; again++) {
            hmac_start(hmac);
            hmac_add(hmac, HMAC_CASES[i].data);
            hmac_finish(hmac, mac);
            assert_hex(mac, HMAC_CASES[i].mac);
        }
        /* in pieces, after a start that was given up */
        hmac_start(hmac);
        hmac_add(hmac, TEXT("nothing"));
        hmac_start(hmac);
        hmac_add(hmac, SPAN_NONE);
        for (size_t at = 0; at < HMAC_CASES[i].data.len; at++) {
            hmac_add(hmac, (struct span){HMAC_CASES[i].data.data + at, 1});
        }
        hmac_finish(hmac, mac);
        assert_hex(mac, HMAC_CASES[i].mac);
        hmac_free(&hmac);
        assert_null(hmac);
        hmac_free(&hmac);
    }
}

static void hmac_of_a_long_key_and_of_none(void **state) {
    (void)state;
    char key[131];
    memset(key, 0xAA, sizeof(key));
    struct hmac *hmac = hmac_new((struct span){key, sizeof(key)});
    uint8_t mac[SHA256_BYTES];
    hmac_start(hmac);
    hmac_add(hmac, TEXT("Test Using Larger Than Block-Size Key - Hash Key First"));
    hmac_finish(hmac, mac);
    assert_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_free(&hmac);
    hmac = hmac_new(SPAN_NONE);
    hmac_start(hmac);
    hmac_finish(hmac, mac);
    assert_hex(mac, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    hmac_free(&hmac);
}

/* The published vector of Standard Webhooks. */
static void signs_as_standard_webhooks(void **state) {
    (void)state;
    struct buffer key, signature;
    buffer_init(&key, 64);
    buffer_init(&signature, 64);
    assert_int_equal(base64_decode(TEXT("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &key), STATUS_OK);
    struct hmac *hmac = hmac_new(buffer_view(&key));
    uint8_t mac[SHA256_BYTES];
    hmac_start(hmac);
    hmac_add(hmac, TEXT("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330."));
    hmac_add(hmac, TEXT("{\"test\": 2432232314}"));
    hmac_finish(hmac, mac);
    base64_encode((struct span){(const char *)mac, sizeof(mac)}, &signature);
    assert_string_equal(signature.data, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    hmac_free(&hmac);
    buffer_deinit(&key);
    buffer_deinit(&signature);
}

static void *hash_in_a_thread(void *wrong) {
    for (int i = 0; i < 200; i++) {
        struct hmac *hmac = hmac_new(HMAC_CASES[1].key);
        uint8_t mac[SHA256_BYTES];
        hmac_start(hmac);
        hmac_add(hmac, HMAC_CASES[1].data);
        hmac_finish(hmac, mac);
        *(bool *)wrong |= mac[0] != 0x5b || mac[31] != 0x43;
        crypto_sha256(TEXT("abc"), mac);
        *(bool *)wrong |= mac[0] != 0xba;
        hmac_free(&hmac);
    }
    return NULL;
}

static void threads_do_not_meet(void **state) {
    (void)state;
    pthread_t threads[4];
    bool wrong[4] = {false};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hash_in_a_thread, &wrong[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(wrong[i]);
    }
}

/* RFC 4648 */
static void base64_vectors(void **state) {
    (void)state;
    static const struct span pairs[][2] = {
        {TEXT(""), TEXT("")},
        {TEXT("f"), TEXT("Zg==")},
        {TEXT("fo"), TEXT("Zm8=")},
        {TEXT("foo"), TEXT("Zm9v")},
        {TEXT("foob"), TEXT("Zm9vYg==")},
        {TEXT("fooba"), TEXT("Zm9vYmE=")},
        {TEXT("foobar"), TEXT("Zm9vYmFy")},
        {TEXT("\0\0\0"), TEXT("AAAA")},
        {TEXT("\xFB\xEF\xFF"), TEXT("++//")},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct buffer out;
        buffer_init(&out, 100);
        buffer_char(&out, '>');
        base64_encode(pairs[i][0], &out);
        assert_true(span_equal((struct span){out.data + 1, out.len - 1}, pairs[i][1]));
        buffer_reset(&out);
        buffer_char(&out, '>');
        assert_int_equal(base64_decode(pairs[i][1], &out), STATUS_OK);
        assert_true(span_equal((struct span){out.data + 1, out.len - 1}, pairs[i][0]));
        assert_int_equal(out.data[out.len], '\0');
        buffer_deinit(&out);
    }
    struct buffer out;
    buffer_init(&out, 100);
    assert_int_equal(base64_decode(SPAN_NONE, &out), STATUS_OK);
    base64_encode(SPAN_NONE, &out);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

static void base64_is_strict(void **state) {
    (void)state;
    static const struct span texts[] = {
        TEXT("Z"),     TEXT("Zg"),        TEXT("Zg="),      TEXT("Zm8"),     TEXT("Zg==="),        TEXT("===="),
        TEXT("Z==="),  TEXT("Zg==Zg=="),  TEXT("Zh=="),     TEXT("Zm9="),    TEXT("Zm-v"),         TEXT("Zm_v"),
        TEXT(" Zm9v"), TEXT("Zm9v\n"),    TEXT("Zm9v    "), TEXT("Zm\n9"),   TEXT("Zm9v\n\n\n\n"), TEXT("=m9v"),
        TEXT("Z=9v"),  TEXT("Zm9vYg=\0"), TEXT("Zm9\0"),    TEXT("Zm9\xC3"), TEXT("----"),         TEXT("A=BC"),
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct buffer out;
        buffer_init(&out, 100);
        buffer_text(&out, "kept");
        if (base64_decode(texts[i], &out) != STATUS_INVALID) {
            fail_msg("\"%.*s\" was taken", SPAN_ARGS(texts[i]));
        }
        assert_string_equal(out.data, "kept");
        buffer_deinit(&out);
    }
}

static void base64_of_every_length(void **state) {
    (void)state;
    static char data[(3 << 20) + 5];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 7 + i / 256);
    }
    for (size_t len = 0; len <= sizeof(data); len = len < 70 ? len + 1 : len < 3 << 20 ? 3 << 20 : len + 1) {
        struct buffer text, back;
        buffer_init(&text, 5 << 20);
        buffer_init(&back, 5 << 20);
        base64_encode((struct span){data, len}, &text);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(base64_decode(buffer_view(&text), &back), STATUS_OK);
        assert_true(span_equal(buffer_view(&back), (struct span){data, len}));
        buffer_deinit(&text);
        buffer_deinit(&back);
    }
}

static void a_full_buffer_is_left_alone(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 3);
    base64_encode(TEXT("f"), &out);
    assert_true(out.overflowed);
    buffer_reset(&out);
    assert_int_equal(base64_decode(TEXT("Zm9vYg=="), &out), STATUS_INVALID);
    assert_true(out.overflowed);
    buffer_reset(&out);
    hex_encode(TEXT("ab"), &out);
    assert_true(out.overflowed);
    assert_int_equal(out.len, 0);
    buffer_deinit(&out);
}

static void hex_is_lower_case(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 100);
    hex_encode(TEXT("\x00\x0f\xf0\xff\xab"), &out);
    hex_encode(SPAN_NONE, &out);
    assert_string_equal(out.data, "000ff0ffab");
    buffer_deinit(&out);
}

static void compares(void **state) {
    (void)state;
    assert_true(crypto_equal(TEXT("a\0b"), TEXT("a\0b")));
    assert_false(crypto_equal(TEXT("a\0b"), TEXT("a\0c")));
    assert_false(crypto_equal(TEXT("ab"), TEXT("abc")));
    assert_true(crypto_equal(SPAN_NONE, TEXT("")));
}

static struct keyring *ring_of(const char *text) {
    struct keyring *ring = NULL;
    struct error error = {""};
    if (keyring_new(span_of(text), &ring, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return ring;
}

struct key_case {
    const char *text;
    const char *error;
};

static void a_wrong_key_is_named_but_not_shown(void **state) {
    (void)state;
    static const struct key_case cases[] = {
        {"", "key 1 of 1: empty"},
        {" \n", "key 1 of 1: empty"},
        {KEY_1 ",", "key 2 of 2: empty"},
        {"," KEY_1, "key 1 of 2: empty"},
        {KEY_1 "," KEY_2 ",!!!!", "key 3 of 3: not base64"},
        {KEY_1 "\n" KEY_2, "key 1 of 1: not base64"},
        {KEY_1 ",ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pg==," KEY_2, "key 2 of 3: 31 bytes, expected 32"},
        {"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8g", "key 1 of 1: 33 bytes, expected 32"},
        {",,,,,,,,,,,,,,,,", "17 keys, at most 16"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct keyring *ring = NULL;
        struct error error;
        assert_int_equal(keyring_new(span_of(cases[i].text), &ring, &error), STATUS_INVALID);
        assert_string_equal(error.text, cases[i].error);
        assert_null(ring);
    }
    struct keyring *ring = NULL;
    assert_int_equal(keyring_new(SPAN_NONE, &ring, NULL), STATUS_INVALID);
}

static void what_is_sealed_opens(void **state) {
    (void)state;
    static const struct span plains[] = {TEXT(""), TEXT("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), TEXT("a\0b")};
    static const struct span contexts[] = {TEXT(""), TEXT("subscription 7"), {NULL, 0}};
    struct keyring *ring = ring_of(" " KEY_1 " ,\n" KEY_2 "\n");
    for (size_t i = 0; i < COUNT(plains) * COUNT(contexts); i++) {
        struct span plain = plains[i / COUNT(contexts)];
        struct span context = contexts[i % COUNT(contexts)];
        struct buffer sealed, again, opened;
        buffer_init(&sealed, 200);
        buffer_init(&again, 200);
        buffer_init(&opened, 200);
        buffer_text(&opened, "before ");
        keyring_seal(ring, context, plain, &sealed);
        keyring_seal(ring, context, plain, &again);
        assert_int_equal(sealed.len, 1 + 2 + 12 + 16 + plain.len);
        assert_int_equal(sealed.data[0], 1);
        assert_false(span_equal(buffer_view(&sealed), buffer_view(&again)));
        assert_memory_equal(sealed.data, again.data, 3);
        assert_int_equal(keyring_open(ring, context, buffer_view(&sealed), &opened, NULL), STATUS_OK);
        assert_true(span_equal((struct span){opened.data + 7, opened.len - 7}, plain));
        buffer_deinit(&sealed);
        buffer_deinit(&again);
        buffer_deinit(&opened);
    }
    keyring_free(&ring);
    assert_null(ring);
    keyring_free(&ring);
}

static void assert_shut(const struct keyring *ring, struct span context, struct span sealed, const char *expected) {
    struct buffer opened;
    struct error error;
    buffer_init(&opened, 200);
    buffer_text(&opened, "before");
    assert_int_equal(keyring_open(ring, context, sealed, &opened, &error), STATUS_INVALID);
    assert_string_equal(error.text, expected);
    assert_string_equal(opened.data, "before");
    assert_int_equal(opened.len, 6);
    buffer_deinit(&opened);
}

static void a_change_of_any_bit_shows(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_1 "," KEY_2);
    struct buffer sealed;
    buffer_init(&sealed, 200);
    keyring_seal(ring, TEXT("row 1"), TEXT("secret"), &sealed);
    for (size_t i = 0; i < sealed.len * 8; i++) {
        sealed.data[i / 8] ^= (char)(1 << i % 8);
        struct buffer opened;
        buffer_init(&opened, 200);
        assert_int_equal(keyring_open(ring, TEXT("row 1"), buffer_view(&sealed), &opened, NULL), STATUS_INVALID);
        assert_int_equal(opened.len, 0);
        buffer_deinit(&opened);
        sealed.data[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t len = 0; len < sealed.len; len++) {
        struct buffer opened;
        buffer_init(&opened, 200);
        struct span cut = {sealed.data, len};
        assert_int_equal(keyring_open(ring, TEXT("row 1"), cut, &opened, NULL), STATUS_INVALID);
        buffer_deinit(&opened);
    }
    static const char changed[] = "a sealed value was changed, or belongs to another row";
    assert_shut(ring, TEXT("row 2"), buffer_view(&sealed), changed);
    assert_shut(ring, TEXT("row 1 "), buffer_view(&sealed), changed);
    assert_shut(ring, SPAN_NONE, buffer_view(&sealed), changed);
    buffer_char(&sealed, 'x');
    assert_shut(ring, TEXT("row 1"), buffer_view(&sealed), changed);
    assert_shut(ring, TEXT("row 1"), SPAN_NONE, "a sealed value has a wrong length (0 bytes)");
    sealed.data[0] = 2;
    assert_shut(ring, TEXT("row 1"), buffer_view(&sealed), "a sealed value has the unknown version 2");
    buffer_deinit(&sealed);
    keyring_free(&ring);
}

static void keys_rotate(void **state) {
    (void)state;
    struct keyring *old = ring_of(KEY_1);
    struct keyring *both = ring_of(KEY_2 "," KEY_1);
    struct keyring *new = ring_of(KEY_2);
    struct buffer before, after, opened;
    buffer_init(&before, 200);
    buffer_init(&after, 200);
    buffer_init(&opened, 200);
    keyring_seal(old, TEXT("row"), TEXT("one"), &before);
    keyring_seal(both, TEXT("row"), TEXT("two"), &after);
    assert_int_equal(keyring_open(both, TEXT("row"), buffer_view(&before), &opened, NULL), STATUS_OK);
    assert_int_equal(keyring_open(both, TEXT("row"), buffer_view(&after), &opened, NULL), STATUS_OK);
    assert_int_equal(keyring_open(new, TEXT("row"), buffer_view(&after), &opened, NULL), STATUS_OK);
    assert_string_equal(opened.data, "onetwotwo");
    assert_shut(old, TEXT("row"), buffer_view(&after), "no key of the ring opens a sealed value");
    assert_shut(new, TEXT("row"), buffer_view(&before), "no key of the ring opens a sealed value");
    buffer_deinit(&before);
    buffer_deinit(&after);
    buffer_deinit(&opened);
    keyring_free(&old);
    keyring_free(&both);
    keyring_free(&new);
}

/* Made by another AES-GCM: what lies in databases stays readable. */
static void opens_what_was_sealed_elsewhere(void **state) {
    (void)state;
    static const struct span sealed = TEXT("AW+VQEFCQ0RFRkdISUpLYt3jsRnl96deUp/rYy80XpHczVFDSA==");
    struct keyring *ring = ring_of(KEY_1);
    struct buffer bytes, opened;
    buffer_init(&bytes, 200);
    buffer_init(&opened, 200);
    assert_int_equal(base64_decode(sealed, &bytes), STATUS_OK);
    assert_int_equal(keyring_open(ring, TEXT("row 1"), buffer_view(&bytes), &opened, NULL), STATUS_OK);
    assert_string_equal(opened.data, "secret");
    buffer_deinit(&bytes);
    buffer_deinit(&opened);
    keyring_free(&ring);
}

static void too_small_a_buffer(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_1);
    struct buffer sealed, small;
    buffer_init(&sealed, 200);
    buffer_init(&small, 5);
    keyring_seal(ring, TEXT("row"), TEXT("secret"), &small);
    assert_true(small.overflowed);
    buffer_reset(&small);
    keyring_seal(ring, TEXT("row"), TEXT("secret"), &sealed);
    struct error error;
    assert_int_equal(keyring_open(ring, TEXT("row"), buffer_view(&sealed), &small, &error), STATUS_INVALID);
    assert_string_equal(error.text, "a sealed value is longer than the 5 bytes allowed");
    buffer_deinit(&sealed);
    buffer_deinit(&small);
    keyring_free(&ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(hmac_of_a_long_key_and_of_none),
        cmocka_unit_test(signs_as_standard_webhooks),
        cmocka_unit_test(threads_do_not_meet),
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(base64_of_every_length),
        cmocka_unit_test(a_full_buffer_is_left_alone),
        cmocka_unit_test(hex_is_lower_case),
        cmocka_unit_test(compares),
        cmocka_unit_test(a_wrong_key_is_named_but_not_shown),
        cmocka_unit_test(what_is_sealed_opens),
        cmocka_unit_test(a_change_of_any_bit_shows),
        cmocka_unit_test(keys_rotate),
        cmocka_unit_test(opens_what_was_sealed_elsewhere),
        cmocka_unit_test(too_small_a_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
