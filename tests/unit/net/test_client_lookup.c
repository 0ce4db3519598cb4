/* Name look-ups that hang, and names that lead to refused addresses. This program has a getaddrinfo of its own, which
 * stands before the C library's. */
#include "bad_receiver.h"
#include "client_fixture.h"

#include <dlfcn.h>
#include <netdb.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool released;
    int hanging;
    atomic_int calls;
} resolver = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void hang_until_released(void) {
    pthread_mutex_lock(&resolver.lock);
    resolver.hanging++;
    pthread_cond_broadcast(&resolver.changed);
    while (!resolver.released)
        pthread_cond_wait(&resolver.changed, &resolver.lock);
    resolver.hanging--;
    pthread_cond_broadcast(&resolver.changed);
    pthread_mutex_unlock(&resolver.lock);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret) {
    getaddrinfo_fn *real = (getaddrinfo_fn *)(uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");
    resolver.calls++;
    if (strncmp(node, "hang", 4) == 0) {
        hang_until_released();
        return EAI_AGAIN;
    }
    if (strncmp(node, "good", 4) == 0)
        return real("127.0.0.1", service, hints, ret);
    if (strcmp(node, "metadata.test") == 0)
        return real("169.254.169.254", service, hints, ret);
    if (strcmp(node, "mixed.test") == 0) {
        /* A refused address first, then one that may be dialled. */
        int code = real("169.254.169.254", service, hints, ret);
        return code ? code : real("127.0.0.1", service, hints, &(*ret)->ai_next);
    }
    if (strcmp(node, "refused.test") == 0) {
        int code = real("10.0.0.1", service, hints, ret);
        return code ? code : real("::1", service, hints, &(*ret)->ai_next);
    }
    return EAI_NONAME;
}

static void release_resolvers(void) {
    pthread_mutex_lock(&resolver.lock);
    resolver.released = true;
    pthread_cond_broadcast(&resolver.changed);
    while (resolver.hanging > 0)
        pthread_cond_wait(&resolver.changed, &resolver.lock);
    resolver.released = false;
    pthread_mutex_unlock(&resolver.lock);
}

static int open_client(void **state) {
    (void)state;
    struct client_settings settings = plain_settings();
    settings.max_lookups = 6;
    fixture_open_with("127.0.0.0/8", settings);
    resolver.calls = 0;
    return 0;
}

static int close_client(void **state) {
    (void)state;
    fixture_close();
    release_resolvers();
    return 0;
}

static struct answer ask_host(const char *host, int64_t timeout_ms) {
    char url[128];
    snprintf(url, sizeof(url), "http://%s:%d/204", host, receiver.port);
    struct answer answer = ask(url, timeout_ms);
    return answer;
}

static void expect_host(const char *host, enum client_result result, const char *detail) {
    struct answer answer = ask_host(host, 3000);
    expect_result(host, &answer, result);
    if (!strstr(answer.detail, detail))
        fail_msg("%s: \"%s\" lacks \"%s\"", host, answer.detail, detail);
}

static void test_names(void **state) {
    (void)state;
    expect_host("good.test", CLIENT_ANSWERED, "");
    expect_host("good.test", CLIENT_ANSWERED, "");
    assert_int_equal(resolver.calls, 1);
    expect_host("nowhere.test", CLIENT_DNS, "nowhere.test");
}

static void test_names_of_refused_addresses(void **state) {
    (void)state;
    expect_host("metadata.test", CLIENT_ADDRESS_REFUSED, "169.254.169.254 is a link-local address");
    expect_host("refused.test", CLIENT_ADDRESS_REFUSED, " is a ");
    expect_host("mixed.test", CLIENT_ANSWERED, "");
    assert_int_equal(client_open_connections(fixture.client), 1);
}

/* Addresses are never looked up, and are judged as what they are. */
static void test_numeric_hosts(void **state) {
    (void)state;
    static const char *const LOOPBACK[] = {"127.0.0.1",    "2130706433", "0x7f.1",     "0x7f000001",
                                           "017700000001", "127.1",      "0177.0.0.1", "127.0.1"};
    for (size_t i = 0; i < sizeof(LOOPBACK) / sizeof(*LOOPBACK); i++)
        expect_host(LOOPBACK[i], CLIENT_ANSWERED, "");
    expect_host("0", CLIENT_ADDRESS_REFUSED, "0.0.0.0 is an address of this host");
    expect_host("167772161", CLIENT_ADDRESS_REFUSED, "10.0.0.1 is a private address");
    expect_host("[::1]", CLIENT_ADDRESS_REFUSED, "::1 is a loopback address");
    expect_host("[::ffff:10.0.0.1]", CLIENT_ADDRESS_REFUSED, "stands for 10.0.0.1");
    expect_host("[::ffff:a00:1]", CLIENT_ADDRESS_REFUSED, "stands for 10.0.0.1");
    expect_host("[64:ff9b::a9fe:a9fe]", CLIENT_ADDRESS_REFUSED, "stands for 169.254.169.254");
    fixture_close();
    fixture_open_with("", plain_settings());
    for (size_t i = 0; i < sizeof(LOOPBACK) / sizeof(*LOOPBACK); i++)
        expect_host(LOOPBACK[i], CLIENT_ADDRESS_REFUSED, "127.0.0.1 is a loopback address");
    expect_host("[::ffff:127.0.0.1]", CLIENT_ADDRESS_REFUSED, "stands for 127.0.0.1");
    expect_host("[::ffff:7f00:1]", CLIENT_ADDRESS_REFUSED, "stands for 127.0.0.1");
}

static void test_a_look_up_that_hangs_blocks_nobody(void **state) {
    (void)state;
    struct answer hanging;
    begin("http://hang.test/", 600, &hanging);
    int64_t began_ms = clock_mono_ms();
    fixture.waiting = 0; /* not for that one */
    expect_host("good.test", CLIENT_ANSWERED, "");
    expect_host("127.0.0.1", CLIENT_ANSWERED, "");
    assert_true(clock_mono_ms() - began_ms < 500);
    fixture.waiting = 1;
    wait_for_answers();
    expect_result("hang.test", &hanging, CLIENT_TIMEOUT);
    assert_true(hanging.duration_us < 2000000);
}

/* Two for each name, six in all; the places are kept beyond the end of the exchanges, because their threads go on. */
static void test_look_ups_are_bounded(void **state) {
    (void)state;
    struct answer answers[9];
    for (int i = 0; i < 9; i++) {
        char url[64];
        snprintf(url, sizeof(url), "http://hang%d.test/", i / 3);
        begin(url, 300, &answers[i]);
    }
    wait_for_answers();
    for (int host = 0; host < 3; host++) {
        int refused = 0;
        for (int i = 3 * host; i < 3 * host + 3; i++) {
            bool too_many = answers[i].result == CLIENT_TOO_MANY_LOOKUPS;
            expect_result("hang", &answers[i], too_many ? CLIENT_TOO_MANY_LOOKUPS : CLIENT_TIMEOUT);
            refused += too_many;
        }
        assert_int_equal(refused, 1);
    }
    assert_int_equal(resolver.calls, 6);
    expect_host("hang0.test", CLIENT_TOO_MANY_LOOKUPS, "too many name look-ups");
    expect_host("good.test", CLIENT_TOO_MANY_LOOKUPS, "too many name look-ups");
    expect_host("127.0.0.1", CLIENT_ANSWERED, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, open_client, close_client),
        cmocka_unit_test_setup_teardown(test_names_of_refused_addresses, open_client, close_client),
        cmocka_unit_test_setup_teardown(test_numeric_hosts, open_client, close_client),
        cmocka_unit_test_setup_teardown(test_a_look_up_that_hangs_blocks_nobody, open_client, close_client),
        cmocka_unit_test_setup_teardown(test_look_ups_are_bounded, open_client, close_client),
    };
    return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
