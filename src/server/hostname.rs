//! The host's name, a part of request ids.

/// Returns the host's name, reduced to the alphabet of request ids.
pub(super) fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(63).collect();
    if clean.is_empty() { "localhost".into() } else { clean }
}
