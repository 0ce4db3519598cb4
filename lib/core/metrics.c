/* All metrics stand in one array, sorted by name and labels, which is the order of the exposition; so a name's series
 * lie side by side and its HELP and TYPE come once. The array is guarded by a lock; the values are atomics that nothing
 * else guards: a scrape sees each at some moment, not all at one. */
#include "core/metrics.h"

#include "base/memory.h"
#include "core/process_stat.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

static const char *const TYPES[] = {"counter", "gauge", "histogram"};

struct metric {
    enum metric_type type;
    char *name;
    char *labels;
    char *help;
    unsigned users;
    _Atomic double value; /* of a histogram: the sum */
    double *bounds;
    size_t bound_count;
    _Atomic uint64_t *buckets; /* bound_count + 1; each counts its own observations only */
};

static struct {
    pthread_mutex_t lock;
    struct metric **all;
    size_t count, capacity;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool name_is_valid(const char *name) {
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' || *at == ':';
        if (!letter && (at == name || *at < '0' || *at > '9'))
            return false;
    }
    return *name != '\0';
}

static int compare(const struct metric *metric, const char *name, const char *labels) {
    int by_name = strcmp(metric->name, name);
    return by_name ? by_name : strcmp(metric->labels, labels);
}

/* The place of the first that is not before (name, labels). */
static size_t place_of(const char *name, const char *labels) {
    size_t low = 0, high = registry.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(registry.all[middle], name, labels) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The help of a name's other series, so that the first help stays as long as any series of the name does. */
static const char *help_in_use(size_t at, const char *name, const char *help) {
    if (at < registry.count && strcmp(registry.all[at]->name, name) == 0)
        return registry.all[at]->help;
    if (at > 0 && strcmp(registry.all[at - 1]->name, name) == 0)
        return registry.all[at - 1]->help;
    return help;
}

static void insert(size_t at, struct metric *metric) {
    if (registry.count == registry.capacity) {
        registry.capacity = registry.capacity ? registry.capacity * 2 : 64;
        registry.all = mem_realloc(registry.all, registry.capacity * sizeof(*registry.all));
    }
    memmove(registry.all + at + 1, registry.all + at, (registry.count - at) * sizeof(*registry.all));
    registry.all[at] = metric;
    registry.count++;
}

static struct metric *get(enum metric_type type, const char *name, const char *help, const char *labels,
                          const double *bounds, size_t bound_count) {
    CHECK(name_is_valid(name));
    labels = labels ? labels : "";
    pthread_mutex_lock(&registry.lock);
    size_t at = place_of(name, labels);
    struct metric *metric = at < registry.count ? registry.all[at] : NULL;
    if (!metric || compare(metric, name, labels) != 0) {
        metric = mem_calloc(1, sizeof(*metric));
        metric->type = type;
        metric->name = mem_strdup(name);
        metric->labels = mem_strdup(labels);
        metric->help = mem_strdup(help_in_use(at, name, help));
        if (type == HISTOGRAM) {
            metric->bounds = mem_copy(bounds, bound_count * sizeof(*bounds));
            metric->bound_count = bound_count;
            metric->buckets = mem_calloc(bound_count + 1, sizeof(*metric->buckets));
        }
        insert(at, metric);
    }
    CHECK(metric->type == type && metric->bound_count == bound_count);
    metric->users++;
    pthread_mutex_unlock(&registry.lock);
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels) {
    return get(COUNTER, name, help, labels, NULL, 0);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels) {
    return get(GAUGE, name, help, labels, NULL, 0);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                 size_t bound_count) {
    for (size_t i = 1; i < bound_count; i++)
        CHECK(bounds[i - 1] < bounds[i]);
    return get(HISTOGRAM, name, help, labels, bounds, bound_count);
}

void metric_free(struct metric **metric_pointer) {
    struct metric *metric = *metric_pointer;
    if (!metric)
        return;
    *metric_pointer = NULL;
    pthread_mutex_lock(&registry.lock);
    bool last = --metric->users == 0;
    if (last) {
        size_t at = place_of(metric->name, metric->labels);
        CHECK(registry.all[at] == metric);
        registry.count--;
        memmove(registry.all + at, registry.all + at + 1, (registry.count - at) * sizeof(*registry.all));
        if (registry.count == 0) {
            mem_free(registry.all);
            registry.all = NULL;
            registry.capacity = 0;
        }
    }
    pthread_mutex_unlock(&registry.lock);
    if (!last)
        return;
    mem_free(metric->name);
    mem_free(metric->labels);
    mem_free(metric->help);
    mem_free(metric->bounds);
    mem_free(metric->buckets);
    mem_free(metric);
}

static void add(_Atomic double *target, double value) {
    double before = atomic_load_explicit(target, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(target, &before, before + value, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void metric_add(struct metric *metric, double value) {
    CHECK(metric->type == GAUGE || (metric->type == COUNTER && value >= 0));
    add(&metric->value, value);
}

void metric_set(struct metric *metric, double value) {
    CHECK(metric->type == GAUGE);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe(struct metric *metric, double value) {
    CHECK(metric->type == HISTOGRAM);
    size_t at = 0;
    while (at < metric->bound_count && !(value <= metric->bounds[at]))
        at++;
    atomic_fetch_add_explicit(&metric->buckets[at], 1, memory_order_relaxed);
    add(&metric->value, value);
}

static uint64_t bucket(const struct metric *metric, size_t at) {
    return atomic_load_explicit(&metric->buckets[at], memory_order_relaxed);
}

double metric_value(const struct metric *metric) {
    if (metric->type != HISTOGRAM)
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->bound_count; i++)
        count += bucket(metric, i);
    return (double)count;
}

static void put_escaped(struct buffer *out, struct span text, bool quotes) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\n')
            buffer_text(out, "\\n");
        else if (c == '\\' || (quotes && c == '"'))
            buffer_append(out, (char[]){'\\', c}, 2);
        else
            buffer_char(out, c);
    }
}

void metrics_label(struct buffer *out, const char *name, struct span value) {
    if (out->len)
        buffer_char(out, ',');
    buffer_text(out, name);
    buffer_text(out, "=\"");
    put_escaped(out, value, true);
    buffer_char(out, '"');
}

/* The shortest decimal that reads back as the same double. */
static void put_number(struct buffer *out, double value) {
    if (isnan(value) || isinf(value)) {
        buffer_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_text(out, text);
}

static void put_head(struct buffer *out, const char *name, const char *help, const char *type) {
    buffer_printf(out, "# HELP %s ", name);
    put_escaped(out, span_of(help), false);
    buffer_printf(out, "\n# TYPE %s %s\n", name, type);
}

/* `le`: a histogram bucket's bound, or NULL. */
static void put_sample(struct buffer *out, const char *name, const char *suffix, const char *labels, const double *le,
                       double value) {
    buffer_text(out, name);
    buffer_text(out, suffix);
    if (*labels || le) {
        buffer_char(out, '{');
        buffer_text(out, labels);
        if (le) {
            buffer_text(out, *labels ? ",le=\"" : "le=\"");
            put_number(out, *le);
            buffer_char(out, '"');
        }
        buffer_char(out, '}');
    }
    buffer_char(out, ' ');
    put_number(out, value);
    buffer_char(out, '\n');
}

static void put_metric(struct buffer *out, const struct metric *metric) {
    double value = atomic_load_explicit(&metric->value, memory_order_relaxed);
    if (metric->type != HISTOGRAM) {
        put_sample(out, metric->name, "", metric->labels, NULL, value);
        return;
    }
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        double bound = i < metric->bound_count ? metric->bounds[i] : INFINITY;
        count += bucket(metric, i);
        put_sample(out, metric->name, "_bucket", metric->labels, &bound, (double)count);
    }
    put_sample(out, metric->name, "_sum", metric->labels, NULL, value);
    put_sample(out, metric->name, "_count", metric->labels, NULL, (double)count);
}

static void put_single(struct buffer *out, const char *name, const char *help, const char *type, const char *labels,
                       double value) {
    put_head(out, name, help, type);
    put_sample(out, name, "", labels, NULL, value);
}

static void put_process(struct buffer *out) {
    struct process_stat stat;
    process_stat_read(&stat);
    put_single(out, "process_cpu_seconds_total", "CPU time of the process, user and system.", "counter", "",
               stat.cpu_seconds);
    put_single(out, "process_max_fds", "Open file descriptors that are allowed; 0: no limit.", "gauge", "",
               (double)stat.max_fds);
    put_single(out, "process_open_fds", "Open file descriptors.", "gauge", "", (double)stat.open_fds);
    put_single(out, "process_resident_memory_bytes", "Resident memory.", "gauge", "", (double)stat.resident_bytes);
    put_single(out, "process_start_time_seconds", "Start of the process, since 1970.", "gauge", "", stat.start_seconds);
    put_single(out, "process_virtual_memory_bytes", "Virtual memory.", "gauge", "", (double)stat.virtual_bytes);
}

void metrics_render(struct buffer *out) {
    put_single(out, "hookcast_build_info", "The version that runs; always 1.", "gauge",
               "version=\"" HOOKCAST_VERSION "\"", 1);
    pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < registry.count; i++) {
        const struct metric *metric = registry.all[i];
        if (i == 0 || strcmp(registry.all[i - 1]->name, metric->name) != 0)
            put_head(out, metric->name, metric->help, TYPES[metric->type]);
        put_metric(out, metric);
    }
    pthread_mutex_unlock(&registry.lock);
    put_process(out);
}
