//! Runs `check`: problems to standard error, the summary to standard output.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use super::{
    environment::Environment,
    summary,
    valid::{ValidConfig, problems, read},
};
use crate::{cli::output, config, upstream::variable};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Exit with 1 if there is a warning
    #[arg(long)]
    strict: bool,
}

/// Runs the command: problems to standard error, the summary to standard output.
pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut out, mut err) = (output::stdout(), output::stderr());
    let machine = Machine { variable, environment: Environment::of };
    check(args, machine, &mut out, &mut err).context("cannot write the answer")
}

/// The facts of the machine, replaced in tests.
struct Machine<V, E> {
    variable: V,
    environment: E,
}

fn check(
    args: &Args,
    machine: Machine<impl Fn(&str) -> Option<String>, impl Fn(&ValidConfig) -> Environment>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let Args { config: path, strict } = args;
    match read(path, config::load, machine.variable, err)? {
        Ok(valid) => {
            let Environment { text, warnings: more } = (machine.environment)(&valid);
            let ValidConfig { settings, warnings, proxies } = valid;
            problems(&warnings, err)?;
            more.iter().try_for_each(|warning| writeln!(err, "warning: {warning}"))?;
            summary::write(path, &settings, &proxies, out)?;
            out.write_all(text.as_bytes())?;
            let warnings = warnings.problems().len() + proxies.odd_exemptions().len() + more.len();
            Ok(if *strict && warnings > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(code) => Ok(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

    fn checked(path: &str) -> (ExitCode, String, String) {
        checked_with(path, |_| None)
    }

    /// The minimal sample with these texts replaced.
    fn checked_with_changes(changes: &[(&str, &str)]) -> (ExitCode, String, String) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["proxy.yaml", "policy.yaml"] {
            let text = std::fs::read_to_string(format!("{SAMPLES}/minimal/{name}")).unwrap();
            let text = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        checked(directory.path().join("proxy.yaml").to_str().unwrap())
    }

    fn checked_with(path: &str, variable: impl Fn(&str) -> Option<String>) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { config: path.into(), strict: false };
        let here = |_: &ValidConfig| Environment::default();
        let code = check(&args, Machine { variable, environment: here }, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_valid_configuration_is_summed_up() {
        let (code, out, err) = checked(&format!("{SAMPLES}/minimal/proxy.yaml"));
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let (callers, hash) = (out.find("under policy ").unwrap() + 13, 16);
        let out = out.replace(&out[callers..callers + hash], "HASH").replace(&format!("{SAMPLES}/"), "");
        let expected = "\
minimal/proxy.yaml is valid. This would run:

listeners
  app on 127.0.0.1:8080
    editor-api, by reaching it

projects
  media-prod (0a1b2c3d4e5f60718293a4b5c6d7e8f9) at https://mpc.cn-north-4.myhuaweicloud.com
    with prod: keys from the environment

callers, under policy HASH
  editor-api
    allow by editor-cancels (policy.yaml:11)
";
        assert_eq!(out, expected);
    }

    #[test]
    fn an_egress_proxy_is_told_where_it_is_used_and_by_whom_it_is_named() {
        let minimal = format!("{SAMPLES}/minimal/proxy.yaml");
        let set = |value: &'static str| move |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
        let (code, out, _) = checked_with(&minimal, set("http://u:s3cr3t@egress:3128"));
        assert_eq!(code, ExitCode::SUCCESS);
        let told = "myhuaweicloud.com, through http://egress:3128 (HTTPS_PROXY)\n    with prod";
        assert!(out.contains(told), "{out}");
        let (code, out, err) = checked_with(&minimal, set("socks5://u:s3cr3t@egress:1080"));
        assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
        let expected = "\
error: the environment variable HTTPS_PROXY is not an egress proxy: expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT

1 error: the configuration is valid, this environment is not
";
        assert_eq!(err, expected);
    }

    #[test]
    fn what_is_only_observed_or_ends_is_told() {
        let (code, out, err) = checked_with_changes(&[
            ("callers:\n", "mode: observe\ncallers:\n"),
            ("    jobs:", "    mode: observe\n    expires: 2999-12-31T18:00:00Z\n    jobs:"),
            ("    jobs:", "    condition: { Null: { g:SourceIp: false } }\n    jobs:"),
        ]);
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert!(err.contains("warning: NOTHING IS DENIED"), "{err}");
        assert!(out.contains(", observe mode: NOTHING IS DENIED\n"), "{out}");
        let rule =
            "would_allow by editor-cancels (policy.yaml:12), on condition, until 2999-12-31T18:00:00Z\n";
        assert!(out.contains(rule), "{out}");
    }

    #[test]
    fn a_configuration_that_is_not_valid_is_exit_code_78_and_no_summary() {
        let (code, out, err) = checked("missing.yaml");
        assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
        let expected = "\
missing.yaml: error: cannot read file: no such file

1 error, 0 warnings: the configuration is not valid
";
        assert_eq!(err, expected);
    }

    #[test]
    fn warnings_are_shown_and_do_not_make_a_configuration_invalid() {
        let spare = "  spare: { environment: {} }\n  prod: { environment: {} }";
        let (code, out, err) = checked_with_changes(&[("  prod: { environment: {} }", spare)]);
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert!(out.contains("is valid. This would run:"), "{out}");
        assert!(err.contains("warning: unused credential `spare`"), "{err}");
        assert!(err.ends_with("0 errors, 1 warning: the configuration is valid\n"), "{err}");
    }
}
