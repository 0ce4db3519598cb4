/* Which URLs may be sent to, as far as the URL alone says. The parser is curl's own, so what is judged is what is
 * dialled: hosts like 0x7f.1 come out of it as the addresses that they are. */
#include "net/client_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>

#define URL_MAX_BYTES 2048

static void lower(char *text) {
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + ('a' - 'A'));
}

static enum status take_scheme(CURLU *url, bool allow_http, struct error *error) {
    char *scheme = NULL;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return error_set(error, STATUS_INVALID, "the URL has no scheme; it begins with https://");
    bool https = strcasecmp(scheme, "https") == 0;
    bool http = strcasecmp(scheme, "http") == 0;
    enum status status = STATUS_OK;
    if (http && !allow_http)
        status = error_set(error, STATUS_INVALID, "http:// is not allowed here; use https://");
    else if (!http && !https)
        status = error_set(error, STATUS_INVALID, "the scheme \"%.20s\" is not https", scheme);
    curl_free(scheme);
    return status;
}

static bool has_beyond_ascii(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return true;
    return false;
}

static enum status take_host(CURLU *url, const char *text, struct client_url *ret_parts, struct error *error) {
    char *host = NULL;
    const char *behind = text + strcspn(text, ":");
    /* Of https:///x and https:/x curl would take x for the host. */
    bool missing = strncmp(behind, "://", 3) != 0 || behind[3] == '/';
    if (missing || curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host) {
        curl_free(host);
        return error_set(error, STATUS_INVALID, "the URL has no host");
    }
    enum status status = STATUS_OK;
    if (strlen(host) >= sizeof(ret_parts->host)) {
        status = error_set(error, STATUS_INVALID, "the host is longer than 255 bytes");
    } else if (has_beyond_ascii(host)) {
        /* curl would translate it in the language of the process, and refuse it in any other. */
        status = error_set(error, STATUS_INVALID, "the host has letters beyond ASCII; write it in its xn--… form");
    } else {
        struct in_addr ignored;
        snprintf(ret_parts->host, sizeof(ret_parts->host), "%s", host);
        lower(ret_parts->host);
        ret_parts->literal = host[0] == '[' || inet_pton(AF_INET, host, &ignored) == 1;
    }
    curl_free(host);
    return status;
}

static enum status check_port(CURLU *url, struct error *error) {
    char *port = NULL;
    if (curl_url_get(url, CURLUPART_PORT, &port, 0) != CURLUE_OK)
        return STATUS_OK;
    bool zero = port[strspn(port, "0")] == '\0';
    curl_free(port);
    return zero ? error_set(error, STATUS_INVALID, "the port is 0") : STATUS_OK;
}

enum status client_url_parse(const char *text, bool allow_http, struct client_url *ret_parts, struct error *error) {
    size_t len = strlen(text);
    if (len == 0)
        return error_set(error, STATUS_INVALID, "the URL is empty");
    if (len > URL_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "the URL is longer than %d bytes", URL_MAX_BYTES);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return error_set(error, STATUS_INVALID, "the URL has a space or control character in it");
    CURLU *url = curl_url();
    CHECK(url);
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER);
    struct client_url parts = {0};
    enum status status;
    if (code == CURLUE_USER_NOT_ALLOWED)
        status = error_set(error, STATUS_INVALID, "the URL has a user or password in it");
    else if (code == CURLUE_BAD_SCHEME)
        status = error_set(error, STATUS_INVALID, "the URL has no scheme; it begins with https://");
    else if (code != CURLUE_OK)
        status = error_set(error, STATUS_INVALID, "it is not a URL: %s", curl_url_strerror(code));
    else
        status = take_scheme(url, allow_http, error);
    if (status == STATUS_OK)
        status = take_host(url, text, &parts, error);
    if (status == STATUS_OK)
        status = check_port(url, error);
    curl_url_cleanup(url);
    if (status == STATUS_OK)
        *ret_parts = parts;
    return status;
}

enum status client_check_url(const char *url, bool allow_http, struct error *error) {
    struct client_url parts;
    return client_url_parse(url, allow_http, &parts, error);
}
