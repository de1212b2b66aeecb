//! Hashes in hexadecimal.

/// Appends a hash in lower-case hexadecimal, without the allocation of `hex::encode`.
#[expect(clippy::expect_used, reason = "32 bytes are 64 digits, and digits are ASCII")]
pub(super) fn push_hex(out: &mut String, hash: &[u8; 32]) {
    let mut digits = [0; DIGITS];
    hex::encode_to_slice(hash, &mut digits).expect("64 digits");
    out.push_str(std::str::from_utf8(&digits).expect("ASCII"));
}

/// Of a hash in hexadecimal.
pub(super) const DIGITS: usize = 64;
