//! The whole decision, [`Recorded`] → [`Admitted`]: a clean request, a proven caller, a known operation, an allowed call,
//! within its limits.
//!
//! It is one function of values, which waits for nothing and sends nothing. The stack and the fuzzers call the same. What it
//! can say before a body is there, it says first: see `anticipate`.

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
    /// Of a request whose body was not read: which call it would have been. It goes no further than to its caller.
    fn note_what_is_missed(&self, received: &mut Received<'_>) {
        if let Payload::Missing(_) = received.payload {
            let (method, record) = (received.method.as_str(), &mut *received.exchange.record);
            drop(self.route.find(method, &received.target, record));
        }
    }
}
