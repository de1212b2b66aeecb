//! The manuals of `demo`, `testserver` and `sign`.

use super::entry::Manual;

pub(super) const DEMO: Manual = Manual {
    about: "\
Starts the proxy, a stand-in for Huawei's IAM and MPC that verifies every signature, two callers and a \
queue of jobs, all on loopback. It shows eight calls as curl lines to copy, with their answers, what \
the cloud saw, and the audit record of each; then it stays up for you to try until Ctrl-C.",
    files: &[(
        "$TMPDIR/mpc-auth-proxy-demo-*",
        "A directory with the configuration, the policy and fake keys. It is removed at the end.",
    )],
    exits: &[(0, "The tour ended, and it was stopped."), (1, "It could not start.")],
    examples: "\
Run the tour and stop
$ mpc-auth-proxy demo --once",
};

pub(super) const TESTSERVER: Manual = Manual {
    about: "\
A stand-in for MPC, IAM, STS, ECS metadata and CCE pod identity, for the tests of your own services. It \
verifies every credential, prints what to paste into proxy.yaml, and can be asked for faults: latency, \
429, 500, a reset, a 401, a revoked token. It listens on loopback only, and has no real key.",
    files: &[],
    exits: &[
        (0, "It was stopped by SIGTERM or SIGINT."),
        (1, "A runtime failure."),
        (4, "The address cannot be bound."),
    ],
    examples: "\
Start it on any free port, which it prints
$ mpc-auth-proxy testserver --bind 127.0.0.1:0",
};

pub(super) const SIGN: Manual = Manual {
    about: "\
Prints the headers that Huawei Cloud requires of a request, as the proxy would compute them: to make a \
call by hand, or to find out why a client is refused. It sends nothing, and never prints the secret \
key. The key comes from HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, and for temporary keys \
HUAWEICLOUD_SDK_SECURITY_TOKEN.",
    files: &[("FILE", "The body, with --body-file.")],
    exits: &[
        (0, "The request is signed."),
        (1, "The body cannot be read."),
        (2, "The command line is wrong, a key is missing, or the request cannot be signed."),
    ],
    examples: "\
Sign a request
$ HUAWEICLOUD_SDK_AK=AKEXAMPLE HUAWEICLOUD_SDK_SK=skexample mpc-auth-proxy sign --method DELETE --url https://mpc.cn-north-4.myhuaweicloud.com/v2/0a1b2c3d/editing/jobs/100211
See each step of the signature of a request with a body
$ HUAWEICLOUD_SDK_AK=AKEXAMPLE HUAWEICLOUD_SDK_SK=skexample mpc-auth-proxy sign --method POST --url https://mpc.cn-north-4.myhuaweicloud.com/v1/0a1b2c3d/editing/jobs -H 'Content-Type: application/json' --body-file create.json --explain",
};
