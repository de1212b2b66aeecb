//! Strict parser of PEM files with certificates and private keys.
//!
//! The library's iterator skips what it does not know, so a certificate whose first line is indented, or follows the end of
//! the previous one on the same line, would silently be missing. Here every line that looks like the boundary of a block
//! must be valid; text between blocks is a comment (RFC 7468). Errors contain none of the text, which may be a private key.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

/// Why a file is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PemError {
    /// The line, from 1, or 1 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A block between its boundaries.
struct Block {
    line: usize,
    label: String,
    body: Zeroizing<String>,
    encrypted: bool,
}

/// Parses the certificates in a file, at least one.
///
/// # Errors
/// See [`PemError`].
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let placed = placed_certificates(text)?;
    Ok(placed.into_iter().map(|(_, certificate)| certificate).collect())
}

/// Parses the authorities' certificates in a file: at least one, each usable as a trust anchor.
///
/// # Errors
/// See [`PemError`].
pub fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let placed = placed_certificates(text)?;
    let mut roots = RootCertStore::empty();
    let taken = placed.into_iter().map(|(line, certificate)| {
        let refused = |_| PemError { line, problem: "this certificate is not usable as a CA certificate" };
        roots.add(certificate.clone()).map(|()| certificate).map_err(refused)
    });
    taken.collect()
}

/// Parses the private key in a file, exactly one.
///
/// # Errors
/// See [`PemError`].
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let mut found = None;
    for block in blocks(text)? {
        let line = block.line;
        let problem = match block.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => ENCRYPTED,
            _ if block.encrypted => ENCRYPTED,
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if found.is_none() => {
                found = Some(block.read::<PrivateKeyDer<'static>>()?);
                continue;
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => "second private key: keep one",
            "OPENSSH PRIVATE KEY" => "OpenSSH key: convert it with `ssh-keygen -p -m PEM -f FILE`",
            // OpenSSL and others write these beside the key.
            "CERTIFICATE" | "EC PARAMETERS" | "DH PARAMETERS" => continue,
            _ => "not a private key: remove this block",
        };
        return Err(PemError { line, problem });
    }
    found.ok_or(PemError { line: 1, problem: "no private key in the file" })
}

fn placed_certificates(text: &[u8]) -> Result<Vec<(usize, CertificateDer<'static>)>, PemError> {
    let mut found = Vec::new();
    for block in blocks(text)? {
        let line = block.line;
        let problem = match block.label.as_str() {
            "CERTIFICATE" => {
                let certificate = block.read::<CertificateDer<'static>>()?;
                if !parse_x509_certificate(&certificate).is_ok_and(|(rest, _)| rest.is_empty()) {
                    return Err(PemError { line, problem: "not an X.509 certificate" });
                }
                found.push((line, certificate));
                continue;
            }
            "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                "OpenSSL trusted certificate: convert it with `openssl x509 -in FILE -out FILE`"
            }
            "X509 CRL" => "revocation lists are not supported: remove it",
            // Often kept in one file with a certificate.
            label if label.ends_with("PRIVATE KEY") || label.ends_with("PARAMETERS") => continue,
            _ => "not a certificate: remove this block",
        };
        return Err(PemError { line, problem });
    }
    if found.is_empty() {
        return Err(PemError { line: 1, problem: "no certificate in the file" });
    }
    Ok(found)
}

impl Block {
    /// Decodes the block with the library.
    fn read<T: PemObject>(&self) -> Result<T, PemError> {
        let Self { line, label, body, .. } = self;
        let whole = Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", **body));
        let broken =
            |_| PemError { line: *line, problem: "the block's content is not Base64, or is truncated" };
        T::from_pem_slice(whole.as_bytes()).map_err(broken)
    }
}

fn blocks(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut last = 0;
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        let at = index + 1;
        let fail = |problem| Err(PemError { line: at, problem });
        let whole = String::from_utf8_lossy(line);
        let line = whole.trim_end();
        if let Some(label) = label(line, "-----BEGIN ") {
            if open.is_some() {
                return fail("a block begins before the previous one ends");
            }
            open =
                Some(Block { line: at, label: label.into(), body: Zeroizing::default(), encrypted: false });
        } else if let Some(label) = label(line, "-----END ") {
            match open.take() {
                None => return fail("END without BEGIN"),
                Some(block) if block.label != label => {
                    return fail("END label differs from BEGIN label");
                }
                Some(block) => blocks.push(block),
            }
        } else if is_meant_as_boundary(line) {
            return fail(
                "put `-----BEGIN …-----` and `-----END …-----` each on its own line, with five hyphens on either side",
            );
        } else if let Some(block) = &mut open {
            block.take(line).map_err(|problem| PemError { line: at, problem })?;
        }
        last = at;
    }
    match open {
        Some(block) => {
            let problem = "this block has no END: the file is truncated";
            Err(PemError { line: block.line.min(last), problem })
        }
        None => Ok(blocks),
    }
}

impl Block {
    /// Adds a line. Only encrypted keys have headers, before the Base64.
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        if line.contains(':') {
            self.encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            return Ok(());
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b) || b.is_ascii_whitespace();
        if !self.encrypted && !line.bytes().all(allowed) {
            return Err("not Base64");
        }
        self.body.extend(line.chars().filter(|c| !c.is_whitespace()));
        Ok(())
    }
}

/// Returns the label of a boundary.
fn label<'l>(line: &'l str, start: &str) -> Option<&'l str> {
    let label = line.strip_prefix(start)?.strip_suffix("-----")?;
    (!label.contains('-')).then_some(label)
}

/// Whether an invalid line was meant as a boundary: too few hyphens, indented, or on one line with another.
fn is_meant_as_boundary(line: &str) -> bool {
    let dash = |c: char| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    ["BEGIN ", "END "].iter().any(|word| {
        line.match_indices(word)
            .any(|(at, _)| line.get(..at).is_some_and(|before| before.trim_end().ends_with(dash)))
    })
}

const ENCRYPTED: &str = "the private key is encrypted: decrypt it with `openssl pkey -in FILE -out FILE`";

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> String {
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn every_certificate_is_read_whatever_stands_between() {
        let (one, two) = (certificate("a.example"), certificate("b.example"));
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (text, expected) in [
            (one.clone(), 1),
            (format!("{one}{two}"), 2),
            (format!("\u{feff}{one}\n\n{two}"), 2),
            (format!("subject=CN = a\n{one}# b\n{two}{key}"), 2),
            (one.replace('\n', "\r\n"), 1),
            (one.replace('\n', " \n"), 1),
            (one.trim_end().to_owned(), 1),
        ] {
            assert_eq!(certificates(text.as_bytes()).map(|found| found.len()), Ok(expected), "{text}");
            assert_eq!(authorities(text.as_bytes()).map(|found| found.len()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_would_be_left_out_is_refused_with_its_line() {
        let one = certificate("a.example");
        let (lines, joined) = (one.lines().count(), one.trim_end());
        let half: String = one.lines().take(3).map(|line| format!("{line}\n")).collect();
        let tail: String = one.lines().skip(2).map(|line| format!("{line}\n")).collect();
        let indented: String = one.lines().map(|line| format!("  {line}\n")).collect();
        for (text, line, problem) in [
            (String::new(), 1, "no certificate"),
            ("# nothing\n".into(), 1, "no certificate"),
            (format!("{joined}{one}"), lines, "each on its own line"),
            (format!("{one}{indented}"), lines + 1, "each on its own line"),
            (format!("{one}{half}"), lines + 1, "has no END"),
            (format!("{half}{one}"), 4, "before the previous one ends"),
            (format!("{tail}{one}"), lines - 2, "END without BEGIN"),
            (one.replace("END CERTIFICATE", "END X509 CRL"), lines, "END label differs"),
            (one.replace("-----BEGIN", "----BEGIN"), 1, "each on its own line"),
            (one.replace("-----BEGIN", "\u{2014}BEGIN"), 1, "each on its own line"),
            (one.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), 1, "OpenSSL trusted certificate"),
            (one.replace("CERTIFICATE", "X509 CRL"), 1, "revocation lists"),
            (one.replace("CERTIFICATE", "PKCS7"), 1, "not a certificate"),
            (one.replacen("\nMII", "\n<II", 1), 2, "not Base64"),
            (one.replacen("\nMII", "\nMI", 1), 1, "not "),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), 1, "not an X.509"),
        ] {
            let error = authorities(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{error} of {text}");
        }
    }

    #[test]
    fn a_private_key_is_one_and_not_encrypted() {
        let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let (key, other) = (key.serialize_pem(), other.serialize_pem());
        assert!(private_key(format!("\u{feff}{}{key}", certificate("a")).as_bytes()).is_ok());
        let old = key.replace("PRIVATE KEY", "RSA PRIVATE KEY");
        let old = old.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
        for (text, problem) in [
            (certificate("a"), "no private key"),
            (format!("{key}{other}"), "second private key"),
            (key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "is encrypted: decrypt it"),
            (old, "is encrypted: decrypt it"),
            (key.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"), "OpenSSH key"),
            (key.replace("PRIVATE KEY", "PUBLIC KEY"), "not a private key"),
        ] {
            let error = private_key(text.as_bytes()).unwrap_err();
            assert!(error.problem.contains(problem), "{error} of {text}");
        }
    }
}
