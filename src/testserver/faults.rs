//! Faults that tests can plan, by service and number of requests.

use serde::{Deserialize, Serialize};

/// A service of the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Media processing: every path that belongs to no other service.
    #[default]
    Mpc,
    /// Identity, version 3: paths that start with `/v3/` or `/v3.0/`.
    Iam,
    /// Security tokens, version 5: paths that start with `/v5/`.
    Sts,
    /// The metadata of a machine: paths that start with `/openstack/` or `/meta-data/`.
    Metadata,
    /// The pod identity agent: the pods' paths.
    PodIdentity,
}

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The request is executed at once and answered this many milliseconds later: `{"latency_ms":250}`.
    LatencyMs(u64),
    /// 429 `APIGW.0308` with `Retry-After`; nothing is done: `{"throttled":{"retry_after_s":1}}`.
    Throttled {
        /// The value of `Retry-After`, in seconds.
        retry_after_s: u64,
    },
    /// 500 in the service's own format; nothing is done: `"internal_error"`.
    InternalError,
    /// 503 from the gateway; nothing is done: `"unavailable"`.
    Unavailable,
    /// 401 `APIGW.0301`, whatever the credential; nothing is done: `"unauthorized"`.
    Unauthorized,
    /// The presented user token is revoked, and 401 `APIGW.0307` says so: `"token_revoked"`.
    TokenRevoked,
    /// The connection is reset and nothing is done: `"reset"`.
    Reset,
    /// The request is executed, but the connection is reset instead of an answer: `"lose_answer"`.
    LoseAnswer,
    /// Nothing is done or answered for as long as the caller waits: `"hang"`.
    Hang,
    /// 400 in the service's own format, with a message that repeats the request and its secrets; nothing is done: `"echo"`.
    Echo,
    /// 200 with a body that is not JSON; nothing is done: `"garbage"`.
    Garbage,
}

/// A planned fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    fault: Fault,
    #[serde(default)]
    service: Service,
    /// The number of requests left to fail. `None` means all.
    #[serde(default)]
    times: Option<u32>,
}

impl Fault {
    /// Fails the next request.
    pub fn once(self) -> Planned {
        self.times(1)
    }

    /// Fails the next `times` requests.
    pub fn times(self, times: u32) -> Planned {
        Planned { fault: self, service: Service::Mpc, times: Some(times) }
    }

    /// Fails every request until cleared.
    pub fn until_cleared(self) -> Planned {
        Planned { fault: self, service: Service::Mpc, times: None }
    }
}

impl Planned {
    /// Fails requests of this service instead of MPC's.
    pub fn at(self, service: Service) -> Self {
        Self { service, ..self }
    }
}

/// Takes the fault of the service's next request, if any.
pub(super) fn take_next(planned: &mut Vec<Planned>, service: Service) -> Option<Fault> {
    planned.retain(|plan| plan.times != Some(0));
    let plan = planned.iter_mut().find(|plan| plan.service == service)?;
    plan.times = plan.times.map(|left| left - 1);
    Some(plan.fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_in_order_and_only_their_service() {
        let mut planned = vec![
            Fault::Reset.once().at(Service::Iam),
            Fault::Unavailable.times(2),
            Fault::Reset.times(0),
            Fault::LatencyMs(5).until_cleared(),
        ];
        let struck: Vec<_> = (0..5).map(|_| take_next(&mut planned, Service::Mpc)).collect();
        let late = Some(Fault::LatencyMs(5));
        assert_eq!(struck, [Some(Fault::Unavailable), Some(Fault::Unavailable), late, late, late]);
        assert_eq!(take_next(&mut planned, Service::Iam), Some(Fault::Reset));
        assert_eq!(take_next(&mut planned, Service::Iam), None);
    }

    #[test]
    fn a_plan_is_strict_json() {
        let parse = |text: &str| serde_json::from_str::<Planned>(text).ok();
        for (text, expected) in [
            (r#"{"fault":"reset","times":1}"#, Some(Fault::Reset.once())),
            (r#"{"fault":"lose_answer"}"#, Some(Fault::LoseAnswer.until_cleared())),
            (r#"{"fault":{"latency_ms":250}}"#, Some(Fault::LatencyMs(250).until_cleared())),
            (
                r#"{"fault":{"throttled":{"retry_after_s":2}},"times":3,"service":"iam"}"#,
                Some(Fault::Throttled { retry_after_s: 2 }.times(3).at(Service::Iam)),
            ),
            (r#"{"fault":"reset","time":1}"#, None),
            (r#"{"fault":"explode"}"#, None),
            (r#"{"fault":{"throttled":{"retry_after_s":2,"x":1}}}"#, None),
            (r#"{"fault":"reset","times":-1}"#, None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
