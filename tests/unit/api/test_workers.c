#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/workers.h"
#include "base/clock.h"
#include "call_fixture.h"

#define COUNT 5

static void answer_200(struct call *call) {
    call_answer_empty(call, 200);
}

static const struct api_route PUBLIC = {"GET", "/", answer_200, CALL_PUBLIC};

struct back {
    struct loop *loop;
    struct workers *workers;
    int answered, wanted;
};

static void on_back(void *ctx, struct queue_node *first) {
    struct back *back = ctx;
    for (struct queue_node *next; first; first = next) {
        next = first->next;
        struct call *call = (struct call *)first;
        assert_int_equal(call->status, 503);
        assert_int_equal(call->header_count, 1);
        assert_string_equal(call->headers[0].name, "Retry-After");
        assert_non_null(strstr(call->answer.data, "\"unavailable\""));
        call_free(&call);
        workers_done(back->workers);
        if (++back->answered == back->wanted)
            loop_stop(back->loop);
    }
}

/* Nobody listens at this database's address. */
static void make(struct back *back, struct queue **queue, struct auth **auth) {
    *back = (struct back){.loop = loop_new("test"), .wanted = COUNT};
    *queue = queue_new(back->loop, on_back, back);
    *auth = auth_new();
    struct workers_settings settings = {.database_url = "host=127.0.0.1 port=1 dbname=none",
                                        .auth = *auth,
                                        .answers = *queue,
                                        .count = 2,
                                        .max_pending = COUNT};
    back->workers = workers_new(&settings);
}

static void end(struct back *back, struct queue **queue, struct auth **auth) {
    workers_free(&back->workers);
    auth_free(auth);
    queue_free(queue);
    loop_free(&back->loop);
}

static struct call *new_call(void) {
    struct call *call = call_fixture(NULL);
    call->route = &PUBLIC;
    return call;
}

static void test_every_call_comes_back_answered_without_a_database(void **state) {
    (void)state;
    struct back back;
    struct queue *queue;
    struct auth *auth;
    make(&back, &queue, &auth);
    for (int i = 0; i < COUNT; i++)
        assert_true(workers_push(back.workers, new_call()));
    struct call *more = new_call();
    assert_false(workers_push(back.workers, more));
    int64_t began_ms = clock_mono_ms();
    workers_start(back.workers);
    loop_run(back.loop);
    assert_int_equal(back.answered, COUNT);
    assert_true(clock_mono_ms() - began_ms < 10000);
    assert_true(workers_push(back.workers, more));
    back.wanted++;
    loop_run(back.loop);
    assert_int_equal(back.answered, COUNT + 1);
    workers_stop(back.workers, 1000);
    more = new_call();
    assert_false(workers_push(back.workers, more));
    call_free(&more);
    end(&back, &queue, &auth);
}

static void test_stopping_answers_what_waits(void **state) {
    (void)state;
    struct back back;
    struct queue *queue;
    struct auth *auth;
    make(&back, &queue, &auth);
    for (int i = 0; i < COUNT; i++)
        assert_true(workers_push(back.workers, new_call()));
    workers_start(back.workers);
    workers_stop(back.workers, 5000);
    loop_run(back.loop);
    assert_int_equal(back.answered, COUNT);
    end(&back, &queue, &auth);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_comes_back_answered_without_a_database),
        cmocka_unit_test(test_stopping_answers_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
