//! A request before it is signed.

/// A request before it is signed, as it will stand on the wire.
#[derive(Clone, Copy)]
pub struct Unsigned<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The raw path: escaped as on the request line.
    pub path: &'a str,
    /// The raw query, without its `?`. Empty where there is none.
    pub query: &'a str,
    /// Every header that will be sent, `Host` included, apart from those that signing adds. All are signed but
    /// those with a `_` in their name.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
}
