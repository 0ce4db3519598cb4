/* A call: one request on its way through the API. The loop makes it, a worker answers it, the loop sends the answer and
 * frees it; it belongs to whoever has it. Everything that a worker reads of the request is in the call. */
#ifndef API_CALL_H
#define API_CALL_H

#include "base/arena.h"
#include "core/queue.h"
#include "net/router.h"
#include "store/keys.h"

struct json_t; /* jansson's */
struct call;
struct exporter;
struct keyring;
struct prober;
struct publisher;
struct settings;

/* In a worker (CALL_AT_ONCE: in the loop). Ends with one of the call_… functions that answer. */
typedef void call_fn(struct call *call);

enum call_flag {
    CALL_PUBLIC = 1,             /* without a key */
    CALL_BODY = 2,               /* wants a JSON object */
    CALL_BODY_MAY = 4,           /* takes one, or none */
    CALL_SECRET_READ = 8,        /* a GET that a read-only key may not do */
    CALL_BODY_UNREAD = 16,       /* wants JSON that the handler reads itself, from `body` */
    CALL_AT_ONCE = 32,           /* answered by the loop itself: it has no database and waits for nothing; public */
    CALL_ADMIN = 64,             /* for admin keys alone */
    CALL_WORKSPACE_MAY_BE = 128, /* an admin key may name a workspace that is not there */
    CALL_SLOW = 256,             /* may wait for somebody else, or take long: has workers of its own */
    CALL_MESSAGE = 512,          /* of a dialect: an error has a `message` too */
    CALL_SUCCESS = 1024,         /* and `success: false` */
    CALL_KAFKA = 2048,           /* waits for Kafka: has workers of its own */
    CALL_TOGETHER = 4096         /* calls that wait at the same time may come as a chain (`with`); only what reads */
};

/* As many may be in a chain. */
#define CALL_TOGETHER_MAX 16

struct api_route {
    const char *method;
    const char *path; /* with {workspace_id} where it is of a workspace */
    call_fn *fn;
    unsigned flags; /* enum call_flag */
};

/* In a worker, any one, each time that the client can take more: appends the next piece to `answer`, and says when it
 * was the last (call_stream_end) or can't be made (call_stream_fail). */
typedef void call_piece_fn(struct call *call, void *state);
typedef void call_piece_free_fn(void *state);

#define CALL_MAX_QUERY 32
#define CALL_MAX_HEADERS 4

struct call {
    struct queue_node node; /* first: how it travels */
    struct request *request;
    const struct api_route *route;
    const struct settings *settings;
    const struct keyring *keyring;
    struct publisher *publisher;
    struct prober *prober;
    struct exporter *exporter;
    int64_t began_us;
    struct arena *arena; /* for whatever lives as long as the call */

    /* What came. */
    const char *id; /* x-request-id */
    struct span method, path;
    struct route_params params;
    struct span query_names[CALL_MAX_QUERY], query_values[CALL_MAX_QUERY];
    size_t query_count;
    bool query_full;
    struct span key; /* SPAN_NONE: none */
    struct span workspace_header;
    struct span content_type;
    struct span idempotency_key, traceparent, tracestate, if_match; /* SPAN_NONE: absent */
    struct span body;

    /* For the handler. */
    struct connection *connection;
    struct key_grant grant;
    struct span workspace_id; /* SPAN_NONE: an admin key that named none */
    struct call *with;        /* CALL_TOGETHER: the chain's next; what is left unanswered comes again, alone */
    struct json_t *json;      /* the body's object; NULL: none */
    struct json_t *errors;    /* NULL, or an array of {"field","message"} */

    /* The answer; status 0: not yet. */
    int status;
    const char *type; /* NULL: no body */
    struct buffer answer;
    struct {
        const char *name, *value;
    } headers[CALL_MAX_HEADERS];
    size_t header_count;
    struct {
        call_piece_fn *next; /* NULL: `answer` is the end */
        call_piece_free_fn *free;
        void *state;
        int64_t length; /* of all pieces, in bytes; 0: not known beforehand */
        bool begun;     /* the first piece is on its way to the client */
        bool failed;    /* the client is cut off */
        void *owner;    /* api.c's */
    } stream;
};

/* In the loop. Fills in what came; the request must not be answered before the call is freed. */
struct call *call_new(struct request *request);
void call_free(struct call **call);

/* What the request says. SPAN_NONE: absent. */
struct span call_param(const struct call *call, const char *name);
struct span call_query(const struct call *call, const char *name);

/* Adds an error to each query parameter that is not among names (ended by NULL), or stands there already. */
void call_check_query(struct call *call, const char *const *names);

/* A header of the answer; the value is copied. */
void call_header(struct call *call, const char *name, struct span value);

/* Forgets the answer and what was read of the body, for another try. */
void call_reset(struct call *call);

/* Answers. json is taken; the body is compact. */
void call_answer_json(struct call *call, int status, struct json_t *json);
void call_answer_empty(struct call *call, int status);
/* Appends to the answer's body, for what is written piece by piece; call_answer_text then ends it. */
void call_write_json(struct call *call, const struct json_t *json);
void call_answer_text(struct call *call, int status, const char *type);

/* The answer so far is the first piece, and more will come; state is taken. After call_answer_text. */
void call_stream(struct call *call, call_piece_fn *next, call_piece_free_fn *free, void *state);
void call_stream_end(struct call *call);
void call_stream_fail(struct call *call, const struct error *error);

/* application/problem+json. code: a word for programs. Replaces an answer that was begun. */
void call_problem(struct call *call, int status, const char *code, const char *detail, ...) PRINTF(4, 5);
/* Adds to `errors`; answered by call_refuse. */
void call_field_error(struct call *call, const char *field, const char *message, ...) PRINTF(3, 4);
/* 422 with all field errors. */
void call_refuse(struct call *call);
/* What a status of the store comes to: 404, or 503 with Retry-After (STATUS_CONFLICT: somebody else has a lock), or 500
 * with a line in the log. */
void call_failed(struct call *call, enum status status, const struct error *error);

#endif
