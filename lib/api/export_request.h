/* What an export is asked for: as the body of …/logs/export has it, and as it lies in `jobs`. */
#ifndef API_EXPORT_REQUEST_H
#define API_EXPORT_REQUEST_H

#include "api/call.h"
#include "api/export_format.h"

struct export_request {
    enum export_format format;
    struct log_filter filter; /* its texts lie in json */
    struct uuid subscription_id, batch_id;
    struct json_t *json; /* what lies in `jobs`: the names of the body */
};
void export_request_deinit(struct export_request *request);

/* Reads the call's body. False: something is wrong, and the call is answered (422, 503). */
bool export_request_read(struct call *call, struct export_request *ret_request);

/* Reads what lies in `jobs`; the times of the filter are not there. STATUS_INVALID: it can't be read, which only SQL
 * can have brought about; the error says what. */
MUST_USE enum status export_request_load(struct span json, struct export_request *ret_request, struct error *error);

#endif
