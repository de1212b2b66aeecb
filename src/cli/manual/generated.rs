//! The commands that print what is generated from all commands.

use super::entry::Manual;

pub(super) const COMPLETIONS: Manual = Manual {
    about: "Put what it prints where your shell looks for completions.",
    files: &[],
    exits: &[(0, "The completions are printed.")],
    examples: "\
For bash
$ mpc-auth-proxy completions bash > mpc-auth-proxy.bash
For zsh
$ mpc-auth-proxy completions zsh > _mpc-auth-proxy",
};

pub(super) const MAN: Manual = Manual {
    about: "\
Prints the page of the program as a whole. With --out it writes that page and one for each command, \
such as mpc-auth-proxy-policy-explain.1, into a folder.",
    files: &[("DIR/mpc-auth-proxy*.1", "The pages, with --out.")],
    exits: &[(0, "The pages are written."), (1, "The folder cannot be made, or a page not be written.")],
    examples: "\
Write all pages
$ mpc-auth-proxy man --out man1
Print the page of the program
$ mpc-auth-proxy man > mpc-auth-proxy.1",
};
