#include "net/smtp_probe.h"

#include <curl/curl.h>

#define MUST(call) CHECK((call) == 0)

/* The URL without user and password; curl_free. */
static char *strip(const char *url, struct buffer *ret_server) {
    CURLU *parts = curl_url();
    char *stripped = NULL, *host = NULL, *port = NULL;
    CHECK(parts);
    if (curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        buffer_printf(ret_server, "%s:%s", host, port);
        if (curl_url_get(parts, CURLUPART_URL, &stripped, 0) != CURLUE_OK)
            stripped = NULL;
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return stripped;
}

static CURLcode dial(const char *url, const char *ca_file, int64_t timeout_ms) {
    CURL *easy = curl_easy_init();
    CHECK(easy);
    MUST(curl_easy_setopt(easy, CURLOPT_URL, url));
    MUST(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps"));
    MUST(curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L));
    MUST(curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY));
    MUST(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    if (*ca_file)
        MUST(curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file));
    MUST(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms));
    MUST(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    MUST(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    CURLcode code = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    return code;
}

enum status smtp_probe(const char *url, const char *ca_file, int64_t timeout_ms, struct buffer *ret_server,
                       struct error *error) {
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT));
    char *stripped = strip(url, ret_server);
    if (!stripped)
        return error_set(error, STATUS_INVALID, "the URL can't be read");
    CURLcode code = dial(stripped, ca_file, timeout_ms);
    curl_free(stripped);
    if (code == CURLE_OK)
        return STATUS_OK;
    return error_set(error, STATUS_UNAVAILABLE, "%s", curl_easy_strerror(code));
}
