"""What the trials in Python share: asking over HTTP, waiting, failing."""

import time
import urllib.error
import urllib.request


def fail(text):
    raise SystemExit(f"    FAILED: {text}")


def ask(url, method="GET", body=None, headers=None):
    """The status and the text of an answer."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def eventually(what, holds, patience):
    """What holds, once it does, which it must within so many seconds."""
    end = time.monotonic() + patience
    while not (found := holds()):
        if time.monotonic() > end:
            fail(f"never: {what}")
        time.sleep(0.1)
    return found
