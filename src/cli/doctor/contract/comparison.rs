//! Compares the cloud's answer to each call of the catalogue with what this build expects.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    calls::{CallResult, CallSpec, Caller},
    plan::Plan,
    shapes,
};
use crate::{
    cli::doctor::{finding::Finding, projects::CallPath},
    config::ProjectHeader,
    operation::{CATALOGUE, Form, Jobs, Operation, Segment, Version},
};

/// The state of the comparison.
struct Contract {
    caller: Caller,
    plan: Plan,
    findings: Vec<Finding>,
    /// Jobs that were created and not cancelled.
    left: BTreeSet<Segment>,
    /// Jobs that started before they could be cancelled.
    started: BTreeSet<Segment>,
}

/// Runs the comparison.
pub(in crate::cli::doctor) async fn compare(plan: Plan, path: CallPath<'_>) -> Vec<Finding> {
    let name = plan.project.name.to_string();
    let caller = match Caller::new(&plan.project, path) {
        Ok(caller) => caller,
        Err(problem) => return vec![broken_off(&name, &problem)],
    };
    let (findings, left, started) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut contract = Contract { caller, plan, findings, left, started };
    if let Err(problem) = contract.all().await {
        contract.findings.push(broken_off(&name, &problem));
    }
    let left = contract.left.iter().map(|job| (job, contract.started.contains(job)));
    let told = left.map(|(job, has_started)| match has_started {
        true => Finding::ok(CHECK, job.as_str(), "this job had started, and runs to its end")
            .warn("remove its output when it has finished"),
        false => Finding::ok(CHECK, job.as_str(), "this job was created, and could not be cancelled")
            .fail("cancel it in the console, or wait for its end"),
    });
    let told: Vec<Finding> = told.collect();
    contract.findings.extend(told);
    contract.findings
}

impl Contract {
    async fn all(&mut self) -> Result<(), String> {
        self.what_is_not_there().await?;
        self.spellings().await?;
        for form in [Form::Path, Form::Query, Form::V1] {
            self.life(form).await?;
        }
        let left: Vec<Segment> = self.left.difference(&self.started).cloned().collect();
        for job in left {
            self.clean_up(&job).await?;
        }
        Ok(())
    }

    /// Views and cancels a job that does not exist.
    async fn what_is_not_there(&mut self) -> Result<(), String> {
        let Some(absent) = Segment::parse(NO_JOB) else { return Ok(()) };
        for view in CATALOGUE.iter().filter(|row| row.method == "GET") {
            let result = self.send(view, Jobs::One(absent.clone()), &Value::Null).await?;
            let result = shapes::viewed(&result, view.version);
            self.compare(&format!("{}, of no such job", url(view)), "200, jobs: 0", &result);
        }
        for cancel in CATALOGUE.iter().filter(|row| row.form.is_some()) {
            let result = self.send(cancel, Jobs::One(absent.clone()), &Value::Null).await?;
            self.compare(&format!("{}, of no such job", url(cancel)), "403 MPC.10211", &result.to_string());
        }
        Ok(())
    }

    /// Sends each spelling of the project header alone.
    async fn spellings(&mut self) -> Result<(), String> {
        let (Some(absent), Some(view)) = (Segment::parse(NO_JOB), Operation::view(Version::V1)) else {
            return Ok(());
        };
        for (spelling, header) in
            [(ProjectHeader::Hyphen, "X-Project-Id"), (ProjectHeader::Underscore, "X-Project_Id")]
        {
            let jobs = Jobs::One(absent.clone());
            let what = CallSpec { operation: view, jobs: &jobs, body: &Value::Null, spelling };
            let result = self.caller.call(what).await?;
            // The answers to a missing job and a missing URL are compared elsewhere.
            if result.code.as_deref() == Some("APIGW.0101") {
                continue;
            }
            let said = if result.is_accepted { "understood".into() } else { result.to_string() };
            self.compare(&format!("{header} alone"), "understood", &said);
        }
        Ok(())
    }

    /// Creates a job, views it, and cancels it in this URL form.
    async fn life(&mut self, form: Form) -> Result<(), String> {
        let Some(cancel) = CATALOGUE.iter().find(|row| row.form == Some(form)) else { return Ok(()) };
        let Some(job) = self.create(cancel.version).await? else {
            let finding = Finding::ok(CHECK, url(cancel), "not tried: no job to cancel");
            self.findings.push(finding.fail("see the result of the create"));
            return Ok(());
        };
        for version in [Version::V1, Version::V2] {
            self.view(&job, version).await?;
        }
        let result = self.send(cancel, Jobs::One(job.clone()), &Value::Null).await?;
        if result.code.as_deref() == Some("MPC.10213") {
            let finding = Finding::ok(CHECK, url(cancel), "not tried: the job had started");
            self.findings.push(finding.warn("try again while the queue is long, or with a longer input"));
            self.started.insert(job);
            return Ok(());
        }
        if (200..300).contains(&result.status) {
            self.left.remove(&job);
        }
        self.compare(&url(cancel), "204", &result.to_string());
        Ok(())
    }

    /// Creates a job with this API version, or else with the other.
    async fn create(&mut self, version: Version) -> Result<Option<Segment>, String> {
        let other = if version == Version::V1 { Version::V2 } else { Version::V1 };
        for version in [version, other] {
            let Some(create) = CATALOGUE.iter().find(|row| row.method == "POST" && row.version == version)
            else {
                continue;
            };
            let result = self.send(create, Jobs::ToBeMade, &self.plan.body(version)).await;
            let result = result.map_err(|problem| format!("{problem}; a job may have been created"))?;
            let (job, said) = shapes::created(&result);
            self.left.extend(job.clone());
            self.compare(&url(create), "200, job_id: text", &said);
            if job.is_some() {
                return Ok(job);
            }
            if (200..300).contains(&result.status) {
                return Err("a job was created, but the answer lacks its id".into());
            }
        }
        Ok(None)
    }

    async fn view(&mut self, job: &Segment, version: Version) -> Result<(), String> {
        let Some(view) = Operation::view(version) else { return Ok(()) };
        let result = self.send(view, Jobs::One(job.clone()), &Value::Null).await?;
        let jobs = shapes::jobs(&result, version);
        self.compare(&url(view), "200, jobs: 1", &shapes::viewed(&result, version));
        let Some([shown]) = jobs.map(Vec::as_slice).filter(|_| result.status == 200) else { return Ok(()) };
        for (member, expected, result) in shapes::members(shown, version, job, &self.plan.body(version)) {
            self.compare(&format!("{}, `{member}`", url(view)), &expected, &result);
        }
        Ok(())
    }

    /// Tries every URL form to cancel a job that one of them did not cancel.
    async fn clean_up(&mut self, job: &Segment) -> Result<(), String> {
        for cancel in CATALOGUE.iter().filter(|row| row.form.is_some()) {
            let result = self.send(cancel, Jobs::One(job.clone()), &Value::Null).await?;
            if (200..300).contains(&result.status) {
                self.left.remove(job);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn send(&self, operation: &Operation, jobs: Jobs, body: &Value) -> Result<CallResult, String> {
        let spelling = self.plan.project.project_header;
        self.caller.call(CallSpec { operation, jobs: &jobs, body, spelling }).await
    }

    fn compare(&mut self, name: &str, expected: &str, result: &str) {
        let finding = |message: String| {
            Finding::ok(CHECK, name, message).fact("expected", expected).fact("came", result)
        };
        let finding = if expected == result {
            finding(format!("as expected: {result}"))
        } else {
            finding(format!("expected {expected}, got {result}")).fail(DIFFERS)
        };
        // The same finding may occur for each form.
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

fn url(operation: &Operation) -> String {
    format!("{} {}", operation.method, operation.template)
}

fn broken_off(name: &str, problem: &str) -> Finding {
    Finding::ok(CHECK, name, format!("aborted: {problem}")).fail("fix that, and try again")
}

const CHECK: &str = "contract";
const NO_JOB: &str = "no-such-job";
const DIFFERS: &str = "the cloud differs from what this build expects: report it, with version and region";
