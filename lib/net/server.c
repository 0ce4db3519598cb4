/* libmicrohttpd without threads of its own: its epoll descriptor is watched by the loop, and MHD_run does what is
 * ready.
 *
 * The life of a request in MHD's callbacks: on_uri (the request line is there; the request is made) ─▶ on_request with
 * the headers (refuse what may be refused without the body) ─▶ on_request with each piece of the body ─▶ on_request
 * with the end: the handler is called. If that has not answered when it returns, the connection is suspended, and
 * resumed by the answer ─▶ on_request once more, which queues the answer ─▶ on_completed, where the request is freed,
 * or at the latest on_connection.
 */
#include "net/server.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/memory.h"
#include "core/log.h"
#include "net/server_listen.h"
#include <microhttpd.h>
#include <sys/queue.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS 1024
#define DEFAULT_IDLE_MS 60000
#define CONNECTION_MEMORY_BYTES (32 * 1024) /* bounds the headers, both ways */
#define DISCARD_BYTES (1024 * 1024)         /* of a body that grew too large, read so that the refusal is received */
#define STREAM_BLOCK_BYTES (32 * 1024)
#define STREAM_CHUNK_MAX_BYTES (1024 * 1024)
#define ID_MAX 64
#define STRICT (MHD_VERSION >= 0x01000000) /* before, MHD sent its refusal's head twice: start() says it better */
#define PARAMETERS_MAX 256 /* of a query: each takes of the connection's memory, and MHD has room for some 480 */

struct header {
    char *name;
    char *value;
    STAILQ_ENTRY(header) entry;
};

struct request {
    TAILQ_ENTRY(request) entry;
    struct server *server;
    struct MHD_Connection *connection;
    char *path;
    const char *method;
    struct buffer body;
    size_t body_bytes;
    char id[ID_MAX + 1];
    STAILQ_HEAD(, header) headers;
    bool bad_uri;   /* no handler is to see it */
    bool started;   /* the headers were seen */
    bool handed;    /* to the handler */
    bool suspended; /* until it is answered */
    bool answered;
    int status;
    struct MHD_Response *response; /* answered, and not queued yet */
    struct stream *stream;         /* its answer, when that is fed */
};

struct stream {
    request_stream_fn *next; /* NULL: it is fed */
    request_stream_want_fn *want;
    request_stream_end_fn *end;
    void *ctx;
    struct buffer chunk;
    size_t sent; /* of the chunk */
    /* Fed. */
    struct request *request;
    bool wanted;    /* a chunk is owed */
    bool suspended; /* until it comes */
    bool last, cut; /* what comes after the chunk: the end, a cut */
};

struct server {
    struct loop *loop;
    struct server_settings settings;
    struct MHD_Daemon *daemon;
    struct loop_watch *watch;
    struct loop_timer *timer;
    int port;
    bool quiet; /* not listening any more */
    bool closing;
    TAILQ_HEAD(, request) requests;
};

static void run(void *ctx) {
    struct server *server = ctx;
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    CHECK(MHD_run(server->daemon) == MHD_YES);
    if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
        loop_timer_start(server->timer, (int64_t)timeout_ms);
    else
        loop_timer_stop(server->timer);
}

static void on_ready(void *ctx, int events) {
    (void)events;
    run(ctx);
}

/* What came may be used as an id in logs and answers. */
static bool is_sane_id(struct span id) {
    if (id.len == 0 || id.len > ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool sane = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
                    c == '_' || c == '.' || c == ':';
        if (!sane)
            return false;
    }
    return true;
}

static size_t count_parameters(const char *uri) {
    size_t count = 1;
    for (const char *at = strchr(uri, '&'); at; at = strchr(at + 1, '&'))
        count++;
    return count;
}

/* MHD takes spaces in a URI, and where it has no room for all parameters it forgets the request without an answer: such
 * a connection is left to a timeout that is short. */
static void check_uri(struct request *request, const char *uri) {
    bool too_many = count_parameters(uri) > PARAMETERS_MAX;
    request->bad_uri = too_many || strchr(uri, ' ');
    if (too_many)
        CHECK(MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT, 1U) == MHD_YES);
}

static void *on_uri(void *ctx, const char *uri, struct MHD_Connection *connection) {
    struct server *server = ctx;
    struct request *request = mem_calloc(1, sizeof(*request));
    request->server = server;
    request->connection = connection;
    request->path = mem_strndup(uri, strcspn(uri, "?"));
    buffer_init(&request->body, server->settings.max_body_bytes);
    STAILQ_INIT(&request->headers);
    TAILQ_INSERT_TAIL(&server->requests, request, entry);
    check_uri(request, uri);
    return request;
}

static void free_request(struct request *request) {
    TAILQ_REMOVE(&request->server->requests, request, entry);
    struct header *header;
    while ((header = STAILQ_FIRST(&request->headers))) {
        STAILQ_REMOVE_HEAD(&request->headers, entry);
        mem_free(header->name);
        mem_free(header->value);
        mem_free(header);
    }
    if (request->response)
        MHD_destroy_response(request->response);
    buffer_deinit(&request->body);
    mem_free(request->path);
    mem_free(request);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request_ctx,
                         enum MHD_RequestTerminationCode why) {
    (void)ctx;
    (void)connection;
    (void)why;
    struct request *request = *request_ctx;
    *request_ctx = NULL;
    if (request)
        free_request(request);
}

/* A request that MHD refuses twice over (no room for its parameters or cookies, and then something else) is never
 * completed: its connection just ends. */
static void on_connection(void *ctx, struct MHD_Connection *connection, void **connection_ctx,
                          enum MHD_ConnectionNotificationCode what) {
    (void)connection_ctx;
    struct server *server = ctx;
    struct request *request = NULL;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        TAILQ_FOREACH (request, &server->requests, entry)
            if (request->connection == connection)
                break;
    if (request)
        free_request(request);
}

static void refuse(struct request *request, int status, const char *title, const char *detail, const char *code) {
    struct buffer body;
    buffer_init(&body, 1024);
    buffer_printf(&body,
                  "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\",\"code\":\"%s\","
                  "\"errors\":[]}",
                  title, status, detail, code);
    request_respond(request, status, "application/problem+json", buffer_view(&body));
    buffer_deinit(&body);
    /* Nobody else hears of it. */
    log_write(LOG_INFO, "server", "refused",
              (const struct log_field[]){LOG_TEXT("method", request->method), LOG_TEXT("path", request->path),
                                         LOG_INT("status", status), LOG_TEXT("code", code),
                                         LOG_TEXT("request_id", request->id)},
              5);
}

static void refuse_body(struct request *request) {
    struct buffer text;
    buffer_init(&text, 128);
    buffer_printf(&text, "The body is larger than %zu bytes.", request->server->settings.max_body_bytes);
    refuse(request, 413, "Content Too Large", text.data, "body_too_large");
    buffer_deinit(&text);
}

/* What MHD would take in silence, and what another server on the way may understand otherwise. */
struct framing {
    size_t lengths;
    size_t encodings;
    size_t hosts;
    bool bad; /* a length that is no number, an encoding that is not chunked */
    bool too_large;
    uint64_t max_bytes;
};

static void see_length(struct framing *framing, const char *value, size_t len) {
    uint64_t bytes = 0;
    framing->lengths++;
    framing->bad |= len == 0 || len > 18;
    for (size_t i = 0; i < len && !framing->bad; i++) {
        framing->bad = value[i] < '0' || value[i] > '9';
        bytes = bytes * 10 + (uint64_t)(value[i] - '0');
    }
    framing->too_large |= bytes > framing->max_bytes;
}

static enum MHD_Result see_header(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t len) {
    (void)kind;
    struct framing *framing = ctx;
    if (name_len == 14 && strncasecmp(name, "content-length", 14) == 0) {
        see_length(framing, value ? value : "", len);
    } else if (name_len == 17 && strncasecmp(name, "transfer-encoding", 17) == 0) {
        framing->encodings++;
        framing->bad |= len != 7 || strncasecmp(value, "chunked", 7) != 0;
    } else if (name_len == 4 && strncasecmp(name, "host", 4) == 0) {
        framing->hosts++;
    }
    return MHD_YES;
}

static void start(struct request *request, const char *method, const char *version) {
    struct framing framing = {.max_bytes = request->server->settings.max_body_bytes};
    request->started = true;
    request->method = method;
    struct span id = request_header(request, "x-request-id");
    if (is_sane_id(id)) {
        memcpy(request->id, id.data, id.len);
    } else {
        struct uuid fresh = uuid_new(clock_wall_ms());
        uuid_format(&fresh, request->id);
    }
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, see_header, &framing);
    if (framing.bad || framing.lengths + framing.encodings > 1)
        refuse(request, 400, "Bad Request",
               "Content-Length or Transfer-Encoding is repeated, contradictory or malformed.", "bad_framing");
    else if (framing.hosts > 1 || (framing.hosts == 0 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0))
        refuse(request, 400, "Bad Request", "A request has one Host header.", "bad_request");
    else if (request->bad_uri)
        refuse(request, 400, "Bad Request", "The URI has a space in it, or more than 256 query parameters.",
               "bad_request");
    else if (framing.too_large)
        refuse_body(request);
    else if (request->server->closing)
        refuse(request, 503, "Service Unavailable", "The server is shutting down.", "shutting_down");
}

/* False: enough was read and thrown away. */
static bool take_body(struct request *request, const char *data, size_t len) {
    size_t max = request->server->settings.max_body_bytes;
    request->body_bytes += len;
    if (request->body_bytes <= max)
        buffer_append(&request->body, data, len);
    return request->body_bytes <= max + DISCARD_BYTES;
}

static enum MHD_Result queue_answer(struct request *request) {
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned int)request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **request_ctx) {
    (void)connection;
    (void)url;
    struct server *server = ctx;
    struct request *request = *request_ctx;
    if (!request->started) {
        start(request, method, version);
        return request->response ? queue_answer(request) : MHD_YES;
    }
    if (*data_len > 0) {
        bool more = take_body(request, data, *data_len);
        *data_len = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (!request->handed) {
        request->handed = true;
        if (request->body_bytes > server->settings.max_body_bytes)
            refuse_body(request);
        else
            server->settings.handler(server->settings.ctx, request);
    }
    if (request->response)
        return queue_answer(request);
    if (!request->answered && !request->suspended) {
        request->suspended = true;
        MHD_suspend_connection(request->connection);
    }
    return MHD_YES;
}

static struct MHD_Daemon *start_daemon(struct server *server, int fd) {
    const struct server_settings *settings = &server->settings;
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, server,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
                            on_connection, server, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)settings->max_connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)((settings->idle_timeout_ms + 999) / 1000),
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
                            MHD_OPTION_STRICT_FOR_CLIENT, (int)STRICT, MHD_OPTION_END);
}

enum status server_open(struct loop *loop, const struct server_settings *settings, struct server **ret_server,
                        struct error *error) {
    int fd, port;
    enum status status = server_listen_open(settings->listen, &fd, &port, error);
    if (status != STATUS_OK)
        return status;
    struct server *server = mem_calloc(1, sizeof(*server));
    server->loop = loop;
    server->settings = *settings;
    server->settings.listen = NULL; /* the caller's, and not needed any more */
    server->port = port;
    TAILQ_INIT(&server->requests);
    if (settings->max_connections == 0)
        server->settings.max_connections = DEFAULT_CONNECTIONS;
    if (settings->idle_timeout_ms == 0)
        server->settings.idle_timeout_ms = DEFAULT_IDLE_MS;
    server->daemon = start_daemon(server, fd);
    if (!server->daemon) {
        close(fd);
        mem_free(server);
        return error_set(error, STATUS_FAILED, "the HTTP server on %s did not start", settings->listen);
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    CHECK(info);
    server->timer = loop_timer_new(loop, run, server);
    server->watch = loop_watch_new(loop, info->epoll_fd, on_ready, server);
    loop_watch_set(server->watch, LOOP_READABLE);
    *ret_server = server;
    return STATUS_OK;
}

void server_quiesce(struct server *server) {
    if (server->quiet)
        return;
    server->quiet = true;
    MHD_socket fd = MHD_quiesce_daemon(server->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

void server_close(struct server **server_pointer) {
    struct server *server = *server_pointer;
    if (!server)
        return;
    *server_pointer = NULL;
    server->closing = true;
    server_quiesce(server);
    /* MHD does not stop while a connection is suspended. */
    struct request *request;
    TAILQ_FOREACH (request, &server->requests, entry) {
        if (request->suspended)
            refuse(request, 503, "Service Unavailable", "The server is shutting down.", "shutting_down");
        else if (request->stream)
            stream_cut(request->stream);
    }
    CHECK(MHD_run(server->daemon) == MHD_YES);
    loop_watch_free(&server->watch);
    loop_timer_free(&server->timer);
    MHD_stop_daemon(server->daemon);
    CHECK(TAILQ_EMPTY(&server->requests));
    mem_free(server);
}

int server_port(const struct server *server) {
    return server->port;
}

const char *request_method(const struct request *request) {
    return request->method;
}

struct span request_path(const struct request *request) {
    return span_of(request->path);
}

static struct span look_up(const struct request *request, enum MHD_ValueKind kind, const char *name) {
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(request->connection, kind, name, strlen(name), &value, &len) != MHD_YES)
        return SPAN_NONE;
    return (struct span){value ? value : "", value ? len : 0};
}

struct span request_query(const struct request *request, const char *name) {
    return look_up(request, MHD_GET_ARGUMENT_KIND, name);
}

struct query_walk {
    request_query_fn *fn;
    void *ctx;
};

static enum MHD_Result each_query(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t len) {
    (void)kind;
    struct query_walk *walk = ctx;
    walk->fn(walk->ctx, (struct span){name, name_len}, (struct span){value ? value : "", value ? len : 0});
    return MHD_YES;
}

void request_each_query(const struct request *request, request_query_fn *fn, void *ctx) {
    struct query_walk walk = {fn, ctx};
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, each_query, &walk);
}

struct span request_header(const struct request *request, const char *name) {
    return look_up(request, MHD_HEADER_KIND, name);
}

struct span request_body(const struct request *request) {
    return buffer_view(&request->body);
}

const char *request_id(const struct request *request) {
    return request->id;
}

void request_set_header(struct request *request, const char *name, const char *value) {
    struct header *header = mem_alloc(sizeof(*header));
    header->name = mem_strdup(name);
    header->value = mem_strdup(value);
    STAILQ_INSERT_TAIL(&request->headers, header, entry);
}

/* Takes the response, and has it queued by on_request: at once when that has called the handler, else after a resume.
 */
static void answer(struct request *request, int status, const char *content_type, struct MHD_Response *response) {
    CHECK(response && !request->answered);
    if (content_type)
        CHECK(MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) == MHD_YES);
    struct header *header;
    STAILQ_FOREACH (header, &request->headers, entry) {
        /* MHD takes no value with a line break in it: such a header is left out. */
        (void)!MHD_add_response_header(response, header->name, header->value);
    }
    CHECK(MHD_add_response_header(response, "x-request-id", request->id) == MHD_YES);
    request->answered = true;
    request->status = status;
    request->response = response;
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
        loop_timer_start(request->server->timer, 0);
    }
}

void request_respond(struct request *request, int status, const char *content_type, struct span body) {
    size_t len = content_type ? body.len : 0;
    answer(request, status, content_type,
           MHD_create_response_from_buffer(len, (void *)(uintptr_t)(len ? body.data : ""), MHD_RESPMEM_MUST_COPY));
}

/* False: there is none now, and the connection waits for it. */
static bool has_fed_chunk(struct stream *stream) {
    if (!stream->last && !stream->cut && !stream->wanted) {
        stream->wanted = true;
        stream->want(stream->ctx);
    }
    if (stream->chunk.len > 0 || stream->last || stream->cut)
        return true;
    stream->suspended = true;
    MHD_suspend_connection(stream->request->connection);
    return false;
}

static ssize_t on_read(void *ctx, uint64_t position, char *out, size_t max) {
    (void)position;
    struct stream *stream = ctx;
    if (stream->sent == stream->chunk.len) {
        buffer_reset(&stream->chunk);
        stream->sent = 0;
        if (!stream->next && !has_fed_chunk(stream))
            return 0;
        if ((stream->next && !stream->next(stream->ctx, &stream->chunk)) || stream->chunk.overflowed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (stream->chunk.len == 0)
            return stream->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t len = stream->chunk.len - stream->sent;
    if (len > max)
        len = max;
    memcpy(out, stream->chunk.data + stream->sent, len);
    stream->sent += len;
    return (ssize_t)len;
}

static void on_stream_free(void *ctx) {
    struct stream *stream = ctx;
    if (stream->end)
        stream->end(stream->ctx);
    buffer_deinit(&stream->chunk);
    mem_free(stream);
}

/* MHD ends a stream with an empty chunk also where HEAD wants no body at all, which whoever reads on takes for the next
 * answer. Without chunks it is the connection that ends. */
static struct MHD_Response *streamed(struct request *request, struct stream *stream, uint64_t size) {
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, STREAM_BLOCK_BYTES, on_read, stream, on_stream_free);
    CHECK(response);
    if (size == MHD_SIZE_UNKNOWN && strcmp(request->method, "HEAD") == 0)
        CHECK(MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END) == MHD_YES);
    return response;
}

void request_respond_stream(struct request *request, int status, const char *content_type, request_stream_fn *next,
                            request_stream_end_fn *end, void *ctx) {
    struct stream *stream = mem_calloc(1, sizeof(*stream));
    stream->next = next;
    stream->end = end;
    stream->ctx = ctx;
    buffer_init(&stream->chunk, STREAM_CHUNK_MAX_BYTES);
    answer(request, status, content_type, streamed(request, stream, MHD_SIZE_UNKNOWN));
}

struct stream *request_respond_fed(struct request *request, int status, const char *content_type, int64_t length,
                                   request_stream_want_fn *want, request_stream_end_fn *end, void *ctx) {
    struct stream *stream = mem_calloc(1, sizeof(*stream));
    stream->want = want;
    stream->end = end;
    stream->ctx = ctx;
    stream->request = request;
    request->stream = stream;
    buffer_init(&stream->chunk, 1);
    answer(request, status, content_type, streamed(request, stream, length > 0 ? (uint64_t)length : MHD_SIZE_UNKNOWN));
    return stream;
}

static void go_on(struct stream *stream) {
    stream->wanted = false;
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->request->connection);
    loop_timer_start(stream->request->server->timer, 0);
}

void stream_feed(struct stream *stream, struct buffer *chunk, bool last) {
    CHECK(stream->sent == stream->chunk.len && !stream->last && !stream->cut);
    struct buffer empty = stream->chunk;
    stream->chunk = *chunk;
    *chunk = empty;
    chunk->max_bytes = stream->chunk.max_bytes;
    buffer_reset(chunk);
    stream->sent = 0;
    stream->last = last;
    go_on(stream);
}

void stream_cut(struct stream *stream) {
    stream->cut = true;
    go_on(stream);
}
