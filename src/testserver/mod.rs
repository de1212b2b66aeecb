//! A stand-in for Huawei Cloud. A stand-in that believes no credential unverified.
//!
//! It stands last before the commands because the `demo` and `testserver` commands and the tests run it, and
//! nothing of the proxy may lean on it. It imports nothing of the proxy's own signing either: `signature` and
//! `canonical` compute signatures a second time, from the specification alone, so that a mistake in one of
//! the two shows as a 401 and does not cancel itself out.
//!
//! It does not model IAM's policies beyond actions, nor quotas, reads no id token (it compares them), and is not built to face a
//! network: bind it to loopback. A request that is not HTTP at all is answered by hyper and not recorded.
//!
//! # What is served
//! Everything on one port. [`Options`] says who may get what; what is handed out opens the project it is for until
//! it expires by the server's clock, or is revoked.
//!
//! | request | answer |
//! |---|---|
//! | creating, viewing, listing and cancelling editing jobs, by either version of the API | MPC: for an access key's signature, or a user token. Job ids are MPC's own; version 1 shows what a job was created from, version 2 does not; a job that is cancelled is gone |
//! | `POST /v3/auth/tokens` | IAM: a user token, for 24 hours, for a password; 5 wrong ones lock the account for 15 minutes |
//! | `POST /v3.0/OS-AUTH/id-token/tokens` | IAM: an unscoped token, for 24 hours, for an id token |
//! | `POST /v3.0/OS-CREDENTIAL/securitytokens` | IAM: a temporary key, for the 900 to 86400 s asked for, for a token of IAM's |
//! | `POST /v5/agencies/assume-with-oidc` | STS: an agency's temporary key, for the 900 to 43200 s asked for, for an id token |
//! | `POST /v5/agencies/assume` | STS: the same for an access key's signature |
//! | `PUT /meta-data/latest/api/token` | metadata: a session token, for the 1 to 21600 s asked for |
//! | `GET /openstack/latest/securitykey` | metadata: the key of this machine's agency, for 24 hours, replaced an hour before its end |
//! | `POST` to a pod's path | pod identity: a temporary key, for 6 hours, for the pod's token |
//!
//! Five bad signatures in a row lock an access key for 5 minutes, for everybody who shares it.
//!
//! # Control
//! The same port also serves, without a credential, what a test needs. Bodies are strict JSON. Each is a method of
//! [`Cloud`] too.
//!
//! | request | does |
//! |---|---|
//! | `GET /_test/requests` | lists what arrived, each with the status and request id answered |
//! | `DELETE /_test/requests` | forgets it |
//! | `GET /_test/faults` | lists the faults that are still to come |
//! | `PUT /_test/faults` | replaces them: `[{"fault":"reset","times":1},{"fault":{"latency_ms":250}}]` |
//! | `DELETE /_test/faults` | clears them |
//! | `PUT /_test/clock` | sets the server's clock this far off: `{"offset_s":-1200}` |
//! | `PUT /_test/lifetimes` | sets how long what is handed out from now on is in force, in seconds, whatever is asked for; as usual where a service is left out: `{"iam":600,"sts":60,"metadata":60,"pod_identity":60}` |
//! | `GET /_test/jobs/{project_id}/{job_id}` | tells a job's state, and what it was created from |
//! | `PUT /_test/jobs/{project_id}/{job_id}` | makes a job, or changes it: `{"state":"WAITING"}`, with `"create":{"user_data":"…"}` where it is to have been created from that |
//! | `PUT /_test/unreadable-buckets` | has MPC read these buckets no longer: `["…"]` |
//! | `GET /_test/differences` | lists in what MPC differs from what is documented |
//! | `PUT /_test/differences` | replaces that: `["numeric_ids",{"lacks":{"version":1,"member":"user_data"}}]` |
//! | `DELETE /_test/differences` | makes it as documented again |
//! | `POST /_test/tokens` | issues a user token: `{"project_id":"…"}` |
//! | `DELETE /_test/tokens` | revokes all tokens of IAM's |
//! | `PUT /_test/keys` | accepts an access key: `{"id":"…","secret":"…","project_id":"…"}`, with `"security_token"` where it is temporary |
//! | `GET /_test/keys/{id}` | counts its bad signatures in a row: `{"failures":4,"locked":false}` |
//! | `DELETE /_test/keys/{id}` | revokes it, also where it was handed out |
//! | `PUT /_test/keys/{id}/actions` | has IAM allow it these actions only: `["mpc:editingTask:view"]` |
//! | `DELETE /_test/keys/{id}/actions` | has IAM allow it all of them again |
//! | `DELETE /_test/keys` | revokes all that were handed out |
//! | `PUT /_test/users` | lets a user sign in: `{"domain":"…","name":"…","password":"…","project_id":"…"}` |
//! | `GET /_test/users/{domain}/{name}` | counts the user's wrong passwords in a row: `{"failures":4,"locked":false}` |
//! | `PUT /_test/identity-providers` | believes a provider's one id token: `{"id":"…","urn":"…","id_token":"…","project_id":"…"}` |
//! | `PUT /_test/agencies` | has an agency: `{"urn":"…","trusts":{"provider":"…"},"project_id":"…"}`, or `{"access_key":"…"}` |
//! | `PUT /_test/pods` | lets a pod ask: `{"path":"…","token":"…","project_id":"…"}` |
//! | `PUT /_test/metadata` | makes the metadata service `{"mode":"v2"}`, version 1 `{"mode":{"v1":404}}`, or `{"mode":"no_agency"}` |
//! | `PUT /_test/metadata/rotation` | has its key replaced when so much is left: `{"before_end_s":3600}` |
//! | `DELETE /_test/metadata/key` | has its key replaced when it is next asked for |
//!
//! What is put takes the place of what has the same name. A fault strikes the next `times` requests, or all until
//! cleared where `times` is absent; the first that is left for the service is taken. See [`Fault`], [`Service`]
//! and [`Difference`] for all of them.

mod answer;
mod canonical;
mod cloud;
mod control;
mod differences;
mod faults;
mod federation;
mod iam;
mod keys;
mod lock;
mod metadata;
mod mpc;
mod options;
mod pod_identity;
mod secrets;
mod seen;
mod serve;
mod server;
mod signature;
mod sts;
mod tokens;

pub use cloud::Cloud;
pub use differences::Difference;
pub use faults::{Fault, Planned, Service};
pub use lock::Attempts;
pub use metadata::MetadataMode;
pub use mpc::JobState;
pub use options::{AccessKey, Agency, IdentityProvider, Options, Pod, Trusted, User};
pub use seen::Seen;
pub use server::TestServer;

#[cfg(test)]
mod tests;
