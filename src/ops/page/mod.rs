//! The status page. What `/status` says for people, on one page that fetches nothing from elsewhere, and a form that asks
//! the policy.
//!
//! It is whole without its script, which only asks for the page again. Every text goes through [`html::Shown`].

mod html;

use std::{borrow::Cow, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::answer::{Body, text};
use crate::{
    clock,
    operation::DELETE,
    policy::{Question, QuestionError, facts_of, parse_fact},
    server::{Check, ProxyStatus},
};

/// Everything that is on the page.
struct StatusPage<'p> {
    /// What `/status` says.
    status: &'p Value,
    checks: Vec<Check>,
    now: DateTime<Utc>,
    /// For who asks from this machine only.
    near: Option<Near>,
}

/// What is told to this machine only, besides what the document has.
struct Near {
    callers: Vec<String>,
    projects: Vec<String>,
    asked: Form,
    /// Of what was asked: the decision, or what is wrong with the question.
    answer: Option<Result<String, String>>,
}

/// What was asked, as it was written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    caller: String,
    action: String,
    project: String,
    job: String,
    facts: String,
}

/// The page, for a query of its form.
pub(super) fn answer(proxy: &ProxyStatus, document: &Value, query: &str, near: bool) -> Response<Body> {
    let asked = Form::parse(query);
    let near = near.then(|| Near {
        callers: proxy.callers(),
        projects: proxy.scopes().iter().map(|project| project.name.to_string()).collect(),
        answer: asked.as_ref().map(|form| form.answer(proxy).map_err(|error| error.to_string())),
        asked: asked.unwrap_or_default(),
    });
    let page = StatusPage { status: document, checks: proxy.health().checks(), now: clock::now(), near };
    let mut response = text(StatusCode::OK, page.html().into_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.extend(HeaderValue::try_from(&*POLICY).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    response
}

impl Form {
    /// What a query asks, where it asks anything.
    fn parse(query: &str) -> Option<Self> {
        let mut form = Self::default();
        let mut asks = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "caller" => &mut form.caller,
                "action" => &mut form.action,
                "project" => &mut form.project,
                "job" => &mut form.job,
                "facts" => &mut form.facts,
                _ => continue,
            };
            asks = true;
            *field = value.trim().to_owned();
        }
        asks.then_some(form)
    }

    /// The query that asks the same.
    fn query(&self) -> String {
        let Self { caller, action, project, job, facts } = self;
        let fields =
            [("caller", caller), ("action", action), ("project", project), ("job", job), ("facts", facts)];
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()))
            .finish()
    }

    /// What `policy explain` says to it.
    fn answer(&self, proxy: &ProxyStatus) -> Result<String, QuestionError> {
        let action = if self.action.is_empty() { DELETE } else { &self.action };
        let lines = self.facts.lines().map(str::trim).filter(|line| !line.is_empty());
        let told = lines.map(parse_fact).collect::<Result<Vec<_>, _>>()?;
        let question = Question {
            caller: &self.caller,
            action,
            project: &self.project,
            job: Some(self.job.as_str()).filter(|job| !job.is_empty()),
            facts: &facts_of(action, &told)?,
            at: clock::now(),
            source_ip: None,
            listener: None,
            identified_by: None,
        };
        Ok(proxy.ask(&question)?.to_string())
    }
}

/// A text with what nobody would see, or what would turn the text around it, spelt out.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c != '\n' && !c.is_ascii_graphic() && c != ' ' && c.escape_debug().count() > 1;
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Nothing but the page's own style and script, which are known by what they are: the page that the script asks for has the
/// same. And nobody around it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [style, script] =
        [STYLE, SCRIPT].map(|text| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text))));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_would_see_is_spelt_out() {
        for (text, shown) in [
            ("a <b> \"c\" 'd' \\ é 客户", "a <b> \"c\" 'd' \\ é 客户"),
            ("two\nlines", "two\nlines"),
            ("a\u{202e}b\u{2066}c\u{200b}d", "a\\u{202e}b\\u{2066}c\\u{200b}d"),
            ("a\u{0}b\u{1b}[31m\r", "a\\0b\\u{1b}[31m\\r"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn a_question_survives_its_link() {
        let form = Form {
            caller: "editor&api".into(),
            action: "mpc:editingTask:delete".into(),
            project: "media prod".into(),
            job: "1+1=2%".into(),
            facts: "mpc:UserData=a/1\nmpc:Input=b/c d".into(),
        };
        assert_eq!(Form::parse(&form.query()), Some(form));
        assert_eq!([Form::parse(""), Form::parse("verbose&x=1")], [None, None]);
    }
}
