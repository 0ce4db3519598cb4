#include "net/authorities.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

enum status authorities_count(const char *ca_file, struct buffer *out, int64_t *ret_count, struct error *error) {
    const char *path = *ca_file ? ca_file : curl_version_info(CURLVERSION_NOW)->cainfo;
    if (!path)
        return error_set(error, STATUS_INVALID, "libcurl was built without a file of certificate authorities");
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, STATUS_INVALID, "%s can't be read: %m", path);
    char *line = NULL;
    size_t room = 0;
    int64_t count = 0;
    while (getline(&line, &room, file) >= 0)
        count += strncmp(line, "-----BEGIN CERTIFICATE-----", 27) == 0 ||
                 strncmp(line, "-----BEGIN TRUSTED CERTIFICATE-----", 35) == 0;
    bool broken = ferror(file) != 0;
    free(line); /* the C library's own */
    fclose(file);
    if (broken)
        return error_set(error, STATUS_INVALID, "%s can't be read to its end", path);
    if (count == 0)
        return error_set(error, STATUS_INVALID, "%s has no certificate in PEM form", path);
    buffer_text(out, path);
    *ret_count = count;
    return STATUS_OK;
}
