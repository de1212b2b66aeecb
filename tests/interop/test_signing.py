"""Do the SDK and the proxy agree on what a signature is? Each checks the other, both ways."""

import json
import subprocess
import tempfile
import unittest

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from huaweicloudsdkmpc.v1 import CreateEditingJobReq, CreateEditingJobRequest, ListEditingJobRequest
from requests.utils import requote_uri

from harness import BINARY, PROJECT, StandIn, cancel, sdk

HOST = "mpc.cn-north-4.myhuaweicloud.com"
DATE = "20261123T101112Z"
AK, SK, SECURITY_TOKEN = "AKEXAMPLE00000000001", "secret/with+signs/example/0123456789+abc=", "a-security-token" * 20


class TheStandInVerifies(unittest.TestCase):
    """The proxy's tests trust the stand-in to refuse a wrong signature; here the SDK makes the signatures."""

    @classmethod
    def setUpClass(cls):
        cls.cloud = cls.enterClassContext(StandIn())

    def client(self, **wrong):
        keys = {"access_key": self.cloud.access_key, "secret_key": self.cloud.secret_key, **wrong}
        return sdk(self.cloud.url, **keys)

    def test_what_the_sdk_signs_is_accepted(self):
        self.cloud.put_job("100211")
        cancel(self.client(), "100211")
        self.assertFalse(self.cloud.has_job("100211"))

    def test_a_body_and_a_longer_query_are_verified_too(self):
        job = CreateEditingJobReq(edit_type=["CLIP"])
        created = self.client().create_editing_job(CreateEditingJobRequest(body=job))
        self.assertTrue(self.cloud.has_job(created.job_id))
        self.cloud.forget_requests()
        jobs = ["waiting-2", "waiting-1", created.job_id]
        self.client().list_editing_job(ListEditingJobRequest(job_id=jobs))
        [seen] = self.cloud.requests()
        self.assertEqual((seen["method"], seen["status"]), ("GET", 200))
        self.assertEqual(seen["target"].count("job_id="), 3)

    def test_a_wrong_key_is_refused(self):
        for wrong in ({"secret_key": "wrong"}, {"access_key": "WRONG"}):
            with self.subTest(**wrong):
                self.cloud.put_job("100212")
                with self.assertRaises(ClientRequestException) as caught:
                    cancel(self.client(**wrong), "100212")
                error = caught.exception
                self.assertEqual((error.status_code, error.error_code), (401, "APIGW.0301"))
                self.assertTrue(self.cloud.has_job("100212"))


class TheSignCommand(unittest.TestCase):
    """`mpc-auth-proxy sign` and the SDK's signer, with the same request, key and time."""

    # Method, path, query, headers, body.
    REQUESTS = [
        ("DELETE", f"/v2/{PROJECT}/editing/jobs/100211", [], {}, ""),
        ("DELETE", f"/v1/{PROJECT}/editing/jobs", [("job_id", "100211")], {"X-Project-Id": PROJECT}, ""),
        # The documentation's spelling of the header is sent and not signed.
        ("DELETE", f"/v2/{PROJECT}/editing/job", [("job_id", "100211")], {"X-Project_Id": PROJECT}, ""),
        ("GET", f"/v1/{PROJECT}/editing/jobs", [("job_id", ["9", "10"]), ("a", ""), ("A", "~ +")], {}, ""),
        ("POST", f"/v1/{PROJECT}/editing/jobs", [], {"Content-Type": "application/json"}, '{"a":1}'),
        ("PUT", "/v1/ä ö/~-._/%2F", [("ключ", "値")], {"X-Spaces": "  inner  kept  "}, "ü"),
    ]

    def test_it_signs_as_the_sdk_does(self):
        for token in (None, SECURITY_TOKEN):
            for method, path, query, headers, body in self.REQUESTS:
                with self.subTest(method=method, path=path, temporary=token is not None):
                    signed = self.by_the_sdk(token, method, path, query, headers, body)
                    ours = self.by_the_command(token, signed, headers, body)
                    self.assertEqual(ours["authorization"], signed.header_params["Authorization"], ours)

    def by_the_sdk(self, token, method, path, query, headers, body):
        headers = {"Host": HOST, "X-Sdk-Date": DATE, **headers}
        if token:
            headers["X-Security-Token"] = token
        request = SdkRequest(
            method=method, schema="https", host=HOST, resource_path=path, query_params=query,
            header_params=headers, body=body,
        )
        return Signer(BasicCredentials(AK, SK, PROJECT)).sign(request)

    def by_the_command(self, token, signed, headers, body):
        environment = {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": SK}
        if token:
            environment["HUAWEICLOUD_SDK_SECURITY_TOKEN"] = token
        # The SDK leaves the last escaping to the library that sends.
        url = requote_uri(f"https://{HOST}{signed.uri}")
        arguments = ["sign", "--method", signed.method, "--url", url, "--date", DATE, "--format", "json"]
        for name, value in headers.items():
            arguments += ["-H", f"{name}: {value}"]
        with tempfile.NamedTemporaryFile() as file:
            file.write(body.encode())
            file.flush()
            command = [BINARY, *arguments, "--body-file", file.name]
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return json.loads(done.stdout)


if __name__ == "__main__":
    unittest.main()
