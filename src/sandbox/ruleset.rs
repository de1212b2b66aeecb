//! The Landlock rules for the needed paths.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

use super::{places::RequiredPaths, restriction::Restriction};

/// Confines this thread, and those that it starts, to these paths.
pub(super) fn confine(needed: &RequiredPaths) -> Result<Restriction, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK_ABI))?.create()?;
    // Preallocated space is released by truncating the file to its length.
    let append = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::Truncate;
    for (paths, access) in [
        (&needed.read, AccessFs::ReadFile.into()),
        (&needed.append, append | AccessFs::ReadFile),
        (&needed.append_shared, append),
        (&needed.bind, AccessFs::MakeSock | AccessFs::RemoveFile),
        (&needed.keep, append | AccessFs::ReadFile | AccessFs::RemoveFile),
    ] {
        for path in paths {
            ruleset = allow(ruleset, path, access)?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Restriction::On,
        RulesetStatus::PartiallyEnforced => Restriction::Partly,
        RulesetStatus::NotEnforced => Restriction::Off("not available here".into()),
    })
}

/// Adds rules for paths. Missing ones are skipped.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK_ABI) };
    ruleset.add_rule(PathBeneath::new(place, access))
}

/// The Landlock version whose access rights are denied unless allowed.
const LANDLOCK_ABI: ABI = ABI::V5;
