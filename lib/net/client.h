/* Sends webhooks: libcurl's multi interface on a loop, in shards by host. It has no queue: what is handed to it starts
 * at once, and how many are under way is the caller's decision. One loop, one thread.
 *
 *   client ── shard (curl multi; by host hash) ── exchange (easy handle, its response) ── socket on the loop
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/buffer.h"
#include "core/loop.h"
#include "net/guard.h"

struct client;

struct client_settings {
    const struct guard *guard;
    bool allow_http;
    const char *ca_file;        /* "": the system's */
    const char *source_address; /* "": any */
    size_t
        response_body_limit_bytes; /* kept; 256 KiB more is read and thrown away, past that the connection is closed */
    size_t
        shards; /* 64 when 0: one that no host fell to costs nothing; a finished exchange costs by hosts in a shard */
    /* Name look-ups under way, 32 when 0, and two for one name, those included that outlive their exchange. The next
     * exchange that needs one ends with CLIENT_TOO_MANY_LOOKUPS. */
    size_t max_lookups;
};

/* Why an exchange ended: the closed list of error codes that the log shows (client_result_name). */
enum client_result {
    CLIENT_ANSWERED,         /* there is a status code, whatever it is */
    CLIENT_TIMEOUT,          /* the deadline of the whole exchange */
    CLIENT_DNS,              /* the name has no address */
    CLIENT_CONNECT,          /* refused, unreachable */
    CLIENT_TLS,              /* handshake or certificate */
    CLIENT_ADDRESS_REFUSED,  /* the guard said no */
    CLIENT_RESET,            /* closed or broken before a whole answer */
    CLIENT_BAD_RESPONSE,     /* not HTTP, or too many header bytes */
    CLIENT_BAD_URL,          /* not an http(s) URL, or http where it is not allowed */
    CLIENT_TOO_MANY_LOOKUPS, /* not tried; a little later it may be */
    CLIENT_CANCELLED,        /* client_cancel */
};
const char *client_result_name(enum client_result result); /* "timeout", "address_refused" … */

struct client_header {
    struct span line; /* as client_header_line writes it, NUL-terminated behind its length */
};
/* Appends a header's line: the value without control characters, of which a line break would begin another header, and
 * in curl's way where there is no value. */
void client_header_line(struct span name, struct span value, struct buffer *out);

/* All borrowed until the answer, and never changed meanwhile. */
struct client_request {
    const char *url;
    const struct client_header *headers; /* all of them; the client adds host and content-length alone */
    size_t header_count;
    struct span body;
    int64_t timeout_ms; /* look-up, connect, TLS, sending, answer */
};

struct client_response {
    enum client_result result;
    int status_code;        /* 0 unless CLIENT_ANSWERED: half an answer counts for nothing */
    struct span body;       /* what was kept, valid during the callback */
    size_t body_bytes;      /* what came in all, as far as it was read */
    int64_t retry_after_ms; /* from Retry-After (seconds or date), -1: absent or senseless */
    int64_t duration_us;
    bool new_connection;
    char detail[256]; /* for people: "Connection refused", the guard's reason, … */
};

/* In the loop, never from within client_send. */
typedef void client_done_fn(void *ctx, const struct client_response *response);

MUST_USE enum status client_new(struct loop *loop, const struct client_settings *settings, struct client **ret_client,
                                struct error *error);
/* Cuts off what is under way without calling back. Not from a client_done_fn. */
void client_free(struct client **client);

struct exchange; /* until its done returns */
struct exchange *client_send(struct client *client, const struct client_request *request, client_done_fn *done,
                             void *ctx);
/* Ends it with CLIENT_CANCELLED, calling back from the loop's next round. */
void client_cancel(struct client *client, struct exchange *exchange);

size_t client_in_flight(const struct client *client);
size_t client_open_connections(const struct client *client);

/* Checks a URL as client_send would: scheme, host, no credentials, length up to 2,048. error says what is wrong. */
MUST_USE enum status client_check_url(const char *url, bool allow_http, struct error *error);

#endif
