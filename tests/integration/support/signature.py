"""Verifies webhook signatures from the specifications alone, with nothing of hookcast's."""
import base64
import hashlib
import hmac


def secret_bytes(secret):
    """`whsec_…` is base64; any other secret is its own UTF-8 bytes."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret[len("whsec_"):])
    return secret.encode()


def standard(secret, message_id, timestamp, body):
    """Standard Webhooks 1.0: `v1,` and base64 of HMAC-SHA256 over id.timestamp.body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()).decode()


def hex_style(secret, body):
    return "sha256=" + hmac.new(secret_bytes(secret), body, hashlib.sha256).hexdigest()


def verify_standard(request, *secrets):
    """True when the request carries one valid signature for each of the secrets."""
    carried = request.headers.get("webhook-signature", "").split(" ")
    stamp = request.headers.get("webhook-timestamp", "")
    return all(any(hmac.compare_digest(standard(secret, request.id, stamp, request.body), one) for one in carried)
               for secret in secrets)


def verify_hex(request, header, secret):
    return hmac.compare_digest(hex_style(secret, request.body), request.headers.get(header.lower(), ""))
