#!/usr/bin/env python3
"""Signs cancellations as Go's and PHP's SDKs do, from the specification and with the standard library alone.

Run `python3 make.py > signed.jsonl`. The keys are made up. It shares no code with the proxy.
"""

import hashlib
import hmac
import json
from urllib.parse import quote, unquote

KEY, SECRET, DATE = "TRANSCODER0001", "made-up-for-this-proxy", "20260115T083000Z"
NOTHING = hashlib.sha256(b"").hexdigest()
V1 = "/v1/media-prod/editing/jobs?job_id=100211"
V2 = "/v2/media-prod/editing/jobs/100211"
BASE = {"Host": "127.0.0.1:8080", "X-Project-Id": "media-prod", "Content-Type": "application/json"}
GO = {**BASE, "User-Agent": "huaweicloud-usdk-go/3.0"}
PHP = {**BASE, "User-Agent": "huaweicloud-usdk-php/3.0", "X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"}
GO_SIGNS = ["user-agent", "x-project-id"]
PHP_SIGNS = ["content-type", "x-project-id", "x-sdk-content-sha256"]


def signed(case, target, headers, names, payload):
    names = sorted([*names, "x-sdk-date"])
    headers = {**headers, "X-Sdk-Date": DATE}
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    path, _, query = target.partition("?")
    pairs = sorted(tuple(map(unquote, part.partition("=")[::2])) for part in query.split("&") if part)
    canonical = "\n".join([
        "DELETE",
        "/".join(quote(unquote(piece), safe="-_.~") for piece in path.split("/")).rstrip("/") + "/",
        "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs),
        "".join(f"{name}:{lower[name]}\n" for name in names),
        ";".join(names),
        payload,
    ])
    to_sign = "\n".join(["SDK-HMAC-SHA256", DATE, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(SECRET.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    print(json.dumps({
        "id": case, "method": "DELETE", "request_target": target, "headers_out": list(headers.items()),
        "body_b64": "", "ak": KEY, "sk": SECRET, "security_token": None, "x_sdk_date": DATE,
        "canonical_request": canonical, "string_to_sign": to_sign, "signed_headers": ";".join(names),
        "authorization": f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders={';'.join(names)}, Signature={signature}",
    }))


signed("go-v1", V1, GO, GO_SIGNS, NOTHING)
signed("go-v2", V2, GO, GO_SIGNS, NOTHING)
signed("go-date-alone", V2, GO, [], NOTHING)
signed("php-v1", V1, PHP, PHP_SIGNS, "UNSIGNED-PAYLOAD")
signed("php-v2", V2, PHP, PHP_SIGNS, "UNSIGNED-PAYLOAD")
signed("php-with-host", V2, PHP, [*PHP_SIGNS, "host"], "UNSIGNED-PAYLOAD")
signed("php-said-beside", V2, PHP, ["x-project-id"], "UNSIGNED-PAYLOAD")
signed("php-hash-of-nothing", V2, {**PHP, "X-Sdk-Content-Sha256": NOTHING}, PHP_SIGNS, NOTHING)
