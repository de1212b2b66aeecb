//! The form that evaluates the policy, and its answer.

use crate::{
    clock,
    operation::DELETE,
    policy::{Question, QuestionError, facts_of, parse_fact},
    server::ProxyStatus,
};

/// The fields of the form as entered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) caller: String,
    pub(super) action: String,
    pub(super) project: String,
    pub(super) job: String,
    pub(super) facts: String,
}

impl Form {
    /// Parses a query. Returns `None` if it has no field of the form.
    pub(super) fn parse(query: &str) -> Option<Self> {
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

    /// Returns the query of a link that fills in this form.
    pub(super) fn query(&self) -> String {
        let Self { caller, action, project, job, facts } = self;
        let fields =
            [("caller", caller), ("action", action), ("project", project), ("job", job), ("facts", facts)];
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()))
            .finish()
    }

    /// Returns the answer of `policy explain`.
    pub(super) fn answer(&self, proxy: &ProxyStatus) -> Result<String, QuestionError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
