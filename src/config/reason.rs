//! Why a file cannot be read, in words.

use std::io;

/// The error as a person says it: without `(os error 2)`.
pub fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such file".into();
    }
    let text = error.to_string();
    text.split(" (os error").next().map(String::from).unwrap_or(text)
}
