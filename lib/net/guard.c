/* Two tables of networks that are not the public internet, and the operator's list of exceptions. An IPv6 address that
 * carries an IPv4 address is judged by what it carries, because that is where the packets end. */
#include "net/guard.h"

#include "base/memory.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#define REASON_BYTES 128

struct net4 {
    uint32_t first;
    int prefix;
    const char *what;
};

struct net6 {
    uint8_t first[16];
    int prefix;
    const char *what;
};

/* Of the IANA registries of special-purpose addresses. The narrower network comes first. */
static const struct net4 REFUSED4[] = {
    {0x00000000, 8, "an address of this host"},
    {0x0a000000, 8, "a private address"},
    {0x64400000, 10, "a shared address of a provider"},
    {0x7f000000, 8, "a loopback address"},
    {0xa9fe0000, 16, "a link-local address"},
    {0xac100000, 12, "a private address"},
    {0xc0000000, 24, "an address for protocol assignments"},
    {0xc0000200, 24, "a documentation address"},
    {0xc0586300, 24, "a 6to4 relay address"},
    {0xc0a80000, 16, "a private address"},
    {0xc6120000, 15, "a benchmarking address"},
    {0xc6336400, 24, "a documentation address"},
    {0xcb007100, 24, "a documentation address"},
    {0xe0000000, 4, "a multicast address"},
    {0xffffffff, 32, "the broadcast address"},
    {0xf0000000, 4, "a reserved address"},
};

static const struct net6 REFUSED6[] = {
    {{0}, 128, "the unspecified address"},
    {{[15] = 1}, 128, "a loopback address"},
    {{0}, 96, "an IPv4-compatible address"},
    {{0x01, 0x00}, 64, "a discard-only address"},
    {{0x20, 0x01, 0x00, 0x00}, 32, "a Teredo address"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "a documentation address"},
    {{0x3f, 0xff}, 20, "a documentation address"},
    {{0x5f, 0x00}, 16, "a segment routing address"},
    {{0xfc, 0x00}, 7, "a private address"},
    {{0xfe, 0x80}, 10, "a link-local address"},
    {{0xfe, 0xc0}, 10, "a site-local address"},
    {{0xff, 0x00}, 8, "a multicast address"},
};

static const struct net6 MAPPED = {{[10] = 0xff, 0xff}, 96, NULL};
static const struct net6 NAT64 = {{0x00, 0x64, 0xff, 0x9b}, 96, NULL};
static const struct net6 NAT64_LOCAL = {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, NULL};
static const struct net6 SIX_TO_FOUR = {{0x20, 0x02}, 16, NULL};

struct guard {
    struct net4 *allowed4;
    size_t allowed4_count;
    struct net6 *allowed6;
    size_t allowed6_count;
};

static bool in_net4(const struct net4 *net, uint32_t address) {
    uint32_t mask = net->prefix == 0 ? 0 : UINT32_MAX << (32 - net->prefix);
    return ((address ^ net->first) & mask) == 0;
}

static bool in_net6(const struct net6 *net, const uint8_t *address) {
    size_t whole = (size_t)net->prefix / 8;
    int rest = net->prefix % 8;
    if (memcmp(net->first, address, whole) != 0)
        return false;
    return rest == 0 || ((net->first[whole] ^ address[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

/* NULL: may be dialled. */
static const char *judge4(const struct guard *guard, uint32_t address) {
    for (size_t i = 0; i < guard->allowed4_count; i++)
        if (in_net4(&guard->allowed4[i], address))
            return NULL;
    for (size_t i = 0; i < sizeof(REFUSED4) / sizeof(*REFUSED4); i++)
        if (in_net4(&REFUSED4[i], address))
            return REFUSED4[i].what;
    return NULL;
}

static uint32_t be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The address is known to stand for one of the IPv4 addresses in `carried`: refused when any of them is. */
static const char *judge_carried(const struct guard *guard, const char *text, const uint32_t *carried, size_t count,
                                 char *reason) {
    for (size_t i = 0; i < count; i++) {
        const char *what = judge4(guard, carried[i]);
        if (!what)
            continue;
        char inner[INET_ADDRSTRLEN];
        uint32_t wire = htonl(carried[i]);
        inet_ntop(AF_INET, &wire, inner, sizeof(inner));
        snprintf(reason, REASON_BYTES, "%s stands for %s, which is %s", text, inner, what);
        return reason;
    }
    return NULL;
}

/* RFC 6052 puts the IPv4 address in one of several places, depending on the translator's prefix, which nobody here
 * knows: so all of them count. A place that reads 0.x.x.x is taken as unused, unless all of them are. */
static const char *judge_nat64_local(const struct guard *guard, const char *text, const uint8_t *b, char *reason) {
    const uint32_t places[] = {
        be32((const uint8_t[]){b[6], b[7], b[9], b[10]}),
        be32((const uint8_t[]){b[7], b[9], b[10], b[11]}),
        be32(b + 9),
        be32(b + 12),
    };
    uint32_t used[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++)
        if (places[i] >> 24 != 0)
            used[count++] = places[i];
    if (count == 0)
        used[count++] = places[3];
    return judge_carried(guard, text, used, count, reason);
}

static const char *judge6(const struct guard *guard, const uint8_t *address, char *reason) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, address, text, sizeof(text));
    for (size_t i = 0; i < guard->allowed6_count; i++)
        if (in_net6(&guard->allowed6[i], address))
            return NULL;
    uint32_t last = be32(address + 12);
    uint32_t second = be32(address + 2);
    if (in_net6(&MAPPED, address) || in_net6(&NAT64, address))
        return judge_carried(guard, text, &last, 1, reason);
    if (in_net6(&SIX_TO_FOUR, address))
        return judge_carried(guard, text, &second, 1, reason);
    if (in_net6(&NAT64_LOCAL, address))
        return judge_nat64_local(guard, text, address, reason);
    for (size_t i = 0; i < sizeof(REFUSED6) / sizeof(*REFUSED6); i++) {
        if (in_net6(&REFUSED6[i], address)) {
            snprintf(reason, REASON_BYTES, "%s is %s", text, REFUSED6[i].what);
            return reason;
        }
    }
    return NULL;
}

const char *guard_judge(const struct guard *guard, const struct sockaddr *address, char *reason) {
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        return judge6(guard, in6.sin6_addr.s6_addr, reason);
    }
    if (address->sa_family != AF_INET) {
        snprintf(reason, REASON_BYTES, "it is not an internet address");
        return reason;
    }
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    const char *what = judge4(guard, ntohl(in.sin_addr.s_addr));
    if (!what)
        return NULL;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    snprintf(reason, REASON_BYTES, "%s is %s", text, what);
    return reason;
}

/* Digits only, up to max. */
static bool parse_prefix(const char *text, int max, int *ret_prefix) {
    size_t len = strlen(text);
    if (len == 0 || len > 3)
        return false;
    int value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (value > max)
        return false;
    *ret_prefix = value;
    return true;
}

static bool has_bits_beyond(const uint8_t *address, int prefix, int total) {
    for (int bit = prefix; bit < total; bit++)
        if (address[bit / 8] & (0x80 >> (bit % 8)))
            return true;
    return false;
}

static enum status add_net(struct guard *guard, const char *item, struct error *error) {
    char address[64];
    const char *slash = strchr(item, '/');
    size_t len = slash ? (size_t)(slash - item) : strlen(item);
    uint8_t bytes[16];
    if (len >= sizeof(address))
        return error_set(error, STATUS_INVALID, "\"%.80s\" is not a network like 10.0.0.0/8 or fd00::/8", item);
    memcpy(address, item, len);
    address[len] = '\0';
    bool is6 = strchr(address, ':') != NULL;
    int total = is6 ? 128 : 32;
    int prefix = total;
    if (inet_pton(is6 ? AF_INET6 : AF_INET, address, bytes) != 1)
        return error_set(error, STATUS_INVALID, "\"%.80s\" is not a network like 10.0.0.0/8 or fd00::/8", item);
    if (slash && !parse_prefix(slash + 1, total, &prefix))
        return error_set(error, STATUS_INVALID, "\"%.80s\": the length of the prefix is a number from 0 to %d", item,
                         total);
    if (has_bits_beyond(bytes, prefix, total))
        return error_set(error, STATUS_INVALID, "\"%.80s\" has address bits beyond its prefix of %d", item, prefix);
    if (is6) {
        guard->allowed6 = mem_realloc(guard->allowed6, (guard->allowed6_count + 1) * sizeof(*guard->allowed6));
        struct net6 *net = &guard->allowed6[guard->allowed6_count++];
        memcpy(net->first, bytes, 16);
        net->prefix = prefix;
        net->what = NULL;
    } else {
        guard->allowed4 = mem_realloc(guard->allowed4, (guard->allowed4_count + 1) * sizeof(*guard->allowed4));
        guard->allowed4[guard->allowed4_count++] = (struct net4){be32(bytes), prefix, NULL};
    }
    return STATUS_OK;
}

enum status guard_new(const char *allow_nets, struct guard **ret_guard, struct error *error) {
    struct guard *guard = mem_calloc(1, sizeof(*guard));
    const char *at = allow_nets + strspn(allow_nets, " ");
    while (*at) {
        size_t len = strcspn(at, ",");
        bool more = at[len] == ',';
        size_t used = len;
        while (used > 0 && at[used - 1] == ' ')
            used--;
        char *item = mem_strndup(at, used);
        enum status status = add_net(guard, item, error);
        mem_free(item);
        at += len + more;
        at += strspn(at, " ");
        if (status == STATUS_OK && more && !*at)
            status = error_set(error, STATUS_INVALID, "the list of networks ends with a comma");
        if (status != STATUS_OK) {
            guard_free(&guard);
            return status;
        }
    }
    *ret_guard = guard;
    return STATUS_OK;
}

void guard_free(struct guard **guard) {
    if (!*guard)
        return;
    mem_free((*guard)->allowed4);
    mem_free((*guard)->allowed6);
    mem_free(*guard);
    *guard = NULL;
}
