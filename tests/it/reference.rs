//! docs/REFERENCE.md matches the program: each table is compared with it, both ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mpc_auth_proxy::{operation::CATALOGUE, reason::Code};

use crate::harness::{Authority, Proxy, Setup, TOKEN, cancel, request};

/// The rows of the first table below a heading, as cells without code marks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/REFERENCE.md")).unwrap();
    let section = reference.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap();
    let lines =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows = lines.skip(2).map(|line| {
        let line = line.trim_matches('|').replace("\\|", "\u{1}");
        line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    });
    rows.collect()
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// Text between back-ticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn program(words: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    let output = command.env_clear().args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_url_of_callers_is_there() {
    let documented: Vec<_> =
        table("### Of callers").iter().map(|row| [0, 1, 2].map(|cell| plain(&row[cell]))).collect();
    let known: Vec<_> =
        CATALOGUE.iter().map(|row| [row.method, row.template, row.action].map(str::to_owned)).collect();
    assert_eq!(documented, known);
    // And no others.
    let proxy = Setup::new().everything_allowed().start();
    for [method, url, _] in documented {
        proxy.queue("100211");
        let url = url.replace("{project_id}", "media-prod").replace("{job_id}", "100211");
        let query = if method == "GET" { "?job_id=100211" } else { "" };
        let answer = proxy.send(request(&method, &format!("{url}{query}"), &[]));
        // A create without a body is known, too.
        assert!([200, 204, 411].contains(&answer.status), "{method} {url}: {answer:?}");
    }
}

#[test]
fn every_path_of_probes_and_operators_is_there() {
    let proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    let documented: BTreeSet<String> = table("### Of probes").iter().map(|row| plain(&row[0])).collect();
    let known = proxy.probe("/nowhere").body;
    assert_eq!(documented, known.split_whitespace().map(str::to_owned).collect());
    for path in &documented {
        assert_eq!(proxy.probe(path).status, 200, "{path}");
    }
    let documented: BTreeSet<String> = table("### Of operators").iter().map(|row| plain(&row[0])).collect();
    let known = proxy.ask_unix("admin.sock", &request("GET", "/nowhere", &[])).body;
    assert_eq!(documented, known.trim().split(", ").map(str::to_owned).collect());
    // The page has no command.
    let page = ["GET /".to_owned()];
    let commands = table("## Operators").into_iter().map(|row| quoted(&row[1])[0].clone());
    assert_eq!(documented, commands.chain(page).collect());
}

#[test]
fn every_code_is_there_with_its_status() {
    let documented: Vec<(String, String)> =
        table("## Codes").into_iter().map(|row| (plain(&row[0]), row[1].clone())).collect();
    let status = |code: Code| code.status().map_or_else(|| "none".into(), |status| status.to_string());
    let known: Vec<(String, String)> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), status(*code))).collect();
    assert_eq!(documented, known);
}

/// Codes that the program reacts to are named.
#[test]
fn the_clouds_codes_that_matter_here_are_there() {
    let documented: BTreeSet<String> =
        table("## Codes of Huawei Cloud").iter().flat_map(|row| quoted(&row[0])).collect();
    let is_code = |word: &&str| {
        word.split_once('.').is_some_and(|(service, number)| {
            ["APIGW", "MPC"].contains(&service)
                && number.len() >= 4
                && number.bytes().all(|b| b.is_ascii_digit())
        })
    };
    let mut known = BTreeSet::new();
    for file in sources(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        let is_test =
            file.ends_with("tests.rs") || file.iter().any(|part| part == "tests" || part == "testserver");
        known.extend(product.split('"').filter(is_code).filter(|_| !is_test).map(str::to_owned));
    }
    assert!(known.len() >= 5, "{known:?}");
    let missing: Vec<&String> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Each reason has the same advice everywhere.
#[test]
fn every_reason_has_a_cause_and_what_to_do() {
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/REFERENCE.md")).unwrap();
    let tables = reference.split("| reason |").skip(1).filter_map(|table| table.split("\n\n").next());
    let mut rows = 0;
    for row in tables.flat_map(|table| table.lines().filter(|row| row.starts_with("| `"))) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() >= 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        rows += 1;
    }
    assert!(rows > 50, "{rows}");
}

#[test]
fn every_metric_is_there_with_its_type_its_labels_and_its_help() {
    let authority = Authority::new();
    let certificate = authority.host();
    let proxy = Setup::new()
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: team, bind: 127.0.0.1:0, bearer: true }",
            "{ name: mesh, bind: 127.0.0.1:0, bearer: true, tls: { certificate: tls.crt, key: tls.key } }",
        ])
        .file("tls.crt", &certificate.certificate_pem)
        .file("tls.key", &certificate.key_pem)
        .start();
    proxy.send(cancel("100211"));
    let scraped = Scrape::of(&proxy);
    let documented = table("## Metrics").into_iter().map(|row| {
        let metric = Metric { kind: row[1].clone(), labels: quoted(&row[2]), help: row[3].clone() };
        (plain(&row[0]), metric)
    });
    let documented: BTreeMap<String, Metric> = documented.collect();
    let names = |metrics: &BTreeMap<String, Metric>| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&documented), names(&scraped.0));
    for (name, metric) in &scraped.0 {
        let told = &documented[name];
        assert_eq!((&told.kind, &told.labels), (&metric.kind, &metric.labels), "{name}");
        assert!(
            told.help.starts_with(&metric.help),
            "{name}: {} does not begin with {}",
            told.help,
            metric.help
        );
    }
}

/// The description of a metric.
struct Metric {
    kind: String,
    labels: Vec<String>,
    help: String,
}

struct Scrape(BTreeMap<String, Metric>);

impl Scrape {
    fn of(proxy: &Proxy) -> Self {
        let text = proxy.probe("/metrics").body;
        let after = |mark: &str| -> BTreeMap<String, String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark)?.split_once(' '));
            lines.map(|(name, rest)| (name.to_owned(), rest.trim_end_matches('.').to_owned())).collect()
        };
        let (kinds, helps) = (after("# TYPE "), after("# HELP "));
        assert_eq!(kinds.len(), helps.len(), "{text}");
        let metric = |(name, kind): (&String, &String)| {
            let of_it = |line: &&str| {
                let rest = line.strip_prefix(name.as_str());
                let rest = rest
                    .map(|rest| if kind == "histogram" { rest.trim_start_matches("_bucket") } else { rest });
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            let series = text.lines().find(of_it).unwrap_or_else(|| panic!("{name} has no series in {text}"));
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            let labels = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
            let labels = labels.filter(|label| kind != "histogram" || label != "le").collect();
            (name.clone(), Metric { kind: kind.clone(), labels, help: helps[name].clone() })
        };
        Self(kinds.iter().map(metric).collect())
    }
}

/// The fields of records are written in two files, with one call each.
#[test]
fn every_field_of_a_record_is_there_with_its_type() {
    for (file, heading) in
        [("src/audit/record.rs", "## Audit records"), ("src/audit/intervention.rs", "## Operators")]
    {
        let documented: Vec<[String; 3]> = match heading {
            "## Operators" => second_table(heading),
            _ => table(heading),
        }
        .into_iter()
        .map(|row| [plain(&row[0]), row[1].clone(), row[2].clone()])
        .collect();
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let written: Vec<(String, String)> = text
            .split("line.")
            .skip(1)
            .filter_map(|call| {
                let (method, rest) = call.split_once("(name!(\"")?;
                Some((rest.split('"').next()?.to_owned(), method.to_owned()))
            })
            .collect();
        assert!(written.len() >= 10, "{written:?}");
        let names: Vec<&String> = documented.iter().map(|[name, ..]| name).collect();
        assert_eq!(names, written.iter().map(|(name, _)| name).collect::<Vec<_>>(), "{file}");
        for ([name, kind, when], (_, method)) in documented.iter().zip(&written) {
            let is_kind = match kind.as_str() {
                "string" => {
                    ["text", "word", "moment"].iter().any(|of| method.starts_with(of))
                        && !method.starts_with("words")
                }
                "number" => method.starts_with("number"),
                "array" => method.starts_with("words") || method.starts_with("document"),
                "object" => method.starts_with("document"),
                other => panic!("{other}"),
            };
            assert!(is_kind, "{name} is no {kind}: {method}");
            let is_always = !method.ends_with("_if_any") && !method.ends_with("_if_room");
            assert_eq!(when.starts_with("always"), is_always, "{name}: {when}");
        }
    }
    // And they match what is written.
    let proxy = Setup::new().with_team().section("admin: { bind: 'unix:admin.sock' }").start();
    let known: BTreeSet<String> = table("## Audit records").iter().map(|row| plain(&row[0])).collect();
    let bearer = format!("Authorization: Bearer {TOKEN}x");
    proxy.send_to("team", request("DELETE", "/v2/media-prod/editing/jobs/1", &[&bearer]));
    for answer in [proxy.send(cancel("100211")), proxy.send(request("GET", "/nowhere", &[]))] {
        let record = proxy.record(&answer);
        let unknown: Vec<&str> = record.fields().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

fn second_table(heading: &str) -> Vec<Vec<String>> {
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/REFERENCE.md")).unwrap();
    let section = reference.split(&format!("\n{heading}\n")).nth(1).unwrap().split("\n#").next().unwrap();
    let table = section.split("| field |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_command_and_every_exit_code_is_there() {
    let folder = tempfile::tempdir().unwrap();
    program(&format!("man --out {}", folder.path().display()));
    // The pages of commands are checked by `manual`.
    let pages =
        fs::read_dir(folder.path()).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = pages.collect();
    let page = |command: &str| format!("mpc-auth-proxy-{}.1", command.replace(' ', "-"));
    let documented: BTreeSet<String> = table("## Commands").iter().map(|row| page(&plain(&row[0]))).collect();
    let root = BTreeSet::from(["mpc-auth-proxy.1".to_owned()]);
    assert_eq!(documented, pages.difference(&root).cloned().collect());
    let help = program("--help");
    let codes = help.split("\nExit status:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // A long line is wrapped.
    let codes = codes.split_whitespace().collect::<Vec<_>>().join(" ");
    let documented = table("## Exit codes").iter().map(|row| row.join(" ")).collect::<Vec<_>>().join(" ");
    assert_eq!(documented, codes);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path)
            }
        }
    }
    files
}
