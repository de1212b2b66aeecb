//! The plan of a contract check, and its confirmation before anything is created.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    cli::output,
    config::{Project, Settings},
    operation::Version,
};

/// The options of `--contract`.
#[derive(Debug, clap::Args)]
pub(in crate::cli::doctor) struct ContractArgs {
    /// Also compare MPC with what this build expects: creates, views and cancels three small editing jobs in a project of
    /// your own. Asks first
    #[arg(long, requires_all = ["project", "input", "output"])]
    contract: bool,
    /// The project for these jobs, by its configured name
    #[arg(long, value_name = "NAME", requires = "contract")]
    project: Option<String>,
    /// A short video that MPC may read
    #[arg(long, value_name = "BUCKET/OBJECT", value_parser = ObsLocation::parse, requires = "contract")]
    input: Option<ObsLocation>,
    /// A folder that MPC may write to
    #[arg(long, value_name = "BUCKET/PREFIX", value_parser = ObsLocation::parse, requires = "contract")]
    output: Option<ObsLocation>,
    /// The region of both, if the project's endpoint does not name it
    #[arg(long, value_name = "REGION", requires = "contract")]
    location: Option<String>,
    /// Do not ask for confirmation
    #[arg(long, requires = "contract")]
    yes: bool,
}

/// An object in OBS.
#[derive(Clone, Debug)]
pub(super) struct ObsLocation {
    bucket: String,
    object: String,
}

/// The confirmed plan.
pub(in crate::cli::doctor) struct Plan {
    pub(super) project: Arc<Project>,
    input: ObsLocation,
    output: ObsLocation,
    location: String,
}

impl ObsLocation {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((bucket, object)) if !bucket.is_empty() && !object.is_empty() => {
                Ok(Self { bucket: bucket.into(), object: object.into() })
            }
            _ => Err("expected BUCKET/OBJECT".into()),
        }
    }
}

impl ContractArgs {
    /// Returns the plan, if there is one.
    ///
    /// # Errors
    /// If the options are incomplete or not confirmed.
    pub(in crate::cli::doctor) fn plan(&self, settings: &Settings) -> Result<Option<Plan>, String> {
        let (true, Some(name), Some(input), Some(output)) =
            (self.contract, &self.project, &self.input, &self.output)
        else {
            return Ok(None);
        };
        let project = settings.projects.iter().find(|project| *project.name == **name);
        let project = project.ok_or_else(|| format!("unknown project {name:?}"))?;
        let location = self.location.clone().or_else(|| region(project.endpoint.host()));
        let location = location.ok_or("the project's endpoint has no region: add --location")?;
        let (input, output) = (input.clone(), output.clone());
        let plan = Plan { project: Arc::clone(project), input, output, location };
        if self.yes || plan.is_agreed().map_err(|error| error.to_string())? {
            return Ok(Some(plan));
        }
        Err("nothing was done".into())
    }
}

/// Returns `cn-north-4` from `mpc.cn-north-4.myhuaweicloud.com`.
fn region(host: &str) -> Option<String> {
    let (_, region) = host.strip_suffix(".myhuaweicloud.com")?.split_once('.')?;
    Some(region.to_owned())
}

impl Plan {
    fn is_agreed(&self) -> io::Result<bool> {
        if !io::stdin().is_terminal() {
            return Err(io::Error::other("--contract creates jobs: add --yes to run without a terminal"));
        }
        let Self { project, input, output, .. } = self;
        let mut err = output::stderr();
        write!(
            err,
            "On the project {} ({}, {}) this creates three editing jobs that read {}/{} and write below {}/{}, views them \
             and cancels them. One that starts before that runs to its end, and costs what it costs. Its signatures are \
             counted by no proxy. Go on? [y/N] ",
            project.name,
            project.id,
            project.endpoint,
            input.bucket,
            input.object,
            output.bucket,
            output.object
        )?;
        err.flush()?;
        let mut word = String::new();
        io::stdin().read_line(&mut word)?;
        Ok(matches!(word.trim(), "y" | "Y" | "yes"))
    }

    /// Returns the body of a create: the first second of the input.
    pub(super) fn body(&self, version: Version) -> Value {
        let Self { input, output, location, .. } = self;
        let object = |place: &ObsLocation| json!({ "bucket": place.bucket, "location": location, "object": place.object });
        match version {
            Version::V1 => json!({
                "edit_type": ["CLIP"],
                "clips": [{ "input": object(input), "timeline_start": "0", "timeline_end": "1" }],
                "output_setting": { "format": "MP4", "output": object(output) },
                "user_data": USER_DATA,
            }),
            Version::V2 => json!({
                "inputs": [{ "input": object(input), "timeline_start": "0", "timeline_end": "1" }],
                "output": object(output),
                "editing_settings": { "format": "MP4" },
                "user_data": USER_DATA,
            }),
        }
    }
}

pub(super) const USER_DATA: &str = "mpc-auth-proxy doctor --contract";
