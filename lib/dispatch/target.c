#include "dispatch/target.h"
#include "base/clock.h"
#include "base/memory.h"
#include "net/client.h"
#include "store/sealing.h"
#include "webhook/share.h"

#define RATE_AHEAD_MS 250       /* what the rate lets start within that may be here */
#define WANTED_WAIT_MS 150      /* what waits so long for its share could use more */
#define WANTED_AHEAD_US 1000000 /* as could what is so far ahead of nine tenths of its share */

struct target *target_new(struct subscription *subscription) {
    struct target *target = mem_calloc(1, sizeof(*target));
    target->id = subscription->id;
    target->subscription = subscription_ref(subscription);
    endpoint_init(&target->endpoint,
                  subscription->max_in_flight ? subscription->max_in_flight : ENDPOINT_DEFAULT_MAX_IN_FLIGHT);
    TAILQ_INIT(&target->first);
    TAILQ_INIT(&target->rows);
    TAILQ_INIT(&target->in_flight);
    target->share_in_flight = INT32_MAX;
    buffer_init(&target->own_lines, 256 * 1024);
    return target;
}

static void unprepare(struct target *target) {
    format_unref(&target->format);
    signer_free(&target->signer);
    buffer_reset(&target->own_lines);
    target->own_header_count = 0;
    target->prepared_until_ms = 0;
    target->prepared = false;
}

void target_free(struct target **target_ptr) {
    struct target *target = *target_ptr;
    *target_ptr = NULL;
    CHECK(!target_has_waiting(target) && TAILQ_EMPTY(&target->in_flight));
    unprepare(target);
    buffer_deinit(&target->own_lines);
    struct gate *gate = target->subscription->gate;
    atomic_store_explicit(&gate->slots, ENDPOINT_START_CAP, memory_order_relaxed);
    atomic_store_explicit(&gate->wanted, false, memory_order_relaxed);
    atomic_store(&gate->whole, false);
    subscription_unref(&target->subscription);
    mem_free(target);
}

bool target_set_version(struct target *target, struct subscription *subscription, bool whatever_version) {
    if (subscription == target->subscription ||
        (!whatever_version && subscription->version <= target->subscription->version))
        return false;
    if (subscription->activation != target->subscription->activation)
        health_note_revived(&target->health);
    subscription_ref(subscription);
    subscription_unref(&target->subscription);
    target->subscription = subscription;
    endpoint_set_max(&target->endpoint,
                     subscription->max_in_flight ? subscription->max_in_flight : ENDPOINT_DEFAULT_MAX_IN_FLIGHT);
    unprepare(target);
    return true;
}

struct secrets {
    struct buffer text; /* unescaped, one after the other */
    struct secret_place {
        size_t start, len;
    } secrets[SIGNATURE_MAX_SECRETS], keys[SIGNATURE_MAX_KEYS];
    size_t count, key_count;
    int64_t now_ms;
    int64_t next_end_ms; /* 0: none */
};

static struct secret_place place_secret(struct secrets *secrets, const struct json_value *string) {
    size_t start = secrets->text.len;
    json_unescape(string->text, &secrets->text);
    return (struct secret_place){start, secrets->text.len - start};
}

/* One {"secret","until_ms","key"}: kept while it is valid. */
static bool add_secret(void *ctx, const struct json_value *element) {
    struct secrets *secrets = ctx;
    struct json_value secret, key, until;
    int64_t until_ms = 0;
    if (secrets->count == SIGNATURE_MAX_SECRETS || !json_find(element->text, SPAN_LITERAL("secret"), &secret))
        return true;
    if (json_find(element->text, SPAN_LITERAL("until_ms"), &until) && until.type == JSON_NUMBER &&
        json_int64(until.text, &until_ms) == STATUS_OK && until_ms < secrets->now_ms)
        return true;
    if (until_ms && (!secrets->next_end_ms || until_ms < secrets->next_end_ms))
        secrets->next_end_ms = until_ms;
    secrets->secrets[secrets->count++] = place_secret(secrets, &secret);
    if (json_find(element->text, SPAN_LITERAL("key"), &key) && key.type == JSON_STRING)
        secrets->keys[secrets->key_count++] = place_secret(secrets, &key);
    return true;
}

static struct span secret_at(const struct secrets *secrets, struct secret_place place) {
    return (struct span){buffer_view(&secrets->text).data + place.start, place.len};
}

static enum status make_signer(const struct secrets *secrets, struct signer **ret_signer, struct error *error) {
    struct span spans[SIGNATURE_MAX_SECRETS];
    for (size_t i = 0; i < secrets->count; i++)
        spans[i] = secret_at(secrets, secrets->secrets[i]);
    enum status status = signer_new(spans, secrets->count, ret_signer, error);
    for (size_t i = 0; i < secrets->key_count && status == STATUS_OK; i++)
        status = signer_add_key(*ret_signer, secret_at(secrets, secrets->keys[i]), error);
    return status;
}

static enum status prepare_signer(struct target *target, const struct keyring *keyring, struct error *error) {
    struct span sealed = subscription_sealed_secrets(target->subscription);
    if (!sealed.data || target->subscription->signature_style == SIGNATURE_NONE)
        return STATUS_OK;
    struct buffer plain;
    buffer_init(&plain, 64 * 1024);
    struct secrets secrets = {.now_ms = clock_wall_ms()};
    buffer_init(&secrets.text, 64 * 1024);
    enum status status = sealing_open(keyring, &target->id, sealed, &plain, error);
    if (status == STATUS_OK) {
        json_each_element(buffer_view(&plain), add_secret, &secrets);
        status = make_signer(&secrets, &target->signer, error);
        target->prepared_until_ms = secrets.next_end_ms;
    }
    sealing_wipe(&secrets.text);
    sealing_wipe(&plain);
    return status;
}

struct own_headers {
    struct target *target;
    size_t starts[TARGET_MAX_OWN_HEADERS + 1];
};

static bool add_header(void *ctx, const struct json_member *member) {
    struct own_headers *headers = ctx;
    struct target *target = headers->target;
    if (target->own_header_count == TARGET_MAX_OWN_HEADERS)
        return false;
    struct buffer value;
    buffer_init(&value, 256 * 1024);
    json_unescape(member->value.text, &value);
    client_header_line(member->name, buffer_view(&value), &target->own_lines);
    buffer_char(&target->own_lines, '\0');
    sealing_wipe(&value);
    headers->starts[++target->own_header_count] = target->own_lines.len;
    return true;
}

static enum status prepare_headers(struct target *target, const struct keyring *keyring, struct error *error) {
    struct span sealed = subscription_sealed_headers(target->subscription);
    if (!sealed.data)
        return STATUS_OK;
    struct buffer plain;
    buffer_init(&plain, 256 * 1024);
    struct own_headers headers = {.target = target};
    enum status status = sealing_open(keyring, &target->id, sealed, &plain, error);
    if (status == STATUS_OK)
        json_each_member(buffer_view(&plain), add_header, &headers);
    for (size_t i = 0; i < target->own_header_count; i++)
        target->own_headers[i].line =
            (struct span){target->own_lines.data + headers.starts[i], headers.starts[i + 1] - headers.starts[i] - 1};
    sealing_wipe(&plain);
    return status;
}

enum status target_prepare(struct target *target, const struct keyring *keyring, struct error *error) {
    if (target->prepared && (!target->prepared_until_ms || clock_wall_ms() < target->prepared_until_ms))
        return STATUS_OK;
    unprepare(target);
    struct span format = subscription_format(target->subscription);
    struct span template = subscription_template(target->subscription);
    enum status status = STATUS_OK;
    if (template.data)
        status = format_compile(template, &target->format, error);
    else if (!(target->format = format_builtin(format)))
        status = error_set(error, STATUS_INVALID, "payload_format: there is no format \"%.*s\"", SPAN_ARGS(format));
    target->content_type = format_content_type(format);
    if (status == STATUS_OK)
        status = prepare_signer(target, keyring, error);
    if (status == STATUS_OK)
        status = prepare_headers(target, keyring, error);
    target->prepared = status == STATUS_OK;
    return status;
}

static void drop_limits(struct target *target) {
    struct gate *gate = target->subscription->gate;
    target->limited = false;
    target->share_in_flight = INT32_MAX;
    target->share_interval_us = 0;
    endpoint_set_rate(&target->endpoint, 0, 1);
    endpoint_bar(&target->endpoint, false);
    atomic_store(&gate->whole, false);
    atomic_store_explicit(&gate->wanted, false, memory_order_relaxed);
}

void target_share_limit(struct target *target, int32_t processes) {
    struct gate *gate = target->subscription->gate;
    struct endpoint *endpoint = &target->endpoint;
    int32_t limit = target->subscription->max_in_flight, rate = target->subscription->rate_per_second;
    if (!target_has_limits(target)) {
        if (target->limited)
            drop_limits(target);
        return;
    }
    target->limited = true;
    target->share_in_flight = INT32_MAX;
    target->share_interval_us = 0;
    /* Said before it is used: the scheduler takes the whole back first, and then looks whether it is in use. */
    enum share_part part = atomic_load(&gate->part);
    if (part == PART_WHOLE) {
        atomic_store(&gate->whole, true);
        part = atomic_load(&gate->part);
    }
    bool scarce = share_is_scarce(limit, rate, processes);
    if (processes > 0 && rate > 0)
        target->share_interval_us = 1000000LL * processes / rate;
    if (scarce || processes == 0)
        target->share_in_flight = 0;
    else if (limit > 0)
        target->share_in_flight = limit / processes;
    int32_t divisor = part == PART_WHOLE ? 1 : processes;
    endpoint_bar(endpoint, processes == 0 || part == PART_NOTHING || (scarce && part != PART_WHOLE));
    if (!endpoint->barred && divisor > 0) {
        endpoint_set_max(endpoint, limit ? limit / divisor : ENDPOINT_DEFAULT_MAX_IN_FLIGHT);
        endpoint_set_rate(endpoint, rate, divisor);
    }
    if (part != PART_WHOLE && endpoint->in_flight <= target->share_in_flight)
        atomic_store(&gate->whole, false);
}

void target_judge_share(struct target *target, int64_t now_ms) {
    const struct endpoint *endpoint = &target->endpoint;
    bool wanted = target->most_in_flight > target->share_in_flight ||
                  target->used_until_us - now_ms * 1000 > WANTED_AHEAD_US + target->share_interval_us ||
                  (endpoint->state == ENDPOINT_CLOSED && target_wait_ms(target, now_ms) > WANTED_WAIT_MS);
    target->most_in_flight = endpoint->in_flight;
    atomic_store_explicit(&target->subscription->gate->wanted, wanted, memory_order_relaxed);
}

void target_enqueue(struct target *target, struct delivery *delivery, int64_t now_ms) {
    delivery->enqueued_ms = now_ms;
    target->busy_at_ms = now_ms;
    if (delivery->has_row) {
        TAILQ_INSERT_TAIL(&target->rows, delivery, link);
        target->row_count++;
    } else {
        TAILQ_INSERT_TAIL(&target->first, delivery, link);
        target->first_count++;
    }
}

void target_requeue(struct target *target, struct delivery *delivery) {
    if (delivery->has_row) {
        TAILQ_INSERT_HEAD(&target->rows, delivery, link);
        target->row_count++;
    } else {
        TAILQ_INSERT_HEAD(&target->first, delivery, link);
        target->first_count++;
        atomic_fetch_add_explicit(&target->subscription->gate->queued, 1, memory_order_relaxed);
    }
}

struct delivery *target_dequeue(struct target *target) {
    bool row = target->row_count > 0 && (target->row_turn || target->first_count == 0);
    struct delivery_list *list = row ? &target->rows : &target->first;
    struct delivery *delivery = TAILQ_FIRST(list);
    if (!delivery)
        return NULL;
    TAILQ_REMOVE(list, delivery, link);
    target->row_turn = !row;
    if (row) {
        target->row_count--;
    } else {
        target->first_count--;
        atomic_fetch_sub_explicit(&target->subscription->gate->queued, 1, memory_order_relaxed);
    }
    return delivery;
}

bool target_is_quiet(const struct target *target, int64_t now_ms) {
    return !target_has_waiting(target) && TAILQ_EMPTY(&target->in_flight) && !target->limited &&
           target->endpoint.state == ENDPOINT_CLOSED && now_ms >= target->pause_until_ms;
}

int64_t target_wait_ms(const struct target *target, int64_t now_ms) {
    const struct delivery *first = TAILQ_FIRST(&target->first), *row = TAILQ_FIRST(&target->rows);
    int64_t wait_ms = first ? now_ms - first->enqueued_ms : 0;
    return row && now_ms - row->enqueued_ms > wait_ms ? now_ms - row->enqueued_ms : wait_ms;
}

void target_started(struct target *target, struct delivery *delivery, int64_t now_ms) {
    delivery->started_ms = now_ms;
    TAILQ_INSERT_TAIL(&target->in_flight, delivery, link);
    delivery->counted_as_row = delivery->has_row;
    target->rows_in_flight += delivery->counted_as_row;
    endpoint_started(&target->endpoint, now_ms);
    if (target->endpoint.in_flight > target->most_in_flight)
        target->most_in_flight = target->endpoint.in_flight;
    int64_t used_us = target->used_until_us > now_ms * 1000 ? target->used_until_us : now_ms * 1000;
    target->used_until_us = used_us + target->share_interval_us * 10 / 9;
}

void target_ended(struct target *target, struct delivery *delivery, enum endpoint_sign sign, int64_t now_ms) {
    TAILQ_REMOVE(&target->in_flight, delivery, link);
    target->rows_in_flight -= delivery->counted_as_row;
    delivery->counted_as_row = false;
    target->busy_at_ms = now_ms;
    endpoint_ended(&target->endpoint, sign, now_ms);
}

/* Rows may use the whole cap while no first attempt waits and half of it otherwise; twice that may be here, so that the
 * endpoint has work while the scheduler fetches more. Of a rate as many as start soon: those that wait here grow old
 * under their leases. */
void target_publish(struct target *target, int64_t now_ms) {
    int32_t may = 0;
    if (target->endpoint.barred)
        may = 0;
    else if (now_ms < target->pause_until_ms)
        may = 1;
    else if (target->endpoint.state == ENDPOINT_CLOSED)
        may = 2 * (target->first_count ? (target->endpoint.cap + 1) / 2 : target->endpoint.cap);
    else if (endpoint_slots(&target->endpoint, now_ms) > 0)
        may = 1;
    may -= target->row_count + target->rows_in_flight;
    if (target->endpoint.interval_ns > 0) {
        int32_t soon = endpoint_rate_room(&target->endpoint, now_ms, RATE_AHEAD_MS);
        soon = target->first_count ? soon / 2 : soon;
        soon = (soon > 1 ? soon : 1) - target->row_count;
        may = soon < may ? soon : may;
    }
    may = may > 0 ? may : 0;
    _Atomic int32_t *slots = &target->subscription->gate->slots;
    if (atomic_load_explicit(slots, memory_order_relaxed) != may) /* others read what lies beside it */
        atomic_store_explicit(slots, may, memory_order_relaxed);
}
