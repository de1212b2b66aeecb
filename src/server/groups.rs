//! The supplementary groups of the process at the other end of a Unix socket: `SO_PEERGROUPS`.
//!
//! The kernel stored them when the process connected. They belong to the connection, not to a process id, which may have
//! been reused.

use std::sync::{Arc, Once};

use nix::{
    errno::Errno,
    getsockopt_impl, libc,
    sys::socket::{GetSockOpt, sockopt::GetStruct},
};
use tokio::net::UnixStream;

use crate::log::LIMITED;

/// Returns the groups; none if there are too many or the kernel does not tell.
pub(super) fn of(stream: &UnixStream) -> Arc<[u32]> {
    // In ascending order: the buffer must have the exact size, and one that is too small is `ERANGE`.
    for ask in ASK {
        match ask(stream) {
            Err(Errno::ERANGE) => {}
            Ok(groups) => return groups,
            Err(error) => {
                tracing::debug!(target: LIMITED, %error, "cannot read a caller's supplementary groups");
                return Arc::default();
            }
        }
    }
    TOO_MANY.call_once(|| {
        tracing::warn!(
            most = ASK.len() - 1,
            "a Unix socket caller has too many supplementary groups: only its primary group is used"
        );
    });
    Arc::default()
}

type Ask = fn(&UnixStream) -> nix::Result<Arc<[u32]>>;

macro_rules! ask {
    ($($count:literal)*) => {
        [$({
            #[derive(Clone, Copy)]
            struct Groups;
            getsockopt_impl!(
                Groups, libc::SOL_SOCKET, libc::SO_PEERGROUPS, [u32; $count], GetStruct<[u32; $count]>
            );
            |stream: &UnixStream| Groups.get(stream).map(|groups| Arc::from(groups.as_slice()))
        }),*]
    };
}

/// One query for each number of groups.
#[rustfmt::skip]
const ASK: [Ask; 65] = ask![
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
    33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
];

static TOO_MANY: Once = Once::new();

#[cfg(test)]
mod tests {
    use nix::unistd::getgroups;

    use super::*;

    #[tokio::test]
    async fn the_kernel_tells_the_groups_of_whoever_connected() {
        let mine: Vec<u32> = getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!((of(&one).to_vec(), of(&other).to_vec()), (mine.clone(), mine));
    }
}
