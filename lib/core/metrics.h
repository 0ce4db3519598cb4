/* Prometheus metrics of this process. Names are hookcast_…, units are seconds and bytes, no label without a bound.
 * Changing a value is one relaxed atomic operation; making and freeing takes a lock. Any thread. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include "base/buffer.h"

struct metric;

/* labels: NULL, or the inside of the braces, escaped: `topic="events.a",partition="3"` (metrics_label helps). The same
 * name and labels give the same metric; the help of the first counts. They live until metric_free, or the process's
 * end. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                 size_t bound_count);
void metric_free(struct metric **metric);

void metric_add(struct metric *metric, double value);     /* counter, gauge */
void metric_set(struct metric *metric, double value);     /* gauge */
void metric_observe(struct metric *metric, double value); /* histogram */
double metric_value(const struct metric *metric);

/* Appends name="value" with the escapes that Prometheus wants, and a comma before it when out is not empty. */
void metrics_label(struct buffer *out, const char *name, struct span value);

/* Text exposition format 0.0.4 of everything. */
void metrics_render(struct buffer *out);

#endif
