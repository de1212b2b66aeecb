//! The whole decision, [`Recorded`] → [`Admitted`]: a clean request, a proven caller, a known operation, an allowed call,
//! within its limits.
//!
//! It is one function of values, which waits for nothing and sends nothing. The stack and the fuzzers call the same.

use super::{Admitted, Authenticate, Authorize, Limit, Receive, Recorded, Refusal, Route, Stage};

/// The stages that decide.
#[derive(Clone)]
pub struct Decide {
    /// Is the request meant for us?
    pub receive: Receive,
    /// Who calls?
    pub authenticate: Authenticate,
    /// What is meant?
    pub route: Route,
    /// May they?
    pub authorize: Authorize,
    /// May they now?
    pub limit: Limit,
}

impl<'r> Stage<Recorded<'r>> for Decide {
    type After = Admitted<'r>;

    fn check(&self, request: Recorded<'r>) -> Result<Admitted<'r>, Refusal> {
        let received = self.receive.check(request)?;
        let identified = self.authenticate.check(received)?;
        let routed = self.route.check(identified)?;
        let judged = self.authorize.check(routed)?;
        self.limit.check(judged)
    }
}
