#include "base/ed25519.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* RFC 8032, section 7.1, tests 1 to 3. */
static const struct {
    const char *seed, *public, *message, *signature;
} VECTORS[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
     "655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
     "b00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
     "c027beceea1ec40a"},
};

static struct span bytes_of(const char *hex, uint8_t out[64]) {
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        const char two[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return (struct span){(const char *)out, len};
}

static void signs_and_verifies_the_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(VECTORS) / sizeof(VECTORS[0]); i++) {
        uint8_t seed[64], public[64], message[64], wanted[64], made[64];
        (void)bytes_of(VECTORS[i].seed, seed);
        (void)bytes_of(VECTORS[i].public, public);
        (void)bytes_of(VECTORS[i].signature, wanted);
        struct span text = bytes_of(VECTORS[i].message, message);
        struct ed25519 *key = ed25519_new(seed);
        ed25519_public(key, made);
        assert_memory_equal(made, public, ED25519_PUBLIC_BYTES);
        for (int again = 0; again < 2; again++) {
            ed25519_sign(key, text, made);
            assert_memory_equal(made, wanted, ED25519_SIGNATURE_BYTES);
        }
        assert_true(ed25519_verify(public, text, (struct span){(const char *)made, 64}));
        ed25519_free(&key);
        assert_null(key);
        ed25519_free(&key);
    }
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    uint8_t public[64], message[64], signature[64], other[64];
    (void)bytes_of(VECTORS[1].public, public);
    (void)bytes_of(VECTORS[2].public, other);
    struct span text = bytes_of(VECTORS[1].message, message), right = bytes_of(VECTORS[1].signature, signature);
    assert_false(ed25519_verify(other, text, right));
    assert_false(ed25519_verify(public, SPAN_NONE, right));
    assert_false(ed25519_verify(public, text, (struct span){right.data, 63}));
    assert_false(ed25519_verify(public, text, SPAN_NONE));
    for (size_t i = 0; i < 64; i += 7) {
        signature[i] ^= 1;
        assert_false(ed25519_verify(public, text, right));
        signature[i] ^= 1;
    }
    assert_true(ed25519_verify(public, text, right));
    memset(other, 0xff, sizeof(other)); /* no point of the curve */
    assert_false(ed25519_verify(other, text, right));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_and_verifies_the_vectors),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
