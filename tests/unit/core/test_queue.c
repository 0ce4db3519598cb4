#include "core/queue.h"

#include "base/memory.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define PUSHERS 4
#define EACH 5000

struct message {
    struct queue_node node; /* first, so that a node is its message */
    int from, number;
};

struct reader {
    struct loop *loop;
    struct queue *queue;
    int next[PUSHERS];
    int count, expected;
    int calls;
};

static struct message *message_new(int from, int number) {
    struct message *message = mem_calloc(1, sizeof(*message));
    message->from = from;
    message->number = number;
    return message;
}

static void take_all(struct reader *reader, struct queue_node *first) {
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        struct message *message = (struct message *)first;
        assert_int_equal(message->number, reader->next[message->from]++);
        reader->count++;
        mem_free(message);
    }
}

static void on_messages(void *ctx, struct queue_node *first) {
    struct reader *reader = ctx;
    assert_non_null(first);
    reader->calls++;
    take_all(reader, first);
    if (reader->count == reader->expected)
        loop_stop(reader->loop);
}

static void on_deadline(void *ctx) {
    (void)ctx;
    fail_msg("the deadline has passed");
}

struct pusher {
    pthread_t thread;
    struct queue *queue;
    int from;
    bool in_batches;
};

static void *push_all(void *ctx) {
    struct pusher *pusher = ctx;
    struct queue_batch batch = {NULL, NULL};
    for (int i = 0; i < EACH; i++) {
        struct message *message = message_new(pusher->from, i);
        if (pusher->in_batches)
            queue_batch_add(&batch, &message->node);
        else
            queue_push(pusher->queue, &message->node);
        if (pusher->in_batches && i % 7 == 0)
            queue_batch_push(pusher->queue, &batch);
    }
    queue_batch_push(pusher->queue, &batch);
    return NULL;
}

static void test_every_message_arrives_once_and_in_order(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader"), .expected = PUSHERS * EACH};
    struct loop_timer *deadline = loop_timer_new(reader.loop, on_deadline, NULL);
    loop_timer_start(deadline, 60000);
    reader.queue = queue_new(reader.loop, on_messages, &reader);
    loop_start(reader.loop);
    struct pusher pushers[PUSHERS];
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){.queue = reader.queue, .from = i, .in_batches = i % 2};
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push_all, &pushers[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++)
        assert_int_equal(pthread_join(pushers[i].thread, NULL), 0);
    loop_join(reader.loop);
    assert_int_equal(reader.count, reader.expected);
    queue_free(&reader.queue);
    assert_null(reader.queue);
    queue_free(&reader.queue);
    loop_timer_free(&deadline);
    loop_free(&reader.loop);
}

static void test_what_came_before_the_loop_runs_is_handed_over_at_once(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader"), .expected = 5};
    reader.queue = queue_new(reader.loop, on_messages, &reader);
    for (int i = 0; i < 3; i++)
        queue_push(reader.queue, &message_new(0, i)->node);
    struct queue_batch batch = {NULL, NULL};
    queue_batch_add(&batch, &message_new(0, 3)->node);
    queue_batch_add(&batch, &message_new(0, 4)->node);
    queue_batch_push(reader.queue, &batch);
    assert_null(batch.first);
    assert_null(batch.last);
    loop_run(reader.loop);
    assert_int_equal(reader.count, 5);
    assert_int_equal(reader.calls, 1);
    queue_free(&reader.queue);
    loop_free(&reader.loop);
}

static void test_an_empty_batch_wakes_nobody(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader")};
    reader.queue = queue_new(reader.loop, on_messages, &reader);
    struct queue_batch batch = {NULL, NULL};
    queue_batch_push(reader.queue, &batch);
    assert_null(queue_take(reader.queue));
    loop_stop(reader.loop);
    loop_run(reader.loop);
    assert_int_equal(reader.calls, 0);
    queue_free(&reader.queue);
    loop_free(&reader.loop);
}

static void test_take_leaves_nothing_for_the_loop(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader")};
    reader.queue = queue_new(reader.loop, on_messages, &reader);
    queue_push(reader.queue, &message_new(0, 0)->node);
    queue_push(reader.queue, &message_new(0, 1)->node);
    take_all(&reader, queue_take(reader.queue));
    assert_int_equal(reader.count, 2);
    /* The wake-up is under way all the same; it finds nothing, and the function is not called. */
    loop_stop(reader.loop);
    loop_run(reader.loop);
    assert_int_equal(reader.calls, 0);
    /* And the next push wakes again. */
    reader.expected = 3;
    queue_push(reader.queue, &message_new(0, 2)->node);
    loop_run(reader.loop);
    assert_int_equal(reader.count, 3);
    assert_int_equal(reader.calls, 1);
    queue_free(&reader.queue);
    loop_free(&reader.loop);
}

static void push_one_more(void *ctx, struct queue_node *first) {
    struct reader *reader = ctx;
    take_all(reader, first);
    if (reader->count == reader->expected)
        loop_stop(reader->loop);
    else
        queue_push(reader->queue, &message_new(0, reader->count)->node);
}

static void test_the_loop_may_push_to_itself(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader"), .expected = 100};
    reader.queue = queue_new(reader.loop, push_one_more, &reader);
    queue_push(reader.queue, &message_new(0, 0)->node);
    loop_run(reader.loop);
    assert_int_equal(reader.count, 100);
    queue_free(&reader.queue);
    loop_free(&reader.loop);
}

struct echo {
    struct reader reader;
    struct queue *to;
};

static void hand_on(void *ctx, struct queue_node *first) {
    struct echo *echo = ctx;
    struct queue_batch batch = {NULL, NULL};
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        queue_batch_add(&batch, first);
        echo->reader.count++;
    }
    queue_batch_push(echo->to, &batch);
}

static void test_messages_go_from_loop_to_loop(void **state) {
    (void)state;
    struct reader reader = {.loop = loop_new("reader"), .expected = EACH};
    struct loop_timer *deadline = loop_timer_new(reader.loop, on_deadline, NULL);
    loop_timer_start(deadline, 60000);
    reader.queue = queue_new(reader.loop, on_messages, &reader);
    struct echo echo = {.reader = {.loop = loop_new("echo")}, .to = reader.queue};
    echo.reader.queue = queue_new(echo.reader.loop, hand_on, &echo);
    loop_start(echo.reader.loop);
    loop_start(reader.loop);
    struct pusher pusher = {.queue = echo.reader.queue};
    push_all(&pusher);
    loop_join(reader.loop);
    loop_stop(echo.reader.loop);
    loop_join(echo.reader.loop);
    assert_int_equal(reader.count, EACH);
    assert_int_equal(echo.reader.count, EACH);
    queue_free(&reader.queue);
    queue_free(&echo.reader.queue);
    loop_timer_free(&deadline);
    loop_free(&reader.loop);
    loop_free(&echo.reader.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_arrives_once_and_in_order),
        cmocka_unit_test(test_what_came_before_the_loop_runs_is_handed_over_at_once),
        cmocka_unit_test(test_an_empty_batch_wakes_nobody),
        cmocka_unit_test(test_take_leaves_nothing_for_the_loop),
        cmocka_unit_test(test_the_loop_may_push_to_itself),
        cmocka_unit_test(test_messages_go_from_loop_to_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
