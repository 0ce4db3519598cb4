/* Each refused network by its first and last address, and by its neighbours outside. */
#include "net/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/un.h>

#include <cmocka.h>

static struct guard *guard_with(const char *allow_nets) {
    struct guard *guard = NULL;
    struct error error;
    if (guard_new(allow_nets, &guard, &error) != STATUS_OK)
        fail_msg("%s: %s", allow_nets, error.text);
    return guard;
}

static const char *judge(const struct guard *guard, const char *text, char *reason) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return guard_judge(guard, (struct sockaddr *)&in, reason);
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
        fail_msg("bad test address %s", text);
    return guard_judge(guard, (struct sockaddr *)&in6, reason);
}

static void assert_refused(const struct guard *guard, const char *text) {
    char reason[128];
    if (!judge(guard, text, reason))
        fail_msg("%s was let through", text);
}

static void assert_let_through(const struct guard *guard, const char *text) {
    char reason[128];
    const char *said = judge(guard, text, reason);
    if (said)
        fail_msg("%s was refused: %s", text, said);
}

static void test_public_addresses(void **state) {
    (void)state;
    struct guard *guard = guard_with("");
    assert_let_through(guard, "8.8.8.8");
    assert_let_through(guard, "93.184.216.34");
    assert_let_through(guard, "2606:4700::1111");
    assert_let_through(guard, "2a00:1450:4001::200e");
    guard_free(&guard);
    assert_null(guard);
}

struct range {
    const char *before, *first, *last, *after; /* NULL: no neighbour, or it is refused for another reason */
};

static void check_ranges(const struct range *ranges, size_t count) {
    struct guard *guard = guard_with("");
    for (size_t i = 0; i < count; i++) {
        assert_refused(guard, ranges[i].first);
        assert_refused(guard, ranges[i].last);
        if (ranges[i].before)
            assert_let_through(guard, ranges[i].before);
        if (ranges[i].after)
            assert_let_through(guard, ranges[i].after);
    }
    guard_free(&guard);
}

static const struct range RANGES4[] = {
    {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
    {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
    {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
    {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
    {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
    {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
    {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
    {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
    {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
    {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
    {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
    {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
    {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
    {"223.255.255.255", "224.0.0.0", "239.255.255.255", NULL},
    {NULL, "240.0.0.0", "255.255.255.254", NULL},
    {NULL, "255.255.255.255", "255.255.255.255", NULL},
};

static void test_ranges_of_ipv4(void **state) {
    (void)state;
    check_ranges(RANGES4, sizeof(RANGES4) / sizeof(*RANGES4));
}

static void test_ranges_of_ipv6(void **state) {
    (void)state;
    static const struct range RANGES6[] = {
        {NULL, "::", "::", NULL},
        {NULL, "::1", "::1", NULL},
        {NULL, "::", "::ffff:ffff", "::1:0:0"},
        {"::ffff:0:ffff:ffff", "::ffff:127.0.0.1", "::ffff:127.0.0.1", NULL},
        {"ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::"},
        {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2001:1::"},
        {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001:db9::"},
        {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
        {"5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::"},
        {"fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"},
        {"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    };
    check_ranges(RANGES6, sizeof(RANGES6) / sizeof(*RANGES6));
}

/* Every bound of every IPv4 network again, inside each form of IPv6 that carries one. */
static void check_carried(const struct guard *guard, const char *text4, bool refused) {
    uint8_t b[4];
    char text[64];
    assert_int_equal(inet_pton(AF_INET, text4, b), 1);
    void (*check)(const struct guard *, const char *) = refused ? assert_refused : assert_let_through;
    snprintf(text, sizeof(text), "::ffff:%s", text4);
    check(guard, text);
    snprintf(text, sizeof(text), "::ffff:%x:%x", b[0] << 8 | b[1], b[2] << 8 | b[3]);
    check(guard, text);
    snprintf(text, sizeof(text), "64:ff9b::%s", text4);
    check(guard, text);
    snprintf(text, sizeof(text), "64:ff9b:1::%s", text4);
    check(guard, text);
    snprintf(text, sizeof(text), "2002:%x:%x::1", b[0] << 8 | b[1], b[2] << 8 | b[3]);
    check(guard, text);
}

static void test_ipv4_inside_ipv6(void **state) {
    (void)state;
    struct guard *guard = guard_with("");
    for (size_t i = 0; i < sizeof(RANGES4) / sizeof(*RANGES4); i++) {
        check_carried(guard, RANGES4[i].first, true);
        check_carried(guard, RANGES4[i].last, true);
        if (RANGES4[i].before)
            check_carried(guard, RANGES4[i].before, false);
        if (RANGES4[i].after)
            check_carried(guard, RANGES4[i].after, false);
    }
    check_carried(guard, "8.8.8.8", false);
    /* Compatible addresses are refused whatever they carry. */
    assert_refused(guard, "::8.8.8.8");
    /* The neighbours of the prefixes carry nothing. */
    assert_let_through(guard, "64:ff9a::7f00:1");
    assert_let_through(guard, "64:ff9b:0:1::7f00:1");
    assert_let_through(guard, "64:ff9b:2::7f00:1");
    assert_let_through(guard, "2003:7f00:1::1");
    guard_free(&guard);
}

/* RFC 6052: 10.0.0.1 behind prefixes of 48, 56, 64 and 96 bits, whatever stands behind it. */
static void test_places_of_local_nat64(void **state) {
    (void)state;
    struct guard *guard = guard_with("");
    assert_refused(guard, "64:ff9b:1:a00:0:100::");
    assert_refused(guard, "64:ff9b:1:a00:0:100:808:808");
    assert_refused(guard, "64:ff9b:1:120a:0:1::");
    assert_refused(guard, "64:ff9b:1:1234:a:0:100:0");
    assert_refused(guard, "64:ff9b:1:1234::a00:1");
    assert_refused(guard, "64:ff9b:1::");
    guard_free(&guard);
}

static void test_reasons(void **state) {
    (void)state;
    struct guard *guard = guard_with("");
    char reason[128];
    assert_string_equal(judge(guard, "127.0.0.1", reason), "127.0.0.1 is a loopback address");
    assert_string_equal(judge(guard, "0.0.0.0", reason), "0.0.0.0 is an address of this host");
    assert_string_equal(judge(guard, "255.255.255.255", reason), "255.255.255.255 is the broadcast address");
    assert_string_equal(judge(guard, "::1", reason), "::1 is a loopback address");
    assert_string_equal(judge(guard, "::ffff:10.1.2.3", reason),
                        "::ffff:10.1.2.3 stands for 10.1.2.3, which is a private address");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_string_equal(guard_judge(guard, (struct sockaddr *)&un, reason), "it is not an internet address");
    guard_free(&guard);
}

static void test_allowed_networks(void **state) {
    (void)state;
    struct guard *guard = guard_with(" 127.0.0.0/8, ::1/128 ,10.1.0.0/16,fd00:1::/32,192.168.7.9");
    assert_let_through(guard, "127.0.0.1");
    assert_let_through(guard, "127.255.255.255");
    assert_let_through(guard, "::1");
    assert_let_through(guard, "::ffff:127.0.0.1");
    assert_let_through(guard, "64:ff9b::7f00:1");
    assert_let_through(guard, "10.1.255.255");
    assert_refused(guard, "10.2.0.0");
    assert_refused(guard, "10.0.255.255");
    assert_let_through(guard, "fd00:1:ffff::1");
    assert_refused(guard, "fd00:2::1");
    assert_let_through(guard, "192.168.7.9");
    assert_refused(guard, "192.168.7.8");
    assert_refused(guard, "::2");
    guard_free(&guard);
    guard = guard_with("0.0.0.0/0,::/0");
    assert_let_through(guard, "127.0.0.1");
    assert_let_through(guard, "fe80::1");
    guard_free(&guard);
}

static void test_bad_networks_are_named(void **state) {
    (void)state;
    static const struct {
        const char *list, *says;
    } CASES[] = {
        {"127.0.0.0/8,banana", "\"banana\" is not a network"},
        {"10.0.0.0/33", "\"10.0.0.0/33\": the length of the prefix is a number from 0 to 32"},
        {"fd00::/129", "\"fd00::/129\": the length of the prefix is a number from 0 to 128"},
        {"10.0.0.0/", "\"10.0.0.0/\": the length of the prefix"},
        {"10.0.0.0/-1", "the length of the prefix"},
        {"10.0.0.0/8x", "the length of the prefix"},
        {"10.0.0.1/8", "\"10.0.0.1/8\" has address bits beyond its prefix of 8"},
        {"fd00::1/16", "\"fd00::1/16\" has address bits beyond its prefix of 16"},
        {"10.0.0", "is not a network"},
        {",10.0.0.0/8", "\"\" is not a network"},
        {"10.0.0.0/8,", "ends with a comma"},
        {"10.0.0.0/8;127.0.0.0/8", "the length of the prefix"},
        {"1111111111111111111111111111111111111111111111111111111111111111111111111111", "is not a network"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        struct guard *guard = NULL;
        struct error error = {""};
        assert_int_equal(guard_new(CASES[i].list, &guard, &error), STATUS_INVALID);
        assert_null(guard);
        if (!strstr(error.text, CASES[i].says))
            fail_msg("%s: %s", CASES[i].list, error.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_addresses),      cmocka_unit_test(test_ranges_of_ipv4),
        cmocka_unit_test(test_ranges_of_ipv6),        cmocka_unit_test(test_ipv4_inside_ipv6),
        cmocka_unit_test(test_places_of_local_nat64), cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_allowed_networks),      cmocka_unit_test(test_bad_networks_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
