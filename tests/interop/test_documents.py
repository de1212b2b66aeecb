"""Do the documents say what is so? What can be pasted from them is run."""

import re
import subprocess
import unittest
import urllib.request

from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmpc.v1 import DeleteEditingJobRequest

from harness import BINARY, ROOT, TOKEN, Proxy, StandIn, sdk
from test_jobs import create as create_job, view

LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
DOCUMENTS = [ROOT / name for name in LISTED.stdout.splitlines()]
README = (ROOT / "README.md").read_text()


def blocks(language, document=README):
    """The fenced blocks of a document, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", document, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def run(*arguments):
    command = [BINARY, *arguments]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=60)


OWNERS = """version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  packager: { identify: [ { bearer: { sha256_file: batch-cleaner.sha256 } } ] }
"""


class Readme(unittest.TestCase):
    def test_its_configuration_is_the_minimal_one(self):
        files = [(ROOT / "config/minimal" / name).read_text() for name in ("proxy.yaml", "policy.yaml")]
        *whole, rule, create = blocks("yaml")
        # But for the first line, which is for editors and has a path.
        self.assertEqual(whole, [text.split("\n", 1)[1] for text in files])
        with StandIn() as cloud, Proxy(cloud, policy=OWNERS + rule + create) as proxy:
            client = sdk(proxy.urls["app"])
            with self.assertRaises(ClientRequestException):
                create_job(client, "editor-api/1")
            job = create_job(client, "editor-api/1", output="editor-api/")
            self.assertEqual(view(client, job_id=[job]).total, 1)
            cloud.put_job("7")
            # Nobody left a word on it, so it is nobody's.
            url = f"{proxy.urls['app']}/v1/media-prod/editing/jobs?job_id=7"
            with urllib.request.urlopen(url) as answer:
                self.assertEqual(answer.read(), b'{"total":0,"jobs":[]}')

    def test_the_demo_prints_what_it_quotes(self):
        [quoted] = [text for text in blocks("text") if text.startswith("5. ")]
        printed = self.any_port(run("demo", "--once").stdout).splitlines()
        for line in filter(None, self.any_port(quoted).splitlines()):
            pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
            place = next((at for at, text in enumerate(printed) if pattern.fullmatch(text)), None)
            self.assertIsNotNone(place, f"not printed, or not in this order: {line}")
            printed = printed[place + 1:]

    def any_port(self, text):
        return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


class Callers(unittest.TestCase):
    def test_its_sdk_calls_cancel_jobs(self):
        plain, with_token = blocks("python", (ROOT / "docs/CALLERS.md").read_text())
        with StandIn() as cloud, Proxy(cloud) as proxy:
            cloud.put_job("100211")
            exec(plain.replace("http://127.0.0.1:8080", proxy.urls["app"]), {})
            self.assertFalse(cloud.has_job("100211"))

            cloud.put_job("tmp-7")
            names = {"client": sdk(proxy.urls["team"]), "token": TOKEN}
            exec(with_token.replace("100214", "tmp-7"), {"DeleteEditingJobRequest": DeleteEditingJobRequest, **names})
            self.assertFalse(cloud.has_job("tmp-7"))


class Migration(unittest.TestCase):
    def test_its_sdk_calls_create_view_and_cancel(self):
        text = (ROOT / "docs/MIGRATION.md").read_text()
        [calls] = blocks("python", text)
        observe, rules = blocks("yaml", text)
        callers = OWNERS.partition("callers:")[2]
        head, _, seen = observe.partition("rules:")
        self.assertIn("mode: observe\n", head)
        observed = "version: 1\nmode: observe\ncallers:" + callers + "rules:" + seen
        for policy in (observed, OWNERS + rules):
            with StandIn() as cloud, Proxy(cloud, policy=policy) as proxy:
                names = {}
                exec(calls.replace("http://127.0.0.1:8080", proxy.urls["app"]), names)
                self.assertFalse(cloud.has_job(names["job"]))
                self.assertEqual([seen["method"] for seen in cloud.requests()][0], "POST")


class Everywhere(unittest.TestCase):
    NAMED = r"`((?:src|tests|benches|config|deploy|docs)/[^`*…{ ]+)`"

    def test_links_lead_somewhere(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document}: {target}")

    def test_files_that_are_named_exist(self):
        for document in DOCUMENTS:
            for path in re.findall(self.NAMED, document.read_text()):
                # The architecture speaks of the files of `src`.
                found = (ROOT / path).exists() or (ROOT / "src" / path).exists()
                self.assertTrue(found, f"{document}: {path}")


if __name__ == "__main__":
    unittest.main()
