/* curl speaks SMTP and writes MIME; here the header lines are written, and the server's answer is judged. What an
 * answer means depends on what it answers, so the trace that curl offers is used to know the last command. */
#include "net/mail.h"

#include "base/buffer.h"
#include "base/crypto.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <curl/curl.h>
#include <time.h>

#define MUST(call) CHECK((call) == 0)
#define HEADER_MAX_BYTES 2048
/* A line with an encoded word has at most 76 characters (RFC 2047, 2), "Subject: " and 12 around the base64 included:
 * 39 bytes give 52. */
#define WORD_MAX_BYTES 39
#define PLAIN_SUBJECT_MAX_BYTES 65

struct talk {
    const struct mail_server *server;
    bool about_mail;  /* the last command was RCPT or DATA */
    bool about_login; /* it was none that is known, which leaves AUTH and what follows it */
    bool over;        /* QUIT was said, whose answer says nothing */
    int code;         /* the answer to it; 0: none yet */
    char answer[256];
    char tls_error[CURL_ERROR_SIZE];
};

/* Something that may stand between angle brackets in a command: whoever gets past this could write commands. */
static bool is_address(const char *text) {
    const char *at = strrchr(text, '@');
    struct span whole = span_of(text);
    if (whole.len > MAIL_MAX_ADDRESS_BYTES || !at || at == text || !at[1] || utf8_valid_prefix(whole) != whole.len)
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("<>()\",;:\\", *c))
            return false;
    return true;
}

static bool is_line(const char *text, size_t max_bytes) {
    struct span whole = span_of(text);
    if (whole.len > max_bytes || utf8_valid_prefix(whole) != whole.len)
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

static bool is_id(const char *text) {
    size_t len = strlen(text);
    return len > 0 && len <= 100 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == len;
}

static enum status check(const struct mail *mail, struct error *error) {
    const char *wrong = NULL;
    struct span text = span_of(mail->text);
    if (!is_id(mail->id))
        wrong = "its id can't stand in Message-ID";
    else if (!is_address(mail->from))
        wrong = "the sender is no e-mail address";
    else if (!is_address(mail->to))
        wrong = "the recipient is no e-mail address";
    else if (!is_line(mail->subject, MAIL_MAX_SUBJECT_BYTES))
        wrong = "the subject is not one line of UTF-8, or too long";
    else if (text.len > MAIL_MAX_TEXT_BYTES || utf8_valid_prefix(text) != text.len)
        wrong = "the text is not UTF-8, or too long";
    return wrong ? error_set(error, STATUS_INVALID, "%s", wrong) : STATUS_OK;
}

static bool is_plain(struct span text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] >= 0x80 || (i + 1 < text.len && memcmp(text.data + i, "=?", 2) == 0))
            return false;
    return text.len <= PLAIN_SUBJECT_MAX_BYTES;
}

/* As it is where that is short ASCII; else in encoded words (RFC 2047), one a line, none of which cuts a character. */
static void write_subject(struct span text, struct buffer *out) {
    buffer_text(out, "Subject: ");
    if (is_plain(text)) {
        buffer_span(out, text);
        return;
    }
    for (size_t at = 0; at < text.len;) {
        size_t len = text.len - at < WORD_MAX_BYTES ? text.len - at : WORD_MAX_BYTES;
        len = utf8_valid_prefix((struct span){text.data + at, len});
        buffer_text(out, at > 0 ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        base64_encode((struct span){text.data + at, len}, out);
        buffer_text(out, "?=");
        at += len;
    }
}

static void write_date(int64_t date_ms, struct buffer *out) {
    static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(date_ms / 1000);
    struct tm tm;
    CHECK(gmtime_r(&seconds, &tm));
    buffer_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000", DAYS[tm.tm_wday], tm.tm_mday, MONTHS[tm.tm_mon],
                  tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static struct curl_slist *add_line(struct curl_slist *list, struct buffer *line) {
    CHECK(!line->overflowed);
    struct curl_slist *longer = curl_slist_append(list, line->data);
    CHECK(longer);
    buffer_reset(line);
    return longer;
}

static struct curl_slist *write_headers(const struct mail *mail) {
    struct curl_slist *list = NULL;
    struct buffer line;
    buffer_init(&line, HEADER_MAX_BYTES);
    write_date(mail->date_ms, &line);
    list = add_line(list, &line);
    buffer_printf(&line, "From: %s", mail->from);
    list = add_line(list, &line);
    buffer_printf(&line, "To: %s", mail->to);
    list = add_line(list, &line);
    write_subject(span_of(mail->subject), &line);
    list = add_line(list, &line);
    buffer_printf(&line, "Message-ID: <%s@%s>", mail->id, strrchr(mail->from, '@') + 1);
    list = add_line(list, &line);
    buffer_text(&line, "Auto-Submitted: auto-generated"); /* RFC 3834: nobody's holiday notice answers it */
    list = add_line(list, &line);
    buffer_deinit(&line);
    return list;
}

/* Quoted-printable leaves a line's end alone only when it is CR LF. */
static void write_text(const char *text, struct buffer *out) {
    for (const char *c = text; *c; c++) {
        if (*c == '\n')
            buffer_text(out, "\r\n");
        else if (*c != '\r')
            buffer_char(out, *c);
    }
}

static curl_mime *write_mime(CURL *easy, const char *text) {
    struct buffer lines;
    buffer_init(&lines, 2 * MAIL_MAX_TEXT_BYTES + 1);
    write_text(text, &lines);
    curl_mime *mime = curl_mime_init(easy);
    curl_mimepart *part = mime ? curl_mime_addpart(mime) : NULL;
    CHECK(part);
    MUST(curl_mime_data(part, buffer_view(&lines).data, lines.len));
    MUST(curl_mime_type(part, "text/plain; charset=utf-8"));
    MUST(curl_mime_encoder(part, "quoted-printable"));
    buffer_deinit(&lines);
    return mime;
}

static bool is_command(struct span line, const char *const *names) {
    for (; *names; names++)
        if (span_has_prefix(line, span_of(*names)))
            return true;
    return false;
}

static int on_trace(CURL *easy, curl_infotype type, char *data, size_t size, void *ctx) {
    static const char *const MAIL[] = {"RCPT TO:", "DATA\r\n", NULL};
    static const char *const OTHER[] = {"EHLO ", "HELO ", "STARTTLS\r\n", "MAIL FROM:", NULL};
    (void)easy;
    struct talk *talk = ctx;
    struct span line = {data, size};
    if (type != CURLINFO_HEADER_OUT || talk->over)
        return 0;
    talk->over = span_is(line, "QUIT\r\n");
    if (talk->over)
        return 0;
    talk->about_mail = is_command(line, MAIL);
    talk->about_login = !talk->about_mail && !is_command(line, OTHER);
    talk->code = 0;
    return 0;
}

/* A line of an answer: three digits, and a space before the text of the last line. */
static size_t on_answer(char *data, size_t size, size_t count, void *ctx) {
    struct talk *talk = ctx;
    size_t len = size * count;
    if (talk->over || len < 4 || data[0] < '2' || data[0] > '5')
        return len;
    size_t kept = len < sizeof(talk->answer) ? len : sizeof(talk->answer) - 1;
    talk->code = (data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0');
    memcpy(talk->answer, data, kept);
    talk->answer[kept] = '\0';
    return len;
}

static int on_progress(void *ctx, curl_off_t down, curl_off_t down_now, curl_off_t up, curl_off_t up_now) {
    (void)down, (void)down_now, (void)up, (void)up_now;
    const struct talk *talk = ctx;
    return talk->server->stopping && atomic_load(talk->server->stopping);
}

/* Nothing that the server says is a body; without this it would be printed. */
static size_t on_body(char *data, size_t size, size_t count, void *ctx) {
    (void)data, (void)ctx;
    return size * count;
}

static void setup(CURL *easy, struct talk *talk) {
    const struct mail_server *server = talk->server;
    int64_t seconds = server->timeout_ms / 1000;
    MUST(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps"));
    MUST(curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY));
    MUST(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    if (*server->ca_file)
        MUST(curl_easy_setopt(easy, CURLOPT_CAINFO, server->ca_file));
    MUST(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)server->timeout_ms));
    /* QUIT comes after that time, and has only this one. */
    MUST(curl_easy_setopt(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)(seconds > 0 ? seconds : 1)));
    MUST(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    MUST(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));
    MUST(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    MUST(curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
    MUST(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, talk->tls_error));
    MUST(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_answer));
    MUST(curl_easy_setopt(easy, CURLOPT_HEADERDATA, talk));
    MUST(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    MUST(curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_trace));
    MUST(curl_easy_setopt(easy, CURLOPT_DEBUGDATA, talk));
    MUST(curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L));
    MUST(curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress));
    MUST(curl_easy_setopt(easy, CURLOPT_XFERINFODATA, talk));
    MUST(curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L));
}

/* What curl itself says of a host may hold a part of the password, when that has an unescaped "/" or "@". */
static enum status judge(const struct talk *talk, CURLcode code, struct error *error) {
    if (code == CURLE_OK)
        return STATUS_OK;
    enum status status = talk->about_mail && talk->code / 100 == 5 ? STATUS_FAILED : STATUS_UNAVAILABLE;
    if (code == CURLE_LOGIN_DENIED || (talk->about_login && talk->code >= 400))
        return error_set(error, status, "the mail server refuses the login (%d)", talk->code);
    if (code == CURLE_PEER_FAILED_VERIFICATION && talk->tls_error[0])
        return error_set(error, status, "%s", talk->tls_error);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return error_set(error, status, "given up, because the program stops");
    if (talk->code >= 400)
        return error_set(error, status, "the mail server says: %s", talk->answer);
    return error_set(error, status, "%s", curl_easy_strerror(code));
}

enum status mail_send(const struct mail_server *server, const struct mail *mail, struct error *error) {
    enum status status = check(mail, error);
    if (status != STATUS_OK)
        return status;
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT));
    struct talk talk = {.server = server};
    CURL *easy = curl_easy_init();
    CHECK(easy);
    setup(easy, &talk);
    struct curl_slist *headers = write_headers(mail), *recipients = curl_slist_append(NULL, mail->to);
    curl_mime *mime = write_mime(easy, mail->text);
    CHECK(recipients);
    MUST(curl_easy_setopt(easy, CURLOPT_URL, server->url));
    MUST(curl_easy_setopt(easy, CURLOPT_MAIL_FROM, mail->from));
    MUST(curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, recipients));
    MUST(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers));
    MUST(curl_easy_setopt(easy, CURLOPT_MIMEPOST, mime));
    status = judge(&talk, curl_easy_perform(easy), error);
    curl_easy_cleanup(easy);
    curl_mime_free(mime);
    curl_slist_free_all(headers);
    curl_slist_free_all(recipients);
    return status;
}
