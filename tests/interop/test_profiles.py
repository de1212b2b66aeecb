"""Does the proxy read the SDK's credentials files as the SDK does?

`tests/data/profiles.jsonl` holds files and the key that is in each, or none: the proxy's unit tests assert it of the
proxy, and this of the SDK. Where the SDK takes what cannot be a key, `sdk` says what it takes.
"""

import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from huaweicloudsdkcore.auth.provider import ProfileCredentialProvider

from harness import ROOT


class Profiles(unittest.TestCase):
    def read(self, text):
        """The key that the SDK finds in such a file. `None` where it refuses the file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "credentials"
            path.write_bytes(text.encode())
            with mock.patch.dict(os.environ, {"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(path)}):
                try:
                    found = ProfileCredentialProvider.get_basic().get_credentials()
                except Exception:  # configparser has an error of its own for each mistake
                    return None
        return {"ak": found.ak, "sk": found.sk, "token": found.security_token or None}

    def test_a_file_is_the_same_key_or_refused(self):
        lines = (ROOT / "tests/data/profiles.jsonl").read_text().splitlines()
        self.assertEqual(len(lines), 39)
        for case in map(json.loads, lines):
            with self.subTest(case["name"]):
                self.assertEqual(self.read(case["text"]), case.get("sdk", case["key"]))


if __name__ == "__main__":
    unittest.main()
