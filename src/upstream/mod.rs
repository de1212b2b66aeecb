//! How does a request get to Huawei Cloud, and an answer back?
//!
//! It stands before configuration because settings are made of its types. Where a request goes comes from an
//! [`Endpoint`] alone, never from anything a caller sent.

mod endpoint;

pub use endpoint::{Endpoint, EndpointError};
