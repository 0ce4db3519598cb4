/* A turn: take an export, write pieces of it until TURN_MS are over, leave it to whoever comes next. What a piece needs
 * to know of those before it is kept for the next turn, which mostly is the same export's. */
#include "api/exporter.h"
#include "api/export_pieces.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "core/metrics.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define IDLE_MS 1000
#define TURN_MS 2000
#define LEASE_MS 60000 /* longer than a statement may take */
#define OPEN_TIMEOUT_MS 5000
#define STATEMENT_TIMEOUT_MS 30000
#define AWAY_MS 1000
#define CLEAR_EVERY_MS 5000
#define CLEAR_CHUNKS 64
#define NICE 5 /* requests come first */

struct exporter {
    const struct settings *settings;
    struct uuid owner;
    struct connection *connection;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    bool woken, running, started;
    atomic_bool stopping;
    bool away; /* said so in the log */
    int64_t cleared_at_ms;
    struct export_pieces *pieces; /* of the last turn's export, at this piece; NULL: none */
    struct uuid pieces_of;
    int pieces_chunks;
    struct metric *done, *failed, *rows, *bytes;
};

struct exporter *exporter_new(const struct settings *settings) {
    struct exporter *exporter = mem_calloc(1, sizeof(*exporter));
    pthread_condattr_t monotonic;
    exporter->settings = settings;
    exporter->owner = uuid_new(clock_wall_ms());
    exporter->connection = connection_new(settings->database_url, "hookcast exporter");
    connection_set_timeout(exporter->connection, STATEMENT_TIMEOUT_MS);
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&exporter->lock, NULL) == 0);
    CHECK(pthread_cond_init(&exporter->wake, &monotonic) == 0);
    CHECK(pthread_cond_init(&exporter->ended, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    exporter->done = metrics_counter("hookcast_exports_total", "Exports of the log that ended.", "outcome=\"done\"");
    exporter->failed =
        metrics_counter("hookcast_exports_total", "Exports of the log that ended.", "outcome=\"failed\"");
    exporter->rows = metrics_counter("hookcast_export_rows_total", "Rows of the log written into exports.", NULL);
    exporter->bytes = metrics_counter("hookcast_export_bytes_total", "Bytes of exports, compressed.", NULL);
    return exporter;
}

static void forget_pieces(struct exporter *exporter) {
    export_pieces_free(&exporter->pieces);
    exporter->pieces_of = UUID_NIL;
}

void exporter_free(struct exporter **exporter_ptr) {
    struct exporter *exporter = *exporter_ptr;
    *exporter_ptr = NULL;
    if (!exporter)
        return;
    CHECK(!exporter->running);
    forget_pieces(exporter);
    connection_free(&exporter->connection);
    metric_free(&exporter->done);
    metric_free(&exporter->failed);
    metric_free(&exporter->rows);
    metric_free(&exporter->bytes);
    pthread_cond_destroy(&exporter->ended);
    pthread_cond_destroy(&exporter->wake);
    pthread_mutex_destroy(&exporter->lock);
    mem_free(exporter);
}

/* ---- a turn ---- */

static void tell(const char *what, const struct export_job *job, const char *why) {
    char id[UUID_TEXT_LEN + 1];
    uuid_format(&job->id, id);
    if (why)
        log_warn("exporter", what, LOG_TEXT("job", id), LOG_TEXT("error", why));
    else
        log_info("exporter", what, LOG_TEXT("job", id), LOG_INT("rows", job->done), LOG_INT("bytes", job->size));
}

static enum status fail(struct exporter *exporter, const struct export_job *job, const char *why, struct error *error) {
    bool held;
    struct error reason;
    (void)error_set(&reason, STATUS_FAILED, "%s", why); /* it may be in *error */
    enum status status = exports_fail(exporter->connection, &exporter->owner, &job->id, reason.text, &held, error);
    if (status != STATUS_OK || !held)
        return status;
    tell("an export failed", job, reason.text);
    metric_add(exporter->failed, 1);
    return STATUS_OK;
}

/* The database refused a piece: perhaps not the next time. */
static enum status put_off(struct exporter *exporter, const struct export_job *job, struct error *error) {
    bool held;
    if (job->tries >= EXPORTS_MAX_TRIES)
        return fail(exporter, job, error->text, error);
    tell("a piece of an export could not be written, and is tried again", job, error->text);
    return exports_release(exporter->connection, &exporter->owner, &job->id, INT64_C(500) << job->tries, &held, error);
}

/* What goes on from the last turn, or from what the job says. ret_held false: the job is no longer ours. */
static enum status prepare(struct exporter *exporter, const struct export_job *job, bool *ret_held,
                           struct error *error) {
    int64_t total;
    *ret_held = true;
    if (exporter->pieces && uuid_equal(&exporter->pieces_of, &job->id) && exporter->pieces_chunks == job->chunks &&
        job->counted)
        return STATUS_OK;
    forget_pieces(exporter);
    enum status status = export_pieces_new(job, exporter->settings, &exporter->pieces, error);
    if (status == STATUS_OK)
        status = export_pieces_count(exporter->pieces, exporter->connection, &total, error);
    if (status == STATUS_OK && !job->counted)
        status = exports_counted(exporter->connection, &exporter->owner, &job->id, total, ret_held, error);
    exporter->pieces_of = job->id;
    return status;
}

static enum status write_piece(struct exporter *exporter, struct export_job *job, bool *ret_goes_on,
                               struct error *error) {
    struct export_piece piece;
    bool held;
    *ret_goes_on = false;
    enum status status = export_pieces_next(exporter->pieces, exporter->connection, &piece, error);
    if (status != STATUS_OK)
        return status;
    if (job->size + (int64_t)piece.bytes.len > EXPORTS_FILE_MAX_BYTES)
        return error_set(error, STATUS_INVALID,
                         "the file would be larger than %d MiB: ask for a shorter time, or for fewer rows",
                         (int)(EXPORTS_FILE_MAX_BYTES >> 20));
    status = exports_write(exporter->connection, &exporter->owner, LEASE_MS, job, &piece, &held, error);
    if (status != STATUS_OK || !held)
        return status;
    exporter->pieces_chunks = job->chunks;
    metric_add(exporter->rows, (double)piece.rows);
    metric_add(exporter->bytes, (double)piece.bytes.len);
    *ret_goes_on = !piece.end;
    if (piece.end) {
        tell("an export is done", job, NULL);
        metric_add(exporter->done, 1);
    }
    return STATUS_OK;
}

static enum status write_pieces(struct exporter *exporter, struct export_job *job, struct error *error) {
    int64_t until_ms = clock_mono_ms() + TURN_MS;
    bool goes_on = true, held = true;
    enum status status = prepare(exporter, job, &held, error);
    if (status != STATUS_OK || !held)
        return status;
    while (status == STATUS_OK && goes_on && !exporter->stopping && clock_mono_ms() < until_ms)
        status = write_piece(exporter, job, &goes_on, error);
    if (status != STATUS_OK)
        return status;
    if (goes_on)
        return exports_release(exporter->connection, &exporter->owner, &job->id, 0, &held, error);
    forget_pieces(exporter);
    return STATUS_OK;
}

/* Whatever went wrong, the next turn begins with what the job says. */
static enum status do_job(struct exporter *exporter, struct export_job *job, struct error *error) {
    if (job->wrong)
        return fail(exporter, job, job->wrong, error);
    if (job->tries > EXPORTS_MAX_TRIES)
        return fail(exporter, job, "it ended at the same row again and again, for a reason that could not be told",
                    error);
    enum status status = write_pieces(exporter, job, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    forget_pieces(exporter);
    if (status == STATUS_INVALID)
        return fail(exporter, job, error->text, error);
    return connection_is_open(exporter->connection) ? put_off(exporter, job, error) : status;
}

static enum status clear(struct exporter *exporter, bool *ret_did, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    if (exporter->cleared_at_ms && now_ms - exporter->cleared_at_ms < CLEAR_EVERY_MS)
        return STATUS_OK;
    bool any = false;
    enum status status = exports_clear(exporter->connection, CLEAR_CHUNKS, &any, error);
    if (status == STATUS_OK && !any)
        exporter->cleared_at_ms = now_ms;
    *ret_did |= any;
    return status;
}

/* STATUS_CONFLICT and _FAILED end in do_job; what is left is a connection that is gone, or a database that refuses
 * even to be asked. */
static enum status do_turn(struct exporter *exporter, bool *ret_did, struct error *error) {
    struct export_job job;
    struct result *rows = NULL;
    enum status status = STATUS_OK;
    *ret_did = false;
    if (!connection_is_open(exporter->connection))
        status = connection_open(exporter->connection, OPEN_TIMEOUT_MS, error);
    if (status == STATUS_OK)
        status = clear(exporter, ret_did, error);
    if (status == STATUS_OK)
        status = exports_take(exporter->connection, &exporter->owner, LEASE_MS, &job, &rows, error);
    if (status == STATUS_NOT_FOUND) {
        forget_pieces(exporter);
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        *ret_did = true;
        status = do_job(exporter, &job, error);
    }
    result_free(&rows);
    return status;
}

/* ---- the thread ---- */

static void note(struct exporter *exporter, enum status status, const struct error *error) {
    bool away = status != STATUS_OK;
    if (away != exporter->away && !exporter->stopping && away)
        log_warn("exporter", "exports wait for PostgreSQL", LOG_TEXT("error", error->text));
    else if (away != exporter->away && !away)
        log_info("exporter", "exports go on");
    exporter->away = away;
    if (away)
        forget_pieces(exporter);
}

static void wait_for_work(struct exporter *exporter, int64_t ms) {
    int64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&exporter->lock);
    while (!exporter->woken && !exporter->stopping &&
           pthread_cond_timedwait(&exporter->wake, &exporter->lock, &until) == 0)
        ;
    exporter->woken = false;
    pthread_mutex_unlock(&exporter->lock);
}

static void *run(void *ctx) {
    struct exporter *exporter = ctx;
    prctl(PR_SET_NAME, "exporter");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    while (!exporter->stopping) {
        struct error error = {""};
        bool did = false;
        enum status status = do_turn(exporter, &did, &error);
        note(exporter, status, &error);
        if (status != STATUS_OK)
            wait_for_work(exporter, AWAY_MS);
        else if (!did)
            wait_for_work(exporter, IDLE_MS);
    }
    pthread_mutex_lock(&exporter->lock);
    exporter->running = false;
    pthread_cond_signal(&exporter->ended);
    pthread_mutex_unlock(&exporter->lock);
    return NULL;
}

void exporter_start(struct exporter *exporter) {
    exporter->running = exporter->started = true;
    CHECK(pthread_create(&exporter->thread, NULL, run, exporter) == 0);
}

void exporter_wake(struct exporter *exporter) {
    pthread_mutex_lock(&exporter->lock);
    exporter->woken = true;
    pthread_cond_signal(&exporter->wake);
    pthread_mutex_unlock(&exporter->lock);
}

void exporter_quiesce(struct exporter *exporter) {
    exporter->stopping = true;
    exporter_wake(exporter);
}

void exporter_stop(struct exporter *exporter, int64_t drain_ms) {
    int64_t deadline_ms = clock_mono_ms() + drain_ms;
    struct timespec deadline = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    if (!exporter->started)
        return;
    exporter_quiesce(exporter);
    pthread_mutex_lock(&exporter->lock);
    while (exporter->running && pthread_cond_timedwait(&exporter->ended, &exporter->lock, &deadline) == 0)
        ;
    bool late = exporter->running;
    pthread_mutex_unlock(&exporter->lock);
    if (late)
        connection_interrupt(exporter->connection);
    pthread_join(exporter->thread, NULL);
    exporter->started = false;
}
