//! A stand-in for Huawei Cloud that verifies every credential.
//!
//! The `demo` and `testserver` commands and the tests run it; nothing of the proxy depends on it. It does not use the
//! proxy's signing: `signature` and `canonical` are a second implementation of the specification, so that a mistake in one
//! of the two shows as a 401 instead of cancelling itself out.
//!
//! It does not model quotas, nor IAM's policies beyond actions. Id tokens are compared, not verified. It must not be exposed
//! to a network: bind it to loopback. A request that is not HTTP at all is answered by hyper and not recorded.
//!
//! # What is served
//! Everything is on one port. [`Options`] says who may get what. Issued credentials are valid for their project until they expire
//! by the server's clock or are revoked.
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
//! The same port also serves control requests without a credential. Bodies are strict JSON. Each is also a method of [`Cloud`].
//!
//! | request | does |
//! |---|---|
//! | `GET /_test/requests` | lists the requests, each with the status and request id of its answer |
//! | `DELETE /_test/requests` | forgets the requests |
//! | `GET /_test/faults` | lists the planned faults |
//! | `PUT /_test/faults` | replaces them: `[{"fault":"reset","times":1},{"fault":{"latency_ms":250}}]` |
//! | `DELETE /_test/faults` | clears them |
//! | `PUT /_test/clock` | sets the server's clock this far off: `{"offset_s":-1200}` |
//! | `PUT /_test/lifetimes` | sets the lifetime in seconds of credentials issued from now on, whatever is requested; services that are left out have the documented one: `{"iam":600,"sts":60,"metadata":60,"pod_identity":60}` |
//! | `GET /_test/jobs/{project_id}/{job_id}` | returns a job's state and create request |
//! | `PUT /_test/jobs/{project_id}/{job_id}` | creates or changes a job: `{"state":"WAITING"}`, optionally with its create request, `"create":{"user_data":"…"}` |
//! | `PUT /_test/unreadable-buckets` | sets the buckets that MPC cannot read: `["…"]` |
//! | `GET /_test/differences` | lists how MPC differs from its documentation |
//! | `PUT /_test/differences` | replaces the differences: `["numeric_ids",{"lacks":{"version":1,"member":"user_data"}}]` |
//! | `DELETE /_test/differences` | removes the differences |
//! | `POST /_test/tokens` | issues a user token: `{"project_id":"…"}` |
//! | `DELETE /_test/tokens` | revokes all tokens of IAM's |
//! | `PUT /_test/keys` | accepts an access key: `{"id":"…","secret":"…","project_id":"…"}`, with `"security_token"` if it is temporary |
//! | `GET /_test/keys/{id}` | counts its bad signatures in a row: `{"failures":4,"locked":false}` |
//! | `DELETE /_test/keys/{id}` | revokes it, even if it was issued |
//! | `PUT /_test/keys/{id}/actions` | sets the actions that IAM allows it: `["mpc:editingTask:view"]` |
//! | `DELETE /_test/keys/{id}/actions` | allows it all actions again |
//! | `DELETE /_test/keys` | revokes all issued keys |
//! | `PUT /_test/users` | lets a user sign in: `{"domain":"…","name":"…","password":"…","project_id":"…"}` |
//! | `GET /_test/users/{domain}/{name}` | counts the user's wrong passwords in a row: `{"failures":4,"locked":false}` |
//! | `PUT /_test/identity-providers` | trusts an identity provider with one id token: `{"id":"…","urn":"…","id_token":"…","project_id":"…"}` |
//! | `PUT /_test/agencies` | adds an agency: `{"urn":"…","trusts":{"provider":"…"},"project_id":"…"}`, or `{"access_key":"…"}` |
//! | `PUT /_test/pods` | lets a pod request keys: `{"path":"…","token":"…","project_id":"…"}` |
//! | `PUT /_test/metadata` | sets the mode of the metadata service: `{"mode":"v2"}`, `{"mode":{"v1":404}}` or `{"mode":"no_agency"}` |
//! | `PUT /_test/metadata/rotation` | sets how long before its end its key is replaced: `{"before_end_s":3600}` |
//! | `DELETE /_test/metadata/key` | replaces its key at the next request |
//!
//! PUT replaces what has the same name. A fault fails the next `times` requests, or all until cleared if `times` is absent;
//! the first one left for the service is taken. See [`Fault`], [`Service`] and [`Difference`] for all values.

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
