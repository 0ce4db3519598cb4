#include "client_log.h"

#include "base/clock.h"
#include "core/log.h"

static const char *const CONNECTION_KINDS[] = {"FAIL", "ERROR", "REQTMOUT", "BRKDOWN", "HBFAIL", "SESSTMOUT"};

static bool of_connection(const char *kind) {
    for (size_t i = 0; i < sizeof(CONNECTION_KINDS) / sizeof(CONNECTION_KINDS[0]); i++)
        if (strcmp(CONNECTION_KINDS[i], kind) == 0)
            return true;
    return false;
}

/* The slot of this kind, or the one that was used longest ago. */
static struct client_log_kind *slot_of(struct client_log *log, const char *name) {
    struct client_log_kind *oldest = &log->kinds[0];
    for (size_t i = 0; i < CLIENT_LOG_KINDS; i++) {
        struct client_log_kind *kind = &log->kinds[i];
        if (strncmp(kind->name, name, sizeof(kind->name) - 1) == 0)
            return kind;
        if (kind->last_ms < oldest->last_ms)
            oldest = kind;
    }
    memset(oldest, 0, sizeof(*oldest));
    memcpy(oldest->name, name, strnlen(name, sizeof(oldest->name) - 1));
    return oldest;
}

void client_log_line(struct client_log *log, int level, const char *kind, const char *text) {
    int64_t now_ms = clock_mono_ms();
    struct client_log_kind *slot = slot_of(log, kind);
    if (slot->last_ms != 0 && now_ms - slot->last_ms < CLIENT_LOG_INTERVAL_MS) {
        slot->left_out++;
        return;
    }
    /* syslog: 4 is a warning, less is worse. */
    enum log_level as = level <= 4 && !of_connection(kind) ? LOG_WARN : LOG_DEBUG;
    struct log_field fields[] = {LOG_TEXT("kind", kind), LOG_TEXT("text", text), LOG_INT("left_out", slot->left_out)};
    log_write(as, "kafka", "librdkafka says", fields, slot->left_out > 0 ? 3 : 2);
    slot->last_ms = now_ms;
    slot->left_out = 0;
}
