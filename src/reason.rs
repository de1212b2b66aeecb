//! Reasons for refusals and failures. Every cause, as a stable word and as a sentence.
//!
//! It stands first, because whatever can refuse names its cause. The words are `error.reason` in audit records and the
//! label of `refusals_total`. Causes that call for the same answer share a [`Code`].
//! [docs/REFERENCE.md](../docs/REFERENCE.md) lists both, and says what to do about each.

use std::fmt;

/// Declares each reason once: its variant, its word, and its text, which a caller may see.
macro_rules! reasons {
    ($($name:ident = $word:literal, $text:literal;)*) => {
        /// A cause.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What a look-up's failure begins with, where the cause may be a call's, too, and does not say it.
            pub fn lookup_subject(self) -> &'static str {
                let word = self.as_str();
                let says_it = word.starts_with("lookup_") || word.starts_with("fact_");
                if says_it { "" } else { "the job could not be looked up: " }
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
    BadLength = "bad_length", "Content-Length is not a number of bytes";
    BodyNotAllowed = "body_not_allowed", "request body not allowed";
    TransferEncoding = "transfer_encoding", "Transfer-Encoding is not accepted: send Content-Length";
    LengthRequired = "length_required", "request body and Content-Length required";
    BodyTooLarge = "body_too_large", "request body exceeds `limits.body_bytes`";
    MediaType = "media_type", "Content-Type must be application/json, with no parameter or with charset=utf-8";
    BodyTimeout = "body_timeout", "the body did not arrive in time";
    BodyCut = "body_cut", "the connection closed before the whole body arrived";
    Trailer = "trailer", "Trailer is not accepted";
    ContentEncoding = "content_encoding", "Content-Encoding is not accepted";
    Expect = "expect", "Expect is not accepted, but for 100-continue";
    HeadTimeout = "head_timeout", "the request head did not arrive in time";
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
    UnknownToken = "unknown_token", "unknown bearer token: no `sha256_file` holds its SHA-256";
    TokenNotTaken = "token_not_taken", "bearer tokens are not accepted on this listener: set `bearer: true` on it, or send no token";
    TokenHeaderSpelling = "token_header_spelling", "header name looks like Proxy-Authorization or Authorization but is spelled with `_`";
    SeveralTokens = "several_tokens", "more than one Proxy-Authorization or Authorization header";
    TokenScheme = "token_scheme", "Proxy-Authorization and Authorization take the scheme Bearer only";
    MalformedToken = "malformed_token", "a bearer token is 16 to 4096 characters of A-Z a-z 0-9 - . _ ~ + / with `=` at its end only";
    CertificateUnreadable = "certificate_unreadable", "cannot read the names in the client certificate";
    CertificateAmbiguous = "certificate_ambiguous", "the client certificate has more than one URI name";
    CertificateExpired = "certificate_expired", "the client certificate expired after the connection was established";
    JwtMalformed = "jwt_malformed", "it cannot be read";
    JwtSignature = "jwt_signature", "it is not signed by a known key";
    JwtClaims = "jwt_claims", "it is not bound to a service account, or has no expiry";
    JwtExpired = "jwt_expired", "it has expired";
    JwtNotYetValid = "jwt_not_yet_valid", "it is not valid yet";
    UnknownServiceAccount = "unknown_service_account", "no caller has this service account, issuer and audience";
    SignatureForm = "signature_form", "it must have the form `Access=…, SignedHeaders=…, Signature=…`";
    SignatureDateForm = "signature_date_form", "invalid X-Sdk-Date";
    SignatureDate = "signature_date", "X-Sdk-Date is more than 15 minutes off";
    SignatureWithoutDate = "signature_without_date", "X-Sdk-Date is not signed";
    SignatureWithoutHost = "signature_without_host", "Host is not signed";
    SignatureHeaderMissing = "signature_header_missing", "a signed header is missing";
    SignatureHeaderTwice = "signature_header_twice", "a signed header is repeated";
    SignaturePayload = "signature_payload", "X-Sdk-Content-Sha256 does not match the body";
    SignatureUnsignable = "signature_unsignable", "the request cannot be signed";
    SignatureMismatch = "signature_mismatch", "it does not match this request and key";
    // What is asked for.
    UnknownPath = "unknown_path", "unsupported path";
    WrongMethod = "wrong_method", "method not allowed for this path";
    BadProject = "bad_project", "the project must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadJob = "bad_job", "the job id must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadQuery = "bad_query", "the query must be `job_id=` with one job id, and nothing else";
    QueryNotAllowed = "query_not_allowed", "query not allowed: the job id is in the path";
    BadIds = "bad_ids", "the query must be one to ten `job_id=`, each with another job id, and nothing else";
    BadFilters = "bad_filters", "the query must be `job_id=` one to ten times, or some of `status`, `start_time`, `end_time`, `page`, `size`, each once";
    BadFilterStatus = "bad_filter_status", "`status` must be INIT, WAITING, PREPROCESSING, SUCCEED, FAILED or CANCELED";
    BadFilterTime = "bad_filter_time", "`start_time` and `end_time` must be yyyymmddhhmmss, in UTC";
    BadFilterPage = "bad_filter_page", "`page` must be 0 to 50000, and `size` 1 to 100";
    QueryOnCreate = "query_on_create", "query not allowed: the request is described by the body";
    UnknownProject = "unknown_project", "unknown project: it is not configured here";
    BodyEncoding = "body_encoding", "the body is not UTF-8";
    BodyNotJson = "body_not_json", "the body is not JSON";
    BodyNoObject = "body_no_object", "the body is not a JSON object";
    BodyDuplicateName = "body_duplicate_name", "duplicate name in an object of the body";
    BodyTooDeep = "body_too_deep", "the body is nested more deeply than 32 levels";
    BodyLoneSurrogate = "body_lone_surrogate", "lone surrogate in the body";
    BodyNul = "body_nul", "U+0000 in a string of the body";
    BodyName = "body_name", "a name in the body is not of a-z, 0-9 and _, unescaped, beginning with a letter";
    BodyNumber = "body_number", "a number of the body has an exponent, or more than 15 digits";
    BodyNameLookalike = "body_name_lookalike", "a name in the body reads like one that decides, and is spelt otherwise";
    BodyMemberType = "body_member_type", "a member of the body that decides has another type";
    BodyBucket = "body_bucket", "a bucket in the body has no name of a bucket";
    BodyObjectPath = "body_object_path", "a key or the name of a file in the body can be read in two ways";
    BodyUserData = "body_user_data", "`user_data` is longer than 65535 characters, with the caller's name before it";
    BodyReadersDisagree = "body_readers_disagree", "two readers do not agree on the body: this is a bug in mpc-auth-proxy";
    // Whether it may be.
    NoRule = "no_rule", "denied by policy: no rule allows this call";
    DeniedByRule = "denied_by_rule", "denied by policy: a rule denies this call";
    NoSuchJob = "no_such_job", "denied by policy: no such job";
    DeniedLookups = "denied_lookups", "too many denied look-ups: ten within a minute";
    CallerLimit = "caller_limit", "this caller has reached its limit: its `limits` in the policy, or its share of `limits.in_flight`";
    ProjectLimit = "project_limit", "the callers of this project have reached its rate limit";
    Overloaded = "overloaded", "too many requests in flight: `limits.in_flight` or `limits.buffer_bytes` is reached";
    Frozen = "frozen", "an operator has frozen these calls";
    Draining = "draining", "the proxy is shutting down; nothing was sent";
    AuditBlocked = "audit_blocked", "audit records cannot be written, so calls are refused";
    // Whether it can be.
    NoCredential = "no_credential", "no credential available for this project";
    CredentialHeldBack = "credential_held_back", "this project's credential is held back: upstream refused its last signatures, and five in a row lock the key";
    SignaturesUnanswered = "signatures_unanswered", "too many signatures of this project's key are unanswered: if they are invalid, more would lock the key";
    CircuitOpen = "circuit_open", "circuit breaker is open: upstream keeps failing; nothing was sent";
    LookupStatus = "lookup_status", "the job could not be looked up: upstream answered with an error";
    LookupMalformed = "lookup_malformed", "the job could not be looked up: upstream's answer cannot be read";
    LookupForeignJob = "lookup_foreign_job", "the job could not be looked up: upstream answered about another";
    LookupDoubledJob = "lookup_doubled_job", "the job could not be looked up: upstream answered about it twice";
    FactNotInAnswer = "fact_not_in_answer", "the job could not be looked up: upstream's answer does not say what the policy asks for";
    FactUnknownWord = "fact_unknown_word", "the job could not be looked up: upstream's answer has a word for its state that is not known";
    FactNotLookedUp = "fact_not_looked_up", "the policy changed and needs facts of the job that were not looked up";
    // What became of it.
    UpstreamDns = "upstream_dns", "cannot resolve the upstream host name";
    UpstreamConnect = "upstream_connect", "upstream is unreachable";
    UpstreamConnectTimeout = "upstream_connect_timeout", "connecting to upstream timed out";
    UpstreamTls = "upstream_tls", "the TLS handshake with upstream failed";
    UpstreamEgress = "upstream_egress", "the egress proxy cannot reach upstream";
    UpstreamUseless = "upstream_useless", "upstream closes new connections, or sends data before the request";
    UpstreamUnsent = "upstream_unsent", "the connection to upstream closed before the request was written";
    UpstreamStale = "upstream_stale", "a reused connection to upstream died before an answer";
    UpstreamClosed = "upstream_closed", "upstream closed the connection without an answer";
    UpstreamTimeout = "upstream_timeout", "upstream did not answer in time";
    AnswerMalformed = "answer_malformed", "upstream's answer is not HTTP";
    AnswerCut = "answer_cut", "upstream's answer was truncated";
    AnswerTooLarge = "answer_too_large", "upstream's answer is too large";
    AnswerEncoded = "answer_encoded", "upstream's answer is encoded, and nothing asked for that";
    AnswerStatus = "answer_status", "upstream's answer redirects or switches protocols";
    Interrupted = "interrupted", "the process ended before this call did: whether it was carried out is unknown";
    Bug = "bug", "this is a bug in mpc-auth-proxy; the audit record has this request's id";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Declares each code once: its variant, how it is written, and the status that goes with it.
macro_rules! codes {
    ($($name:ident = $text:literal, $status:expr;)*) => {
        /// What kind of answer a caller gets that is not upstream's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $text] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As callers and records have it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The status of the answer. `None`: there is no answer.
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
