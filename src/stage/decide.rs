//! The whole decision, [`Recorded`] → [`Admitted`]: a valid request, an authenticated caller, a known operation, an allowed
//! call, within its limits.
//!
//! It is one function of values that neither waits nor sends. The stack and the fuzzers call the same one. `precheck` asks
//! the same stages before a body is read.

use super::{
    Admitted, Authenticate, Authorize, Limit, Payload, Receive, Received, Recorded, Refusal, Route, Stage,
};

/// The stages that decide.
#[derive(Clone)]
pub struct Decide {
    /// Checks the head.
    pub receive: Receive,
    /// Authenticates the caller.
    pub authenticate: Authenticate,
    /// Finds the operation.
    pub route: Route,
    /// Evaluates the policy.
    pub authorize: Authorize,
    /// Applies limits and freezes.
    pub limit: Limit,
}

impl<'r> Stage<Recorded<'r>> for Decide {
    type After = Admitted<'r>;

    fn check(&self, request: Recorded<'r>) -> Result<Admitted<'r>, Refusal> {
        let mut received = self.receive.check(request)?;
        self.note_what_is_missed(&mut received);
        let identified = self.authenticate.check(received)?;
        let routed = self.route.check(identified)?;
        let evaluated = self.authorize.check(routed)?;
        self.limit.check(evaluated)
    }
}

impl Decide {
    /// Records which call a request without its body would have been. Such a request ends with a refusal.
    fn note_what_is_missed(&self, received: &mut Received<'_>) {
        if let Payload::Missing(_) = received.payload {
            let (method, record) = (received.method.as_str(), &mut *received.exchange.record);
            drop(self.route.find(method, &received.target, record));
        }
    }
}
