"""Does the SDK get its credentials from the stand-in, as it would from Huawei Cloud?

The proxy's tests trust the stand-in to hand out credentials as Huawei does. Here the official SDK asks for them with
its own providers, and cancels a job with what it got.
"""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.internal import MetadataAccessor
from huaweicloudsdkcore.auth.provider import (
    EnvCredentialProvider, MetadataCredentialProvider, OidcStsCredentialProvider, PodIdentityCredentialProvider,
    ProfileCredentialProvider
)
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkException
from huaweicloudsdkmpc.v1 import MpcClient
from huaweicloudsdksts.v1 import (
    AssumeAgencyReqBody, AssumeAgencyRequest, AssumeAgencyWithOIDCReqBody, AssumeAgencyWithOIDCRequest, StsClient
)

from harness import PROJECT, Proxy, StandIn, cancel, sdk


class Case(unittest.TestCase):
    """A stand-in of its own, a folder for the files that the SDK reads, and an environment that holds nothing else."""

    def setUp(self):
        self.cloud = self.enterContext(StandIn())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        loopback = {"NO_PROXY": "127.0.0.1", "HOME": str(self.folder)}
        self.enterContext(mock.patch.dict(os.environ, loopback, clear=True))
        for name, text in self.cloud.secrets.items():
            (self.folder / name).write_text(text)

    def file(self, name):
        return str(self.folder / name)

    def client(self, credentials):
        credentials.with_project_id(PROJECT)
        builder = MpcClient.new_builder().with_credentials(credentials).with_endpoint(self.cloud.url)
        return builder.build()

    def assert_cancels(self, credentials):
        """Cancels a job with a temporary key, and returns the key's id."""
        client = self.client(credentials)
        self.cloud.put_job("100211")
        cancel(client, "100211")
        self.assertFalse(self.cloud.has_job("100211"))
        headers = dict(self.cloud.requests()[-1]["headers"])
        self.assertIn("x-security-token", headers)
        self.assertIn(f"Access={credentials.ak},", headers["authorization"])
        self.assertNotEqual(credentials.ak, self.cloud.access_key)
        return credentials.ak

    def assert_expires(self, service, obtain):
        """What the service hands out is taken until it expires, and what the SDK has then is refused as expired."""
        self.cloud.set_lifetimes(**{service: 300})
        credentials = obtain()
        self.assert_cancels(credentials)
        # The SDK would renew it before each call.
        kept = BasicCredentials(credentials.ak, credentials.sk).with_security_token(credentials.security_token)
        self.assert_cancels(kept)
        self.cloud.set_clock(310)
        self.cloud.put_job("100211")
        with self.assertRaises(ClientRequestException) as caught:
            cancel(self.client(kept), "100211")
        self.assertEqual((caught.exception.status_code, caught.exception.error_code), (401, "APIGW.0301"))
        self.assertIn("expired", caught.exception.error_msg)
        self.assertTrue(self.cloud.has_job("100211"))

    def targets(self):
        return [seen["target"] for seen in self.cloud.requests()]


class Metadata(Case):
    def setUp(self):
        super().setUp()
        endpoint = self.cloud.sources["metadata"]["endpoint"]
        self.enterContext(mock.patch.object(MetadataAccessor, "_METADATA_ENDPOINT", endpoint))

    def credentials(self):
        return MetadataCredentialProvider.get_basic().get_credentials()

    def test_version_2(self):
        self.assert_cancels(self.credentials())
        self.assertEqual(
            self.targets()[:2], ["/meta-data/latest/api/token", "/openstack/latest/securitykey"]
        )

    def test_version_1(self):
        for status in (404, 405, 503):
            with self.subTest(status=status):
                self.cloud.set_metadata_mode({"v1": status})
                self.assert_cancels(self.credentials())

    def test_a_session_that_ended_is_opened_again(self):
        # As after a restart of the machine: the SDK's session token is no longer known.
        self.cloud.set_faults(
            {"fault": {"latency_ms": 0}, "service": "metadata", "times": 1},
            {"fault": "unauthorized", "service": "metadata", "times": 1},
        )
        credentials = self.credentials()
        tokens, keys = "/meta-data/latest/api/token", "/openstack/latest/securitykey"
        self.assertEqual(self.targets(), [tokens, keys, tokens, keys])
        self.assert_cancels(credentials)

    def test_the_same_key_until_it_is_rotated(self):
        first = self.assert_cancels(self.credentials())
        self.assertEqual(self.assert_cancels(self.credentials()), first)
        self.cloud.rotate_metadata_key()
        self.assertNotEqual(self.assert_cancels(self.credentials()), first)

    def test_a_machine_without_an_agency(self):
        self.cloud.set_metadata_mode("no_agency")
        with self.assertRaises(ClientRequestException) as caught:
            self.credentials()
        self.assertEqual(caught.exception.status_code, 401)
        self.assertIn("Please configure Cloud Service Agency first", caught.exception.error_msg)
        self.assertEqual(len(self.cloud.requests()), 2, "the SDK knows that a new session would not help")

    def test_expired(self):
        self.assert_expires("metadata", self.credentials)


class PodIdentity(Case):
    def setUp(self):
        super().setUp()
        os.environ["HC_CONTAINER_CREDENTIALS_FULL_URI"] = self.cloud.pod_uri
        os.environ["HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = self.file("pod-token")

    def credentials(self):
        return PodIdentityCredentialProvider.get_basic().get_credentials()

    def test_the_pods_token(self):
        self.assert_cancels(self.credentials())

    def test_the_sdk_renews_what_has_less_than_40_minutes_left(self):
        for seconds, asked in ((2460, 1), (2340, 3)):
            with self.subTest(seconds=seconds):
                self.cloud.forget_requests()
                self.cloud.set_lifetimes(pod_identity=seconds)
                credentials = self.credentials()
                for _ in range(2):
                    self.assert_cancels(credentials)
                self.assertEqual(self.targets().count("/pod-identity"), asked)

    def test_another_token(self):
        (self.folder / "pod-token").write_text("another")
        with self.assertRaisesRegex(SdkException, "401"):
            self.credentials()

    def test_expired(self):
        self.assert_expires("pod_identity", self.credentials)


class Oidc(Case):
    """By IAM v3: the id token buys a token, and that a key."""

    def setUp(self):
        super().setUp()
        self.source = self.cloud.sources["oidc"]
        os.environ["HUAWEICLOUD_SDK_IAM_ENDPOINT"] = self.source["iam_endpoint"]
        os.environ["HUAWEICLOUD_SDK_IDP_ID"] = self.source["idp_id"]
        os.environ["HUAWEICLOUD_SDK_ID_TOKEN_FILE"] = self.file("id-token")

    def credentials(self):
        return EnvCredentialProvider.get_basic().get_credentials()

    def test_by_the_environment(self):
        self.assert_cancels(self.credentials())
        exchange = ["/v3.0/OS-AUTH/id-token/tokens", "/v3.0/OS-CREDENTIAL/securitytokens"]
        self.assertEqual(self.targets()[:2], exchange)

    def test_by_a_profile(self):
        profile = {
            "iam_endpoint": self.source["iam_endpoint"], "idp_id": self.source["idp_id"],
            "id_token_file": self.file("id-token"),
        }
        lines = ["[basic]", *(f"{name} = {value}" for name, value in profile.items())]
        (self.folder / "credentials").write_text("\n".join(lines))
        os.environ.clear()
        os.environ.update(NO_PROXY="127.0.0.1", HUAWEICLOUD_SDK_CREDENTIALS_FILE=self.file("credentials"))
        self.assert_cancels(ProfileCredentialProvider.get_basic().get_credentials())

    def test_the_sdk_reads_iams_errors(self):
        (self.folder / "id-token").write_text("another")
        self.assert_refused(401, "The id token is invalid.")
        os.environ["HUAWEICLOUD_SDK_IDP_ID"] = "another"
        self.assert_refused(404, "Could not find Identity Provider: another.")

    def assert_refused(self, status, message):
        with self.assertRaises(ClientRequestException) as caught:
            cancel(self.client(self.credentials()), "100211")
        self.assertEqual((caught.exception.status_code, caught.exception.error_msg), (status, message))

    def test_expired(self):
        self.assert_expires("iam", self.credentials)

    def test_a_token_that_expired_before_it_bought_a_key(self):
        self.cloud.set_lifetimes(iam=0)
        self.assert_refused(401, "The token is invalid or has expired.")


class Sts(Case):
    """By STS v5: an id token, or an access key, assumes an agency."""

    def credentials(self, **other):
        source = dict(self.cloud.sources["oidc_sts"], id_token_file=self.file("id-token"), **other)
        return OidcStsCredentialProvider("basic", **source).get_credentials()

    def test_an_id_token(self):
        self.assert_cancels(self.credentials())
        self.assertEqual(self.targets()[0], "/v5/agencies/assume-with-oidc")

    def test_an_id_token_and_session_policies(self):
        self.assert_cancels(self.credentials(
            agency_session_name="media@prod", duration_seconds=43200, policy='{"Version":"5.0"}', policy_ids=["p-1"]
        ))

    def test_whatever_is_wrong(self):
        for name, value, status in (
            ("id_token", "another", 401),
            ("provider_urn", "iam::testserver:oidcProvider:another", 401),
            ("agency_urn", "iam::testserver:agency:another", 404),
            ("agency_urn", self.cloud.sources["agency"]["agency_urn"], 403),
            ("duration_seconds", 899, 400),
        ):
            with self.subTest(name=name, value=value):
                source = dict(self.cloud.sources["oidc_sts"], id_token_file=self.file("id-token"))
                credentials = OidcStsCredentialProvider("basic", **dict(source, **{name: value})).get_credentials()
                with self.assertRaisesRegex(SdkException, f"oidc sts.*{status}"):
                    cancel(self.client(credentials), "100211")

    def test_expired(self):
        self.assert_expires("sts", self.credentials)

    def sts(self, secret_key=None):
        credentials = BasicCredentials(self.cloud.access_key, secret_key or self.cloud.secret_key, PROJECT)
        source = self.cloud.sources["agency"]
        return StsClient.new_builder().with_credentials(credentials).with_endpoint(source["sts_endpoint"]).build()

    def assumed(self, answer):
        key = answer.credentials
        self.assertRegex(str(key.expiration), r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{3}")
        self.assertIn("assumed-agency", answer.assumed_agency.urn)
        return BasicCredentials(key.access_key_id, key.secret_access_key).with_security_token(key.security_token)

    def assume(self, client):
        agency_urn = self.cloud.sources["agency"]["agency_urn"]
        body = AssumeAgencyReqBody(agency_urn=agency_urn, agency_session_name="mpc", duration_seconds=900)
        return client.assume_agency(AssumeAgencyRequest(body=body))

    def test_an_access_key(self):
        self.assert_cancels(self.assumed(self.assume(self.sts())))

    def test_an_access_key_for_a_while(self):
        self.assert_expires("sts", lambda: self.assumed(self.assume(self.sts())))

    def test_a_wrong_secret_key(self):
        with self.assertRaises(ClientRequestException) as caught:
            self.assume(self.sts(secret_key="another"))
        self.assertEqual((caught.exception.status_code, caught.exception.error_code), (401, "APIGW.0301"))

    def test_an_id_token_with_the_client_of_sts(self):
        source = self.cloud.sources["oidc_sts"]
        body = AssumeAgencyWithOIDCReqBody(
            agency_urn=source["agency_urn"], provider_urn=source["provider_urn"],
            id_token=self.cloud.secrets["id-token"], agency_session_name="mpc",
        )
        answer = self.sts().assume_agency_with_oidc(AssumeAgencyWithOIDCRequest(body=body))
        self.assertEqual(answer.provider, source["provider_urn"])
        self.assert_cancels(self.assumed(answer))


class Locks(Case):
    def test_five_wrong_secret_keys_lock_the_access_key(self):
        def refused(secret_key):
            with self.assertRaises(ClientRequestException) as caught:
                cancel(self.client(BasicCredentials(self.cloud.access_key, secret_key)), "100211")
            return caught.exception.error_msg

        for _ in range(5):
            self.assertIn("verify aksk signature fail", refused("another"))
        self.assertIn("AK access failed to reach the limit,forbidden", refused(self.cloud.secret_key))


class Pasted(unittest.TestCase):
    """What `testserver` prints for each source of credentials, pasted into proxy.yaml."""

    def test_the_proxy_cancels_a_job_with_each(self):
        with StandIn() as cloud:
            shown = {
                "environment": "authorization", "metadata": "x-security-token", "pod_identity": "x-security-token",
                "oidc": "x-security-token", "oidc_sts": "x-security-token", "agency": "x-security-token",
                "iam_password": "x-auth-token",
            }
            self.assertEqual(cloud.sources.keys(), shown.keys())
            for source, header in shown.items():
                with self.subTest(source=source), Proxy(cloud, source=source) as proxy:
                    cloud.put_job("100211")
                    cancel(sdk(proxy.urls["app"]), "100211")
                    self.assertFalse(cloud.has_job("100211"))
                    self.assertIn(header, dict(cloud.requests()[-1]["headers"]))
                    [record] = proxy.audit(at_least=1)
                    self.assertEqual((record["credential.name"], record["outcome"]), ("test", "forwarded"))
