/* hookcast listen: a receiver for development. One line for each webhook, and any answer that one wants to try. */
#include "base/clock.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "command.h"
#include "listen_secrets.h"
#include "net/server.h"
#include "run.h"
#include <stdio.h>
#include <stdlib.h>

#define MAX_BODY_BYTES (16 * 1024 * 1024)
#define LAST_ANSWER_MS 100 /* for the last answer to leave */
#define TEXT_MAX_BYTES 300

enum {
    OPTION_LISTEN,
    OPTION_SECRET,
    OPTION_PUBLIC_KEY,
    OPTION_SIGNATURE_HEADER,
    OPTION_STATUS,
    OPTION_DELAY,
    OPTION_FAIL_FIRST,
    OPTION_HANG,
    OPTION_COUNT,
    OPTION_VERBOSE,
};

struct listen {
    struct loop *loop;
    struct server *server;
    struct loop_timer *end;
    struct signer *signer; /* NULL: no secret is known */
    struct listen_keys keys;
    const char *signature_header;
    int64_t status;
    int64_t delay_ms;
    int64_t fail_first;
    int64_t stop_after; /* 0: never */
    bool hang;
    bool verbose;
    int64_t received;
    int64_t answered;
    struct waiting *waiting;
};

/* A request that is answered after a delay, or at the end. */
struct waiting {
    struct listen *listen;
    struct request *request;
    struct loop_timer *timer;
    int status;
    struct waiting *next;
};

/* As it may be shown on a terminal. */
static void put_text(struct buffer *out, struct span text) {
    struct buffer clean;
    buffer_init(&clean, 4 * TEXT_MAX_BYTES);
    utf8_clean((struct span){text.data, text.len < TEXT_MAX_BYTES ? text.len : TEXT_MAX_BYTES}, &clean);
    for (size_t i = 0; i < clean.len; i++)
        buffer_char(out, (unsigned char)clean.data[i] < ' ' || clean.data[i] == 0x7f ? ' ' : clean.data[i]);
    buffer_deinit(&clean);
}

static bool count_element(void *ctx, const struct json_value *element) {
    (void)element;
    ++*(size_t *)ctx;
    return true;
}

/* Wherever the formats put the event's type. */
static void put_type(struct buffer *out, struct span body, bool batch) {
    static const char *const PATHS[] = {"value.event_type", "event_type", "type", "event"};
    struct json_value root, found;
    size_t count = 0;
    if (json_scan(body, NULL, NULL, &root, NULL) != STATUS_OK) {
        buffer_text(out, body.len ? "(not JSON)" : "(empty)");
        return;
    }
    if (batch && root.type == JSON_ARRAY) {
        json_each_element(root.text, count_element, &count);
        buffer_printf(out, "(batch of %zu)", count);
        return;
    }
    for (size_t i = 0; i < sizeof(PATHS) / sizeof(*PATHS); i++) {
        if (!json_find(root.text, span_of(PATHS[i]), &found) || found.type != JSON_STRING)
            continue;
        struct buffer text;
        buffer_init(&text, MAX_BODY_BYTES);
        json_unescape(found.text, &text);
        put_text(out, buffer_view(&text));
        buffer_deinit(&text);
        return;
    }
    buffer_text(out, "(no type)");
}

static bool parse_seconds(struct span text, int64_t *ret_seconds) {
    int64_t value = 0;
    if (text.len == 0 || text.len > 15)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *ret_seconds = value;
    return true;
}

/* By each of what is known: a secret, and a public key. */
static bool standard_is_right(const struct listen *listen, const struct request *request, struct span header) {
    struct span id = request_header(request, "webhook-id"), body = request_body(request);
    int64_t timestamp_s;
    if (!id.data || !parse_seconds(request_header(request, "webhook-timestamp"), &timestamp_s))
        return false;
    if (listen->signer && !signer_verify_standard(listen->signer, id, timestamp_s, body, header))
        return false;
    return !listen->keys.count || listen_keys_verify(&listen->keys, id, timestamp_s, body, header);
}

/* Every signature that is there must be right. */
static const char *judge_signature(const struct listen *listen, const struct request *request) {
    struct span standard = request_header(request, "webhook-signature");
    struct span hex = listen->signature_header ? request_header(request, listen->signature_header) : SPAN_NONE;
    if (!listen->signer && !listen->keys.count)
        return "not checked";
    if (!standard.data && (!hex.data || listen->keys.count))
        return "MISSING";
    if (standard.data && !standard_is_right(listen, request, standard))
        return "WRONG";
    if (hex.data && listen->signer && !signer_verify_hex(listen->signer, request_body(request), hex))
        return "WRONG";
    return "ok";
}

static void print_line(const struct listen *listen, const struct request *request, int status) {
    struct buffer line;
    struct span body = request_body(request);
    struct span id = request_header(request, "webhook-id");
    buffer_init(&line, MAX_BODY_BYTES + 64 * 1024);
    clock_format_iso(clock_wall_ms(), &line);
    buffer_text(&line, "  ");
    put_type(&line, body, request_header(request, "webhook-batch-size").data != NULL);
    buffer_text(&line, "  ");
    put_text(&line, id.data ? id : SPAN_LITERAL("(no id)"));
    buffer_printf(&line, "  signature %s  %zu bytes  ", judge_signature(listen, request), body.len);
    if (listen->hang)
        buffer_text(&line, "not answered\n");
    else
        buffer_printf(&line, "answered %d\n", status);
    if (listen->verbose) {
        size_t from = line.len;
        utf8_clean(body, &line);
        for (size_t i = from; i < line.len; i++)
            if ((unsigned char)line.data[i] < ' ' && line.data[i] != '\n' && line.data[i] != '\t')
                line.data[i] = ' ';
        buffer_char(&line, '\n');
    }
    fwrite(line.data, 1, line.len, stdout);
    fflush(stdout);
    buffer_deinit(&line);
}

static void answer(struct listen *listen, struct request *request, int status) {
    request_respond(request, status, NULL, SPAN_NONE);
    if (++listen->answered == listen->stop_after)
        loop_timer_start(listen->end, LAST_ANSWER_MS);
}

static void unlink_waiting(struct waiting *waiting) {
    struct waiting **at = &waiting->listen->waiting;
    while (*at != waiting)
        at = &(*at)->next;
    *at = waiting->next;
    loop_timer_free(&waiting->timer);
    mem_free(waiting);
}

static void on_delay_end(void *ctx) {
    struct waiting *waiting = ctx;
    answer(waiting->listen, waiting->request, waiting->status);
    unlink_waiting(waiting);
}

static void answer_after_delay(struct listen *listen, struct request *request, int status) {
    struct waiting *waiting = mem_calloc(1, sizeof(*waiting));
    *waiting = (struct waiting){listen, request, NULL, status, listen->waiting};
    waiting->timer = loop_timer_new(listen->loop, on_delay_end, waiting);
    loop_timer_start(waiting->timer, listen->delay_ms);
    listen->waiting = waiting;
}

static void on_request(void *ctx, struct request *request) {
    struct listen *listen = ctx;
    int status = ++listen->received <= listen->fail_first ? 503 : (int)listen->status;
    print_line(listen, request, status);
    if (listen->hang) {
        /* Never answered: the connection stays as it is until the end of the program. */
        if (listen->received == listen->stop_after)
            loop_timer_start(listen->end, LAST_ANSWER_MS);
    } else if (listen->delay_ms > 0) {
        answer_after_delay(listen, request, status);
    } else {
        answer(listen, request, status);
    }
}

static void stop(void *ctx) {
    struct listen *listen = ctx;
    loop_stop(listen->loop);
}

static enum status read_number(const struct settings_option *option, int64_t min, int64_t max, int64_t *ret_value,
                               struct error *error) {
    if (!option->value)
        return STATUS_OK;
    char *end;
    long long value = strtoll(option->value, &end, 10);
    if (!*option->value || *end || value < min || value > max)
        return error_set(error, STATUS_INVALID, "--%s: expected a number from %lld to %lld, not \"%.40s\"",
                         option->name, (long long)min, (long long)max, option->value);
    *ret_value = value;
    return STATUS_OK;
}

static enum status read_options(struct listen *listen, const struct settings_option *options, struct error *error) {
    enum status status = STATUS_OK;
    const char *delay = options[OPTION_DELAY].value;
    listen->status = 200;
    listen->hang = options[OPTION_HANG].value != NULL;
    listen->verbose = options[OPTION_VERBOSE].value != NULL;
    listen->signature_header = options[OPTION_SIGNATURE_HEADER].value;
    if (delay && settings_parse_duration(span_of(delay), &listen->delay_ms) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "--delay: expected a time like 200ms or 3s, not \"%.40s\"", delay);
    status = read_number(&options[OPTION_STATUS], 200, 599, &listen->status, error);
    if (status == STATUS_OK)
        status = read_number(&options[OPTION_FAIL_FIRST], 0, INT64_MAX, &listen->fail_first, error);
    if (status == STATUS_OK)
        status = read_number(&options[OPTION_COUNT], 1, INT64_MAX, &listen->stop_after, error);
    if (status == STATUS_OK && options[OPTION_SECRET].value)
        status = listen_signer_new(options[OPTION_SECRET].value, &listen->signer, error);
    if (status == STATUS_OK && options[OPTION_PUBLIC_KEY].value)
        status = listen_keys_read(options[OPTION_PUBLIC_KEY].value, &listen->keys, error);
    return status;
}

static enum status serve(struct listen *listen, const char *address, struct error *error) {
    struct server_settings settings = {
        .listen = address, .max_body_bytes = MAX_BODY_BYTES, .handler = on_request, .ctx = listen};
    listen->loop = loop_new("listen");
    enum status status = server_open(listen->loop, &settings, &listen->server, error);
    if (status == STATUS_OK) {
        size_t host_bytes = strlen(address) - strlen(strrchr(address, ':'));
        listen->end = loop_timer_new(listen->loop, stop, listen);
        run_on_stop(listen->loop, stop, listen);
        printf("listening on http://%.*s:%d/\n", (int)host_bytes, address, server_port(listen->server));
        fflush(stdout);
        loop_run(listen->loop);
        while (listen->waiting)
            unlink_waiting(listen->waiting);
        server_close(&listen->server);
        loop_timer_free(&listen->end);
        fprintf(stderr, "%lld received, %lld answered\n", (long long)listen->received, (long long)listen->answered);
    }
    loop_free(&listen->loop);
    return status;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)settings;
    struct listen listen = {0};
    struct error error;
    if (argc > 0) {
        fprintf(stderr, "hookcast listen: unexpected argument \"%.100s\": it takes none\n", argv[0]);
        return EXIT_USAGE;
    }
    if (read_options(&listen, about->options, &error) != STATUS_OK) {
        fprintf(stderr, "hookcast listen: %s\n", error.text);
        return EXIT_USAGE;
    }
    run_raise_limits();
    const char *address = about->options[OPTION_LISTEN].value;
    enum status status = serve(&listen, address ? address : "127.0.0.1:9000", &error);
    signer_free(&listen.signer);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "hookcast listen: %s\n", error.text);
    return status == STATUS_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

struct command *cmd_listen(void) {
    static struct settings_option options[] = {
        [OPTION_LISTEN] = {"listen", "ADDRESS", "where to listen (127.0.0.1:9000); port 0 takes a free one", NULL},
        [OPTION_SECRET] = {"secret", "SECRET", "checks signatures with it; several with commas", NULL},
        [OPTION_PUBLIC_KEY] = {"public-key", "KEY", "checks asymmetric signatures with it; several with commas", NULL},
        [OPTION_SIGNATURE_HEADER] = {"signature-header", "NAME", "the header that holds a hex signature", NULL},
        [OPTION_STATUS] = {"status", "N", "the answer's status (200)", NULL},
        [OPTION_DELAY] = {"delay", "TIME", "answers after so long, like 200ms", NULL},
        [OPTION_FAIL_FIRST] = {"fail-first", "N", "answers the first N with 503", NULL},
        [OPTION_HANG] = {"hang", NULL, "never answers", NULL},
        [OPTION_COUNT] = {"count", "N", "ends after N webhooks", NULL},
        [OPTION_VERBOSE] = {"verbose", NULL, "prints the bodies too", NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "listen",
                .arguments = "",
                .summary = "receives webhooks for development and shows what arrives",
                .text = "Prints one line for each webhook: time, event type, webhook-id, whether its signature is ok,\n"
                        "WRONG, MISSING or not checked (neither --secret nor --public-key), size, and the answer.\n",
                .options = options,
                .option_count = sizeof(options) / sizeof(*options),
            },
        .run = run,
    };
    return &command;
}
