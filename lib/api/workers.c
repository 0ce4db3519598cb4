/* A worker's checks, in the order in which a client should hear of them: who asks (401), whether the workspace is
 * theirs (404, so that nobody learns what exists elsewhere), whether they may change it (403), and only then what they
 * sent (415, 400, 422). */
#include "api/workers.h"
#include "api/body_json.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "db/migrate.h"
#include "store/audit.h"
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>

#define OPEN_TIMEOUT_MS 3000
#define STATEMENT_TIMEOUT_MS 10000
#define LOCK_TIMEOUT "5s" /* who waits longer for somebody else is told so */
#define RETRY_OPEN_MS 500 /* after a connection failed, calls are refused at once for this long */
#define PROBE_AFTER_MS 1000
#define MAX_WORKERS 16

struct worker {
    struct workers *workers;
    pthread_t thread;
    struct connection *connection;
    int64_t used_at_ms;    /* monotonic */
    int64_t refused_at_ms; /* monotonic: when the database could not be reached; 0: it could */
};

struct workers {
    struct workers_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    struct queue_batch waiting;
    int pending; /* the loop's */
    bool stopping;
    bool away; /* said so in the log */
    int running;
    struct worker worker[MAX_WORKERS];
};

struct workers *workers_new(const struct workers_settings *settings) {
    struct workers *workers = mem_calloc(1, sizeof(*workers));
    workers->settings = *settings;
    CHECK(settings->count > 0 && settings->count <= MAX_WORKERS);
    CHECK(pthread_mutex_init(&workers->lock, NULL) == 0);
    pthread_condattr_t monotonic;
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&workers->work, NULL) == 0);
    CHECK(pthread_cond_init(&workers->ended, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < settings->count; i++) {
        workers->worker[i].workers = workers;
        workers->worker[i].connection = connection_new(settings->database_url, "hookcast api");
        connection_set_timeout(workers->worker[i].connection, STATEMENT_TIMEOUT_MS);
    }
    return workers;
}

void workers_free(struct workers **workers_ptr) {
    struct workers *workers = *workers_ptr;
    *workers_ptr = NULL;
    if (!workers)
        return;
    CHECK(!workers->waiting.first && workers->running == 0);
    for (int i = 0; i < workers->settings.count; i++)
        connection_free(&workers->worker[i].connection);
    pthread_cond_destroy(&workers->ended);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
    mem_free(workers);
}

static enum status open_session(struct connection *connection, struct error *error) {
    enum status status = connection_open(connection, OPEN_TIMEOUT_MS, error);
    return status == STATUS_OK ? connection_exec(connection, "SET lock_timeout = '" LOCK_TIMEOUT "'", error) : status;
}

enum status workers_check(struct workers *workers, struct error *error) {
    struct worker *first = &workers->worker[0];
    enum status status = open_session(first->connection, error);
    if (status == STATUS_OK)
        status = migrate_check(first->connection, MIGRATE_SCHEMA_VERSION, error);
    first->used_at_ms = clock_mono_ms();
    return status;
}

/* Said once when it goes and once when it is back, however many workers find out. */
static void note_away(struct workers *workers, bool away, const char *why) {
    pthread_mutex_lock(&workers->lock);
    bool news = workers->away != away && !workers->stopping;
    workers->away = away;
    pthread_mutex_unlock(&workers->lock);
    if (news && away)
        log_warn("api", "PostgreSQL can't be reached", LOG_TEXT("error", why));
    else if (news)
        log_info("api", "PostgreSQL is back");
}

/* A connection that was idle may be dead without knowing; that must not cost a client its request. */
static enum status connect_worker(struct worker *worker, struct error *error) {
    int64_t now_ms = clock_mono_ms();
    struct connection *connection = worker->connection;
    if (connection_is_open(connection) && now_ms - worker->used_at_ms > PROBE_AFTER_MS) {
        struct error ignored;
        if (connection_exec(connection, "SELECT 1", &ignored) != STATUS_OK)
            connection_close(connection);
    }
    worker->used_at_ms = now_ms;
    if (connection_is_open(connection))
        return STATUS_OK;
    if (worker->refused_at_ms && now_ms - worker->refused_at_ms < RETRY_OPEN_MS)
        return error_set(error, STATUS_UNAVAILABLE, "PostgreSQL could not be reached a moment ago");
    enum status status = open_session(connection, error);
    if (status != STATUS_OK)
        connection_close(connection);
    worker->refused_at_ms = status == STATUS_OK ? 0 : clock_mono_ms();
    note_away(worker->workers, status != STATUS_OK, error->text);
    return status;
}

static void refuse_key(struct call *call, const char *detail) {
    call_problem(call, 401, "unauthorized", "%s", detail);
    call_header(call, "WWW-Authenticate", SPAN_LITERAL("Bearer realm=\"hookcast\""));
}

static bool check_key(struct worker *worker, struct call *call) {
    struct error error;
    if (!call->key.len) {
        refuse_key(call, "An API key is needed, in X-API-KEY or Authorization: Bearer.");
        return false;
    }
    enum status status =
        auth_find(worker->workers->settings.auth, call->connection, call->key, clock_mono_ms(), &call->grant, &error);
    if (status == STATUS_NOT_FOUND)
        refuse_key(call, "The API key is not valid: unknown, revoked or expired.");
    else if (status != STATUS_OK)
        call_failed(call, status, &error);
    return status == STATUS_OK;
}

static void refuse_workspace(struct call *call) {
    call_problem(call, 404, "not_found", "There is no such workspace for this key.");
}

/* An admin key may name any workspace that there is; another key names its own or none. */
static bool check_workspace(struct call *call) {
    struct span named = call_param(call, "workspace_id");
    if (!named.data)
        named = call->workspace_header;
    if (!call->grant.admin) {
        call->workspace_id = span_of(call->grant.workspace_id);
        if (!named.data || span_equal(named, call->workspace_id))
            return true;
        refuse_workspace(call);
        return false;
    }
    call->workspace_id = named;
    if (!named.data)
        return true;
    bool exists = false;
    struct error error;
    enum status status = STATUS_OK;
    if (call->route->flags & CALL_WORKSPACE_MAY_BE)
        return true;
    if (workspace_id_valid(named))
        status = workspaces_exists(call->connection, named, &exists, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    else if (!exists)
        refuse_workspace(call);
    return status == STATUS_OK && exists;
}

static bool check_rights(struct call *call) {
    if (call->route->flags & CALL_ADMIN && !call->grant.admin) {
        call_problem(call, 403, "admin_key_required", "This takes an admin key.");
        return false;
    }
    bool reads = strcmp(call->route->method, "GET") == 0 && !(call->route->flags & CALL_SECRET_READ);
    if (!call->grant.read_only || reads)
        return true;
    call_problem(call, 403, "read_only_key", "This key may only read.");
    return false;
}

/* "application/json" or "application/…+json", with or without parameters; absent is taken for JSON. */
static bool is_json_type(struct span type) {
    if (!type.data)
        return true;
    const char *end = memchr(type.data, ';', type.len);
    size_t len = end ? (size_t)(end - type.data) : type.len;
    while (len > 0 && (type.data[len - 1] == ' ' || type.data[len - 1] == '\t'))
        len--;
    return (len == 16 && strncasecmp(type.data, "application/json", 16) == 0) ||
           (len > 17 && strncasecmp(type.data, "application/", 12) == 0 &&
            strncasecmp(type.data + len - 5, "+json", 5) == 0);
}

static bool check_body(struct call *call) {
    unsigned flags = call->route->flags;
    if (!(flags & (CALL_BODY | CALL_BODY_MAY | CALL_BODY_UNREAD)) || (call->body.len == 0 && flags & CALL_BODY_MAY))
        return true;
    if (!is_json_type(call->content_type)) {
        call_problem(call, 415, "unsupported_media_type", "The body has to be application/json.");
        return false;
    }
    if (flags & CALL_BODY_UNREAD)
        return true;
    struct error error;
    if (body_json_read(call->body, &call->json, &error) != STATUS_OK) {
        call_problem(call, 400, "bad_json", "%s", error.text);
        return false;
    }
    if (!json_is_object(call->json)) {
        call_field_error(call, "", "the body has to be a JSON object");
        call_refuse(call);
        return false;
    }
    return true;
}

/* What a call changes, it changes for its key (store/audit.h). */
static bool begin_audit(struct call *call) {
    struct error error;
    if (strcmp(call->route->method, "GET") == 0)
        return true;
    enum status status = audit_begin(call->connection, &call->grant.id, call->id, &error);
    if (status != STATUS_OK)
        call_failed(call, status, &error);
    return status == STATUS_OK;
}

/* False: the call is answered. */
static bool may_answer(struct worker *worker, struct call *call) {
    call->connection = worker->connection;
    return call->route->flags & CALL_PUBLIC || (check_key(worker, call) && check_workspace(call) &&
                                                check_rights(call) && check_body(call) && begin_audit(call));
}

/* False: the database could not be reached, and the call is answered so. */
static bool try_answer(struct worker *worker, struct call *call, bool *ret_began) {
    struct error error;
    enum status status = connect_worker(worker, &error);
    if (status != STATUS_OK) {
        call_failed(call, status, &error);
        return false;
    }
    if (may_answer(worker, call)) {
        *ret_began = true;
        call->route->fn(call);
    }
    CHECK(call->status);
    if (connection_is_open(call->connection))
        return true;
    note_away(worker->workers, true, "the connection was lost");
    return false;
}

/* The next piece of an answer that has begun: nothing is left to be refused. */
static void go_on(struct worker *worker, struct call *call) {
    struct error error;
    call->connection = worker->connection;
    if (connect_worker(worker, &error) == STATUS_OK)
        call->stream.next(call, call->stream.state);
    else
        call_stream_fail(call, &error);
}

/* What only reads, and what has not begun to write, is tried once more on a new connection. */
static void answer(struct worker *worker, struct call *call) {
    bool reads = strcmp(call->route->method, "GET") == 0, began = false;
    bool was_open = connection_is_open(worker->connection);
    if (!try_answer(worker, call, &began) && was_open && (reads || !began)) {
        call_reset(call);
        try_answer(worker, call, &began);
    }
}

/* Chains those that may be answered, and has them answered with one another. Whatever goes wrong for all of them is
 * found out again for each, and told there. */
static void answer_chain(struct worker *worker, struct call **calls, size_t count) {
    struct call *first = NULL;
    struct error ignored;
    if (connect_worker(worker, &ignored) != STATUS_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!may_answer(worker, calls[i]))
            continue;
        calls[i]->with = first;
        first = calls[i];
    }
    if (first && first->with)
        first->route->fn(first);
    bool lost = !connection_is_open(worker->connection);
    for (size_t i = 0; i < count; i++) {
        calls[i]->with = NULL;
        if (lost)
            call_reset(calls[i]);
    }
}

static void answer_all(struct worker *worker, struct call **calls, size_t count) {
    if (count > 1)
        answer_chain(worker, calls, count);
    for (size_t i = 0; i < count; i++)
        if (!calls[i]->status)
            answer(worker, calls[i]);
}

static struct call *take_first(struct workers *workers) {
    struct queue_node *node = workers->waiting.first;
    workers->waiting.first = node->next;
    if (!node->next)
        workers->waiting.last = NULL;
    return (struct call *)node;
}

static bool goes_with(const struct call *first, const struct queue_node *next) {
    const struct call *call = (const struct call *)next;
    return call && call->route == first->route && first->route->flags & CALL_TOGETHER;
}

/* The next call, with those behind it that are answered together with it. 0: it is stopping. */
static size_t take(struct workers *workers, struct call **calls) {
    size_t count = 0;
    pthread_mutex_lock(&workers->lock);
    while (!workers->waiting.first && !workers->stopping)
        pthread_cond_wait(&workers->work, &workers->lock);
    if (workers->waiting.first)
        calls[count++] = take_first(workers);
    while (count > 0 && count < CALL_TOGETHER_MAX && goes_with(calls[0], workers->waiting.first))
        calls[count++] = take_first(workers);
    pthread_mutex_unlock(&workers->lock);
    return count;
}

static void *run(void *ctx) {
    struct worker *worker = ctx;
    struct workers *workers = worker->workers;
    prctl(PR_SET_NAME, "api worker");
    struct call *calls[CALL_TOGETHER_MAX];
    size_t count;
    while ((count = take(workers, calls))) {
        struct queue_batch answered = {NULL, NULL};
        if (calls[0]->stream.begun)
            go_on(worker, calls[0]);
        else
            answer_all(worker, calls, count);
        for (size_t i = 0; i < count; i++)
            queue_batch_add(&answered, &calls[i]->node);
        queue_batch_push(workers->settings.answers, &answered);
    }
    pthread_mutex_lock(&workers->lock);
    workers->running--;
    pthread_cond_signal(&workers->ended);
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

void workers_start(struct workers *workers) {
    workers->running = workers->settings.count;
    for (int i = 0; i < workers->settings.count; i++)
        CHECK(pthread_create(&workers->worker[i].thread, NULL, run, &workers->worker[i]) == 0);
}

bool workers_push(struct workers *workers, struct call *call) {
    if (workers->pending >= workers->settings.max_pending)
        return false;
    pthread_mutex_lock(&workers->lock);
    bool taken = !workers->stopping;
    if (taken)
        queue_batch_add(&workers->waiting, &call->node);
    pthread_mutex_unlock(&workers->lock);
    /* After the unlock, or whoever wakes finds the lock taken and sleeps again. */
    if (taken)
        pthread_cond_signal(&workers->work);
    workers->pending += taken;
    return taken;
}

void workers_done(struct workers *workers) {
    workers->pending--;
}

void workers_stop(struct workers *workers, int64_t drain_ms) {
    int64_t deadline_ms = clock_mono_ms() + drain_ms;
    struct timespec deadline = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->work);
    while (workers->running > 0 && pthread_cond_timedwait(&workers->ended, &workers->lock, &deadline) == 0)
        ;
    bool late = workers->running > 0;
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->settings.count; i++) {
        if (late)
            connection_interrupt(workers->worker[i].connection);
        pthread_join(workers->worker[i].thread, NULL);
    }
}
