/* A mail's way: claimed under a lease ─▶ sent ─▶ deleted, or due again, or given up. What became of one is kept until
 * it is written, also when PostgreSQL is away meanwhile: only a mailer that is killed right after the server took a
 * mail leaves it to be sent again, under the same Message-ID. */
#include "dispatch/mailer.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "core/log.h"
#include "core/metrics.h"
#include "dispatch/mail_text.h"
#include "net/mail.h"
#include "store/export_link.h"
#include "store/mails.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_EVERY_MS 1000
#define AGAIN_MS 5000 /* after something did not work */
#define SEND_TIMEOUT_MS 30000
#define LEASE_MS 60000       /* longer than sending takes */
#define CALL_TIMEOUT_MS 5000 /* so long may stopping wait for PostgreSQL, so that what was sent is not sent again */
#define MINUTE_MS 60000LL

enum fate { FATE_NONE, FATE_FINISH, FATE_RETRY };

struct mailer {
    const struct settings *settings;
    const struct keyring *keyring;
    struct connection *connection;
    pthread_t thread;
    int wake_fd;
    _Atomic bool stopping;
    bool away, refused; /* said so in the log */
    enum fate fate;     /* what is to be written of the mail `settled` */
    struct mails_row settled;
    int64_t retry_in_ms;
    struct metric *sent, *failed, *given_up;
};

struct mailer *mailer_new(const struct settings *settings, const struct keyring *keyring) {
    struct mailer *mailer = mem_calloc(1, sizeof(*mailer));
    mailer->settings = settings;
    mailer->keyring = keyring;
    mailer->connection = connection_new(settings->database_url, "hookcast mailer");
    connection_set_timeout(mailer->connection, CALL_TIMEOUT_MS);
    mailer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(mailer->wake_fd >= 0);
    static const char NAME[] = "hookcast_mails_total", HELP[] = "Mails by what became of them.";
    mailer->sent = metrics_counter(NAME, HELP, "result=\"sent\"");
    mailer->failed = metrics_counter(NAME, HELP, "result=\"failed\"");
    mailer->given_up = metrics_counter(NAME, HELP, "result=\"given_up\"");
    return mailer;
}

/* After the first attempt, the second …; then every two hours. */
static int64_t wait_after(int attempt) {
    static const int64_t WAITS_MS[] = {1 * MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 120 * MINUTE_MS};
    size_t last = sizeof(WAITS_MS) / sizeof(WAITS_MS[0]) - 1;
    return WAITS_MS[attempt >= 1 && (size_t)attempt <= last ? (size_t)attempt - 1 : last];
}

static void settle(struct mailer *mailer, const struct mails_row *mail, enum fate fate) {
    mailer->settled = (struct mails_row){.id = mail->id, .attempt = mail->attempt};
    mailer->fate = fate;
}

static void give_up(struct mailer *mailer, const struct mails_row *mail, const struct error *error) {
    log_warn("mailer", "a mail was given up", LOG_INT("mail", mail->id), LOG_SPAN("workspace", mail->workspace_id),
             LOG_SPAN("kind", mail->kind), LOG_TEXT("error", error->text));
    metric_add(mailer->given_up, 1);
    settle(mailer, mail, FATE_FINISH);
}

static void try_again(struct mailer *mailer, const struct mails_row *mail, const struct error *error) {
    mailer->retry_in_ms = wait_after(mail->attempt);
    metric_add(mailer->failed, 1);
    if (mail->age_ms + mailer->retry_in_ms > MAILS_MAX_AGE_MS) {
        give_up(mailer, mail, error);
        return;
    }
    if (!mailer->refused)
        log_warn("mailer", "mail can't be sent; trying again", LOG_TEXT("error", error->text));
    mailer->refused = true;
    settle(mailer, mail, FATE_RETRY);
}

static enum status send_text(struct mailer *mailer, const struct mails_row *row, const char *subject, const char *text,
                             struct error *error) {
    struct buffer recipient;
    char id[64];
    buffer_init(&recipient, 1024);
    buffer_span(&recipient, row->recipient);
    (void)snprintf(id, sizeof(id), "hookcast-%lld-%lld", (long long)row->created_at_ms, (long long)row->id);
    const struct mail_server server = {mailer->settings->smtp_url, mailer->settings->ca_file, SEND_TIMEOUT_MS,
                                       &mailer->stopping};
    const struct mail mail = {
        .id = id,
        .date_ms = row->created_at_ms,
        .from = mailer->settings->mail_from,
        .to = buffer_view(&recipient).data,
        .subject = subject,
        .text = text,
    };
    enum status status = recipient.overflowed ? error_set(error, STATUS_INVALID, "its recipient is too long")
                                              : mail_send(&server, &mail, error);
    buffer_deinit(&recipient);
    return status;
}

/* Of mail on an export that is ready; nothing else has one. */
static void write_link(const struct mailer *mailer, const struct mails_row *row, struct buffer *out) {
    struct json_value id, expires;
    struct uuid job_id;
    int64_t expires_at_ms;
    if (!span_is(row->kind, "export.ready") || !json_find(row->about, SPAN_LITERAL("job_id"), &id) ||
        !json_find(row->about, SPAN_LITERAL("expires_at_ms"), &expires))
        return;
    if (id.type != JSON_STRING || uuid_parse((struct span){id.text.data + 1, id.text.len - 2}, &job_id) != STATUS_OK)
        return;
    if (expires.type != JSON_NUMBER || json_int64(expires.text, &expires_at_ms) != STATUS_OK)
        return;
    export_link_write(mailer->keyring, mailer->settings->public_url, &job_id, expires_at_ms / 1000, out);
}

static enum status compose_and_send(struct mailer *mailer, const struct mails_row *row, struct error *error) {
    struct buffer subject, text, link;
    buffer_init(&subject, MAIL_MAX_SUBJECT_BYTES);
    buffer_init(&text, MAIL_MAX_TEXT_BYTES);
    buffer_init(&link, MAIL_MAX_TEXT_BYTES);
    write_link(mailer, row, &link);
    const struct mail_about about = {row->kind, row->workspace_id, row->about, mailer->settings->public_url,
                                     link.len ? buffer_view(&link) : SPAN_NONE};
    enum status status = mail_text_write(&about, &subject, &text, error);
    if (status == STATUS_OK && (subject.overflowed || text.overflowed || link.overflowed))
        status = error_set(error, STATUS_INVALID, "it would be too long");
    if (status == STATUS_OK)
        status = send_text(mailer, row, buffer_view(&subject).data, buffer_view(&text).data, error);
    buffer_deinit(&subject);
    buffer_deinit(&text);
    buffer_deinit(&link);
    return status;
}

static void send_one(struct mailer *mailer, const struct mails_row *mail) {
    struct error error = {""};
    enum status status = compose_and_send(mailer, mail, &error);
    if (status == STATUS_OK) {
        if (mailer->refused)
            log_info("mailer", "mail is sent again");
        mailer->refused = false;
        metric_add(mailer->sent, 1);
        settle(mailer, mail, FATE_FINISH);
    } else if (atomic_load(&mailer->stopping)) {
        mailer->fate = FATE_NONE; /* due again when its lease ends */
    } else if (status == STATUS_UNAVAILABLE) {
        try_again(mailer, mail, &error);
    } else {
        give_up(mailer, mail, &error);
    }
}

static enum status write_fate(struct mailer *mailer, struct error *error) {
    enum status status = STATUS_OK;
    if (mailer->fate == FATE_FINISH)
        status = mails_finish(mailer->connection, &mailer->settled, error);
    else if (mailer->fate == FATE_RETRY)
        status = mails_retry(mailer->connection, &mailer->settled, mailer->retry_in_ms, error);
    if (status == STATUS_OK)
        mailer->fate = FATE_NONE;
    return status;
}

/* STATUS_NOT_FOUND: nothing is due. */
static enum status take_one(struct mailer *mailer, struct error *error) {
    struct result *rows = NULL;
    enum status status = STATUS_OK;
    if (!connection_is_open(mailer->connection))
        status = connection_open(mailer->connection, CALL_TIMEOUT_MS, error);
    if (status == STATUS_OK)
        status = write_fate(mailer, error);
    if (status == STATUS_OK)
        status = mails_claim(mailer->connection, LEASE_MS, &rows, error);
    if (status == STATUS_OK && result_rows(rows) == 0)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        struct mails_row mail;
        mails_row_read(rows, 0, &mail);
        send_one(mailer, &mail);
        status = write_fate(mailer, error);
    }
    result_free(&rows);
    return status;
}

/* How long to wait before the next look. */
static int look(struct mailer *mailer) {
    struct error error = {""};
    enum status status = take_one(mailer, &error);
    bool away = status != STATUS_OK && status != STATUS_NOT_FOUND;
    if (away && !mailer->away && !atomic_load(&mailer->stopping))
        log_warn("mailer", "mail waits for PostgreSQL", LOG_TEXT("error", error.text));
    mailer->away = away;
    if (away)
        connection_close(mailer->connection);
    if (away || (status == STATUS_OK && mailer->refused))
        return AGAIN_MS;
    return status == STATUS_OK ? 0 : LOOK_EVERY_MS;
}

static void *run(void *ctx) {
    struct mailer *mailer = ctx;
    (void)pthread_setname_np(pthread_self(), "mailer");
    while (!atomic_load(&mailer->stopping)) {
        int wait_ms = look(mailer);
        struct pollfd wake = {.fd = mailer->wake_fd, .events = POLLIN};
        (void)poll(&wake, 1, wait_ms);
    }
    return NULL;
}

void mailer_start(struct mailer *mailer) {
    CHECK(pthread_create(&mailer->thread, NULL, run, mailer) == 0);
}

void mailer_stop(struct mailer *mailer) {
    uint64_t one = 1;
    atomic_store(&mailer->stopping, true);
    if (write(mailer->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is full: it is awake already. */
    }
    CHECK(pthread_join(mailer->thread, NULL) == 0);
}

void mailer_free(struct mailer **mailer_ptr) {
    struct mailer *mailer = *mailer_ptr;
    *mailer_ptr = NULL;
    if (!mailer)
        return;
    connection_free(&mailer->connection);
    close(mailer->wake_fd);
    mem_free(mailer);
}
