"""Does the stand-in cloud take the SDK's whole life of a job for what MPC would take it for?"""

import unittest

from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmpc.v1 import (
    ClipInfo, CreateEditingJobReq, CreateEditingJobRequest, ListEditingJobRequest, ObsObjInfo, OutputSetting
)

from harness import PROJECT, StandIn, cancel, sdk


def create(client, user_data, source="raw/课程 1.mp4", bucket="media-in", output="clips/"):
    """Creates a job, and returns its id."""
    body = CreateEditingJobReq(
        edit_type=["CLIP"],
        clips=[ClipInfo(input=ObsObjInfo(bucket, "cn-north-4", source), timeline_start="1", timeline_end="9")],
        output_setting=OutputSetting(format="MP4", output=ObsObjInfo("media-out", "cn-north-4", output)),
        user_data=user_data,
    )
    return client.create_editing_job(CreateEditingJobRequest(body=body)).job_id


def view(client, **filters):
    """What the SDK makes of the jobs that are asked for."""
    return client.list_editing_job(ListEditingJobRequest(**filters))


class Jobs(unittest.TestCase):
    """Every test talks to the stand-in itself: nothing of the proxy is in between."""

    @classmethod
    def setUpClass(cls):
        cls.cloud = cls.enterClassContext(StandIn())
        cls.client = sdk(cls.cloud.url, cls.cloud.access_key, cls.cloud.secret_key)

    def test_a_job_is_created_viewed_and_cancelled(self):
        job = create(self.client, "editor-api/剪辑🎬")
        self.assertRegex(job, r"^\d{6}$")
        answer = view(self.client, job_id=[job])
        [found] = answer.jobs
        self.assertEqual((answer.total, found.job_id, found.task_id), (1, job, job))
        self.assertEqual((found.status, found.user_data), ("WAITING", "editor-api/剪辑🎬"))
        self.assertEqual(found.edit_task_req.clips[0].input.object, "raw/课程 1.mp4")
        self.assertEqual(found.output.bucket, "media-out")
        cancel(self.client, job)
        self.assertFalse(self.cloud.has_job(job))
        self.assertEqual(view(self.client, job_id=[job]).total, 0)

    def test_jobs_are_viewed_by_their_ids_in_any_order(self):
        jobs = [create(self.client, "a"), create(self.client, "b"), create(self.client, "c")]
        answer = view(self.client, job_id=[jobs[2], "9", jobs[0]])
        self.assertEqual(sorted(job.user_data for job in answer.jobs), ["a", "c"])
        seen = self.cloud.requests()[-1]["target"]
        self.assertEqual(seen, f"/v1/{PROJECT}/editing/jobs?job_id={jobs[0]}&job_id={jobs[2]}&job_id=9")

    def test_jobs_are_listed_by_status_and_page(self):
        for number in range(3):
            self.cloud.put_job(f"accepted-{number}", "INIT")
        answer = view(self.client, status="INIT", page=1, size=2)
        self.assertEqual((answer.total, [job.job_id for job in answer.jobs]), (3, ["accepted-2"]))

    def test_what_is_refused_is_mpcs_error(self):
        for arguments, expected in (({"source": "../a"}, (400, "MPC.10209")),):
            with self.assertRaises(ClientRequestException) as caught:
                create(self.client, "a", **arguments)
            self.assertEqual((caught.exception.status_code, caught.exception.error_code), expected)


if __name__ == "__main__":
    unittest.main()
