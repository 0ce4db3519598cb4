# The lines that scripts/start prints for trying the API out, each as it may be run. Reads: root (http://…), workspace, key,
# receiver (http://…), subscription, event and log (the ids of one that is there each).

# example METHOD PATH [JSON]: a path that begins with a slash is the server's, another one the workspace's.
example() {
    local line=curl url=$root/api/v1/workspaces/$workspace/$2
    case $2 in /*) url=$root$2 ;; esac
    if [ "$1" = PATCH ] || { [ "$1" = POST ] && [ $# -eq 2 ]; }; then line+=" -X $1"; fi
    if [ "$2" != /openapi.json ]; then line+=" -H 'X-API-KEY: $key'"; fi
    if [ $# -eq 3 ]; then line+=" -H 'content-type: application/json'"; fi
    line+=" '$url'"
    if [ $# -eq 3 ]; then line+=" -d '$3'"; fi
    printf '  %s\n' "$line"
}
heading() { printf '\n%s%s%s\n' "${BOLD:-}" "$*" "${PLAIN:-}"; }

examples() {
    heading "What goes where"
    example GET subscription
    example GET "subscription/$subscription"
    example POST subscription '{"webhook_url": "'"$receiver"'/mine", "event_types": ["message.new"], "is_enabled": true}'
    example POST subscription '{"webhook_url": "'"$receiver"'/later", "event_types": ["message.new"], "is_enabled": true, "delivery_mode": "delayed", "delay_seconds": 10}'
    example POST subscription '{"webhook_url": "'"$receiver"'/many", "event_types": ["*"], "is_enabled": true, "delivery_mode": "batched", "batch_max_wait_seconds": 5, "filter": {"payload.text": {"prefix": "Hel"}}}'
    example PATCH "subscription/$subscription" '{"updated_by": "me", "rate_limit_per_second": 50}'

    heading "Events: sent, and what became of one"
    example POST events '{"event_type": "message.new", "payload": {"text": "Hello"}}'
    example POST events '[{"event_type": "message.new", "id": "first"}, {"event_type": "call.missed", "id": "second"}]'
    example GET "events/$event"
    example GET /api/v1/event_types
    example POST test '{"event_type": "message.new", "webhook_url": "'"$receiver"'/test"}'

    heading "What was delivered"
    example GET 'logs?limit=5'
    example GET 'logs?event_type=message.new&delivery_status=success&order_by=created_at:asc&limit=5'
    example GET "logs/$log"
    example GET 'stats?unit=minute'

    heading "Again, or all of it as a file, as a job"
    example POST "subscription/$subscription/recover" '{"since": "'"$(date -u +%F)"'", "include": ["failed", "missing"]}'
    example POST "logs/$log/replay"
    example POST logs/export '{"email": "me@example.com", "format": "csv"}'
    example GET 'jobs?limit=5'

    heading "All routes"
    example GET /openapi.json
    printf '  %s\n' "in a browser: $root/docs"
}
