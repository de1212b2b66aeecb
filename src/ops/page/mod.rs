//! The status page. What `/status` says for people, on one page that fetches nothing from elsewhere, and a form that asks
//! the policy.
//!
//! It is whole without its script, which only asks for the page again. Every text goes through [`escape::Shown`].

mod assets;
mod contents;
mod escape;
mod form;
mod html;
mod response;

pub(super) use response::answer;
