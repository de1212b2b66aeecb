"""Do the JSON Schemas of `config schema` say of a file what the program says? Checked with a validator of editors' kind.

Every example is valid. Of the mistakes in tests/data/mistakes the schemas refuse all but those that are listed here, and
nothing that the program takes.
"""

import io
import json
import re
import subprocess
import unittest

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness import BINARY, ROOT

MISTAKES = ROOT / "tests/data/mistakes"
NAMES = ("proxy", "policy")


def printed(name):
    command = [BINARY, "config", "schema", name]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=60).stdout


def read(text):
    """The document, as YAML 1.2 has it and editors read it: without times, and with each key once."""
    yaml = YAML(typ="safe", pure=True)
    yaml.resolver.versioned_resolver  # Made before it is changed.
    for resolvers in yaml.resolver._version_implicit_resolver.get((1, 2), {}).values():
        resolvers[:] = [pair for pair in resolvers if not pair[0].endswith((":timestamp", ":merge"))]
    return yaml.load(io.StringIO(text))


VALIDATORS = {name: Draft202012Validator(json.loads(printed(name))) for name in NAMES}


def refused(name, text):
    """Why it is refused, if it is."""
    try:
        document = read(text)
    except YAMLError as error:
        return str(error)
    return next((error.message for error in VALIDATORS[name].iter_errors(document)), None)


class Schema(unittest.TestCase):
    def test_they_are_schemas_and_those_that_are_committed(self):
        for name in NAMES:
            Draft202012Validator.check_schema(json.loads(printed(name)))
            self.assertEqual((ROOT / f"config/schema/{name}.schema.json").read_text(), printed(name))

    def test_every_example_is_valid(self):
        examples = [(path.stem, path.read_text()) for path in [
            *ROOT.glob("config/*/*.yaml"), *ROOT.glob("deploy/systemd/*.yaml"), *MISTAKES.glob("*.yaml"),
        ]]
        for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
            for block in re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
                first = {line.split(":")[0] for line in block.splitlines()}
                if {"version", "rules"} <= first:
                    examples.append(("policy", block))
                elif {"version", "listeners"} <= first:
                    examples.append(("proxy", block))
        for manifest in YAML(typ="safe", pure=True).load_all((ROOT / "deploy/kubernetes/sidecar.yaml").read_text()):
            if manifest and manifest["kind"] == "ConfigMap":
                examples += [(file.removesuffix(".yaml"), text) for file, text in manifest["data"].items()]
        self.assertGreater(len(examples), 20)
        for name, text in examples:
            self.assertIsNone(refused(name, text), text)

    def test_they_refuse_what_the_program_refuses_and_nothing_else(self):
        unseen = set()
        for title, file, text, report in mistakes():
            with self.subTest(title):
                wrong = re.search(rf"^{file}\.yaml(:\d+:\d+)?: error: ", report, re.MULTILINE)
                reason = refused(file, text)
                if wrong is None:
                    self.assertIsNone(reason)
                elif reason is None:
                    unseen.add(title)
        self.assertEqual(unseen, BEYOND_A_SCHEMA)


def mistakes():
    """Name, file, the file's text and the program's report, of every mistake."""
    for cases in ("cases.txt", "material.txt"):
        for case in (MISTAKES / cases).read_text().split("=== ")[1:]:
            title, rest = case.split("\n", 1)
            change, rest = rest.split("\nin ", 1)
            file, report = rest.split("\n", 1)

            def lines(mark):
                return "\n".join(line[2:] for line in change.split("\n") if line.startswith(mark))

            text = (MISTAKES / file).read_text()
            before, after = lines("- "), lines("+ ")
            assert before in text, title
            yield title, file.removesuffix(".yaml"), text.replace(before, after, 1), report


# What only the program can know.
BEYOND_A_SCHEMA = {
    # What a value is worth: a size or duration beyond its range, a date that no calendar has, how a number was spelled.
    "a duration of nothing", "a key that would live for a minute", "connections that live for days",
    "a size that is too small", "a condition on a date that is none", "a job id with a point",
    "a job id with a point in a condition", "a project id with a point",
    # Grammars of one kind of text: hosts, addresses and their ranges, keys, paths in buckets, variables.
    "an endpoint of two numbers", "an endpoint with a number too large", "an endpoint with a part of 64 letters",
    "an endpoint with an empty part", "a range of too many bits", "a range that starts before its address",
    "an access key that no header can carry", "a bucket with an object", "an input without an object",
    "an output that begins with a slash", "a variable that is none", "a variable without an end",
    "a variable that another caller's name could end with", "a variable that another caller's name could go on",
    "a job id in a condition that cannot be", "a wildcard where there are none", "a digest for the path of one",
    # YAML that the program does not take.
    "an anchor",
    # What an address means: where it leads, and what then has to be said besides.
    "a listener that everybody can reach", "a listener that everybody can reach, without hosts",
    "a plaintext endpoint", "a secret sent over http", "a metadata service on another machine",
    "TLS on a Unix socket", "permissions of a TCP listener", "permissions of a socket of systemd",
    "records that are announced and may be dropped", "bodies that are more than a quarter of the room for all",
    # Whether names fit together.
    "a project's name for its id", "a project's name that is another's id",
    "a caller in a condition that is not there", "a caller that is not there", "a credential that is not there",
    "a listener in a condition that is not there", "a listener that is not there", "a pattern that matches nobody",
    "a project that is not there", "a proof in a condition that nobody has", "an action in the wrong case",
    "an action that is not there", "an agency that is assumed with a user token",
    "an agency that is assumed with itself", "an agency with a base that is not there",
    "federation where no region is known", "a user token for two projects", "the id of another rule",
    "the name of another listener", "a rule about jobs that have no id yet",
    # What is taken, and who would be who.
    "a caller whose process is another's too", "a second listener on one address", "an address that is taken",
    "one socket of systemd for two listeners", "two callers for one listener", "two callers with one secret key",
    "an access key with two secret keys", "two callers with one service account, whose keys are in two files",
    # One path for two uses.
    "a second listener on one path", "a second listener on one path, which is written otherwise",
    "an operators' socket that is a listener's", "an operators' socket that records go to",
    "a socket where the policy is", "a freeze file that is there for something else",
    "a freeze file that records go to", "records in the configuration", "records in a key", "records in the policy",
    "records in a file that the policy names",
    # What the machine has: its users, and what the kernel says of them.
    "a user that is not there", "a user whom the kernel cannot tell",
    "the group that everybody from outside of a namespace is in",
    "the user that everybody from outside of a namespace is",
    # What is in other files.
    "a certificate in OpenSSL's own form", "a directory for a file", "a file of certificates that has none",
    "a file of certificates that is not there", "a key of another certificate", "a key set that is none",
    "a key set with a private key", "a password file of three lines", "a policy that is not there",
    "a profile that is not there", "a profile that sets a key twice", "a profile with a stray line",
    "a profile with quotes", "a profile without the section", "a secret key of two lines",
    "a secret key with a space inside", "a token for a digest", "a token with a letter that is not ASCII",
    "an access key and a secret key that are swapped", "an access key in quotes",
    "an audit file in a directory that is not there", "an authority of callers that would be left out",
    "an authority that is not there", "an encrypted private key", "an indented certificate before a whole one",
    "certificate and key the other way round", "half a certificate before a whole one", "keys written into the file",
    "two certificates without a line end between them",
}

if __name__ == "__main__":
    unittest.main()
