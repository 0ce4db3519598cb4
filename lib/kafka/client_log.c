#include "kafka/client_log.h"

#include "base/clock.h"
#include "core/log.h"

/* What happens to connections, and that an old (or the in-memory) broker may make topics by being asked about them. */
static const char *const QUIET_KINDS[] = {"FAIL", "ERROR", "REQTMOUT", "BRKDOWN", "HBFAIL", "SESSTMOUT", "AUTOCREATE"};

static bool is_quiet(const char *kind) {
    for (size_t i = 0; i < sizeof(QUIET_KINDS) / sizeof(QUIET_KINDS[0]); i++)
        if (strcmp(QUIET_KINDS[i], kind) == 0)
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
    if (level >= 7) { /* asked for by the property "debug" */
        log_debug("kafka", "librdkafka says", LOG_TEXT("kind", kind), LOG_TEXT("text", text));
        return;
    }
    int64_t now_ms = clock_mono_ms();
    struct client_log_kind *slot = slot_of(log, kind);
    if (slot->last_ms != 0 && now_ms - slot->last_ms < CLIENT_LOG_INTERVAL_MS) {
        slot->left_out++;
        return;
    }
    /* syslog: 4 is a warning, less is worse. */
    enum log_level as = level <= 4 && !is_quiet(kind) ? LOG_WARN : LOG_DEBUG;
    struct log_field fields[] = {LOG_TEXT("kind", kind), LOG_TEXT("text", text), LOG_INT("left_out", slot->left_out)};
    log_write(as, "kafka", "librdkafka says", fields, slot->left_out > 0 ? 3 : 2);
    slot->last_ms = now_ms;
    slot->left_out = 0;
}
