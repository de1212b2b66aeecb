"""Does each service create, see and cancel its own jobs with the SDK, and nobody else's? None of them has a key."""

import unittest

from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmpc.v1 import DeleteEditingJobRequest

from harness import LOCAL_AK, LOCAL_SK, POLICY, PROJECT, TOKEN, Proxy, StandIn, sdk
from test_jobs import create, view

OWN = POLICY.partition("rules:")[0] + """rules:
  - { id: own-jobs, effect: allow, callers: ["*"], actions: [mpc:editingTask:delete, mpc:editingTask:view],
      projects: [media-prod], jobs: ["*"], condition: { StringMatch: { mpc:UserData: ["${proxy:Caller}/*"] } } }
  - { id: create-own-jobs, effect: allow, callers: ["*"], actions: [mpc:editingTask:create],
      projects: [media-prod], jobs: ["*"], condition: { StringMatch: { mpc:UserData: ["${proxy:Caller}/*"] },
      "ForAllValues:StringMatch": { mpc:Input: ["media-in/*"], mpc:Output: ["media-out/${proxy:Caller}/*"] } } }
"""


class Ownership(unittest.TestCase):
    def setUp(self):
        self.cloud = self.enterContext(StandIn())
        self.proxy = self.enterContext(Proxy(self.cloud, policy=OWN))
        self.app, self.team = self.proxy.urls["app"], self.proxy.urls["team"]
        self.owner = sdk(self.cloud.url, self.cloud.access_key, self.cloud.secret_key)

    def test_a_service_sees_its_own_jobs_by_id_and_in_lists(self):
        own, others = create(self.owner, "editor-api/剪辑🎬"), create(self.owner, "transcoder/1")
        # One is known by its listener, the other signs with a key that was made up for the proxy.
        for client, seen, hidden in (
            (sdk(self.app), own, others), (sdk(self.team, LOCAL_AK, LOCAL_SK), others, own),
        ):
            self.assertEqual([job.job_id for job in view(client, job_id=[own, others]).jobs], [seen])
            self.assertEqual([job.job_id for job in view(client, status="WAITING", size=100).jobs], [seen])
            self.assertEqual(view(client, job_id=[hidden]).to_dict(), view(client, job_id=["9"]).to_dict())
        [found] = view(sdk(self.app), job_id=[own]).jobs
        self.assertEqual((found.user_data, found.edit_task_req.clips[0].input.object),
                         ("editor-api/剪辑🎬", "raw/课程 1.mp4"))
        for record in self.proxy.audit():
            self.assertEqual(record["mpc.action"], "mpc:editingTask:view")

    def test_a_service_cancels_its_own_jobs(self):
        own, others = create(self.owner, "batch-cleaner/1"), create(self.owner, "editor-api/2")

        def cancel(job):
            call = sdk(self.team).delete_editing_job_invoker(DeleteEditingJobRequest(job_id=job))
            call.add_header("Authorization", f"Bearer {TOKEN}").invoke()

        with self.assertRaises(ClientRequestException) as caught:
            cancel(others)
        self.assertEqual((caught.exception.status_code, caught.exception.error_code), (403, "PROXY.Forbidden"))
        self.assertTrue(self.cloud.has_job(others))
        cancel(own)
        self.assertFalse(self.cloud.has_job(own))
        deleted = [seen["target"] for seen in self.cloud.requests() if seen["method"] == "DELETE"]
        self.assertEqual(deleted, [f"/v1/{PROJECT}/editing/jobs?job_id={own}"])


    def test_two_services_create_see_and_cancel_each_its_own(self):
        # One is known by its listener, the other signs with a key that was made up for the proxy.
        services = {"editor-api": sdk(self.app), "transcoder": sdk(self.team, LOCAL_AK, LOCAL_SK)}
        jobs = {name: create(client, f"{name}/剪辑🎬", output=f"{name}/") for name, client in services.items()}
        for (name, client), other in zip(services.items(), ("transcoder", "editor-api")):
            for user_data, output, bucket in (
                (f"{other}/1", f"{name}/", "media-in"),
                (f"{name}/1", f"{other}/", "media-in"),
                (f"{name}/1", f"{name}/", "masters"),
            ):
                with self.assertRaises(ClientRequestException) as caught:
                    create(client, user_data, output=output, bucket=bucket)
                self.assertEqual((caught.exception.status_code, caught.exception.error_code), (403, "PROXY.Forbidden"))
            seen = view(client, status="WAITING", size=100).jobs
            self.assertEqual([(job.job_id, job.user_data) for job in seen], [(jobs[name], f"{name}/剪辑🎬")])
            with self.assertRaises(ClientRequestException):
                client.delete_editing_job(DeleteEditingJobRequest(job_id=jobs[other]))
            self.assertTrue(self.cloud.has_job(jobs[other]))
        for name, client in services.items():
            client.delete_editing_job(DeleteEditingJobRequest(job_id=jobs[name]))
            self.assertFalse(self.cloud.has_job(jobs[name]))
        created = [seen for seen in self.cloud.requests() if seen["method"] == "POST"]
        self.assertEqual(len(created), 2)
        made = [record for record in self.proxy.audit() if record["mpc.action"] == "mpc:editingTask:create"]
        self.assertEqual([record["mpc.job_id"] for record in made if record["outcome"] == "forwarded"], list(jobs.values()))


if __name__ == "__main__":
    unittest.main()
