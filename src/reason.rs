//! The reasons of refusals and failures, each as a stable word and as a sentence.
//!
//! The words are `error.reason` in audit records and the label of `refusals_total`. Reasons with the same answer share a
//! [`Code`]. [docs/REFERENCE.md](../docs/REFERENCE.md) lists both, and what to do about each.

use std::fmt;

/// Declares each reason once: its variant, its word, and its text, which a caller may see.
macro_rules! reasons {
    ($($name:ident = $word:literal, $text:literal;)*) => {
        /// The reason of a refusal or failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the stable word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Returns the beginning of a lookup's error message, if the reason can also be a call's and does not mention
            /// the lookup.
            pub fn lookup_subject(self) -> &'static str {
                let word = self.as_str();
                let says_it = word.starts_with("lookup_") || word.starts_with("fact_");
                if says_it { "" } else { "job lookup failed: " }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    // The head.
    BareLf = "bare_lf", "bare LF in the request head";
    BareCr = "bare_cr", "bare CR in the request head";
    NulInHead = "nul_in_head", "NUL in the request head";
    NotHttp = "not_http", "not an HTTP/1.1 request";
    AmbiguousHead = "ambiguous_head", "ambiguous request head";
    HttpVersion = "http_version", "only HTTP/1.1 and HTTP/1.0 are accepted";
    TargetForm = "target_form", "the request target must start with `/`";
    TargetCharacter = "target_character", "invalid character in the request target";
    SeveralLengths = "several_lengths", "more than one Content-Length header";
    BadLength = "bad_length", "invalid Content-Length";
    BodyNotAllowed = "body_not_allowed", "request body not allowed";
    TransferEncoding = "transfer_encoding", "Transfer-Encoding is not accepted: send Content-Length";
    LengthRequired = "length_required", "request body and Content-Length required";
    BodyTooLarge = "body_too_large", "request body exceeds `limits.body_bytes`";
    MediaType = "media_type", "Content-Type must be application/json, with no parameter or with charset=utf-8";
    BodyTimeout = "body_timeout", "timed out reading the body";
    BodyCut = "body_cut", "the connection closed before the whole body arrived";
    Trailer = "trailer", "Trailer is not accepted";
    ContentEncoding = "content_encoding", "Content-Encoding is not accepted";
    Expect = "expect", "only `Expect: 100-continue` is accepted";
    HeadTimeout = "head_timeout", "timed out reading the request head";
    HeadTooLarge = "head_too_large", "the request head is too large";
    TargetTooLong = "target_too_long", "the request target is too long";
    SeveralHosts = "several_hosts", "more than one Host header";
    NoHost = "no_host", "a Host header is required";
    BadHost = "bad_host", "invalid Host header";
    WrongHost = "wrong_host", "unknown host: use the listener's own name, or add this one to its `hosts`";
    Browser = "browser", "browser requests are rejected";
    // The caller.
    NoProof = "no_proof", "caller not authenticated: no valid credentials presented";
    ConflictingProofs = "conflicting_proofs", "the credentials presented identify different callers";
    UnknownToken = "unknown_token", "unknown bearer token: its SHA-256 is in no `sha256_file`";
    TokenNotTaken = "token_not_taken", "bearer tokens are not accepted on this listener: set `bearer: true` on it, or send no token";
    TokenHeaderSpelling = "token_header_spelling", "header name looks like Proxy-Authorization or Authorization but is spelled with `_`";
    SeveralTokens = "several_tokens", "more than one Proxy-Authorization or Authorization header";
    TokenScheme = "token_scheme", "Proxy-Authorization and Authorization must use the Bearer scheme";
    MalformedToken = "malformed_token", "a bearer token must be 16 to 4096 characters of A-Z a-z 0-9 - . _ ~ + /, then any `=`";
    CertificateUnreadable = "certificate_unreadable", "cannot read the names in the client certificate";
    CertificateAmbiguous = "certificate_ambiguous", "the client certificate has more than one URI name";
    CertificateExpired = "certificate_expired", "the client certificate expired after the connection was established";
    JwtMalformed = "jwt_malformed", "malformed";
    JwtSignature = "jwt_signature", "not signed by a known key";
    JwtClaims = "jwt_claims", "not bound to a service account, or no expiry";
    JwtExpired = "jwt_expired", "expired";
    JwtNotYetValid = "jwt_not_yet_valid", "not valid yet";
    UnknownServiceAccount = "unknown_service_account", "no caller has this service account, issuer and audience";
    SignatureForm = "signature_form", "expected `Access=…, SignedHeaders=…, Signature=…`";
    SignatureDateForm = "signature_date_form", "invalid X-Sdk-Date";
    SignatureDate = "signature_date", "X-Sdk-Date is more than 15 minutes off";
    SignatureWithoutDate = "signature_without_date", "X-Sdk-Date is not signed";
    SignatureWithoutHost = "signature_without_host", "Host is not signed";
    SignatureHeaderMissing = "signature_header_missing", "a signed header is missing";
    SignatureHeaderTwice = "signature_header_twice", "a signed header is repeated";
    SignaturePayload = "signature_payload", "X-Sdk-Content-Sha256 does not match the body";
    SignatureUnsignable = "signature_unsignable", "the request cannot be signed";
    SignatureMismatch = "signature_mismatch", "it does not match the request and key";
    // Target and body.
    UnknownPath = "unknown_path", "unsupported path";
    WrongMethod = "wrong_method", "method not allowed for this path";
    BadProject = "bad_project", "the project must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadJob = "bad_job", "the job id must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadQuery = "bad_query", "the query must be exactly one `job_id=ID`";
    QueryNotAllowed = "query_not_allowed", "query not allowed: the job id is in the path";
    BadIds = "bad_ids", "the query must be one to ten `job_id=ID` with distinct ids, and nothing else";
    BadFilters = "bad_filters", "the query must be one to ten `job_id=ID`, or any of `status`, `start_time`, `end_time`, `page`, `size`, each once";
    BadFilterStatus = "bad_filter_status", "`status` must be INIT, WAITING, PREPROCESSING, SUCCEED, FAILED or CANCELED";
    BadFilterTime = "bad_filter_time", "`start_time` and `end_time` must be yyyymmddhhmmss, in UTC";
    BadFilterPage = "bad_filter_page", "`page` must be 0 to 50000, and `size` 1 to 100";
    QueryOnCreate = "query_on_create", "query not allowed: a create is described by its body";
    UnknownProject = "unknown_project", "unknown project: not configured here";
    BodyEncoding = "body_encoding", "the body is not UTF-8";
    BodyNotJson = "body_not_json", "the body is not JSON";
    BodyNoObject = "body_no_object", "the body is not a JSON object";
    BodyDuplicateName = "body_duplicate_name", "duplicate name in an object of the body";
    BodyTooDeep = "body_too_deep", "the body is nested deeper than 32 levels";
    BodyLoneSurrogate = "body_lone_surrogate", "lone surrogate in the body";
    BodyNul = "body_nul", "U+0000 in a string of the body";
    BodyName = "body_name", "names in the body must be a-z 0-9 _, unescaped, and start with a letter";
    BodyNumber = "body_number", "a number in the body has an exponent or more than 15 digits";
    BodyNameLookalike = "body_name_lookalike", "a name in the body is a misspelling of one that the policy checks";
    BodyMemberType = "body_member_type", "a policy-checked member has the wrong type";
    BodyBucket = "body_bucket", "invalid bucket name in the body";
    BodyObjectPath = "body_object_path", "ambiguous object key or file name in the body";
    BodyUserData = "body_user_data", "`user_data` exceeds 65535 characters, including the caller's name";
    BodyReadersDisagree = "body_readers_disagree", "two parsers disagree on the body: this is a bug in mpc-auth-proxy";
    // Policy, limits and intervention.
    NoRule = "no_rule", "denied by policy: no rule allows this call";
    DeniedByRule = "denied_by_rule", "denied by policy: a rule denies this call";
    NoSuchJob = "no_such_job", "denied by policy: no such job";
    DeniedLookups = "denied_lookups", "too many denied lookups: ten within a minute";
    CallerLimit = "caller_limit", "caller limit reached: its `limits` in the policy, or its share of `limits.in_flight`";
    ProjectLimit = "project_limit", "project rate limit reached";
    Overloaded = "overloaded", "too many requests in flight: `limits.in_flight` or `limits.buffer_bytes` is reached";
    Frozen = "frozen", "an operator has frozen these calls";
    Draining = "draining", "the proxy is shutting down; nothing was sent";
    AuditBlocked = "audit_blocked", "calls are refused: audit records cannot be written";
    // Credentials, breaker and lookups.
    NoCredential = "no_credential", "no credential available for this project";
    CredentialHeldBack = "credential_held_back", "this project's credential is suspended: upstream rejected its last signatures; five in a row lock the key";
    SignaturesUnanswered = "signatures_unanswered", "too many requests signed with this project's key are unanswered: if it is invalid, more would lock it";
    CircuitOpen = "circuit_open", "circuit breaker is open: upstream keeps failing; nothing was sent";
    LookupStatus = "lookup_status", "job lookup failed: upstream answered with an error";
    LookupMalformed = "lookup_malformed", "job lookup failed: upstream's answer is malformed";
    LookupForeignJob = "lookup_foreign_job", "job lookup failed: upstream returned another job";
    LookupDoubledJob = "lookup_doubled_job", "job lookup failed: upstream returned the job twice";
    FactNotInAnswer = "fact_not_in_answer", "job lookup failed: upstream's answer lacks a fact that the policy needs";
    FactUnknownWord = "fact_unknown_word", "job lookup failed: upstream's answer has an unknown job state";
    FactNotLookedUp = "fact_not_looked_up", "the policy changed and needs facts of the job that were not looked up";
    // Upstream.
    UpstreamDns = "upstream_dns", "cannot resolve the upstream host name";
    UpstreamConnect = "upstream_connect", "upstream is unreachable";
    UpstreamConnectTimeout = "upstream_connect_timeout", "connecting to upstream timed out";
    UpstreamTls = "upstream_tls", "the TLS handshake with upstream failed";
    UpstreamEgress = "upstream_egress", "the egress proxy cannot reach upstream";
    UpstreamUseless = "upstream_useless", "upstream closes new connections, or sends data before the request";
    UpstreamUnsent = "upstream_unsent", "the connection to upstream closed before the request was written";
    UpstreamStale = "upstream_stale", "a reused connection to upstream closed without an answer";
    UpstreamClosed = "upstream_closed", "upstream closed the connection without an answer";
    UpstreamTimeout = "upstream_timeout", "upstream did not answer in time";
    AnswerMalformed = "answer_malformed", "upstream's answer is not HTTP";
    AnswerCut = "answer_cut", "upstream's answer was truncated";
    AnswerTooLarge = "answer_too_large", "upstream's answer is too large";
    AnswerEncoded = "answer_encoded", "upstream's answer has an unrequested Content-Encoding";
    AnswerStatus = "answer_status", "upstream's answer redirects or switches protocols";
    Interrupted = "interrupted", "the process ended during this call: its outcome is unknown";
    Bug = "bug", "this is a bug in mpc-auth-proxy; the audit record has this request's id";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Declares each code once: its variant, its spelling, and its status.
macro_rules! codes {
    ($($name:ident = $text:literal, $status:expr;)*) => {
        /// The `error_code` of an answer of the proxy's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $text] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its spelling in answers and records.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the status of the answer. `None` if there is no answer.
            pub const fn status(self) -> Option<u16> {
                match self {
                    $(Self::$name => $status,)*
                }
            }
        }
    };
}

codes! {
    BadRequest = "PROXY.BadRequest", Some(400);
    Unauthenticated = "PROXY.Unauthenticated", Some(401);
    Forbidden = "PROXY.Forbidden", Some(403);
    NotFound = "PROXY.NotFound", Some(404);
    MethodNotAllowed = "PROXY.MethodNotAllowed", Some(405);
    RequestTimeout = "PROXY.RequestTimeout", Some(408);
    LengthRequired = "PROXY.LengthRequired", Some(411);
    BodyTooLarge = "PROXY.BodyTooLarge", Some(413);
    TargetTooLong = "PROXY.TargetTooLong", Some(414);
    UnsupportedMediaType = "PROXY.UnsupportedMediaType", Some(415);
    WrongHost = "PROXY.WrongHost", Some(421);
    RateLimited = "PROXY.RateLimited", Some(429);
    HeadersTooLarge = "PROXY.HeadersTooLarge", Some(431);
    Internal = "PROXY.Internal", Some(500);
    UpstreamUnreachable = "PROXY.UpstreamUnreachable", Some(502);
    UpstreamInvalid = "PROXY.UpstreamInvalid", Some(502);
    Overloaded = "PROXY.Overloaded", Some(503);
    NoCredential = "PROXY.NoCredential", Some(503);
    CircuitOpen = "PROXY.CircuitOpen", Some(503);
    AuditBlocked = "PROXY.AuditBlocked", Some(503);
    Frozen = "PROXY.Frozen", Some(503);
    Draining = "PROXY.Draining", Some(503);
    LookupFailed = "PROXY.LookupFailed", Some(503);
    UpstreamTimeout = "PROXY.UpstreamTimeout", Some(504);
    // The process ended before the call did.
    Interrupted = "PROXY.Interrupted", None;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        let words: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        let plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(words.into_iter().all(plain));
    }
}
