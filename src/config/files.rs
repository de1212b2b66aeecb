//! Checks the files that the configuration names, so that a mistake is reported with its location rather than at the first
//! request.
//!
//! A text in place of a secret file's name may be the secret itself, written there by mistake. It is shown only once a file
//! of that name was found. The contents of files are never shown.

use super::kind::{CustomKind, Shape, own};
use super::report::Position;
use super::scalar;
use super::source_file::{SourceFile, reason};
use super::yaml::Node;
use crate::identity::{KeySet, TokenDigest};
use crate::pem::{self, PemError};
use crate::secret::Secret;
use crate::watch;
use nix::unistd::geteuid;
use rustls::pki_types::CertificateDer;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use zeroize::Zeroizing;

/// A path of any file.
pub(super) const PATH: CustomKind<PathBuf> = own(path, path_shape);
pub(super) const CREDENTIAL_FILE: CustomKind<PathBuf> = own(credential, path_shape);
pub(super) const AUTHORITIES: CustomKind<LoadedPem<Certificates>> =
    own(|source, node| pem(source, node, pem::authorities), path_shape);

pub(super) type Certificates = Vec<CertificateDer<'static>>;

pub(super) fn path_shape() -> Shape {
    Shape::text(A_PATH)
}

fn path(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    Some(source.resolve(scalar::text(source, node, A_PATH)?))
}

/// Reads a file whose contents become part of the settings: when it changes, everything is reloaded.
fn watched(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    path(source, node).inspect(|path| source.depends_on(path))
}

/// Checks a secret file: it must exist, be readable and not empty. Permissions for others are a warning.
fn secret(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    let (path, metadata) = found(source, node)?;
    source.names_secret(&path, node.place);
    let ours = metadata.uid() == geteuid().as_raw();
    if is_exposed(metadata.permissions().mode(), ours) {
        let message = format!("{} is readable or writable by group or others", path.display());
        let hint = format!("chmod 600 {} (in Kubernetes: `defaultMode: 0400`)", path.display());
        source.warning(node.place, message, hint);
    }
    Some(path)
}

/// Checks the file of a credential. A missing or empty one is waited for, like any other source.
///
/// A bare name may be the secret itself, so only a path is waited for: one that is absolute, begins with `./`, or leads into
/// an existing folder.
fn credential(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    let text = scalar::text(source, node, A_PATH)?;
    let path = source.resolve(text);
    let message = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_rooted = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
            if !(is_rooted || text.contains('/') && path.parent().is_some_and(Path::is_dir)) {
                let message = format!("cannot read the file: {}", reason(&error));
                return source.reject(node.place, message, NOT_A_PATH);
            }
            Some("the file does not exist yet: the credential waits for it".to_owned())
        }
        Ok(found) if found.is_file() && found.len() == 0 => {
            Some(format!("{} is empty: the credential waits for its content", path.display()))
        }
        Ok(_) | Err(_) => None,
    };
    let Some(message) = message else { return secret(source, node) };
    source.names_secret(&path, node.place);
    source.warning(node.place, message, "the proxy starts, but is not ready until it has every credential");
    Some(path)
}

/// Whether a file's permissions are wider than needed. A file that is not ours may be readable by its group: that is how
/// Kubernetes passes a Secret to a process that is not root (mode 0440, group `fsGroup`).
pub fn is_exposed(mode: u32, ours: bool) -> bool {
    let too_much = if ours { 0o066 } else { 0o026 };
    mode & too_much != 0
}

/// The contents of a PEM file, and where the file is named.
pub(super) struct LoadedPem<T> {
    pub(super) path: PathBuf,
    pub(super) value: T,
    pub(super) place: Position,
}

/// Reads a PEM file with this reader.
pub(super) fn pem<T>(
    source: &SourceFile,
    node: &Node,
    read: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Option<LoadedPem<T>> {
    let path = watched(source, node)?;
    let text = content(source, node, &path)?;
    let value = read(&text)
        .map_err(|error| {
            let message = format!("{}, {error}", path.display());
            source.error(node.place, message, "the file is read only when complete");
        })
        .ok()?;
    Some(LoadedPem { path, value, place: node.place })
}

pub(super) fn secret_pem<T>(
    source: &SourceFile,
    node: &Node,
    read: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Option<LoadedPem<T>> {
    watched(source, node)?;
    secret(source, node)?;
    pem(source, node, read)
}

/// Reads a file with the public keys of a cluster.
pub(super) fn key_set(source: &SourceFile, node: &Node) -> Option<Arc<KeySet>> {
    let path = watched(source, node)?;
    KeySet::parse(&content(source, node, &path)?)
        .map(Arc::new)
        .map_err(|error| {
            let hint = "save the output of `kubectl get --raw /openid/v1/jwks`";
            source.error(node.place, format!("{} {error}", path.display()), hint);
        })
        .ok()
}

fn content(source: &SourceFile, node: &Node, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    watch::read(path).map_err(|error| cannot_read(source, node, path, &error)).ok()
}

/// Reads the secret in a file.
pub(super) fn secret_text(source: &SourceFile, node: &Node) -> Option<Secret> {
    watched(source, node)?;
    let path = secret(source, node)?;
    Some(Secret::new(String::from_utf8_lossy(&content(source, node, &path)?)))
}

/// Checks the path of a file to be written, whose directory must exist.
pub(super) fn to_write(source: &SourceFile, node: &Node) -> Option<PathBuf> {
    let path = path(source, node)?;
    let why = match (path.is_dir(), watch::folder(&path).is_dir()) {
        (false, true) => return Some(path),
        (true, _) => "it is a directory",
        (false, false) => "its directory does not exist",
    };
    let message = format!("{} cannot be a file: {why}", path.display());
    source.reject(node.place, message, source.where_files_are())
}

/// Reads the SHA-256 of a token from a file: 64 hexadecimal digits, or the output of `sha256sum`.
pub(super) fn sha256(source: &SourceFile, node: &Node) -> Option<TokenDigest> {
    watched(source, node)?;
    if TokenDigest::from_hex(scalar::text(source, node, A_PATH)?).is_ok() {
        let message = "expected the path of a digest file, found a digest";
        return source.reject(node.place, message, "write the digest to a file, and its path here");
    }
    let (path, _) = found(source, node)?;
    let content = content(source, node, &path)?;
    std::str::from_utf8(&content).ok().and_then(digest_in).or_else(|| {
        let message = format!("{} must contain one SHA-256 digest of 64 hexadecimal digits", path.display());
        source.reject(node.place, message, "printf %s \"$TOKEN\" | sha256sum > FILE")
    })
}

/// Parses the digest on the only line: alone or as `sha256sum` prints it, before two spaces (or a space and `*`) and a file
/// name. A second digest in place of the name is rejected, because its author expects both to count.
fn digest_in(content: &str) -> Option<TokenDigest> {
    let line = content.trim();
    let (hex, rest) = line.split_at_checked(64)?;
    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"));
    let named = name.is_some_and(|name| !name.contains('\n') && TokenDigest::from_hex(name.trim()).is_err());
    if rest.is_empty() || named { TokenDigest::from_hex(hex).ok() } else { None }
}

/// Finds a file. Its name is not shown unless the file exists.
fn found(source: &SourceFile, node: &Node) -> Option<(PathBuf, fs::Metadata)> {
    let path = path(source, node)?;
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let message = format!("cannot read the file: {}", reason(&error));
            let mut hint = remedy(source, &error);
            if !is_forbidden(&error) {
                hint = format!("name a file that contains the value, never the value; {hint}");
            }
            return source.reject(node.place, message, hint);
        }
    };
    if metadata.is_dir() {
        let message = format!("{} is a directory", path.display());
        return source.reject(node.place, message, "name the file in it");
    }
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return Some((path, metadata));
    }
    if let Err(error) = fs::File::open(&path) {
        cannot_read(source, node, &path, &error);
        return None;
    }
    if metadata.len() == 0 {
        let message = format!("{} is empty", path.display());
        return source.reject(node.place, message, "write only the value into it");
    }
    Some((path, metadata))
}

fn cannot_read(source: &SourceFile, node: &Node, path: &Path, error: &io::Error) {
    let message = format!("cannot read {}: {}", path.display(), reason(error));
    source.error(node.place, message, remedy(source, error));
}

fn remedy(source: &SourceFile, error: &io::Error) -> String {
    if is_forbidden(error) {
        return "make it readable by the proxy's user, and run `check` as that user".into();
    }
    source.where_files_are()
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

const A_PATH: &str = "the path of a file";
const NOT_A_PATH: &str = "name a file that contains the value, never the value; the proxy waits for a missing file if its \
                          path starts with / or ./";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_stands_alone_or_as_sha256sum_prints_it() {
        let hex = "0123456789abcdef".repeat(4);
        for (content, expected) in [
            (hex.clone(), true),
            (format!(" {hex}\r\n\n"), true),
            (format!("{hex}  -\n"), true),
            (format!("{hex} *a token.txt\n"), true),
            (format!("{hex} {hex}"), false),
            (format!("{hex}  {hex}"), false),
            (format!("{hex} -"), false),
            (format!("{hex}\t-"), false),
            (format!("{hex}  -\n{hex}  -\n"), false),
            (format!("{hex}\n{hex}"), false),
            (format!("{hex}00"), false),
            (format!("é{}", &hex[1..]), false),
            (String::new(), false),
        ] {
            assert_eq!(digest_in(&content).is_some(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_kubernetes_secret_is_not_exposed_by_its_group() {
        for (mode, ours, expected) in [
            (0o400, true, false),
            (0o600, true, false),
            (0o700, true, false),
            (0o440, true, true),
            (0o404, true, true),
            (0o602, true, true),
            (0o440, false, false),
            (0o640, false, false),
            (0o460, false, true),
            (0o444, false, true),
            (0o442, false, true),
        ] {
            assert_eq!(is_exposed(mode, ours), expected, "{mode:o}, ours: {ours}");
        }
    }
}
