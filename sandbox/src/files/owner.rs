//! Whose the files of a run are in its container.

/// The account that a run's files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// By numbers.
    Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// An account that only the image can name: the files are readable and writable for all.
    Anyone,
}

impl Owner {
    /// The owner for a container's `user[:group]`. A user without a group is given the group of the same number, which
    /// makes no difference to what the user may do with its own files.
    pub(crate) fn of(user: &str) -> Self {
        let (user, group) = user.split_once(':').unwrap_or((user, user));
        match (user.parse(), group.parse()) {
            (Ok(uid), Ok(gid)) => Self::Ids { uid, gid },
            (Ok(uid), Err(_)) => Self::Ids { uid, gid: uid },
            (Err(_), _) => Self::Anyone,
        }
    }

    /// User and group in an archive.
    pub(super) const fn ids(self) -> (u32, u32) {
        match self {
            Self::Ids { uid, gid } => (uid, gid),
            Self::Anyone => (0, 0),
        }
    }

    /// The mode of a file that has this one where it comes from.
    pub(super) const fn file_mode(self, mode: u32) -> u32 {
        match self {
            Self::Ids { .. } => mode & 0o777 | 0o600,
            Self::Anyone if mode & 0o111 != 0 => mode & 0o777 | 0o777,
            Self::Anyone => mode & 0o777 | 0o666,
        }
    }

    /// The same for a folder.
    pub(super) const fn folder_mode(self, mode: u32) -> u32 {
        match self {
            Self::Ids { .. } => mode & 0o777 | 0o700,
            Self::Anyone => 0o777,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_names_are_left_to_the_image() {
        assert_eq!(Owner::of("65534:65533"), Owner::Ids { uid: 65534, gid: 65533 });
        assert_eq!(Owner::of("1000"), Owner::Ids { uid: 1000, gid: 1000 });
        assert_eq!(Owner::of("1000:staff"), Owner::Ids { uid: 1000, gid: 1000 });
        assert_eq!(Owner::of("node"), Owner::Anyone);
        assert_eq!(Owner::of("-1:0"), Owner::Anyone);
    }

    #[test]
    fn modes_lose_what_changes_accounts_and_let_the_owner_work() {
        let ids = Owner::Ids { uid: 1, gid: 1 };
        assert_eq!((ids.file_mode(0o106_755), ids.file_mode(0o400)), (0o755, 0o600));
        assert_eq!((Owner::Anyone.file_mode(0o644), Owner::Anyone.file_mode(0o700)), (0o666, 0o777));
        assert_eq!((ids.folder_mode(0o1000), Owner::Anyone.folder_mode(0)), (0o700, 0o777));
    }
}
