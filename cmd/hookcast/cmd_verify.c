/* hookcast verify: whether a captured webhook's signature is right, and if not, what is the likely reason. */
#include "base/clock.h"
#include "base/memory.h"
#include "command.h"
#include "listen_secrets.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BODY_BYTES (64 * 1024 * 1024)
#define TOLERANCE_S 300 /* what receivers usually allow, both ways */

enum { OPTION_SECRET, OPTION_PUBLIC_KEY, OPTION_ID, OPTION_TIMESTAMP, OPTION_SIGNATURE, OPTION_BODY, OPTION_HEX };

struct webhook {
    const char *secrets; /* NULL: verified by the keys alone */
    struct listen_keys keys;
    struct span id;
    int64_t timestamp_s;
    struct span signature;
    struct span body;
    bool hex;
};

static enum status read_body(const char *path, struct buffer *body, struct error *error) {
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(path, "re");
    if (!file)
        return error_set(error, STATUS_FAILED, "--body: %s: %s", path, strerror(errno));
    char block[16384];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        buffer_append(body, block, got);
    bool failed = ferror(file);
    if (!standard_input)
        fclose(file);
    if (failed)
        return error_set(error, STATUS_FAILED, "--body: %s can't be read", path);
    if (body->overflowed)
        return error_set(error, STATUS_INVALID, "--body: more than %d bytes", MAX_BODY_BYTES);
    return STATUS_OK;
}

/* By one of the secrets, where there are some, and by one of the public keys, where there are some. */
static bool is_right(const struct webhook *webhook, const char *secrets, struct span body, int64_t timestamp_s) {
    struct signer *signer;
    if (webhook->keys.count && !listen_keys_verify(&webhook->keys, webhook->id, timestamp_s, body, webhook->signature))
        return false;
    if (!secrets)
        return true;
    if (listen_signer_new(secrets, &signer, NULL) != STATUS_OK)
        return false;
    bool right = webhook->hex ? signer_verify_hex(signer, body, webhook->signature)
                              : signer_verify_standard(signer, webhook->id, timestamp_s, body, webhook->signature);
    signer_free(&signer);
    return right;
}

/* Of "v1," or "v1a," signatures, that many bytes each. */
static const char *judge_parts(struct span header, struct span version, size_t bytes, const char *malformed,
                               const char *missing) {
    bool any = false;
    for (size_t at = 0; at < header.len;) {
        const char *space = memchr(header.data + at, ' ', header.len - at);
        size_t end = space ? (size_t)(space - header.data) : header.len;
        struct span part = {header.data + at, end - at};
        if (span_has_prefix(part, version)) {
            struct buffer mac;
            buffer_init(&mac, 128);
            struct span base64 = {part.data + version.len, part.len - version.len};
            bool good = base64_decode(base64, &mac) == STATUS_OK && mac.len == bytes;
            buffer_deinit(&mac);
            if (!good)
                return malformed;
            any = true;
        }
        at = end + 1;
    }
    return any ? NULL : missing;
}

/* What is wrong with the header itself; NULL: nothing. */
static const char *judge_form(const struct webhook *webhook) {
    struct span header = webhook->signature;
    bool hex_form = span_has_prefix(header, SPAN_LITERAL("sha256="));
    if (webhook->hex)
        return !hex_form                  ? "the header is malformed: it does not begin with sha256="
               : header.len != 7 + 2 * 32 ? "the header is malformed: sha256= is followed by 64 hex digits"
                                          : NULL;
    if (hex_form)
        return "the header holds a hex signature: try --hex";
    const char *wrong = NULL;
    if (webhook->secrets)
        wrong = judge_parts(header, SPAN_LITERAL("v1,"), SHA256_BYTES,
                            "the header is malformed: \"v1,\" is followed by 32 bytes in base64",
                            "the header is malformed: there is no \"v1,\" signature in it");
    if (!wrong && webhook->keys.count)
        wrong = judge_parts(header, SPAN_LITERAL("v1a,"), ED25519_SIGNATURE_BYTES,
                            "the header is malformed: \"v1a,\" is followed by 64 bytes in base64",
                            "there is no \"v1a,\" signature in the header: is the subscription asymmetric?");
    return wrong;
}

static bool needs_prefix(const struct webhook *webhook) {
    char prefixed[600];
    snprintf(prefixed, sizeof(prefixed), "whsec_%s", webhook->secrets);
    bool matches = is_right(webhook, prefixed, webhook->body, webhook->timestamp_s);
    explicit_bzero(prefixed, sizeof(prefixed));
    return matches;
}

/* Where one of the two is right, the other alone is wrong. */
static const char *find_half(const struct webhook *webhook) {
    struct webhook half = *webhook;
    half.keys.count = 0;
    if (is_right(&half, webhook->secrets, webhook->body, webhook->timestamp_s))
        return "the signature by the secret is right, the one by the private key is not: this is not its public key";
    if (is_right(webhook, NULL, webhook->body, webhook->timestamp_s))
        return "the signature by the private key is right, the one by the secret is not: this is not the secret";
    return NULL;
}

/* Tries the mistakes that are made most often. */
static const char *find_reason(const struct webhook *webhook) {
    struct span body = webhook->body;
    struct span shorter = body;
    while (shorter.len && (shorter.data[shorter.len - 1] == '\n' || shorter.data[shorter.len - 1] == '\r'))
        shorter.len--;
    if (shorter.len < body.len && is_right(webhook, webhook->secrets, shorter, webhook->timestamp_s))
        return "the body was changed: it is right without the line break at the end";
    if (!webhook->hex && is_right(webhook, webhook->secrets, body, webhook->timestamp_s / 1000))
        return "the timestamp was changed: it is right in seconds, not milliseconds";
    if (webhook->secrets && needs_prefix(webhook))
        return "the secret is incomplete: it is right with whsec_ before it";
    if (webhook->hex)
        return "either this is not the secret that signed it, or the body was changed: it has to be signed and "
               "compared "
               "byte for byte as it was sent";
    const char *half = webhook->secrets && webhook->keys.count ? find_half(webhook) : NULL;
    if (half)
        return half;
    return webhook->secrets
               ? "either this is not the secret that signed it, or the id, the timestamp or the body was changed: the "
                 "body has to be taken byte for byte as it was received"
               : "either this is not the key that signed it, or the id, the timestamp or the body was changed: the "
                 "body has to be taken byte for byte as it was received";
}

static int judge(const struct webhook *webhook) {
    const char *wrong = judge_form(webhook);
    if (!wrong && !is_right(webhook, webhook->secrets, webhook->body, webhook->timestamp_s))
        wrong = find_reason(webhook);
    if (wrong) {
        printf("WRONG: %s\n", wrong);
        return EXIT_FAILED;
    }
    printf("ok: the signature is right\n");
    int64_t age_s = clock_wall_ms() / 1000 - webhook->timestamp_s;
    if (!webhook->hex && (age_s > TOLERANCE_S || age_s < -TOLERANCE_S))
        printf("warning: the timestamp lies %lld s in the %s; receivers commonly refuse more than %d s\n",
               (long long)(age_s < 0 ? -age_s : age_s), age_s < 0 ? "future" : "past", TOLERANCE_S);
    return EXIT_DONE;
}

static enum status read_options(const struct settings_option *options, struct webhook *webhook, struct error *error) {
    webhook->hex = options[OPTION_HEX].value != NULL;
    const char *secrets = options[OPTION_SECRET].value, *keys = options[OPTION_PUBLIC_KEY].value;
    if (!secrets && (webhook->hex || !keys))
        return error_set(error, STATUS_INVALID,
                         webhook->hex ? "--secret is missing" : "--secret is missing, or --public-key");
    if (webhook->hex && keys)
        return error_set(error, STATUS_INVALID, "--public-key: a hex signature is verified by its secret alone");
    for (int i = OPTION_ID; i <= OPTION_SIGNATURE; i++) {
        bool needed = !webhook->hex || i == OPTION_SIGNATURE;
        if (needed && !options[i].value)
            return error_set(error, STATUS_INVALID, "--%s is missing", options[i].name);
    }
    webhook->secrets = secrets;
    webhook->id = span_of(options[OPTION_ID].value);
    webhook->signature = span_of(options[OPTION_SIGNATURE].value);
    const char *timestamp = options[OPTION_TIMESTAMP].value;
    if (timestamp) {
        char *end;
        webhook->timestamp_s = strtoll(timestamp, &end, 10);
        if (*timestamp < '0' || *timestamp > '9' || *end)
            return error_set(error, STATUS_INVALID,
                             "--timestamp: expected the header webhook-timestamp, seconds since 1970, not \"%.40s\"",
                             timestamp);
    }
    struct signer *signer = NULL;
    enum status status = STATUS_OK;
    if (keys)
        status = listen_keys_read(keys, &webhook->keys, error);
    if (status == STATUS_OK && secrets)
        status = listen_signer_new(secrets, &signer, error);
    signer_free(&signer);
    return status;
}

static int run(const struct settings *settings, struct settings_command *about, int argc, char **argv) {
    (void)settings;
    struct webhook webhook = {0};
    struct error error;
    if (argc > 0) {
        fprintf(stderr, "hookcast verify: unexpected argument \"%.100s\": it takes none\n", argv[0]);
        return EXIT_USAGE;
    }
    if (read_options(about->options, &webhook, &error) != STATUS_OK) {
        fprintf(stderr, "hookcast verify: %s\n", error.text);
        return EXIT_USAGE;
    }
    struct buffer body;
    buffer_init(&body, MAX_BODY_BYTES);
    const char *path = about->options[OPTION_BODY].value;
    int result = EXIT_FAILED;
    if (read_body(path ? path : "-", &body, &error) == STATUS_OK) {
        webhook.body = buffer_view(&body);
        result = judge(&webhook);
    } else {
        fprintf(stderr, "hookcast verify: %s\n", error.text);
    }
    buffer_deinit(&body);
    return result;
}

struct command *cmd_verify(void) {
    static struct settings_option options[] = {
        [OPTION_SECRET] = {"secret", "SECRET", "the subscription's secret; several with commas", NULL},
        [OPTION_PUBLIC_KEY] = {"public-key", "KEY",
                               "instead of a secret, or beside it: the subscription's public_key, for v1a signatures",
                               NULL},
        [OPTION_ID] = {"id", "ID", "the header webhook-id", NULL},
        [OPTION_TIMESTAMP] = {"timestamp", "SECONDS", "the header webhook-timestamp", NULL},
        [OPTION_SIGNATURE] = {"signature", "TEXT", "the header webhook-signature, or the hex signature", NULL},
        [OPTION_BODY] = {"body", "FILE", "the body as it was received; - is standard input (default)", NULL},
        [OPTION_HEX] = {"hex", NULL, "a hex signature, sha256=…, which covers only the body", NULL},
    };
    static struct command command = {
        .about =
            {
                .name = "verify",
                .arguments = "",
                .summary = "says whether a captured webhook's signature is right, and if not why",
                .text = "Example:\n"
                        "  hookcast verify --secret whsec_… --id evt_1 --timestamp 1614265330 \\\n"
                        "      --signature v1,… --body captured.json\n\n"
                        "With --secret and --public-key the header has to hold a right signature by each.\n\n"
                        "Exit status: 0 right, 1 wrong, 2 wrong usage.\n",
                .options = options,
                .option_count = sizeof(options) / sizeof(*options),
            },
        .run = run,
    };
    return &command;
}
