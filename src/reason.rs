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
    BareLf = "bare_lf", "a line of the head ends without a carriage return";
    BareCr = "bare_cr", "the head has a carriage return that ends no line";
    NulInHead = "nul_in_head", "the head has a NUL";
    NotHttp = "not_http", "this is not a request of HTTP/1.1";
    AmbiguousHead = "ambiguous_head", "the head can be read in more than one way";
    HttpVersion = "http_version", "only HTTP/1.1 and HTTP/1.0 are accepted";
    TargetForm = "target_form", "the request target must start with `/`";
    TargetCharacter = "target_character", "the request target has a character that no target may have";
    SeveralLengths = "several_lengths", "more than one Content-Length header";
    BadLength = "bad_length", "Content-Length is not a number of bytes";
    BodyNotAllowed = "body_not_allowed", "request body not allowed";
    TransferEncoding = "transfer_encoding", "Transfer-Encoding is not accepted: a body is announced by Content-Length";
    LengthRequired = "length_required", "a body is needed, and Content-Length with it";
    BodyTooLarge = "body_too_large", "the body is larger than `limits.body_bytes` allows";
    MediaType = "media_type", "Content-Type must be application/json, with no parameter or with charset=utf-8";
    BodyTimeout = "body_timeout", "the body did not arrive in time";
    BodyCut = "body_cut", "the connection ended before the body did";
    Trailer = "trailer", "Trailer is not accepted";
    ContentEncoding = "content_encoding", "Content-Encoding is not accepted";
    Expect = "expect", "Expect is not accepted, but for 100-continue";
    HeadTimeout = "head_timeout", "the request head did not arrive in time";
    HeadTooLarge = "head_too_large", "the request head is too large";
    TargetTooLong = "target_too_long", "the request target is too long";
    SeveralHosts = "several_hosts", "more than one Host header";
    NoHost = "no_host", "a Host header is required";
    BadHost = "bad_host", "Host is not a host";
    WrongHost = "wrong_host", "this listener does not answer to that host: call it by its own name, or add that one to its `hosts`";
    Browser = "browser", "requests of browsers are refused";
    // The caller.
    NoProof = "no_proof", "nothing proves which caller this is";
    ConflictingProofs = "conflicting_proofs", "the proofs on this request are of different callers";
    UnknownToken = "unknown_token", "the bearer token is not one of a known caller: no `sha256_file` holds its SHA-256";
    TokenNotTaken = "token_not_taken", "bearer tokens are not accepted on this listener: set `bearer: true` on it, or send no token";
    TokenHeaderSpelling = "token_header_spelling", "a header that is named like Proxy-Authorization or Authorization, spelled with `_`";
    SeveralTokens = "several_tokens", "more than one Proxy-Authorization or Authorization header";
    TokenScheme = "token_scheme", "Proxy-Authorization and Authorization take the scheme Bearer only";
    MalformedToken = "malformed_token", "a bearer token is 16 to 4096 characters of A-Z a-z 0-9 - . _ ~ + / with `=` at its end only";
    CertificateUnreadable = "certificate_unreadable", "the names in the client certificate cannot be read";
    CertificateAmbiguous = "certificate_ambiguous", "the client certificate has more than one URI name";
    CertificateExpired = "certificate_expired", "the client certificate has expired since the connection was made";
    JwtMalformed = "jwt_malformed", "it cannot be read";
    JwtSignature = "jwt_signature", "it is not signed by a known key";
    JwtClaims = "jwt_claims", "it is not bound to a service account, or has no end";
    JwtExpired = "jwt_expired", "it has expired";
    JwtNotYetValid = "jwt_not_yet_valid", "it is not valid yet";
    UnknownServiceAccount = "unknown_service_account", "no caller has this service account, with this issuer and audience";
    SignatureForm = "signature_form", "it is not of the form `Access=…, SignedHeaders=…, Signature=…`";
    SignatureDateForm = "signature_date_form", "X-Sdk-Date is not a time";
    SignatureDate = "signature_date", "X-Sdk-Date is more than 15 minutes off";
    SignatureWithoutDate = "signature_without_date", "X-Sdk-Date is not signed";
    SignatureWithoutHost = "signature_without_host", "Host is not signed";
    SignatureHeaderMissing = "signature_header_missing", "a header that it covers is not there";
    SignatureHeaderTwice = "signature_header_twice", "a header that it covers is there more than once";
    SignaturePayload = "signature_payload", "X-Sdk-Content-Sha256 is not the hash of the body";
    SignatureUnsignable = "signature_unsignable", "it is of a request that cannot be signed";
    SignatureMismatch = "signature_mismatch", "it is not of this request and this key";
    // What is asked for.
    UnknownPath = "unknown_path", "no operation has this path";
    WrongMethod = "wrong_method", "this path answers to another method only";
    BadProject = "bad_project", "the project must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadJob = "bad_job", "the job id must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    BadQuery = "bad_query", "the query must be `job_id=` with one job id, and nothing else";
    QueryNotAllowed = "query_not_allowed", "this URL takes no query: the job id is in its path";
    BadIds = "bad_ids", "the query must be one to ten `job_id=`, each with another job id, and nothing else";
    BadFilters = "bad_filters", "the query must be `job_id=` one to ten times, or some of `status`, `start_time`, `end_time`, `page`, `size`, each once";
    BadFilterStatus = "bad_filter_status", "`status` must be INIT, WAITING, PREPROCESSING, SUCCEED, FAILED or CANCELED";
    BadFilterTime = "bad_filter_time", "`start_time` and `end_time` must be yyyymmddhhmmss, in UTC";
    BadFilterPage = "bad_filter_page", "`page` must be 0 to 50000, and `size` 1 to 100";
    QueryOnCreate = "query_on_create", "this URL takes no query: what is asked for is in the body";
    UnknownProject = "unknown_project", "this project is not configured here";
    BodyEncoding = "body_encoding", "the body is not UTF-8";
    BodyNotJson = "body_not_json", "the body is not JSON";
    BodyNoObject = "body_no_object", "the body is not one JSON object";
    BodyDuplicateName = "body_duplicate_name", "a name is in an object of the body twice";
    BodyTooDeep = "body_too_deep", "the body is nested more deeply than 32 levels";
    BodyLoneSurrogate = "body_lone_surrogate", "an escape in the body is half of a surrogate pair";
    BodyNul = "body_nul", "a text of the body has U+0000";
    BodyName = "body_name", "a name in the body is not of a-z, 0-9 and _, unescaped, beginning with a letter";
    BodyNumber = "body_number", "a number of the body has an exponent, or more than 15 digits";
    BodyNameLookalike = "body_name_lookalike", "a name in the body reads like one that decides, and is spelt otherwise";
    BodyMemberType = "body_member_type", "a member of the body that decides has another type";
    BodyBucket = "body_bucket", "a bucket in the body has no name of a bucket";
    BodyObjectPath = "body_object_path", "a key or the name of a file in the body can be read in two ways";
    BodyUserData = "body_user_data", "`user_data` is longer than 65535 characters, with the caller's name before it";
    BodyReadersDisagree = "body_readers_disagree", "two readers do not agree on the body: this is a bug in mpc-auth-proxy";
    // Whether it may be.
    NoRule = "no_rule", "the policy does not allow it: no rule does";
    DeniedByRule = "denied_by_rule", "the policy does not allow it: a rule denies it";
    NoSuchJob = "no_such_job", "the policy does not allow it: there is no such job";
    DeniedLookups = "denied_lookups", "ten look-ups of this caller were denied within a minute";
    CallerLimit = "caller_limit", "this caller has reached its limit: its `limits` in the policy, or its share of `limits.in_flight`";
    ProjectLimit = "project_limit", "the callers of this project together have reached its limit";
    Overloaded = "overloaded", "too many requests are under way: `limits.in_flight` or `limits.buffer_bytes` is reached";
    Frozen = "frozen", "an operator has frozen these calls";
    Draining = "draining", "this proxy is stopping; nothing was sent";
    AuditBlocked = "audit_blocked", "calls cannot be recorded now, so none is carried out";
    // Whether it can be.
    NoCredential = "no_credential", "there is no credential for this project now";
    CredentialHeldBack = "credential_held_back", "this project's credential is held back: upstream refused its last signatures, and five in a row lock the key";
    SignaturesUnanswered = "signatures_unanswered", "too many signatures of this project's key are waiting for upstream's answers: were they bad, more would lock the key";
    CircuitOpen = "circuit_open", "upstream keeps failing, so it is left alone for now; nothing was sent";
    LookupStatus = "lookup_status", "the job could not be looked up: upstream answered with an error";
    LookupMalformed = "lookup_malformed", "the job could not be looked up: upstream's answer cannot be read";
    LookupForeignJob = "lookup_foreign_job", "the job could not be looked up: upstream answered about another";
    LookupDoubledJob = "lookup_doubled_job", "the job could not be looked up: upstream answered about it twice";
    FactNotInAnswer = "fact_not_in_answer", "the job could not be looked up: upstream's answer does not say what the policy asks for";
    FactUnknownWord = "fact_unknown_word", "the job could not be looked up: upstream's answer has a word for its state that is not known";
    FactNotLookedUp = "fact_not_looked_up", "the policy changed meanwhile, and asks for what was not looked up of the job";
    // What became of it.
    UpstreamDns = "upstream_dns", "the name of upstream cannot be resolved";
    UpstreamConnect = "upstream_connect", "upstream cannot be reached";
    UpstreamConnectTimeout = "upstream_connect_timeout", "connecting to upstream took too long";
    UpstreamTls = "upstream_tls", "the TLS handshake with upstream failed";
    UpstreamEgress = "upstream_egress", "the egress proxy does not lead to upstream";
    UpstreamUseless = "upstream_useless", "upstream closes new connections, or speaks before it is spoken to";
    UpstreamUnsent = "upstream_unsent", "the connection to upstream closed before the request was written";
    UpstreamStale = "upstream_stale", "a reused connection to upstream died before an answer";
    UpstreamClosed = "upstream_closed", "upstream closed the connection without an answer";
    UpstreamTimeout = "upstream_timeout", "upstream did not answer in time";
    AnswerMalformed = "answer_malformed", "upstream's answer is not HTTP";
    AnswerCut = "answer_cut", "upstream's answer was cut";
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
