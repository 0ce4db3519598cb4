/* What a request asks of the log: its query parameters, checked. */
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

/* A date and time, or a date, in µs since 1970; a `+` before the zone may have become a space on its way. end: the
 * moment is included, a bare date to its end, and ret_us is the first that is not. False: it is none. */
bool log_request_time(struct span text, bool end, int64_t *ret_us);

#endif
