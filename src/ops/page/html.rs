//! The page's HTML, as one function a section.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::{
    contents::{Near, SCRIPT, STYLE, Shown, StatusPage},
    form::Form,
};
use crate::{clock::span, operation::ACTIONS};

/// A row of the health table.
struct Row<'t> {
    name: String,
    word: &'static str,
    class: &'static str,
    why: Option<&'t str>,
    /// When its certificate expires.
    ends: Option<&'t Value>,
}

impl StatusPage<'_> {
    pub(super) fn html(&self) -> Markup {
        let (word, class) = self.state();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (word) " · mpc-auth-proxy" }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        a class="skip" href="#main" { "To the content" }
                        h1 { "mpc-auth-proxy" }
                        p {
                            span id="state" data-live { span class=(class) { (word) } }
                            span id="since" data-live class="soft" {
                                ", version " (text(&self.status["version"]))
                                ", up " (span(self.status["uptime_seconds"].as_i64().unwrap_or_default()))
                                ", as of " (moment(self.now))
                            }
                        }
                        p {
                            button id="pause" type="button" aria-pressed="false" hidden { "Pause updates" }
                            " " span id="announced" class="soft" role="status" {}
                        }
                    }
                    main id="main" {
                        (self.health()) (self.credentials()) (self.policy()) (self.requests())
                        @match &self.near {
                            Some(near) => { (self.decisions()) (question(near)) }
                            None => p class="soft" {
                                "The latest decisions and the policy form are shown to requests from this machine only."
                            }
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn state(&self) -> (&'static str, &'static str) {
        let is = |name: &str| self.status[name] == Value::Bool(true);
        match () {
            () if is("draining") => ("draining", "note"),
            () if !is("ready") => ("not ready", "bad"),
            () if is("frozen") => ("frozen", "note"),
            () => ("ready", "good"),
        }
    }

    fn health(&self) -> Markup {
        let rows = self.rows();
        let rows = html! {
            @for row in &rows {
                tr {
                    th scope="row" { (Shown(&row.name)) }
                    td { span class=(row.class) { (row.word) } }
                    td {
                        @match (row.why, row.ends) {
                            (Some(why), _) => (Shown(why)),
                            (None, Some(ends)) => { "its certificate expires " (self.end(ends)) }
                            (None, None) => {}
                        }
                    }
                }
            }
        };
        section(
            "Health",
            &table("Current state and problems", &["Component", "State", "Problem"], "checks", &rows),
        )
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let checks = self.checks.iter();
        let checks = checks.map(|check| Row::of(check.name.clone(), "failing", check.problem.as_deref()));
        let mut rows: Vec<Row<'_>> = checks.collect();
        let status = self.status;
        let name = |what: &str, value: &Value| format!("{what} {}", value.as_str().unwrap_or_default());
        for listener in list(&status["listeners"]) {
            let row = Row::of(name("listener", &listener["name"]), "failing", listener["problem"].as_str());
            let ends = Some(&listener["certificate_ends"]).filter(|ends| ends.is_string());
            rows.push(Row { ends, ..row });
        }
        rows.push(Row::of("admin socket".into(), "failing", status["admin_problem"].as_str()));
        for upstream in list(&status["upstreams"]) {
            let open = (upstream["circuit"] != "closed").then_some("keeps failing: circuit breaker is open");
            rows.push(Row::of(name("upstream", &upstream["endpoint"]), "failing", open));
            if let Some(problem) = upstream["clock_problem"].as_str() {
                rows.push(Row::of(name("clock of", &upstream["endpoint"]), "differs", Some(problem)));
            }
        }
        let sink = &status["audit"];
        rows.push(Row::of(name("audit sink", &sink["sink"]), "blocked", at(sink, "/blocked/error")));
        if sink["dropped"].as_u64().is_some_and(|dropped| dropped > 0) {
            let lost = format!("{} audit records", sink["dropped"]);
            rows.push(Row::of(lost, "lost", Some("the sink accepted no records")));
        }
        let pending = at(status, "/reload/state") == Some("pending");
        let word = if pending { "pending" } else { "refused" };
        rows.push(Row::of("reload".into(), word, at(status, "/reload/problem")));
        for path in list(&status["out_of_reach"]) {
            rows.push(Row::of(name("sandbox", path), "out of reach", Some("replaced since the start")));
        }
        for freeze in list(&status["freeze"]) {
            let why = freeze["problem"].as_str().or(freeze["reason"].as_str()).unwrap_or("no reason given");
            let row = Row::of(format!("freeze of {}", whom(freeze)), "frozen", Some(why));
            rows.push(Row { class: "note", ..row });
        }
        rows
    }

    fn credentials(&self) -> Markup {
        let columns = ["Credential", "State", "Source", "Key", "Expires", "Problem"];
        let rows = html! {
            @for credential in list(&self.status["credentials"]) {
                @let held_back = credential["held_back_seconds"].as_u64();
                tr {
                    th scope="row" { (text(&credential["name"])) }
                    td {
                        @match (held_back, credential["ready"].as_bool()) {
                            (Some(_), _) => span class="bad" { "suspended" },
                            (None, Some(true)) => span class="good" { "in force" },
                            _ => span class="bad" { "not ready" },
                        }
                    }
                    td { (text(&credential["source"])) }
                    td { @if let Some(hint) = credential["key_hint"].as_str() { (Shown(hint)) "…" } }
                    td { (self.end(&credential["expires_at"])) }
                    td {
                        (text(&credential["problem"]))
                        @if let Some(seconds) = held_back {
                            "The cloud rejects its signatures: replace it. Next attempt in " (seconds) " s."
                        }
                    }
                }
            }
        };
        section(
            "Credentials",
            &table("Credentials that sign calls to the cloud", &columns, "credentials", &rows),
        )
    }

    /// An expiry and the time left.
    fn end(&self, value: &Value) -> Markup {
        let end = value.as_str().and_then(|end| DateTime::parse_from_rfc3339(end).ok());
        html! {
            @match end {
                Some(end) => {
                    @let left = end.to_utc() - self.now;
                    @let seconds = left.num_seconds();
                    (moment(end.to_utc()))
                    @if left > TimeDelta::zero() { ", in " (span(seconds)) } @else { ", " (span(-seconds)) " ago" }
                }
                None => "no known expiry",
            }
        }
    }

    fn policy(&self) -> Markup {
        let policy = &self.status["policy"];
        let observing: Vec<&str> = list(&policy["observing"]).iter().filter_map(Value::as_str).collect();
        let columns = ["Hash", "Rules", "Mode", "Age", "Loaded", "Observed rules"];
        let rows = html! {
            tr {
                th scope="row" { (text(&policy["hash"])) }
                td { (policy["rules"].as_u64().unwrap_or_default()) }
                td { span class=(if policy["mode"] == "observe" { "note" } else { "good" }) { (text(&policy["mode"])) } }
                td { (span(policy["age_seconds"].as_i64().unwrap_or_default())) }
                td { (text(&policy["loaded"])) }
                td { @if observing.is_empty() { "none" } @else { (Shown(&observing.join(", "))) } }
            }
        };
        section("Policy", &table("The policy in force", &columns, "policy-in-force", &rows))
    }

    fn requests(&self) -> Markup {
        let rows = html! {
            @for request in list(&self.status["requests"]) {
                tr {
                    th scope="row" { (text(&request["outcome"])) }
                    td class="number" { (format!("{:.1}", request["per_minute"].as_f64().unwrap_or_default())) }
                    td class="number" { (request["total"].as_u64().unwrap_or_default()) }
                }
            }
        };
        section(
            "Requests",
            &table(
                "Requests by outcome",
                &["Outcome", "Per minute", "Since start"],
                "requests-by-outcome",
                &rows,
            ),
        )
    }

    fn decisions(&self) -> Markup {
        let columns = ["Time", "Caller", "Call", "Answer", "Reason", "Check"];
        let rows = html! {
            @for record in list(&self.status["decisions"]).iter().rev() { (decision(record)) }
        };
        section(
            "Latest decisions",
            &table(
                "Newest first, including requests refused before the policy was evaluated",
                &columns,
                "decisions",
                &rows,
            ),
        )
    }
}

impl<'t> Row<'t> {
    /// A row that is ok unless there is a problem.
    fn of(name: String, word: &'static str, problem: Option<&'t str>) -> Self {
        match problem {
            Some(_) => Self { name, word, class: "bad", why: problem, ends: None },
            None => Self { name, word: "ok", class: "good", why: None, ends: None },
        }
    }
}

/// A row of the decisions table, from an audit record.
fn decision(record: &Value) -> Markup {
    let field = |name: &str| record[name].as_str().unwrap_or_default();
    let form = Form {
        caller: field("caller.id").into(),
        action: field("mpc.action").into(),
        project: field("mpc.project_id").into(),
        job: field("mpc.job_id").into(),
        facts: String::new(),
    };
    let can_be_asked = ![&form.caller, &form.action, &form.project].iter().any(|field| field.is_empty());
    html! {
        tr {
            th scope="row" { (Shown(field("timestamp"))) }
            td {
                @if form.caller.is_empty() { span class="soft" { "unknown" } } @else { (Shown(&form.caller)) }
                @for name in ["network.peer.address", "caller.presented"] {
                    @if !field(name).is_empty() { div class="soft" { (Shown(field(name))) } }
                }
            }
            td {
                (Shown(field("http.request.method"))) " " (Shown(&form.action))
                @for name in ["mpc.project_id", "mpc.job_id", "url.path", "server.address"] {
                    @if !field(name).is_empty() { div class="soft" { (Shown(field(name))) } }
                }
            }
            td {
                @match record["http.response.status_code"].as_u64() { Some(code) => (code), None => "none" }
                div class="soft" { (Shown(field("outcome"))) }
            }
            td {
                @match (field("policy.effect"), field("policy.rule")) {
                    ("", _) => {}
                    (effect, "") => { (Shown(effect)) ": no rule allows it" }
                    (effect, rule) => { (Shown(effect)) " by " (Shown(rule)) " at " (Shown(field("policy.location"))) }
                }
                @for name in ["policy.reason", "error.reason", "error.message"] { @if !field(name).is_empty() { div class="soft" { (Shown(field(name))) } } }
            }
            td { @if can_be_asked { a href={ "/?" (form.query()) "#answer" } { "Would it be allowed?" } } }
        }
    }
}

/// The form that evaluates the policy, and its answer.
fn question(near: &Near) -> Markup {
    let Near { callers, projects, asked, answer } = near;
    section(
        "Would this be allowed?",
        &html! {
            p class="soft" { "Evaluates the policy in force for a call at this moment, as mpc-auth-proxy policy explain does." }
            form action="/#answer" method="get" {
                label for="caller" { "Caller" }
                input id="caller" name="caller" list="callers" required autocomplete="off" value=(Shown(&asked.caller));
                datalist id="callers" { @for caller in callers.iter().take(OFFERED) { option value=(Shown(caller)); } }
                label for="action" { "Action" }
                select id="action" name="action" {
                    @for action in ACTIONS { option value=(action) selected[action == asked.action] { (action) } }
                }
                label for="project" { "Project" }
                input id="project" name="project" list="projects" required autocomplete="off" value=(Shown(&asked.project));
                datalist id="projects" { @for project in projects.iter().take(OFFERED) { option value=(Shown(project)); } }
                label for="job" { "Job id (not for a create)" }
                input id="job" name="job" autocomplete="off" value=(Shown(&asked.job));
                label for="facts" { "Facts of the job, one per line: mpc:UserData=editor-api/7" }
                textarea id="facts" name="facts" rows="3" { (Shown(&asked.facts)) }
                button type="submit" { "Evaluate" }
            }
            div id="answer" {
                @match answer {
                    Some(Ok(decision)) => { h3 { "Answer" } pre { (Shown(decision)) } }
                    Some(Err(problem)) => { h3 class="bad" { "Invalid question" } pre { (Shown(problem)) } }
                    None => {}
                }
            }
        },
    )
}

fn section(title: &str, content: &Markup) -> Markup {
    let id = format!("about-{}", title.to_lowercase().replace(|c: char| !c.is_ascii_alphabetic(), ""));
    html! { section aria-labelledby=(id) { h2 id=(id) { (title) } (content) } }
}

/// A table whose rows the script updates. It can be scrolled with the keyboard.
fn table(caption: &str, columns: &[&str], id: &str, rows: &Markup) -> Markup {
    html! {
        div class="wide" role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody id=(id) data-live { (rows) }
            }
        }
    }
}

fn text(value: &Value) -> Markup {
    html! { (Shown(value.as_str().unwrap_or_default())) }
}

fn at<'v>(value: &'v Value, place: &str) -> Option<&'v str> {
    value.pointer(place)?.as_str()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn whom(freeze: &Value) -> String {
    let names: Vec<&str> = list(&freeze["callers"]).iter().filter_map(Value::as_str).collect();
    if names.is_empty() { "everybody".into() } else { names.join(", ") }
}

fn moment(time: DateTime<Utc>) -> Markup {
    html! { time { (time.format("%Y-%m-%dT%H:%M:%SZ").to_string()) } }
}

/// The maximum number of names offered as suggestions.
const OFFERED: usize = 500;
