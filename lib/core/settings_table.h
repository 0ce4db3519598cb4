/* The table of settings, for the files that read it: settings.c has it, settings_value.c reads values by it, and
 * settings_help.c prints it. Constant; any thread. */
#ifndef CORE_SETTINGS_TABLE_H
#define CORE_SETTINGS_TABLE_H

#include "core/settings.h"

enum setting_type {
    SETTING_TEXT, /* what `check` accepts */
    SETTING_BOOL,
    SETTING_INTEGER,
    SETTING_DURATION,
    SETTING_DURATIONS, /* settings.retry_schedule_ms */
    SETTING_SIZE,
    SETTING_CHOICE,
};

enum setting_flag {
    SETTING_SECRET = 1,    /* may carry a password: the value is in no error and no log */
    SETTING_NO_OPTION = 2, /* options can be seen by every user of the machine */
};

struct setting {
    const char *option; /* "kafka-brokers"; the variable is HOOKCAST_KAFKA_BROKERS */
    enum setting_type type;
    size_t offset, size;  /* of the field in struct settings */
    const char *standard; /* the default, as one would write it; NULL: worked out at start, see standard_text */
    const char *standard_text;
    int64_t min, max;                /* integer; ms; bytes */
    bool (*check)(struct span text); /* SETTING_TEXT */
    const char *argument;            /* what --help shows after the option */
    const char *expects;             /* text: what is accepted; choice: the names, with "|" between */
    unsigned use;                    /* the commands it concerns; 0: all */
    unsigned flags;                  /* enum setting_flag */
    const char *help;
};

#define SETTING_VARIABLE_BYTES 64

size_t settings_table(const struct setting **ret_table);
void setting_variable(const struct setting *setting, char out[SETTING_VARIABLE_BYTES]);

/* True when the command reads the setting. */
bool setting_concerns(const struct setting *setting, const struct settings_command *command);

/* "a duration from 1s to 30s", "host:port", "0 or 1" … */
void setting_expects(const struct setting *setting, struct buffer *out);

/* Reads a value into its field; false: it is not what setting_expects says, and the field is as before. */
bool setting_read(const struct setting *setting, struct span text, struct settings *settings);

/* Checks of text. */
bool text_is_database_url(struct span text);
bool text_is_brokers(struct span text);
bool text_is_properties(struct span text);
bool text_is_name(struct span text);
bool text_is_topic_prefix(struct span text);
bool text_is_topics(struct span text);
bool text_is_listen(struct span text);
bool text_is_web_url(struct span text);
bool text_is_secret_key(struct span text);
bool text_is_nets(struct span text);
bool text_is_file(struct span text);
bool text_is_ip(struct span text);
bool text_is_smtp_url(struct span text);
bool text_is_mail_address(struct span text);

#endif
