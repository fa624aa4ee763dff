//! Who a declared command or check runs as: users by name, from /etc/passwd, and how a program is started as one. The C library's own look-up may ask the network and wait; a user that
//! only a directory server knows can be written as `uid:gid`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Home directory; empty when only numbers are known.
    pub(crate) home: String,
}

impl User {
    /// Looks a name, or `uid:gid`, up.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        if let Some((uid, gid)) =
            name.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)))
        {
            // The kernel takes this number as «leave it».
            if uid == u32::MAX || gid == u32::MAX {
                return Err(format!("{name} is no user; write uid:gid as numbers below {}", u32::MAX));
            }
            return Ok(Self { uid, gid, home: String::new() });
        }
        let text = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        Self::parse(&text, name).ok_or_else(|| {
            format!("there is no user {name} in /etc/passwd; add it or write uid:gid as numbers")
        })
    }

    /// Has the command start as this user, with the user's own group and no other.
    pub(crate) fn starts(&self, command: &mut Command) -> Result<(), String> {
        let own = rustix::process::geteuid();
        if own.is_root() {
            // Setting the user as root also drops all further groups: std::os::unix::process::CommandExt.
            command.uid(self.uid).gid(self.gid);
        } else if own.as_raw() != self.uid {
            let uid = self.uid;
            return Err(format!("only root can run it as user {uid}; remove user or run the agent as root"));
        }
        if !self.home.is_empty() {
            command.env("HOME", &self.home);
        }
        Ok(())
    }

    /// `name:x:uid:gid:comment:home:shell`, passwd(5).
    fn parse(text: &str, name: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        let fields: Vec<&str> = line.split(':').collect();
        Some(Self {
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
            home: fields.get(5)?.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let text = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\nbad:x:y:z::\n";
        assert_eq!(User::parse(text, "web"), Some(User { uid: 33, gid: 34, home: "/srv".into() }));
        assert_eq!((User::parse(text, "we"), User::parse(text, "bad")), (None, None));
        assert_eq!(User::find("5:6").map(|user| (user.uid, user.gid)), Ok((5, 6)));
        assert!(User::find("4294967295:0").is_err());
        assert!(User::find("nobody-of-that-name").unwrap_err().contains("/etc/passwd"));
    }
}
