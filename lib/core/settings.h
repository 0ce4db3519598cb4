/* Every setting of the program, from one table (settings_table.c): environment variable, long option, `…_FILE` form,
 * type, range, default and the line that --help shows. Read once at start, constant afterwards; any thread may read. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "base/buffer.h"

#define SETTINGS_MAX_RETRIES 32
#define SETTINGS_MAX_LANES 256

enum start_from { START_FROM_EARLIEST, START_FROM_LATEST };
enum body_keep { BODY_KEEP_ALL, BODY_KEEP_FAILED, BODY_KEEP_NONE };

struct settings {
    char *database_url;
    char *kafka_brokers;
    char *kafka_conf; /* name=value lines */
    char *group;
    char *topic_prefix;
    char *topics; /* "" or a comma list, or ^regex */
    enum start_from start_from;
    int64_t lanes;
    char *api_listen;
    char *metrics_listen;
    char *public_url;
    char *secret_key; /* "" only with insecure_dev */
    bool insecure_dev;
    char *allow_nets; /* CIDRs with commas */
    bool allow_http;
    char *ca_file;
    char *source_address;
    int64_t timeout_ms;
    int64_t retry_schedule_ms[SETTINGS_MAX_RETRIES];
    int64_t retry_count;
    int64_t disable_after_ms; /* of nothing but failure */
    int64_t response_body_limit_bytes;
    enum body_keep response_body_keep;
    int64_t retention_ms;
    int64_t payload_retention_ms;
    int64_t database_max_size_bytes; /* 0: none */
    char *smtp_url;
    char *mail_from;
    int64_t drain_timeout_ms;
    bool log_json;
    int64_t log_level; /* enum log_level */
};

/* A command's own options, besides the settings; the values are strings, a flag's is "1". */
struct settings_option {
    const char *name;     /* "skip-invalid" */
    const char *argument; /* "N", or NULL for a flag */
    const char *help;
    const char *value; /* filled in; NULL: not given */
};

/* Which settings a command reads, as a set of bits: the table marks each setting with the commands that it concerns. */
enum settings_use {
    USE_DATABASE = 1 << 0,
    USE_KAFKA = 1 << 1,
    USE_DISPATCH = 1 << 2,
    USE_API = 1 << 3,
    USE_WEBHOOK = 1 << 4, /* what sends: addresses, timeout, authorities */
    USE_SECRETS = 1 << 5,
    USE_MAIL = 1 << 6,
};

struct settings_command {
    const char *name;      /* "publish" */
    const char *arguments; /* "[FILE…]", or "" */
    const char *summary;   /* one line */
    const char *text;      /* the help's body: what it does, examples */
    unsigned use;          /* enum settings_use */
    struct settings_option *options;
    size_t option_count;
};

/* Defaults, then environment (and …_FILE), then options, for the settings that concern the command (use); the others
 * keep their defaults, and their options are refused. Options may stand anywhere before "--"; the other arguments are
 * moved to argv's end in their order, and ret_first is the index of the first. An empty variable counts as not set. A
 * boolean setting's option may stand without a value for 1. STATUS_INVALID: error names the setting as it was given,
 * what was expected, and what came (never the value of a secret). Sets the log up, and warns there of an unknown
 * HOOKCAST_… variable, with the nearest name. settings_deinit is needed after STATUS_OK only. */
MUST_USE enum status settings_load(struct settings *settings, struct settings_command *command, int argc, char **argv,
                                   int *ret_first, struct error *error);
void settings_deinit(struct settings *settings);

/* True when argv holds --help or -h before any "--": then settings_help prints the page, in columns, on standard
 * output. */
bool settings_wants_help(int argc, char **argv);
void settings_help(const struct settings_command *command);

/* "5s", "300ms", "2h", "30d"; "16KiB", "1MiB", "512". For the table, and for other modules that read the same forms. */
MUST_USE enum status settings_parse_duration(struct span text, int64_t *ret_ms);
MUST_USE enum status settings_parse_size(struct span text, int64_t *ret_bytes);

#endif
