/* The rhythm: poll until nothing is left or the budget is spent, hand on in batches, commit once a second. Short of
 * budget it just does not poll for a while; for longer, or while PostgreSQL is away, the partitions are paused and
 * polling goes on, so that the group keeps this process. */
#include "dispatch/intake.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "dispatch/intake_private.h"

#define ROUND_RECORDS 256
#define BLOCKED_LOOK_MS 2
#define IDLE_LOOK_MS 50
#define PAUSE_AFTER_MS 2000
#define REOPEN_AFTER_MS 3000
#define NOTHING_AFTER_MS 5000
#define ASK_KAFKA_MS 1000

static void on_readable(void *ctx, int events);

static struct slot *find_slot(struct intake *intake, const struct consumer_record *record) {
    struct slot *slot = intake->last_slot;
    for (size_t i = 0; slot == NULL || slot->partition->number != record->partition ||
                       !span_is(record->topic, slot->partition->topic);
         i++) {
        if (i == intake->slot_count)
            return NULL;
        slot = &intake->slots[i];
    }
    return intake->last_slot = slot;
}

static void on_record(struct intake *intake, struct consumer_event *event) {
    struct slot *slot = find_slot(intake, &event->record);
    bool ours = slot && !atomic_load_explicit(&slot->partition->revoked, memory_order_acquire);
    if (!ours || intake_take(intake, slot, &event->record) == STATUS_OK) {
        consumer_event_deinit(event);
        return;
    }
    CHECK(!intake->stashed);
    intake->stash = *event;
    intake->stashed = true;
}

/* An offset that is gone by age is passed over; a log that ends before it is another log. */
static void find_the_way(struct intake *intake, struct slot *slot, int64_t asked) {
    struct partition *partition = slot->partition;
    struct span topic = span_of(partition->topic);
    struct error error = {""};
    int64_t low = 0, high = 0;
    int64_t next = slot->verifying ? partition->start_offset : asked;
    enum status status =
        consumer_watermarks(intake->consumer, topic, partition->number, ASK_KAFKA_MS, &low, &high, &error);
    if (status == STATUS_OK && high >= next) {
        slot->verifying = false;
        if (low > next)
            log_warn("intake", "records went by age before they were read", LOG_TEXT("topic", partition->topic),
                     LOG_INT("partition", partition->number), LOG_INT("from", next), LOG_INT("to", low));
        status = consumer_seek(intake->consumer, topic, partition->number, low > next ? low : next, &error);
    } else if (status == STATUS_OK) {
        slot->broken = true;
    }
    if (status != STATUS_OK) {
        log_warn("intake", "can't find where to read on; joining the group again", LOG_TEXT("error", error.text));
        intake->reopen_at_ms = clock_mono_ms() + REOPEN_AFTER_MS;
    }
}

static void on_out_of_range(struct intake *intake, const struct consumer_event *event) {
    const struct topic_partition *at = &event->partitions.items[0];
    for (size_t i = 0; i < intake->slot_count; i++) {
        struct partition *partition = intake->slots[i].partition;
        if (partition->number == at->partition && strcmp(partition->topic, at->topic) == 0)
            find_the_way(intake, &intake->slots[i], at->offset);
    }
}

/* Progress has the offsets; Kafka gets them with the next commit. */
static void on_commit_failed(struct intake *intake, const struct consumer_event *event) {
    log_debug("intake", "Kafka did not take the offsets", LOG_TEXT("error", event->error.text));
    for (size_t i = 0; i < intake->slot_count; i++)
        intake->slots[i].committed_offset = -1;
}

static void on_event(struct intake *intake, struct consumer_event *event) {
    switch (event->type) {
    case CONSUMER_RECORD:
        on_record(intake, event);
        return;
    case CONSUMER_ASSIGN:
        intake_on_assign(intake, &event->partitions);
        break;
    case CONSUMER_REVOKE:
        intake_on_revoke(intake, event->lost);
        break;
    case CONSUMER_OUT_OF_RANGE:
        on_out_of_range(intake, event);
        break;
    case CONSUMER_DOWN:
        log_warn("intake", "Kafka is away; trying again", LOG_TEXT("error", event->error.text));
        atomic_store(&intake->kafka_down, true);
        break;
    case CONSUMER_UP:
        log_info("intake", "Kafka answers again");
        atomic_store(&intake->kafka_down, false);
        break;
    case CONSUMER_COMMITTED:
        if (event->error.text[0])
            on_commit_failed(intake, event);
        break;
    case CONSUMER_FAILED:
        log_error("intake", "the consumer failed; joining the group again", LOG_TEXT("error", event->error.text));
        intake->failed = true;
        intake->reopen_at_ms = clock_mono_ms() + REOPEN_AFTER_MS;
        break;
    case CONSUMER_NOTHING:
        break;
    }
    consumer_event_deinit(event);
}

/* ---- back-pressure ---- */

static void set_paused(struct intake *intake, bool paused) {
    struct error error = {""};
    if (intake->paused == paused || intake->slot_count == 0)
        return;
    struct topic_partitions list = intake_partitions(intake, false);
    enum status status =
        paused ? consumer_pause(intake->consumer, &list, &error) : consumer_resume(intake->consumer, &list, &error);
    topic_partitions_deinit(&list);
    if (status == STATUS_OK)
        intake->paused = paused;
    else
        log_warn("intake", paused ? "can't pause" : "can't resume", LOG_TEXT("error", error.text));
}

/* A record beyond the window waits here; nothing is polled meanwhile. The recorder parks what holds the window's head.
 */
static bool stash_is_taken(struct intake *intake) {
    if (!intake->stashed)
        return true;
    struct slot *slot = find_slot(intake, &intake->stash.record);
    if (slot && intake_take(intake, slot, &intake->stash.record) != STATUS_OK)
        return false;
    consumer_event_deinit(&intake->stash);
    intake->stashed = false;
    return true;
}

static bool may_take(struct intake *intake) {
    int64_t now_ms = loop_now_ms(intake->loop);
    bool may = !intake->rereading && !budget_is_spent(intake->settings.budget) &&
               pulse_is_fresh(intake->settings.pulse, now_ms) && stash_is_taken(intake);
    if (may)
        intake->blocked_since_ms = 0;
    else if (!intake->blocked_since_ms)
        intake->blocked_since_ms = now_ms;
    /* Half the budget must be free again before a pause ends: each costs a second of prefetching. */
    bool roomy = may && 2 * atomic_load(&intake->settings.budget->deliveries) < BUDGET_MAX_DELIVERIES;
    if (intake->blocked_since_ms && now_ms - intake->blocked_since_ms > PAUSE_AFTER_MS)
        set_paused(intake, true);
    else if (intake->paused && roomy)
        set_paused(intake, false);
    return may || intake->paused;
}

/* ---- rounds ---- */

static bool takes_records(const struct intake *intake) {
    return atomic_load_explicit(&intake->phase, memory_order_relaxed) == INTAKE_RUNNING && intake->slot_count > 0;
}

static void poll_round(struct intake *intake) {
    loop_watch_set(intake->watch, LOOP_READABLE);
    for (int i = 0; i < ROUND_RECORDS; i++) {
        if (takes_records(intake) && !may_take(intake)) {
            loop_watch_set(intake->watch, 0); /* what is not polled stays readable */
            loop_timer_start(intake->timer, BLOCKED_LOOK_MS);
            return;
        }
        struct consumer_event event;
        if (consumer_poll(intake->consumer, &event) == CONSUMER_NOTHING) {
            loop_timer_start(intake->timer, IDLE_LOOK_MS);
            return;
        }
        on_event(intake, &event);
        if (!intake->consumer)
            return;
    }
    loop_timer_start(intake->timer, 0);
}

static void leave(struct intake *intake) {
    intake_drop_slots(intake);
    loop_watch_free(&intake->watch);
    int64_t left_ms = intake->stop_deadline_ms - clock_mono_ms();
    if (intake->consumer)
        consumer_close(&intake->consumer, left_ms > 100 ? left_ms : 100);
    loop_stop(intake->loop);
}

/* SIGTERM is a revoke of everything, and then leaving. */
static void stop_step(struct intake *intake) {
    enum intake_phase phase = atomic_load(&intake->phase);
    intake_hand_on(intake);
    if (phase == INTAKE_RUNNING && intake->slot_count) {
        intake_on_revoke(intake, false);
    } else if (phase != INTAKE_REVOKING || clock_mono_ms() >= intake->revoke_deadline_ms) {
        if (phase == INTAKE_REVOKING)
            intake_commit(intake, true);
        leave(intake);
    }
}

/* Everything there is to do; also called by what arrives. */
static void look(struct intake *intake) {
    loop_timer_start(intake->timer, IDLE_LOOK_MS);
    if (atomic_load(&intake->stopping)) {
        stop_step(intake);
        return;
    }
    intake_group_tick(intake);
    if (!intake->consumer) {
        struct error error;
        if (intake_open_consumer(intake, &error) != STATUS_OK)
            return;
    }
    if (!intake->watch)
        intake->watch = loop_watch_new(intake->loop, consumer_fd(intake->consumer), on_readable, intake);
    poll_round(intake);
    intake_hand_on(intake);
}

static void on_timer(void *ctx) {
    struct intake *intake = ctx;
    intake_reread_again(intake);
    look(intake);
}

static void on_readable(void *ctx, int events) {
    (void)events;
    look(ctx);
}

static void on_second(void *ctx) {
    struct intake *intake = ctx;
    loop_timer_start(intake->second, 1000);
    if (atomic_load(&intake->phase) != INTAKE_RUNNING || !intake->consumer)
        return;
    intake_commit(intake, false);
    for (size_t i = 0; i < intake->slot_count; i++) {
        struct partition *partition = intake->slots[i].partition;
        int64_t high = consumer_cached_high(intake->consumer, span_of(partition->topic), partition->number);
        int64_t settled = atomic_load_explicit(&partition->settled_offset, memory_order_relaxed);
        if (high >= 0)
            metric_set(intake->slots[i].lag, high > settled ? (double)(high - settled) : 0);
    }
}

static void on_message(struct intake *intake, struct message *message) {
    switch (message->type) {
    case MESSAGE_ADOPT:
        intake_on_adopted(intake, (struct adopt_message *)message);
        return;
    case MESSAGE_REVOKE:
        intake_on_revoked(intake, (struct revoke_message *)message);
        return;
    case MESSAGE_REREAD:
        intake_reread_done(intake, (struct reread_message *)message);
        return;
    case MESSAGE_LOST:
        /* The group usually says so itself, a little later; then there is nothing left to reopen for. */
        if (intake->slot_count && !intake->reopen_at_ms)
            intake->reopen_at_ms = clock_mono_ms() + REOPEN_AFTER_MS;
        break;
    default:
        break;
    }
    mem_free(message);
}

static void on_messages(void *ctx, struct queue_node *first) {
    struct intake *intake = ctx;
    for (struct queue_node *node = first, *next; node; node = next) {
        next = node->next;
        on_message(intake, MESSAGE_OF(node));
    }
    if (intake->consumer)
        look(intake);
}

/* ---- life ---- */

enum status intake_new(const struct intake_settings *settings, struct intake **ret_intake, struct error *error) {
    struct intake *intake = mem_calloc(1, sizeof(*intake));
    intake->settings = *settings;
    intake->began_ms = clock_wall_ms();
    atomic_init(&intake->idle_since_ms, clock_mono_ms());
    intake->rules.topic_prefix = span_of(settings->settings->topic_prefix);
    intake->to_lanes = mem_calloc((size_t)settings->lane_count, sizeof(struct queue_batch));
    intake->loop = loop_new("intake");
    intake->queue = queue_new(intake->loop, on_messages, intake);
    intake->timer = loop_timer_new(intake->loop, on_timer, intake);
    intake->second = loop_timer_new(intake->loop, on_second, intake);
    const char *name = "hookcast_records_total", *help = "Kafka records taken, by what became of them.";
    intake->accepted = metrics_counter(name, help, "result=\"matched\"");
    intake->unmatched = metrics_counter(name, help, "result=\"unmatched\"");
    intake->skipped = metrics_counter(name, help, "result=\"skipped\"");
    intake->rejected = metrics_counter(name, help, "result=\"rejected\"");
    enum status status = intake_open_consumer(intake, error);
    if (status != STATUS_OK)
        intake_free(&intake);
    else
        *ret_intake = intake;
    return status;
}

void intake_start(struct intake *intake) {
    loop_timer_start(intake->timer, 0);
    loop_timer_start(intake->second, 1000);
    loop_start(intake->loop);
}

void intake_stop(struct intake *intake, int64_t deadline_ms) {
    intake->stop_deadline_ms = deadline_ms;
    atomic_store(&intake->stopping, true);
    queue_push(intake->queue, &message_new(MESSAGE_WAKE)->node);
    loop_join(intake->loop);
}

void intake_free(struct intake **intake_ptr) {
    struct intake *intake = *intake_ptr;
    *intake_ptr = NULL;
    if (!intake)
        return;
    intake_drop_slots(intake);
    topic_partitions_deinit(&intake->assigned);
    topic_partitions_deinit(&intake->broken);
    if (intake->watch)
        loop_watch_free(&intake->watch);
    if (intake->consumer)
        consumer_close(&intake->consumer, 0);
    reread_message_free(&intake->reread_again);
    reread_message_free(&intake->reread);
    struct queue_node *left = queue_take(intake->queue);
    for (struct queue_node *node = left, *next; node; node = next) {
        next = node->next;
        struct message *message = MESSAGE_OF(node);
        if (message->type == MESSAGE_ADOPT)
            adopt_message_free(&(struct adopt_message *){(struct adopt_message *)message});
        else if (message->type == MESSAGE_REVOKE)
            revoke_message_free(&(struct revoke_message *){(struct revoke_message *)message});
        else if (message->type == MESSAGE_REREAD)
            reread_message_free(&(struct reread_message *){(struct reread_message *)message});
        else
            mem_free(message);
    }
    loop_timer_free(&intake->timer);
    loop_timer_free(&intake->second);
    queue_free(&intake->queue);
    loop_free(&intake->loop);
    mem_free(intake->to_lanes);
    mem_free(intake->matches);
    mem_free(intake);
}

struct queue *intake_queue(struct intake *intake) {
    return intake->queue;
}

bool intake_is_ready(const struct intake *intake) {
    enum intake_phase phase = atomic_load_explicit(&intake->phase, memory_order_acquire);
    /* While no topic matches, the group gives nothing at all. */
    bool nothing_to_have =
        phase == INTAKE_IDLE && clock_mono_ms() - atomic_load(&intake->idle_since_ms) > NOTHING_AFTER_MS;
    return (phase == INTAKE_RUNNING || nothing_to_have) &&
           !atomic_load_explicit(&intake->kafka_down, memory_order_relaxed);
}
