/* Puts curl's codes and texts into the client's own terms. */
#include "net/client_private.h"

#include "base/clock.h"

/* What a receiver may ask for at most; the retry policy has a ceiling of its own. */
#define RETRY_AFTER_MAX_S (366 * 86400LL)

/* A header line past curl's own limit; 8.6 gave it a code of its own. */
#if LIBCURL_VERSION_NUM >= 0x080600
#define LINE_TOO_LONG CURLE_TOO_LARGE
#else
#define LINE_TOO_LONG CURLE_OUT_OF_MEMORY
#endif

const char *client_result_name(enum client_result result) {
    static const char *const NAMES[] = {
        [CLIENT_ANSWERED] = "answered",
        [CLIENT_TIMEOUT] = "timeout",
        [CLIENT_DNS] = "dns",
        [CLIENT_CONNECT] = "connect",
        [CLIENT_TLS] = "tls",
        [CLIENT_ADDRESS_REFUSED] = "address_refused",
        [CLIENT_RESET] = "reset",
        [CLIENT_BAD_RESPONSE] = "bad_response",
        [CLIENT_BAD_URL] = "bad_url",
        [CLIENT_TOO_MANY_LOOKUPS] = "too_many_lookups",
        [CLIENT_CANCELLED] = "cancelled",
    };
    CHECK((size_t)result < sizeof(NAMES) / sizeof(*NAMES));
    return NAMES[result];
}

static enum client_result result_of_code(CURLcode code) {
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return CLIENT_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return CLIENT_DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        return CLIENT_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_SSL_SHUTDOWN_FAILED:
        return CLIENT_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, which is to say no HTTP */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WRITE_ERROR:
    case LINE_TOO_LONG:
        return CLIENT_BAD_RESPONSE;
    case CURLE_URL_MALFORMAT:
        return CLIENT_BAD_URL;
    default:
        return CLIENT_RESET;
    }
}

enum client_result result_of(const struct exchange *exchange, CURLcode code) {
    if (exchange->cut)
        return CLIENT_ANSWERED;
    if (code == CURLE_OK)
        return exchange->head_ended ? CLIENT_ANSWERED : CLIENT_RESET;
    if (exchange->lookup_refused && !exchange->opened)
        return CLIENT_TOO_MANY_LOOKUPS;
    if (exchange->refused[0] && !exchange->opened)
        return CLIENT_ADDRESS_REFUSED;
    return result_of_code(code);
}

void client_result_text(char *out, size_t size, const char *text) {
    size_t len = strnlen(text, size - 1);
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    out[len] = '\0';
}

void result_detail(const struct exchange *exchange, enum client_result result, CURLcode code, char *out, size_t size) {
    const char *text = exchange->text;
    if (result == CLIENT_ANSWERED)
        text = "";
    else if (result == CLIENT_ADDRESS_REFUSED)
        text = exchange->refused;
    else if (result == CLIENT_TOO_MANY_LOOKUPS)
        text = "too many name look-ups are under way";
    else if (exchange->header_bytes > HEADER_LIMIT_BYTES || code == LINE_TOO_LONG)
        text = "the answer's headers are longer than 64 KiB";
    else if (code == CURLE_OK)
        text = "the connection was closed within the answer's headers";
    else if (!*text)
        text = curl_easy_strerror(code);
    client_result_text(out, size, text);
}

int64_t result_retry_after_ms(CURL *easy, int64_t wall_ms) {
    struct curl_header *header;
    if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return -1;
    struct span text = span_of(header->value);
    if (text.len == 0 || text.len > 64)
        return -1;
    int64_t seconds = 0;
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        seconds = seconds * 10 + (text.data[digits++] - '0');
        if (seconds > RETRY_AFTER_MAX_S)
            seconds = RETRY_AFTER_MAX_S;
    }
    if (digits == text.len)
        return seconds * 1000;
    int64_t at_ms;
    if (clock_parse_http_date(text, &at_ms) != STATUS_OK)
        return -1;
    if (at_ms <= wall_ms)
        return 0;
    return at_ms - wall_ms < RETRY_AFTER_MAX_S * 1000 ? at_ms - wall_ms : RETRY_AFTER_MAX_S * 1000;
}
