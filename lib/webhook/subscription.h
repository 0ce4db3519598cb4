/* One version of a subscription, as the process keeps it: immutable, packed into one allocation (there may be a
 * million), reference-counted with atomics. What all versions of it share is its gate. */
#ifndef WEBHOOK_SUBSCRIPTION_H
#define WEBHOOK_SUBSCRIPTION_H

#include "base/id.h"
#include <stdatomic.h>

#define SUBSCRIPTION_MAX_TYPES 100
#define SUBSCRIPTION_MAX_RETRIES 32
#define SUBSCRIPTION_MAX_WORKSPACE_BYTES 200
#define SUBSCRIPTION_MAX_PATTERN_BYTES 200
#define SUBSCRIPTION_MAX_URL_BYTES 2048
#define SUBSCRIPTION_MAX_NAME_BYTES 1024 /* workspace name, created_by, updated_by */
#define SUBSCRIPTION_MAX_FORMAT_BYTES 64
#define SUBSCRIPTION_MAX_HEADER_NAME_BYTES 200
#define SUBSCRIPTION_MAX_SECRETS_BYTES (8 * 1024)  /* sealed */
#define SUBSCRIPTION_MAX_HEADERS_BYTES (16 * 1024) /* sealed */
#define SUBSCRIPTION_MAX_TEMPLATE_BYTES (64 * 1024)
#define SUBSCRIPTION_MAX_DELAY_MS (30 * 24 * 3600 * 1000LL)
#define SUBSCRIPTION_MAX_BATCH_EVENTS 1000
#define SUBSCRIPTION_MIN_BATCH_BYTES 1024
#define SUBSCRIPTION_MAX_BATCH_BYTES (1024 * 1024)
#define SUBSCRIPTION_MAX_BATCH_WAIT_MS (24 * 3600 * 1000LL)
#define SUBSCRIPTION_BATCH_EVENTS 100        /* where the row says nothing: */
#define SUBSCRIPTION_BATCH_BYTES (64 * 1024) /* … of the records' own bytes, and of the body */
#define SUBSCRIPTION_BATCH_WAIT_MS 5000

struct filter;

enum subscription_status { SUBSCRIPTION_ACTIVE, SUBSCRIPTION_PAUSED, SUBSCRIPTION_DISABLED, SUBSCRIPTION_DELETED };
enum delivery_mode { DELIVERY_IMMEDIATE, DELIVERY_DELAYED, DELIVERY_BATCHED };
enum signature_style { SIGNATURE_STANDARD, SIGNATURE_HEX, SIGNATURE_BOTH, SIGNATURE_NONE };

/* How the sending side of an endpoint stands, for those in other threads who decide where a delivery goes. Written by
 * its lane (slots, behind, whole, wanted, batch_growth), by intake (queued up) and by the scheduler (held, part). Lives
 * as long as a version refers to it. */
struct gate {
    _Atomic int refs;
    _Atomic int32_t queued; /* deliveries handed to the lane and not yet started */
    _Atomic int32_t slots;  /* due rows that the lane would start at once; of a new gate what an endpoint starts with */
    _Atomic bool behind;    /* deliveries wait for the endpoint, not for the lane, and not for a moment only */
    _Atomic bool held;      /* new deliveries go to the schedule as held rows */
    /* Of limits of the subscription's own (webhook/share.h). */
    _Atomic uint8_t part; /* enum share_part: what this process may use */
    _Atomic bool whole;   /* more than this process's share is in use */
    _Atomic bool wanted;  /* more than this process's share would be of use */
    /* How much longer than their records' values the bodies of batches are: thousandths; 0: not known. */
    _Atomic int32_t batch_growth;
};

/* What a version is made from; everything is copied. */
struct subscription_spec {
    struct uuid id;
    struct span workspace_id;
    struct span workspace_name; /* SPAN_NONE: none */
    enum subscription_status status;
    int64_t version;                /* grows with every change of the row */
    int64_t activation;             /* grows each time it becomes active */
    int64_t render_version;         /* id of the render_versions row that bodies are made with */
    const struct span *event_types; /* types, "prefix.*", "*" */
    size_t event_type_count;
    struct span url;
    struct span format;          /* name of a built-in format; "custom": template */
    struct span format_template; /* SPAN_NONE unless custom */
    enum signature_style signature_style;
    struct span signature_header; /* of the hex style; SPAN_NONE: "x-hookcast-signature" */
    struct span
        sealed_secrets; /* keyring-sealed JSON array of {"secret","until_ms"|null}, newest first; SPAN_NONE: none */
    struct span sealed_headers; /* keyring-sealed JSON object of the subscription's own headers; SPAN_NONE: none */
    struct span created_by, updated_by; /* SPAN_NONE: null */
    int32_t timeout_ms;                 /* 0: the setting */
    int32_t max_in_flight;              /* 0: the default */
    int32_t rate_per_second;            /* 0: none */
    enum delivery_mode delivery_mode;
    int64_t delay_ms;                 /* DELIVERY_DELAYED */
    int32_t batch_max_events;         /* 0: the default, here and below */
    int32_t batch_max_bytes;          /* of a body; one event alone may be longer */
    int64_t batch_max_wait_ms;        /* from the arrival of a batch's first event */
    struct span filter;               /* JSON; SPAN_NONE: none */
    const int64_t *retry_schedule_ms; /* NULL: the setting; count may be 0: never retried */
    size_t retry_count;
};

/* What the packed bytes hold, in this order. */
enum subscription_text {
    SUBSCRIPTION_URL, /* with a NUL */
    SUBSCRIPTION_WORKSPACE_ID,
    SUBSCRIPTION_WORKSPACE_NAME,
    SUBSCRIPTION_TYPES, /* each with its length before it, in one byte */
    SUBSCRIPTION_FORMAT,
    SUBSCRIPTION_SIGNATURE_HEADER,
    SUBSCRIPTION_RETRIES, /* int64_t each, not aligned */
    SUBSCRIPTION_CREATED_BY,
    SUBSCRIPTION_UPDATED_BY,
    SUBSCRIPTION_SECRETS,
    SUBSCRIPTION_HEADERS,
    SUBSCRIPTION_TEMPLATE,
    SUBSCRIPTION_TEXTS,
};

struct subscription {
    _Atomic int refs;
    uint32_t packed_bytes;
    struct gate *gate;
    struct uuid id;
    int64_t version, activation, render_version;
    int32_t timeout_ms, max_in_flight, rate_per_second;
    int32_t batch_max_events, batch_max_bytes; /* never 0 */
    int64_t wait_ms;                           /* DELAYED: the delay; BATCHED: the longest wait for a batch */
    struct filter *filter;                     /* NULL: takes every event of its types */
    uint8_t status;                            /* enum subscription_status */
    uint8_t signature_style;                   /* enum signature_style */
    uint8_t delivery_mode;                     /* enum delivery_mode */
    uint8_t event_type_count;
    uint8_t retry_count;
    bool own_retry_schedule;
    bool same_author; /* updated_by is created_by, and kept once */
    /* The packed bytes; use the functions below. Text i ends at ends[i], where i + 1 begins; the last one, which may be
     * longer than 16 bits can say, at packed_bytes. */
    uint16_t present; /* bit i: text i is not absent */
    uint16_t ends[SUBSCRIPTION_TEXTS - 1];
    char packed[];
};

/* gate: of the version before (a reference is added), or NULL for a new one. One reference. STATUS_INVALID names the
 * field that does not fit (too many types, a text too long, a pattern that is none). Having no type at all is fine: it
 * takes nothing. */
MUST_USE enum status subscription_new(const struct subscription_spec *spec, struct gate *gate,
                                      struct subscription **ret_subscription, struct error *error);
struct subscription *subscription_ref(struct subscription *subscription);
void subscription_unref(struct subscription **subscription);
/* The allocation and its gate. */
size_t subscription_footprint_bytes(const struct subscription *subscription);

struct span subscription_workspace_id(const struct subscription *subscription);
struct span subscription_workspace_name(const struct subscription *subscription);
const char *subscription_url(const struct subscription *subscription); /* NUL-terminated */
struct span subscription_event_type(const struct subscription *subscription, size_t index);
/* All event_type_count of them, in order; out has room. */
void subscription_event_types(const struct subscription *subscription, struct span *out);
/* Their packed bytes: equal for two subscriptions exactly when their types are, order included. */
struct span subscription_packed_types(const struct subscription *subscription);
struct span subscription_format(const struct subscription *subscription);
struct span subscription_template(const struct subscription *subscription);
struct span subscription_signature_header(const struct subscription *subscription);
struct span subscription_sealed_secrets(const struct subscription *subscription);
struct span subscription_sealed_headers(const struct subscription *subscription);
struct span subscription_created_by(const struct subscription *subscription);
struct span subscription_updated_by(const struct subscription *subscription);
size_t subscription_retry_schedule(const struct subscription *subscription, int64_t *out, size_t max);

/* Whether one of its patterns takes the type. */
bool subscription_takes(const struct subscription *subscription, struct span event_type);

/* The schedule's bucket: first byte of SHA-256(workspace, NUL, subscription id as text) mod 16. It stands in the
 * database: every process and version must come to the same. */
int subscription_bucket(struct span workspace_id, const struct uuid *id);
/* Chooses the lane: a hash of the id, the same at each call, well spread in every bit. */
uint32_t subscription_lane_hash(const struct uuid *id);

/* A pattern is "*", "prefix.*" or a type. "a.*" takes "a.b" and "a.b.c", neither "a" nor "a.". */
bool subscription_pattern_valid(struct span pattern);
bool subscription_pattern_takes(struct span pattern, struct span event_type);

#endif
