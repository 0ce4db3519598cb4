/* What a request asks of the log, checked: its query parameters, or the same names elsewhere. */
#ifndef API_LOG_REQUEST_H
#define API_LOG_REQUEST_H

#include "api/call.h"
#include "store/log_query.h"

/* What ret_query points into lives in the call and in this. */
struct log_request {
    struct uuid batch_id;
    struct log_place after;
};

/* False: something is wrong, and the call is answered (422). */
bool log_request_read(struct call *call, struct log_request *request, struct log_query_settings *ret_query);

/* Only what rows fit, wherever the values stand: get gives them as the query would have them, SPAN_NONE where there is
 * none. What is wrong is added to the call's errors. */
typedef struct span log_request_get_fn(struct call *call, const char *name);
void log_request_filter(struct call *call, log_request_get_fn *from, struct log_request *request,
                        struct log_filter *ret_filter);

/* 503, or 5xx. False: neither. */
bool log_request_status(struct span text, int *ret_low, int *ret_high);

/* A date and time, or a date, in µs since 1970; a `+` before the zone may have become a space on its way. end: the
 * moment is included, a bare date to its end, and ret_us is the first that is not. False: it is none. */
bool log_request_time(struct span text, bool end, int64_t *ret_us);

#endif
