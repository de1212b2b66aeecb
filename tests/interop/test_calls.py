"""Does a service that uses Huawei's SDK see through the proxy what it would see of the cloud, and no key?"""

import json
import unittest

from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from harness import (
    DUMMY_AK, DUMMY_SK, LOCAL_AK, LOCAL_SK, PROJECT, PROJECT_NAME, TOKEN, Proxy, StandIn, cancel, sdk
)

BEARER = ("Authorization", f"Bearer {TOKEN}")


class Calls(unittest.TestCase):
    """Every test asserts the answer, what the cloud saw, and the audit record."""

    @classmethod
    def setUpClass(cls):
        cls.cloud = cls.enterClassContext(StandIn())
        cls.proxy = cls.enterClassContext(Proxy(cls.cloud))
        cls.app, cls.team = cls.proxy.urls["app"], cls.proxy.urls["team"]

    def setUp(self):
        self.cloud.forget_requests()
        self.audited = len(self.proxy.audit())

    def test_a_job_is_cancelled_through_the_sdks_own_url(self):
        self.cloud.put_job("100211")
        cancel(sdk(self.app), "100211")
        self.assertFalse(self.cloud.has_job("100211"))
        [seen] = self.cloud.requests()
        self.assertEqual((seen["method"], seen["status"]), ("DELETE", 204))
        self.assertEqual(seen["target"], f"/v1/{PROJECT}/editing/jobs?job_id=100211")
        self.assert_record({
            "caller.id": "editor-api", "caller.identified_by": "listener", "listener": "app",
            "mpc.action": "mpc:editingTask:delete", "mpc.project_id": PROJECT, "mpc.job_id": "100211",
            "policy.effect": "allow", "policy.rule": "editor-cancels", "credential.name": "prod",
            "upstream.attempts": 1, "upstream.status_code": 204, "upstream.request_id": seen["request_id"],
            "outcome": "forwarded", "error.type": None, "http.response.status_code": 204,
        })

    def test_the_projects_name_will_do_for_its_id(self):
        self.cloud.put_job("100212")
        cancel(sdk(self.app, project=PROJECT_NAME), "100212")
        self.assertFalse(self.cloud.has_job("100212"))
        [seen] = self.cloud.requests()
        self.assertEqual(seen["target"], f"/v1/{PROJECT}/editing/jobs?job_id=100212")
        self.assertNotIn(PROJECT_NAME, json.dumps(seen))
        self.assert_record({"mpc.project_id": PROJECT, "outcome": "forwarded"})

    def test_the_cloud_sees_the_proxys_key_and_nothing_of_the_callers(self):
        self.cloud.put_job("100213")
        cancel(sdk(self.app), "100213", [("X-Security-Token", "DUMMYTOKEN"), ("X-Anything", "DUMMYHEADER")])
        [seen] = self.cloud.requests()
        names = [name for name, _ in seen["headers"]]
        allowed = {
            "accept", "authorization", "host", "user-agent", "x-project-id", "x-project_id", "x-sdk-date",
        }
        self.assertEqual((set(names), len(names)), (allowed, len(allowed)))
        headers = dict(seen["headers"])
        self.assertRegex(
            headers["authorization"],
            rf"^SDK-HMAC-SHA256 Access={self.cloud.access_key}, "
            "SignedHeaders=host;x-project-id;x-sdk-date, Signature=[0-9a-f]{64}$",
        )
        self.assertRegex(headers["user-agent"], r"^mpc-auth-proxy/\d+\.\d+\.\d+$")
        self.assertEqual((headers["x-project-id"], headers["x-project_id"]), (PROJECT, PROJECT))
        for text in (DUMMY_AK, DUMMY_SK, "DUMMY", "huaweicloud-usdk-python"):
            self.assertNotIn(text.lower(), json.dumps(seen).lower())
        hint = self.cloud.access_key[:4]
        record = self.assert_record({"outcome": "forwarded", "credential.key_hint": hint})
        for text in ("DUMMY", self.cloud.access_key, self.cloud.secret_key, "Signature"):
            self.assertNotIn(text, json.dumps(record))

    def test_a_denial_by_policy_is_the_sdks_own_exception(self):
        self.cloud.put_job("release-7")
        error = self.refused(sdk(self.app), "release-7")
        self.assertEqual((error.status_code, error.error_code), (403, "PROXY.Forbidden"))
        self.assertIn("nobody-cancels-releases", error.error_msg)
        self.assertTrue(self.cloud.has_job("release-7"))
        self.assertEqual(self.cloud.requests(), [])
        self.assert_record({
            "request.id": error.request_id, "caller.id": "editor-api", "mpc.job_id": "release-7",
            "policy.effect": "deny", "policy.rule": "nobody-cancels-releases", "upstream.attempts": 0,
            "outcome": "refused", "error.type": "PROXY.Forbidden", "http.response.status_code": 403,
        })

    def test_a_job_that_already_runs_is_mpcs_error(self):
        self.cloud.put_job("100214", "PROCESSING")
        error = self.refused(sdk(self.app), "100214")
        self.assert_from_mpc(error, 400, "MPC.10213", "The task is in progress or has been completed")
        self.assertTrue(self.cloud.has_job("100214"))

    def test_a_job_that_does_not_exist_is_mpcs_error(self):
        error = self.refused(sdk(self.app), "100215")
        self.assert_from_mpc(error, 403, "MPC.10211", "The task does not exist")

    def test_a_bearer_token_goes_by_the_invokers_header(self):
        self.cloud.put_job("tmp-1")
        cancel(sdk(self.team), "tmp-1", [BEARER])
        self.assertFalse(self.cloud.has_job("tmp-1"))
        [seen] = self.cloud.requests()
        self.assertNotIn(TOKEN, json.dumps(seen))
        self.assertIn(f"Access={self.cloud.access_key},", dict(seen["headers"])["authorization"])
        record = self.assert_record({
            "caller.id": "batch-cleaner", "caller.identified_by": "bearer", "listener": "team",
            "policy.rule": "cleaner-cancels-temporary-jobs", "outcome": "forwarded",
        })
        self.assertNotIn(TOKEN, json.dumps(record))

    def test_a_bearer_token_opens_no_more_than_its_rules(self):
        self.cloud.put_job("100216")
        error = self.refused(sdk(self.team), "100216", [BEARER])
        self.assertEqual((error.status_code, error.error_code), (403, "PROXY.Forbidden"))
        self.assertTrue(self.cloud.has_job("100216"))
        self.assertEqual(self.cloud.requests(), [])
        self.assert_record({"caller.id": "batch-cleaner", "policy.effect": "deny", "outcome": "refused"})

    def test_a_signature_with_a_key_for_the_proxy_proves_a_caller(self):
        for project in (PROJECT, PROJECT_NAME):
            self.setUp()
            self.cloud.put_job("100217")
            cancel(sdk(self.team, LOCAL_AK, LOCAL_SK, project), "100217")
            self.assertFalse(self.cloud.has_job("100217"))
            [seen] = self.cloud.requests()
            self.assertNotIn(LOCAL_AK.lower(), json.dumps(seen).lower())
            self.assertIn(f"Access={self.cloud.access_key},", dict(seen["headers"])["authorization"])
            self.assert_record({
                "caller.id": "transcoder", "caller.identified_by": "sdk_signature", "listener": "team",
                "policy.rule": "transcoder-cancels", "outcome": "forwarded",
            })

    def test_a_wrong_signature_with_that_key_proves_nobody_even_where_the_listener_would(self):
        for url, listener in ((self.team, "team"), (self.app, "app")):
            self.setUp()
            error = self.refused(sdk(url, LOCAL_AK, "guessed"), "100218")
            self.assertEqual((error.status_code, error.error_code), (401, "PROXY.Unauthenticated"))
            self.assertIn("invalid SDK signature", error.error_msg)
            self.assertEqual(self.cloud.requests(), [])
            self.assert_record({"caller.id": None, "listener": listener, "outcome": "refused"})

    def test_a_signature_with_a_dummy_key_proves_no_caller(self):
        self.assert_unknown([])

    def test_a_wrong_token_proves_no_caller(self):
        self.assert_unknown([("Authorization", "Bearer wrong")])

    def assert_unknown(self, headers):
        self.cloud.put_job("tmp-2")
        error = self.refused(sdk(self.team), "tmp-2", headers)
        self.assertEqual((error.status_code, error.error_code), (401, "PROXY.Unauthenticated"))
        self.assertRegex(error.request_id, r"^[0-9a-f-]{36}-\d{13}-\S+$")
        self.assertTrue(self.cloud.has_job("tmp-2"))
        self.assertEqual(self.cloud.requests(), [])
        self.assert_record({
            "request.id": error.request_id, "caller.id": None, "listener": "team", "outcome": "refused",
            "error.type": "PROXY.Unauthenticated", "http.response.status_code": 401,
        })

    def assert_from_mpc(self, error, status, code, message):
        """The cloud's own answer, as the SDK would show it without a proxy."""
        self.assertEqual((error.status_code, error.error_code, error.error_msg), (status, code, message))
        [seen] = self.cloud.requests()
        self.assertEqual((seen["status"], seen["request_id"]), (status, error.request_id))
        self.assert_record({
            "policy.effect": "allow", "outcome": "forwarded", "http.response.status_code": status,
            "upstream.status_code": status, "upstream.error_code": code,
            "upstream.request_id": error.request_id,
        })

    def assert_record(self, expected):
        """Exactly one audit record was written, and it says so."""
        records = self.proxy.audit(at_least=self.audited + 1)
        self.assertEqual(len(records), self.audited + 1)
        self.assertEqual({name: records[-1][name] for name in expected}, expected)
        return records[-1]

    def refused(self, client, job, headers=()):
        with self.assertRaises(ClientRequestException) as caught:
            cancel(client, job, headers)
        return caught.exception


if __name__ == "__main__":
    unittest.main()
