/* Started from the bottom, so that whoever pushes finds somebody who takes; drained from the top, so that whoever stops
 * has been left alone:
 *
 *   start:  recorder · jobs · lanes · watcher · scheduler · intake
 *   drain:  intake (gives its partitions up) · scheduler · what is under way in the lanes · lanes · recorder · jobs ·
 *           watcher
 */
#include "dispatch/dispatch.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/log.h"
#include "db/migrate.h"
#include "dispatch/intake.h"
#include "dispatch/jobs.h"
#include "dispatch/lane.h"
#include "dispatch/mailer.h"
#include "dispatch/recorder.h"
#include "dispatch/scheduler.h"
#include "dispatch/upkeep.h"
#include "dispatch/watcher.h"
#include "store/sealing.h"
#include <time.h>

#define OPEN_TIMEOUT_MS 10000

struct dispatch {
    const struct settings *settings;
    struct keyring *keyring;
    struct guard *guard;
    struct roster *roster;
    struct sightings *sightings;
    struct budget budget;
    struct pulse pulse;
    struct recorder *recorder;
    struct lane **lanes;
    int lane_count;
    struct watcher *watcher;
    struct scheduler *scheduler;
    struct intake *intake;
    struct upkeep *upkeep;
    struct mailer *mailer; /* NULL: there is no mail server */
    struct jobs *jobs;
};

static enum status check_database(const struct settings *settings, struct error *error) {
    struct connection *connection = connection_new(settings->database_url, "hookcast start");
    enum status status = connection_open(connection, OPEN_TIMEOUT_MS, error);
    if (status == STATUS_OK)
        status = migrate_check(connection, MIGRATE_SCHEMA_VERSION, error);
    if (status == STATUS_INVALID)
        status = STATUS_FAILED; /* the schema's fault, no setting's */
    connection_free(&connection);
    return status;
}

static void on_lost(void *ctx) {
    struct dispatch *dispatch = ctx;
    queue_push(intake_queue(dispatch->intake), &message_new(MESSAGE_LOST)->node);
}

static void on_restored(void *ctx) {
    struct dispatch *dispatch = ctx;
    watcher_reload(dispatch->watcher);
    on_lost(ctx);
}

static enum status make_lanes(struct dispatch *dispatch, struct error *error) {
    dispatch->lanes = mem_calloc((size_t)dispatch->settings->lanes, sizeof(struct lane *));
    for (int i = 0; i < dispatch->settings->lanes; i++) {
        struct lane_settings lane = {
            .settings = dispatch->settings,
            .guard = dispatch->guard,
            .keyring = dispatch->keyring,
            .recorder = dispatch->recorder,
            .jobs = dispatch->jobs,
            .budget = &dispatch->budget,
            .pulse = &dispatch->pulse,
            .number = i,
        };
        enum status status = lane_new(&lane, &dispatch->lanes[i], error);
        if (status != STATUS_OK) {
            error_context(error, "HOOKCAST_CA_FILE or HOOKCAST_SOURCE_ADDRESS");
            return status;
        }
        dispatch->lane_count++;
    }
    recorder_set_lanes(dispatch->recorder, dispatch->lanes, dispatch->lane_count);
    return STATUS_OK;
}

static enum status make_threads(struct dispatch *dispatch, struct error *error) {
    const struct settings *settings = dispatch->settings;
    struct uuid process_id = uuid_new(clock_wall_ms());
    struct recorder_settings recorder = {
        .settings = settings,
        .budget = &dispatch->budget,
        .pulse = &dispatch->pulse,
        .process_id = process_id,
        .on_restored = on_restored,
        .on_lost = on_lost,
        .ctx = dispatch,
    };
    dispatch->recorder = recorder_new(&recorder);
    struct jobs_settings jobs = {settings, dispatch->roster, process_id, dispatch->sightings};
    dispatch->jobs = jobs_new(&jobs);
    enum status status = make_lanes(dispatch, error);
    if (status != STATUS_OK)
        return status;
    struct watcher_settings watcher = {settings, dispatch->roster, dispatch->lanes, dispatch->lane_count};
    dispatch->watcher = watcher_new(&watcher);
    struct scheduler_settings scheduler = {settings,        dispatch->roster,     dispatch->recorder,
                                           dispatch->lanes, dispatch->lane_count, &dispatch->pulse,
                                           process_id,      &dispatch->budget};
    dispatch->scheduler = scheduler_new(&scheduler);
    dispatch->upkeep = upkeep_new(settings);
    if (*settings->smtp_url)
        dispatch->mailer = mailer_new(settings, dispatch->keyring);
    struct intake_settings intake = {settings,         dispatch->roster,     dispatch->recorder,
                                     dispatch->lanes,  dispatch->lane_count, &dispatch->budget,
                                     &dispatch->pulse, dispatch->sightings};
    status = intake_new(&intake, &dispatch->intake, error);
    if (status != STATUS_OK)
        error_context(error, "HOOKCAST_KAFKA_CONF or HOOKCAST_TOPICS");
    return status;
}

enum status dispatch_new(const struct settings *settings, struct dispatch **ret_dispatch, struct error *error) {
    struct dispatch *dispatch = mem_calloc(1, sizeof(*dispatch));
    dispatch->settings = settings;
    dispatch->roster = roster_new();
    dispatch->sightings = sightings_new();
    atomic_init(&dispatch->pulse.processes, 1);
    enum status status = sealing_keyring(settings, &dispatch->keyring, error);
    if (status == STATUS_OK && (status = guard_new(settings->allow_nets, &dispatch->guard, error)) != STATUS_OK)
        error_context(error, "HOOKCAST_ALLOW_NETS");
    if (status == STATUS_OK)
        status = make_threads(dispatch, error);
    if (status == STATUS_OK)
        status = check_database(settings, error);
    if (status == STATUS_OK)
        *ret_dispatch = dispatch;
    else
        dispatch_free(&dispatch);
    return status;
}

void dispatch_start(struct dispatch *dispatch) {
    recorder_start(dispatch->recorder);
    jobs_start(dispatch->jobs);
    for (int i = 0; i < dispatch->lane_count; i++)
        lane_start(dispatch->lanes[i]);
    watcher_start(dispatch->watcher);
    upkeep_start(dispatch->upkeep);
    if (dispatch->mailer)
        mailer_start(dispatch->mailer);
    scheduler_start(dispatch->scheduler);
    intake_start(dispatch->intake);
}

static int64_t lanes_waiting(const struct dispatch *dispatch) {
    int64_t waiting = 0;
    for (int i = 0; i < dispatch->lane_count; i++)
        waiting += lane_waiting(dispatch->lanes[i]);
    return waiting;
}

void dispatch_stop(struct dispatch *dispatch) {
    int64_t began_ms = clock_mono_ms(), deadline_ms = began_ms + dispatch->settings->drain_timeout_ms;
    log_info("dispatch", "stopping: giving the partitions up and finishing what is under way");
    intake_stop(dispatch->intake, deadline_ms);
    scheduler_stop(dispatch->scheduler);
    /* What is under way has rows by now; every answer that still comes saves sending it again. */
    int64_t flush_ms = dispatch->settings->drain_timeout_ms / 5;
    while (lanes_waiting(dispatch) > 0 && clock_mono_ms() < deadline_ms - flush_ms) {
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    for (int i = 0; i < dispatch->lane_count; i++)
        lane_stop(dispatch->lanes[i]);
    recorder_stop(dispatch->recorder, deadline_ms);
    jobs_stop(dispatch->jobs);
    if (dispatch->mailer)
        mailer_stop(dispatch->mailer);
    upkeep_stop(dispatch->upkeep);
    watcher_stop(dispatch->watcher);
    log_info("dispatch", "stopped", LOG_INT("ms", clock_mono_ms() - began_ms));
}

void dispatch_free(struct dispatch **dispatch_ptr) {
    struct dispatch *dispatch = *dispatch_ptr;
    *dispatch_ptr = NULL;
    if (!dispatch)
        return;
    intake_free(&dispatch->intake);
    scheduler_free(&dispatch->scheduler);
    for (int i = 0; i < dispatch->lane_count; i++)
        lane_free(&dispatch->lanes[i]);
    mem_free(dispatch->lanes);
    recorder_free(&dispatch->recorder);
    watcher_free(&dispatch->watcher);
    mailer_free(&dispatch->mailer);
    upkeep_free(&dispatch->upkeep);
    jobs_free(&dispatch->jobs);
    sightings_free(&dispatch->sightings);
    roster_free(&dispatch->roster);
    guard_free(&dispatch->guard);
    keyring_free(&dispatch->keyring);
    mem_free(dispatch);
}

bool dispatch_is_ready(struct dispatch *dispatch, struct error *why) {
    const char *missing = NULL;
    if (!pulse_is_fresh(&dispatch->pulse, clock_mono_ms()))
        missing = "PostgreSQL does not take rows";
    else if (!roster_is_loaded(dispatch->roster))
        missing = "the subscriptions are not loaded yet";
    else if (!intake_is_ready(dispatch->intake))
        missing = "Kafka's group has not given partitions yet";
    if (missing)
        (void)error_set(why, STATUS_UNAVAILABLE, "%s", missing);
    return missing == NULL;
}
