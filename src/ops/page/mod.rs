//! The status page: `/status` as HTML that loads nothing from elsewhere, and a form that evaluates the policy.
//!
//! The page works without its script, which only refreshes it. Every text goes through [`contents::Shown`].

mod contents;
mod form;
mod html;
mod response;

pub(super) use response::answer;
