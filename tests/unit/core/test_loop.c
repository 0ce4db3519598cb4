#include "core/loop.h"

#include "base/clock.h"
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* Stands before the C library's, so that the tests can count what libuv asks of the kernel. */
static atomic_int epoll_ctl_calls;

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    epoll_ctl_calls++;
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

#define MAX_EVENTS 64

/* What happened, in order; one letter each. */
struct story {
    struct loop *loop;
    char text[MAX_EVENTS];
    size_t len;
    struct loop_timer *timer, *other, *end;
    struct loop_watch *watch;
    int fd;
    int rounds;
};

static void tell(struct story *story, char letter) {
    assert_true(story->len + 1 < MAX_EVENTS);
    story->text[story->len++] = letter;
    story->text[story->len] = '\0';
}

static void stop(void *ctx) {
    struct story *story = ctx;
    tell(story, 'S');
    loop_stop(story->loop);
}

static void tell_a(void *ctx) {
    tell(ctx, 'a');
}

static void tell_b(void *ctx) {
    tell(ctx, 'b');
}

static void fail_late(void *ctx) {
    (void)ctx;
    fail_msg("the deadline has passed");
}

static void test_timers_fall_due_in_order(void **state) {
    (void)state;
    int64_t before_ms = clock_mono_ms();
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *a = loop_timer_new(story.loop, tell_a, &story);
    struct loop_timer *b = loop_timer_new(story.loop, tell_b, &story);
    struct loop_timer *end = loop_timer_new(story.loop, stop, &story);
    loop_timer_start(end, 20);
    loop_timer_start(b, 10);
    loop_timer_start(a, 1);
    assert_true(loop_timer_active(a));
    loop_run(story.loop);
    assert_true(clock_mono_ms() - before_ms >= 19);
    assert_string_equal(story.text, "abS");
    assert_false(loop_timer_active(a));
    loop_timer_free(&a);
    assert_null(a);
    loop_timer_free(&a);
    loop_timer_free(&b);
    loop_timer_free(&end);
    loop_free(&story.loop);
    assert_null(story.loop);
    loop_free(&story.loop);
}

static void test_starting_a_timer_again_replaces_its_time(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *a = loop_timer_new(story.loop, tell_a, &story);
    struct loop_timer *end = loop_timer_new(story.loop, stop, &story);
    loop_timer_start(a, 60000);
    loop_timer_start(a, 1);
    loop_timer_start(end, 15);
    loop_run(story.loop);
    assert_string_equal(story.text, "aS");
    /* Between a list and the heap, in both directions. */
    loop_timer_start(a, 0);
    loop_timer_start(a, 60000);
    assert_true(loop_timer_active(a));
    loop_timer_start(end, 1);
    loop_run(story.loop);
    assert_string_equal(story.text, "aSS");
    loop_timer_start(a, -5);
    assert_true(loop_timer_active(a));
    loop_timer_stop(a);
    assert_false(loop_timer_active(a));
    loop_timer_stop(a);
    loop_timer_start(end, 1);
    loop_run(story.loop);
    assert_string_equal(story.text, "aSSS");
    loop_timer_free(&a);
    loop_timer_free(&end);
    loop_free(&story.loop);
}

static void read_and_stop(void *ctx, int events) {
    struct story *story = ctx;
    assert_int_equal(events, LOOP_READABLE);
    char byte;
    assert_int_equal(read(story->fd, &byte, 1), 1);
    tell(story, 'r');
    loop_stop(story->loop);
}

static void start_again(void *ctx) {
    struct story *story = ctx;
    story->rounds++;
    loop_timer_start(story->timer, 0);
}

static void test_a_timer_without_delay_leaves_the_others_their_turn(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct story story = {.loop = loop_new("test"), .fd = fds[0]};
    story.timer = loop_timer_new(story.loop, start_again, &story);
    story.watch = loop_watch_new(story.loop, fds[0], read_and_stop, &story);
    loop_watch_set(story.watch, LOOP_READABLE);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_timer_start(story.timer, 0);
    loop_run(story.loop);
    assert_string_equal(story.text, "r");
    assert_in_range(story.rounds, 1, 5);
    loop_watch_free(&story.watch);
    loop_timer_free(&story.timer);
    loop_free(&story.loop);
    close(fds[0]);
    close(fds[1]);
}

static void free_other(void *ctx) {
    struct story *story = ctx;
    tell(story, 'f');
    loop_timer_free(&story->other);
    loop_timer_free(&story->timer);
    loop_timer_start(story->end, 1);
}

static void test_a_timer_may_free_itself_and_others(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    for (int64_t delay_ms = 0; delay_ms <= 1; delay_ms++) {
        story.timer = loop_timer_new(story.loop, free_other, &story);
        story.other = loop_timer_new(story.loop, fail_late, &story);
        story.end = loop_timer_new(story.loop, stop, &story);
        loop_timer_start(story.timer, delay_ms);
        loop_timer_start(story.other, delay_ms);
        loop_run(story.loop);
        assert_null(story.timer);
        loop_timer_free(&story.end);
    }
    assert_string_equal(story.text, "fSfS");
    loop_free(&story.loop);
}

static void round_1(void *ctx) {
    tell(ctx, '1');
}

static void round_2(void *ctx) {
    tell(ctx, '2');
}

static void on_readable_start_timer(void *ctx, int events) {
    struct story *story = ctx;
    assert_int_equal(events, LOOP_READABLE);
    tell(story, 'r');
    loop_watch_set(story->watch, 0);
    loop_timer_start(story->timer, 0);
}

static void test_each_round_ends_with_its_functions(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct story story = {.loop = loop_new("test")};
    story.timer = loop_timer_new(story.loop, stop, &story);
    story.watch = loop_watch_new(story.loop, fds[0], on_readable_start_timer, &story);
    loop_watch_set(story.watch, LOOP_READABLE);
    loop_each_round(story.loop, round_1, &story);
    loop_each_round(story.loop, round_2, &story);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(story.loop);
    /* Before it waits the first time; after what was read and the timer that this began; and after the stop. */
    assert_string_equal(story.text, "12rS1212");
    loop_watch_free(&story.watch);
    loop_timer_free(&story.timer);
    loop_free(&story.loop);
    close(fds[0]);
    close(fds[1]);
}

static void tell_events(void *ctx, int events) {
    struct story *story = ctx;
    tell(story, (char)('0' + events));
    loop_watch_set(story->watch, 0);
    loop_stop(story->loop);
}

static void test_a_watch_tells_what_is_possible(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *deadline = loop_timer_new(story.loop, fail_late, NULL);
    loop_timer_start(deadline, 10000);
    story.watch = loop_watch_new(story.loop, fds[0], tell_events, &story);
    assert_int_equal(loop_watch_events(story.watch), 0);
    loop_watch_set(story.watch, LOOP_WRITABLE);
    assert_int_equal(loop_watch_events(story.watch), LOOP_WRITABLE);
    loop_run(story.loop);
    assert_int_equal(loop_watch_events(story.watch), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_watch_set(story.watch, LOOP_READABLE | LOOP_WRITABLE);
    loop_run(story.loop);
    close(fds[1]);
    loop_watch_set(story.watch, LOOP_READABLE);
    loop_run(story.loop);
    assert_string_equal(story.text, "231");
    loop_watch_free(&story.watch);
    assert_null(story.watch);
    loop_watch_free(&story.watch);
    loop_timer_free(&deadline);
    loop_free(&story.loop);
    close(fds[0]);
}

static void on_error_event(void *ctx, int events) {
    struct story *story = ctx;
    tell(story, events == LOOP_ERROR ? 'E' : 'x');
    /* The watch is off, and the same events can be set again. */
    assert_int_equal(loop_watch_events(story->watch), 0);
    if (story->rounds++ == 0)
        loop_watch_set(story->watch, LOOP_WRITABLE);
    else
        loop_stop(story->loop);
}

static void test_an_error_is_told_and_turns_the_watch_off(void **state) {
    (void)state;
    /* The write end of a pipe without a reader is in error. */
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *deadline = loop_timer_new(story.loop, fail_late, NULL);
    loop_timer_start(deadline, 10000);
    story.watch = loop_watch_new(story.loop, fds[1], on_error_event, &story);
    loop_watch_set(story.watch, LOOP_WRITABLE);
    loop_run(story.loop);
    assert_string_equal(story.text, "EE");
    loop_watch_free(&story.watch);
    loop_timer_free(&deadline);
    loop_free(&story.loop);
    close(fds[1]);
}

static void set_the_same(void *ctx, int events) {
    struct story *story = ctx;
    (void)events;
    char byte;
    assert_int_equal(read(story->fd, &byte, 1), 1);
    int before = epoll_ctl_calls;
    for (int i = 0; i < 1000; i++)
        loop_watch_set(story->watch, LOOP_READABLE);
    assert_int_equal(epoll_ctl_calls, before);
    if (++story->rounds == 10)
        loop_stop(story->loop);
}

static void test_setting_the_same_events_again_costs_nothing(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "0123456789", 10), 10);
    struct story story = {.loop = loop_new("test"), .fd = fds[0]};
    story.watch = loop_watch_new(story.loop, fds[0], set_the_same, &story);
    int before = epoll_ctl_calls;
    loop_watch_set(story.watch, LOOP_READABLE);
    loop_run(story.loop);
    assert_int_equal(story.rounds, 10);
    /* It was put in once, beside libuv's own descriptor. */
    assert_in_range(epoll_ctl_calls - before, 1, 4);
    loop_watch_free(&story.watch);
    loop_free(&story.loop);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_descriptor_number_may_come_back(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *deadline = loop_timer_new(story.loop, fail_late, NULL);
    loop_timer_start(deadline, 10000);
    int seen = -1;
    for (int i = 0; i < 3; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        assert_true(seen == -1 || seen == fds[0]);
        seen = fds[0];
        story.fd = fds[0];
        story.watch = loop_watch_new(story.loop, fds[0], read_and_stop, &story);
        loop_watch_set(story.watch, LOOP_READABLE);
        assert_int_equal(write(fds[1], "x", 1), 1);
        loop_run(story.loop);
        loop_watch_free(&story.watch);
        close(fds[0]);
        close(fds[1]);
    }
    assert_string_equal(story.text, "rrr");
    loop_timer_free(&deadline);
    loop_free(&story.loop);
}

static void note_name(void *ctx) {
    char *name = ctx;
    assert_int_equal(pthread_getname_np(pthread_self(), name, 16), 0);
}

static void test_a_loop_in_a_thread_has_its_name_and_stops(void **state) {
    (void)state;
    char name[16] = "";
    struct loop *loop = loop_new("lane-255-abcdef");
    loop_each_round(loop, note_name, name);
    loop_start(loop);
    loop_stop(loop);
    loop_join(loop);
    assert_string_equal(name, "lane-255-abcdef");
    loop_join(loop);
    loop_free(&loop);
}

static void test_a_loop_that_was_stopped_runs_again(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    story.timer = loop_timer_new(story.loop, stop, &story);
    for (int i = 0; i < 3; i++) {
        loop_timer_start(story.timer, 1);
        loop_start(story.loop);
        loop_join(story.loop);
    }
    assert_string_equal(story.text, "SSS");
    loop_timer_free(&story.timer);
    loop_free(&story.loop);
}

static void test_time_is_the_monotonic_clock(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    story.timer = loop_timer_new(story.loop, stop, &story);
    loop_timer_start(story.timer, 5);
    loop_run(story.loop);
    int64_t off_ms = clock_mono_ms() - loop_now_ms(story.loop);
    assert_in_range(off_ms + 10, 0, 5000);
    loop_timer_free(&story.timer);
    loop_free(&story.loop);
}

static void test_signals_come_into_the_loop(void **state) {
    (void)state;
    struct story story = {.loop = loop_new("test")};
    struct loop_timer *deadline = loop_timer_new(story.loop, fail_late, NULL);
    loop_timer_start(deadline, 10000);
    loop_on_signal(story.loop, SIGUSR1, tell_a, &story);
    loop_on_signal(story.loop, SIGUSR2, stop, &story);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    loop_run(story.loop);
    assert_string_equal(story.text, "aS");
    loop_timer_free(&deadline);
    loop_free(&story.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fall_due_in_order),
        cmocka_unit_test(test_starting_a_timer_again_replaces_its_time),
        cmocka_unit_test(test_a_timer_without_delay_leaves_the_others_their_turn),
        cmocka_unit_test(test_a_timer_may_free_itself_and_others),
        cmocka_unit_test(test_each_round_ends_with_its_functions),
        cmocka_unit_test(test_a_watch_tells_what_is_possible),
        cmocka_unit_test(test_an_error_is_told_and_turns_the_watch_off),
        cmocka_unit_test(test_setting_the_same_events_again_costs_nothing),
        cmocka_unit_test(test_a_descriptor_number_may_come_back),
        cmocka_unit_test(test_a_loop_in_a_thread_has_its_name_and_stops),
        cmocka_unit_test(test_a_loop_that_was_stopped_runs_again),
        cmocka_unit_test(test_time_is_the_monotonic_clock),
        cmocka_unit_test(test_signals_come_into_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
