#include "dispatch/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch_fixture.h"
#include "webhook/share.h"

static struct keyring *keyring;
static struct error error;

static int open_keyring(void **state) {
    (void)state;
    return keyring_new(SPAN_LITERAL(FIXTURE_KEY), &keyring, &error) == STATUS_OK ? 0 : -1;
}

static int close_keyring(void **state) {
    (void)state;
    keyring_free(&keyring);
    return 0;
}

/* The references of the caller's own go with it. */
static struct target *target_of(const struct subscription_spec *spec) {
    struct subscription *subscription = fixture_subscription_of(spec, NULL);
    struct target *target = target_new(subscription);
    subscription_unref(&subscription);
    return target;
}

static struct target *plain_target(void) {
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    return target_of(&spec);
}

static struct buffer sealed(const struct uuid *id, const char *plain) {
    struct buffer out;
    char context[UUID_TEXT_LEN + 1];
    uuid_format(id, context);
    buffer_init(&out, 64 * 1024);
    keyring_seal(keyring, span_of(context), span_of(plain), &out);
    return out;
}

/* Intake counts what it hands to a lane. */
static struct delivery *queued(struct target *target, int64_t offset) {
    target->subscription->gate->queued++;
    return fixture_delivery(offset, target->subscription, NULL);
}

static int64_t next_offset(struct target *target) {
    struct delivery *delivery = target_dequeue(target);
    int64_t offset = delivery ? delivery->event->offset : -1;
    delivery_free(&delivery);
    return offset;
}

static void test_first_attempts_and_rows_take_turns(void **state) {
    (void)state;
    struct target *target = plain_target();
    assert_false(target_has_waiting(target));
    for (int64_t offset = 0; offset < 3; offset++)
        target_enqueue(target, queued(target, offset), 1000);
    for (int64_t offset = 10; offset < 12; offset++)
        target_enqueue(target, fixture_row(offset, target->subscription), 1000);
    assert_int_equal(target->first_count, 3);
    assert_int_equal(target->row_count, 2);
    const int64_t order[] = {0, 10, 1, 11, 2, -1};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        assert_int_equal(next_offset(target), order[i]);
    assert_int_equal(target->subscription->gate->queued, 0);
    assert_int_equal(target->first_count + target->row_count, 0);
    target_free(&target);
    assert_null(target);
}

static void test_what_could_not_start_is_the_next_again(void **state) {
    (void)state;
    struct target *target = plain_target();
    target_enqueue(target, queued(target, 0), 0);
    target_enqueue(target, queued(target, 1), 0);
    struct delivery *first = target_dequeue(target);
    assert_int_equal(target->subscription->gate->queued, 1);
    target_requeue(target, first);
    assert_int_equal(target->subscription->gate->queued, 2);
    target_enqueue(target, fixture_row(10, target->subscription), 0);
    target_enqueue(target, fixture_row(11, target->subscription), 0);
    struct delivery *row = target_dequeue(target);
    assert_int_equal(row->event->offset, 10);
    target_requeue(target, row);
    assert_int_equal(target->subscription->gate->queued, 2);
    int64_t sum = 0;
    assert_int_equal(next_offset(target), 0);
    assert_int_equal(next_offset(target), 10);
    while (target_has_waiting(target))
        sum += next_offset(target);
    assert_int_equal(sum, 1 + 11);
    assert_int_equal(target->subscription->gate->queued, 0);
    target_free(&target);
}

static void test_the_oldest_says_how_long_one_waits(void **state) {
    (void)state;
    struct target *target = plain_target();
    assert_int_equal(target_wait_ms(target, 5000), 0);
    target_enqueue(target, queued(target, 0), 4000);
    target_enqueue(target, queued(target, 1), 4900);
    assert_int_equal(target_wait_ms(target, 5000), 1000);
    target_enqueue(target, fixture_row(2, target->subscription), 3000);
    assert_int_equal(target_wait_ms(target, 5000), 2000);
    while (target_has_waiting(target))
        next_offset(target);
    assert_int_equal(target_wait_ms(target, 5000), 0);
    target_free(&target);
}

static void test_only_a_newer_version_takes_over(void **state) {
    (void)state;
    struct target *target = plain_target();
    struct subscription *old = subscription_ref(target->subscription);
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/new");
    spec.version = 2;
    spec.max_in_flight = 3;
    struct subscription *newer = fixture_subscription_of(&spec, old->gate);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_false(target_set_version(target, old, false));
    assert_true(target->prepared);
    assert_true(target_set_version(target, newer, false));
    assert_false(target->prepared);
    assert_ptr_equal(target->subscription, newer);
    assert_int_equal(target->endpoint.max_in_flight, 3);
    assert_false(target_set_version(target, old, false));
    assert_ptr_equal(target->subscription, newer);
    assert_int_equal(old->refs, 1);
    target_free(&target);
    subscription_unref(&newer);
    subscription_unref(&old);
}

static void test_the_gate_says_how_many_rows_may_come(void **state) {
    (void)state;
    struct target *target = plain_target();
    struct gate *gate = target->subscription->gate;
    target_publish(target, 0);
    assert_int_equal(gate->slots, 2 * ENDPOINT_START_CAP); /* the whole cap, and as much again in the queue */
    target_enqueue(target, queued(target, 0), 0);
    target_publish(target, 0);
    assert_int_equal(gate->slots, ENDPOINT_START_CAP); /* half of it, while first attempts wait */
    for (int64_t offset = 10; offset < 13; offset++)
        target_enqueue(target, fixture_row(offset, target->subscription), 0);
    target_publish(target, 0);
    assert_int_equal(gate->slots, ENDPOINT_START_CAP - 3);
    assert_int_equal(next_offset(target), 0);
    struct delivery *row = target_dequeue(target);
    target_started(target, row, 100);
    assert_int_equal(row->started_ms, 100);
    assert_int_equal(target->rows_in_flight, 1);
    target_publish(target, 100);
    assert_int_equal(gate->slots, 2 * ENDPOINT_START_CAP - 3); /* what is under way counts as what waits */
    target_ended(target, row, SIGN_GOOD, 200);
    assert_int_equal(target->rows_in_flight, 0);
    delivery_free(&row);
    while (target_has_waiting(target))
        next_offset(target);
    gate->slots = 0;
    struct gate *kept = gate;
    struct subscription *subscription = subscription_ref(target->subscription);
    target_free(&target);
    assert_int_equal(kept->slots, ENDPOINT_START_CAP); /* a forgotten endpoint may get rows again */
    subscription_unref(&subscription);
}

static void test_an_open_circuit_lets_one_row_come_when_it_may_be_probed(void **state) {
    (void)state;
    struct target *target = plain_target();
    struct gate *gate = target->subscription->gate;
    for (int i = 0; i < ENDPOINT_NETWORK_FAILURES; i++) {
        struct delivery *delivery = fixture_delivery(i, target->subscription, NULL);
        target_started(target, delivery, 0);
        target_ended(target, delivery, SIGN_DOWN, 0);
        delivery_free(&delivery);
    }
    assert_int_equal(target->endpoint.state, ENDPOINT_OPEN);
    target_publish(target, 0);
    assert_int_equal(gate->slots, 0);
    target_publish(target, endpoint_wake_ms(&target->endpoint));
    assert_int_equal(gate->slots, 1);
    target_free(&target);
}

/* Of a rate no more comes than starts soon, and at least one; what is under way has had its turn. */
static void test_the_gate_says_how_many_rows_a_rate_has_room_for(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.rate_per_second = 20;
    struct target *target = target_of(&spec);
    struct gate *gate = target->subscription->gate;
    target_share_limit(target, 1);
    target_publish(target, 1000);
    assert_in_range(gate->slots, 5, 6); /* a quarter of a second's */
    target_enqueue(target, queued(target, 0), 1000);
    target_publish(target, 1000);
    assert_in_range(gate->slots, 2, 3);
    assert_int_equal(next_offset(target), 0);
    struct delivery *row = fixture_row(1, target->subscription);
    target_started(target, row, 1000);
    target_publish(target, 1000);
    assert_in_range(gate->slots, 4, 5);
    target_ended(target, row, SIGN_GOOD, 1001);
    delivery_free(&row);
    target_share_limit(target, 20); /* a second for each */
    target_publish(target, 1001);
    assert_int_equal(gate->slots, 1);
    target_enqueue(target, fixture_row(2, target->subscription), 1001);
    target_publish(target, 1001);
    assert_int_equal(gate->slots, 0);
    next_offset(target);
    target_free(&target);
}

static void test_first_attempts_and_rows_share_a_rate(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.rate_per_second = 50;
    struct target *target = target_of(&spec);
    target_share_limit(target, 1);
    int started[2] = {0, 0};
    for (int64_t now_ms = 0; now_ms < 10000; now_ms++) {
        while (target->first_count < 5)
            target_enqueue(target, queued(target, now_ms), now_ms);
        target_publish(target, now_ms);
        while (target->subscription->gate->slots > 0) {
            target_enqueue(target, fixture_row(now_ms, target->subscription), now_ms);
            target_publish(target, now_ms);
        }
        while (endpoint_slots(&target->endpoint, now_ms) > 0) {
            struct delivery *delivery = target_dequeue(target);
            started[delivery->has_row]++;
            target_started(target, delivery, now_ms);
            target_ended(target, delivery, SIGN_GOOD, now_ms);
            delivery_free(&delivery);
        }
    }
    assert_in_range(started[0], 249, 251);
    assert_in_range(started[1], 249, 251);
    while (target_has_waiting(target))
        next_offset(target);
    target_free(&target);
}

static void test_a_limit_is_shared_or_somebody_s_alone(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.max_in_flight = 6;
    struct target *target = target_of(&spec);
    struct gate *gate = target->subscription->gate;
    struct endpoint *endpoint = &target->endpoint;
    target_share_limit(target, 2);
    assert_int_equal(endpoint->max_in_flight, 3);
    target_share_limit(target, 7);
    assert_true(endpoint->barred);
    target_publish(target, 0);
    assert_int_equal(gate->slots, 0);
    atomic_store(&gate->part, PART_WHOLE);
    target_share_limit(target, 7);
    assert_false(endpoint->barred);
    assert_int_equal(endpoint->max_in_flight, 6);
    assert_true(gate->whole);
    target_share_limit(target, 0); /* nobody knows */
    assert_true(endpoint->barred);
    atomic_store(&gate->part, PART_NOTHING);
    target_share_limit(target, 2);
    assert_true(endpoint->barred);
    /* The whole is in use until no more than the share is under way. */
    struct delivery *under_way[2];
    atomic_store(&gate->part, PART_WHOLE);
    target_share_limit(target, 6);
    for (int i = 0; i < 2; i++)
        target_started(target, under_way[i] = fixture_row(i, target->subscription), 0);
    target_judge_share(target, 0);
    assert_true(gate->wanted);
    atomic_store(&gate->part, PART_SHARE);
    target_share_limit(target, 6);
    assert_int_equal(endpoint->max_in_flight, 1);
    assert_true(gate->whole);
    for (int i = 0; i < 2; i++) {
        target_ended(target, under_way[i], SIGN_GOOD, 1);
        delivery_free(&under_way[i]);
    }
    target_share_limit(target, 6);
    assert_false(gate->whole);
    target_judge_share(target, 2);
    assert_true(gate->wanted); /* since the last time */
    target_judge_share(target, 3);
    assert_false(gate->wanted);
    target_free(&target);
}

static void test_a_rate_wants_more_than_its_share(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.rate_per_second = 50;
    struct target *target = target_of(&spec);
    struct gate *gate = target->subscription->gate;
    atomic_store(&gate->part, PART_WHOLE);
    for (int per_second = 10; per_second <= 50; per_second += 10) {
        bool wanted = false;
        for (int64_t n = 0; n < 10 * per_second; n++) {
            int64_t now_ms = per_second * 1000000LL + n * 1000 / per_second;
            target_share_limit(target, 2);
            struct delivery *delivery = fixture_row(n, target->subscription);
            target_started(target, delivery, now_ms);
            target_ended(target, delivery, SIGN_GOOD, now_ms);
            target_judge_share(target, now_ms);
            wanted = wanted || gate->wanted;
            delivery_free(&delivery);
        }
        assert_int_equal(wanted, per_second > 25);
    }
    target_free(&target);
}

/* The lane's tick forgets what is quiet. */
static void test_what_goes_on_is_not_quiet(void **state) {
    (void)state;
    struct target *target = plain_target();
    struct gate *gate = target->subscription->gate;
    assert_true(target_is_quiet(target, 0));
    target_enqueue(target, fixture_row(1, target->subscription), 0);
    assert_false(target_is_quiet(target, 0));
    struct delivery *row = target_dequeue(target);
    target_started(target, row, 0);
    assert_false(target_is_quiet(target, 0));
    target_ended(target, row, SIGN_GOOD, 0);
    delivery_free(&row);
    assert_true(target_is_quiet(target, 0));
    target->pause_until_ms = 10;
    assert_false(target_is_quiet(target, 9));
    assert_true(target_is_quiet(target, 10));
    /* With limits others' shares matter, until a version has none. */
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.version = 2;
    spec.rate_per_second = 5;
    struct subscription *limited = fixture_subscription_of(&spec, gate);
    spec.version = 3;
    spec.rate_per_second = 0;
    struct subscription *unlimited = fixture_subscription_of(&spec, gate);
    target_set_version(target, limited, false);
    target_share_limit(target, 0);
    assert_true(target->endpoint.barred);
    assert_false(target_is_quiet(target, 10));
    gate->whole = gate->wanted = true;
    target_set_version(target, unlimited, false);
    target_share_limit(target, 0);
    assert_false(target->endpoint.barred || gate->whole || gate->wanted);
    assert_int_equal(endpoint_rate_room(&target->endpoint, 0, 1000), INT32_MAX);
    assert_true(target_is_quiet(target, 10));
    for (int i = 0; i < ENDPOINT_NETWORK_FAILURES; i++) {
        struct delivery *delivery = fixture_delivery(i, target->subscription, NULL);
        target_started(target, delivery, 10);
        target_ended(target, delivery, SIGN_DOWN, 10);
        delivery_free(&delivery);
    }
    assert_false(target_is_quiet(target, 10)); /* the gate is told when it may be probed */
    target_free(&target);
    subscription_unref(&limited);
    subscription_unref(&unlimited);
}

static void test_secrets_and_headers_are_opened_once_a_version(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    struct buffer secrets = sealed(&spec.id, "[{\"secret\":\"a-secret-text\",\"until_ms\":null}]");
    struct buffer headers = sealed(&spec.id, "{\"X-One\":\"1\",\"X-Break\":\"a\\r\\nX-Evil: 1\",\"X-Empty\":\"\"}");
    spec.sealed_secrets = buffer_view(&secrets);
    spec.sealed_headers = buffer_view(&headers);
    spec.signature_style = SIGNATURE_STANDARD;
    struct target *target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_non_null(target->signer);
    assert_string_equal(target->content_type, "application/json");
    assert_int_equal(target->own_header_count, 3);
    static const char *const LINES[] = {"X-One: 1", "X-Break: a  X-Evil: 1", "X-Empty;"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(span_is(target->own_headers[i].line, LINES[i]));
        assert_int_equal(target->own_headers[i].line.data[target->own_headers[i].line.len], '\0');
    }
    struct signer *signer = target->signer;
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_ptr_equal(target->signer, signer);
    assert_int_equal(target->own_header_count, 3);
    target_free(&target);
    buffer_deinit(&secrets);
    buffer_deinit(&headers);
}

static void test_a_secret_that_ran_out_signs_no_more(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    char text[300];
    snprintf(text, sizeof(text),
             "[{\"secret\":\"the-newest\",\"until_ms\":null},{\"secret\":\"a-while-yet\",\"until_ms\":%lld},"
             "{\"secret\":\"no-longer\",\"until_ms\":%lld,\"key\":\"whsk_wrong, but over\"}]",
             (long long)clock_wall_ms() + 60000, (long long)clock_wall_ms() - 1);
    struct buffer secrets = sealed(&spec.id, text), header;
    spec.sealed_secrets = buffer_view(&secrets);
    spec.signature_style = SIGNATURE_STANDARD;
    struct target *target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_true(target->prepared_until_ms > clock_wall_ms());
    buffer_init(&header, 1024);
    signer_standard(target->signer, SPAN_LITERAL("id"), 1, SPAN_LITERAL("body"), &header);
    size_t signatures = 1;
    for (size_t i = 0; i < header.len; i++)
        signatures += header.data[i] == ' ';
    assert_int_equal(signatures, 2);
    int64_t until_ms = target->prepared_until_ms;
    target->prepared_until_ms = clock_wall_ms() - 1; /* as if the minute were over */
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_int_equal(target->prepared_until_ms, until_ms); /* it was made anew */
    buffer_deinit(&header);
    target_free(&target);
    buffer_deinit(&secrets);
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

static void test_private_keys_sign_while_their_secrets_do(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    struct buffer key, header;
    char text[1024];
    buffer_init(&key, 256);
    buffer_init(&header, 4096);
    signature_new_key(&key);
    snprintf(
        text, sizeof(text),
        "[{\"secret\":\"the-newest\",\"until_ms\":null,\"key\":\"%s\"},{\"secret\":\"a-while-yet\",\"until_ms\":%lld},"
        "{\"key\":\"%s\",\"secret\":\"also-yet\",\"until_ms\":%lld},"
        "{\"key\":\"%s\",\"secret\":\"no-longer\",\"until_ms\":%lld}]",
        key.data, (long long)clock_wall_ms() + 60000, key.data, (long long)clock_wall_ms() + 70000, key.data,
        (long long)clock_wall_ms() - 1);
    struct buffer secrets = sealed(&spec.id, text);
    spec.sealed_secrets = buffer_view(&secrets);
    spec.signature_style = SIGNATURE_BOTH;
    struct target *target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    signer_standard(target->signer, SPAN_LITERAL("id"), 1, SPAN_LITERAL("body"), &header);
    assert_int_equal(count_of(header.data, "v1,"), 3);
    assert_int_equal(count_of(header.data, "v1a,"), 2);
    target_free(&target);
    buffer_deinit(&secrets);

    secrets = sealed(&spec.id, "[{\"secret\":\"the-newest\",\"key\":\"whsk_hidden\"}]");
    spec.sealed_secrets = buffer_view(&secrets);
    target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_INVALID);
    assert_null(strstr(error.text, "hidden"));
    target_free(&target);
    buffer_deinit(&secrets);
    buffer_deinit(&header);
    buffer_deinit(&key);
}

static void test_what_another_key_or_row_sealed_stays_shut(void **state) {
    (void)state;
    struct uuid other = fixture_uuid(2);
    struct buffer secrets = sealed(&other, "[{\"secret\":\"of-another-row\",\"until_ms\":null}]");
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.sealed_secrets = buffer_view(&secrets);
    spec.signature_style = SIGNATURE_HEX;
    struct target *target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_INVALID);
    assert_null(strstr(error.text, "of-another-row"));
    assert_false(target->prepared);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_INVALID);
    target_free(&target);

    spec.signature_style = SIGNATURE_NONE; /* then nobody has to open it */
    target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    assert_null(target->signer);
    target_free(&target);
    buffer_deinit(&secrets);
}

static void test_a_format_that_is_none_is_named(void **state) {
    (void)state;
    struct subscription_spec spec = fixture_spec(1, "http://127.0.0.1/");
    spec.format = SPAN_LITERAL("yaml");
    struct target *target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "yaml"));
    target_free(&target);
    spec.format = SPAN_LITERAL("custom");
    spec.format_template = SPAN_LITERAL("{\"n\":\"{{payload.n}}\"}");
    target = target_of(&spec);
    assert_int_equal(target_prepare(target, keyring, &error), STATUS_OK);
    target_free(&target);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_attempts_and_rows_take_turns),
        cmocka_unit_test(test_what_could_not_start_is_the_next_again),
        cmocka_unit_test(test_the_oldest_says_how_long_one_waits),
        cmocka_unit_test(test_only_a_newer_version_takes_over),
        cmocka_unit_test(test_the_gate_says_how_many_rows_may_come),
        cmocka_unit_test(test_an_open_circuit_lets_one_row_come_when_it_may_be_probed),
        cmocka_unit_test(test_the_gate_says_how_many_rows_a_rate_has_room_for),
        cmocka_unit_test(test_first_attempts_and_rows_share_a_rate),
        cmocka_unit_test(test_a_limit_is_shared_or_somebody_s_alone),
        cmocka_unit_test(test_a_rate_wants_more_than_its_share),
        cmocka_unit_test(test_what_goes_on_is_not_quiet),
        cmocka_unit_test(test_secrets_and_headers_are_opened_once_a_version),
        cmocka_unit_test(test_a_secret_that_ran_out_signs_no_more),
        cmocka_unit_test(test_private_keys_sign_while_their_secrets_do),
        cmocka_unit_test(test_what_another_key_or_row_sealed_stays_shut),
        cmocka_unit_test(test_a_format_that_is_none_is_named),
    };
    return cmocka_run_group_tests(tests, open_keyring, close_keyring);
}
