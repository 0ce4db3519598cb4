/* Writes each line of JSON on standard input as JavaScript would, or "invalid" where json_scan refuses it; for
 * comparison with a JavaScript engine. */
#include "webhook/js_json.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    struct buffer out;
    buffer_init(&out, 64 << 20);
    while ((len = getline(&line, &capacity, stdin)) > 0) {
        struct span text = {line, (size_t)len - (line[len - 1] == '\n')};
        struct json_value value;
        buffer_reset(&out);
        if (json_scan(text, NULL, NULL, &value, NULL) == STATUS_OK) {
            js_json_write(text, &out);
        } else {
            buffer_text(&out, "invalid");
        }
        buffer_char(&out, '\n');
        fwrite(out.data, 1, out.len, stdout);
    }
    free(line);
    buffer_deinit(&out);
    return fflush(stdout) == 0 ? 0 : 1;
}
