#include "net/server_listen.h"

#include "base/span.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

static enum status bad_address(const char *address, struct error *error) {
    return error_set(error, STATUS_INVALID,
                     "\"%.200s\" is not an address to listen on, like 127.0.0.1:8080, [::1]:8080 or *:8080", address);
}

/* Splits at the last colon; the host loses its brackets, and is empty for every address of the machine. */
static bool split(const char *address, char *host, size_t host_size, const char **ret_port) {
    const char *colon = strrchr(address, ':');
    if (!colon)
        return false;
    struct span part = {address, (size_t)(colon - address)};
    if (part.len >= 2 && part.data[0] == '[') {
        if (part.data[part.len - 1] != ']')
            return false;
        part = (struct span){part.data + 1, part.len - 2};
    } else if (memchr(part.data, ':', part.len)) {
        return false;
    }
    if (span_is(part, "*"))
        part.len = 0;
    if (part.len >= host_size)
        return false;
    memcpy(host, part.data, part.len);
    host[part.len] = '\0';
    *ret_port = colon + 1;
    char *end;
    size_t digits = strlen(*ret_port);
    return digits > 0 && digits <= 5 && (*ret_port)[0] >= '0' && (*ret_port)[0] <= '9' &&
           strtol(*ret_port, &end, 10) <= 65535 && *end == '\0';
}

/* -1: errno says why. */
static int open_one(const struct addrinfo *info) {
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* Where every address is meant, those of IPv4 are meant too. */
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t len = sizeof(address);
    CHECK(getsockname(fd, &address.any, &len) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

enum status server_listen_open(const char *address, int *ret_fd, int *ret_port, struct error *error) {
    char host[256];
    const char *port;
    if (!split(address, host, sizeof(host), &port))
        return bad_address(address, error);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *infos;
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &infos);
    if (code != 0)
        return error_set(error, STATUS_INVALID, "can't listen on %s: %s", address, gai_strerror(code));
    int fd = -1;
    /* Without a host IPv6 comes first, because its socket serves both. */
    int first = *host ? AF_INET : AF_INET6;
    for (int others = 0; others <= 1; others++)
        for (struct addrinfo *info = infos; info && fd < 0; info = info->ai_next)
            if ((info->ai_family != first) == others)
                fd = open_one(info);
    int saved = errno;
    freeaddrinfo(infos);
    if (fd < 0)
        return error_set(error, STATUS_UNAVAILABLE, "can't listen on %s: %s", address, strerror(saved));
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return STATUS_OK;
}
