/* All that test_json_reader asks, asked of the reader that is built where there is no SSE2. */
#define JSON_READER_PORTABLE
#include "base/json_reader.c"

#include "test_json_reader.c"
