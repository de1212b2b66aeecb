//! Plain scalars: numbers to YAML, names to people.

use super::*;
use crate::policy::Glob;

#[test]
fn what_looks_like_a_number_is_taken_as_it_is_written_where_a_text_is_meant() {
    let directory = Directory::valid();
    for (file, from, to) in [
        ("proxy.yaml", "id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9", "id: 11112222333344445555666677778888 # é"),
        ("proxy.yaml", "name: media-prod", "name: 007"),
        ("policy.yaml", "projects: [media-prod]", "projects: [007, 11112222333344445555666677778888]"),
        ("policy.yaml", "projects: [media-prod,", "projects: [007,"),
        ("policy.yaml", "jobs: [\"*\"]", "jobs: [100211, 0x1F, 1e5, -7, true, 0100 ]"),
        ("policy.yaml", "id: others", "id: 2027"),
        ("policy.yaml", "  editor-api:", "  1_000:"),
        ("policy.yaml", "callers: [editor-api]", "callers:\n      - 1_000   # é"),
        ("policy.yaml", "reason: \"migration, ticket MEDIA-1411\"", "reason: 1411"),
    ] {
        directory.change(file, from, to);
    }
    let Loaded { settings, warnings, .. } = load(&directory.path("proxy.yaml")).unwrap();
    assert!(!warnings.has_errors(), "{warnings}");
    let project = &settings.projects[0];
    assert_eq!((&*project.name, &*project.id), ("007", "11112222333344445555666677778888"));
    assert_eq!(settings.callers.ids()[0].as_str(), "1_000");
    let [first, second] = settings.policy.rules() else { panic!() };
    let jobs: Vec<&str> = first.jobs.iter().map(Glob::as_str).collect();
    assert_eq!(jobs, ["100211", "0x1F", "1e5", "-7", "true", "0100"]);
    assert_eq!((second.id.as_str(), second.reason.as_deref()), ("2027", Some("1411")));
}
