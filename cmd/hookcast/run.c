#include "run.h"

#include "command.h"
#include "core/log.h"
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    loop_fn *fn;
    void *ctx;
    bool asked;
} stop;

void run_raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("run", "the limit of open files could not be raised");
}

static void on_signal(void *ctx) {
    (void)ctx;
    if (stop.asked) {
        log_warn("run", "stopped at once by a second signal");
        _exit(EXIT_FAILED);
    }
    stop.asked = true;
    stop.fn(stop.ctx);
}

void run_on_stop(struct loop *loop, loop_fn *fn, void *ctx) {
    CHECK(!stop.fn);
    stop.fn = fn;
    stop.ctx = ctx;
    loop_on_signal(loop, SIGINT, on_signal, NULL);
    loop_on_signal(loop, SIGTERM, on_signal, NULL);
}
