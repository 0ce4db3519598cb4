/* Routes lie in the order in which they are tried: at the first segment where two of them differ in kind, the literal
 * one goes first. A few dozen of them, so a walk with the number of segments compared first is all it needs. */
#include "net/router.h"

#include "base/memory.h"
#include <stdlib.h>

#define MAX_SEGMENTS 16

struct segment {
    struct span text; /* the name, of a named one */
    bool named;
};

struct compiled {
    const struct route *route;
    size_t at; /* in the caller's table */
    size_t count;
    struct segment segments[MAX_SEGMENTS];
};

struct router {
    struct compiled *routes;
    size_t count;
};

/* Without the slashes around. False: too many. */
static bool split(struct span path, struct span *segments, size_t *ret_count) {
    size_t count = 0;
    const char *at = path.data, *end = path.data + path.len;
    if (at < end && *at == '/')
        at++;
    if (at < end && end[-1] == '/')
        end--;
    bool more = at < end;
    while (more) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *stop = slash ? slash : end;
        if (count == MAX_SEGMENTS)
            return false;
        segments[count++] = (struct span){at, (size_t)(stop - at)};
        more = slash != NULL;
        at = stop + more;
    }
    *ret_count = count;
    return true;
}

static int compare(const void *left, const void *right) {
    const struct compiled *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (size_t i = 0; i < a->count; i++)
        if (a->segments[i].named != b->segments[i].named)
            return a->segments[i].named ? 1 : -1;
    return a->at < b->at ? -1 : 1;
}

static void compile(struct compiled *compiled, const struct route *route) {
    struct span parts[MAX_SEGMENTS];
    size_t params = 0;
    CHECK(split(span_of(route->path), parts, &compiled->count));
    for (size_t i = 0; i < compiled->count; i++) {
        bool named = parts[i].len > 2 && parts[i].data[0] == '{' && parts[i].data[parts[i].len - 1] == '}';
        compiled->segments[i].named = named;
        compiled->segments[i].text = named ? (struct span){parts[i].data + 1, parts[i].len - 2} : parts[i];
        params += named;
    }
    CHECK(params <= ROUTE_MAX_PARAMS);
    compiled->route = route;
}

struct router *router_new(const struct route *routes, size_t count) {
    struct router *router = mem_calloc(1, sizeof(*router));
    router->count = count;
    router->routes = mem_calloc(count, sizeof(*router->routes));
    for (size_t i = 0; i < count; i++) {
        router->routes[i].at = i;
        compile(&router->routes[i], &routes[i]);
    }
    qsort(router->routes, count, sizeof(*router->routes), compare);
    return router;
}

void router_free(struct router **router) {
    if (!*router)
        return;
    mem_free((*router)->routes);
    mem_free(*router);
    *router = NULL;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %XX into params->decoded. False: not an escape, or a NUL, or no room. */
static bool decode(struct span *segment, struct route_params *params, size_t *used) {
    if (!memchr(segment->data, '%', segment->len))
        return true;
    size_t from = *used;
    for (size_t i = 0; i < segment->len; i++) {
        char c = segment->data[i];
        if (c == '%') {
            int high = segment->len - i > 2 ? hex_digit(segment->data[i + 1]) : -1;
            int low = segment->len - i > 2 ? hex_digit(segment->data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (*used == sizeof(params->decoded))
            return false;
        params->decoded[(*used)++] = c;
    }
    *segment = (struct span){params->decoded + from, *used - from};
    return true;
}

static bool matches(const struct compiled *compiled, const struct span *segments, size_t count) {
    if (compiled->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (compiled->segments[i].named ? segments[i].len == 0 : !span_equal(compiled->segments[i].text, segments[i]))
            return false;
    return true;
}

static void fill(const struct compiled *compiled, const struct span *segments, struct route_params *params) {
    params->count = 0;
    for (size_t i = 0; i < compiled->count; i++) {
        if (!compiled->segments[i].named)
            continue;
        params->names[params->count] = compiled->segments[i].text;
        params->values[params->count++] = segments[i];
    }
}

/* Whether they stand for the same paths, whatever their named segments are called. */
static bool same_shape(const struct compiled *a, const struct compiled *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->segments[i].named != b->segments[i].named ||
            (!a->segments[i].named && !span_equal(a->segments[i].text, b->segments[i].text)))
            return false;
    return true;
}

enum status router_find(const struct router *router, const char *method, struct span path,
                        const struct route **ret_route, struct route_params *ret_params, struct buffer *allow) {
    struct span segments[MAX_SEGMENTS];
    size_t count, used = 0;
    if (path.len == 0 || path.data[0] != '/' || !split(path, segments, &count))
        return STATUS_NOT_FOUND;
    for (size_t i = 0; i < count; i++)
        if (!decode(&segments[i], ret_params, &used))
            return STATUS_NOT_FOUND;
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    const struct compiled *first = NULL;
    for (size_t i = 0; i < router->count; i++) {
        const struct compiled *compiled = &router->routes[i];
        if (first ? !same_shape(compiled, first) : !matches(compiled, segments, count))
            continue;
        if (strcmp(compiled->route->method, wanted) == 0) {
            buffer_reset(allow);
            fill(compiled, segments, ret_params);
            *ret_route = compiled->route;
            return STATUS_OK;
        }
        first = first ? first : compiled;
        buffer_text(allow, allow->len ? ", " : "");
        buffer_text(allow, compiled->route->method);
    }
    return first ? STATUS_CONFLICT : STATUS_NOT_FOUND;
}
