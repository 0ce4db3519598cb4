/* An HTTP/1.1 server (libmicrohttpd) driven from a loop: it parses, bounds and hands over whole requests, and sends
 * what it is given. A request may be answered at once or later (`server_respond` from the same loop), so a handler that
 * needs the database can work elsewhere. One loop, one thread. TLS belongs to a proxy. */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "base/buffer.h"
#include "core/loop.h"

struct server;
struct request; /* one request; lives until it is answered */

/* In the loop. */
typedef void server_handler_fn(void *ctx, struct request *request);

struct server_settings {
    const char *listen;      /* "127.0.0.1:8080", "[::1]:8080", "*:8080", "127.0.0.1:0" for a free port */
    size_t max_body_bytes;   /* a larger one is 413, before it is read when it tells its length; over 1 MiB more: cut */
    size_t max_connections;  /* 1,024 when 0 */
    int64_t idle_timeout_ms; /* 60 s when 0 */
    server_handler_fn *handler;
    void *ctx;
};

MUST_USE enum status server_open(struct loop *loop, const struct server_settings *settings, struct server **ret_server,
                                 struct error *error);
/* What was not answered is cut off: nobody may answer it any more. Not from a handler. */
void server_close(struct server **server);
int server_port(const struct server *server);
/* Stops accepting; what is under way goes on. */
void server_quiesce(struct server *server);

const char *request_method(const struct request *request);
struct span request_path(const struct request *request); /* as it came, without the query; router_find decodes */
struct span request_query(const struct request *request, const char *name); /* decoded; SPAN_NONE: absent */
typedef void request_query_fn(void *ctx, struct span name, struct span value);
void request_each_query(const struct request *request, request_query_fn *fn, void *ctx);
struct span request_header(const struct request *request, const char *name); /* SPAN_NONE: absent */
struct span request_body(const struct request *request);
const char *request_id(const struct request *request); /* x-request-id as it came when it is sane, else a new one */

/* A header of the answer. One with a line break in its value is left out. */
void request_set_header(struct request *request, const char *name, const char *value);
/* Answers, once, and ends the request. The body is copied. content_type NULL: no body. Every answer carries
 * x-request-id. */
void request_respond(struct request *request, int status, const char *content_type, struct span body);
/* Answers with a body of unknown length, chunk by chunk: next fills out (empty: the end; false: cut the connection).
 * Called in the loop whenever the client can take more. */
typedef bool request_stream_fn(void *ctx, struct buffer *out);
typedef void request_stream_end_fn(void *ctx);
void request_respond_stream(struct request *request, int status, const char *content_type, request_stream_fn *next,
                            request_stream_end_fn *end, void *ctx);

/* The same where the chunks are made elsewhere, and where their length (0: unknown) may be told to the client before:
 * whenever the client can take more and nothing is left, want is called, once, and stream_feed or stream_cut answers
 * it, at once or later; nothing else waits meanwhile. All in the loop. end is called when the client has all, or has
 * gone away; then the stream is no more, whether a chunk is owed or not. */
struct stream;
typedef void request_stream_want_fn(void *ctx);
struct stream *request_respond_fed(struct request *request, int status, const char *content_type, int64_t length,
                                   request_stream_want_fn *want, request_stream_end_fn *end, void *ctx);
/* Takes the chunk's bytes and leaves it empty. last: it is the last one. Also once before the first want. */
void stream_feed(struct stream *stream, struct buffer *chunk, bool last);
/* Nothing more comes, and the client is to see that something is missing. */
void stream_cut(struct stream *stream);

#endif
