//! Who a declared command or check runs as, and whose a file is to be: users and groups by name or number, as passwd(5) and
//! group(5) list them, and how a program is started as one. The C library's own look-up may ask the network and
//! wait; a user that only a directory server knows can be written as `uid:gid`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Home directory; empty when only numbers are known.
    pub(crate) home: String,
}

impl User {
    /// Looks a name, a number that is listed, or `uid:gid`, up.
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
        Self::parse(&read(PASSWD)?, name)
            .ok_or_else(|| format!("there is no user {name} in {PASSWD}; add it or write uid:gid as numbers"))
    }

    /// Has the command start as this user, with the user's own group and no other.
    pub(crate) fn becomes(&self, command: &mut Command) -> Result<(), String> {
        let own = rustix::process::geteuid();
        if own.is_root() {
            // Setting the user as root also drops all further groups: std::os::unix::process::CommandExt.
            command.uid(self.uid).gid(self.gid);
        } else if own.as_raw() != self.uid {
            let uid = self.uid;
            return Err(format!("only root can run it as user {uid}; remove user or run the agent as root"));
        }
        Ok(())
    }

    /// The same, and at home where the user's home is known.
    pub(crate) fn starts(&self, command: &mut Command) -> Result<(), String> {
        self.becomes(command)?;
        if !self.home.is_empty() {
            command.env("HOME", &self.home);
        }
        Ok(())
    }

    /// `name:x:uid:gid:comment:home:shell`. A number without an entry would have no group that is known to be its own.
    fn parse(passwd: &str, name: &str) -> Option<Self> {
        let fields = entry(passwd, name, 0).or_else(|| entry(passwd, name, 2))?;
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        let home = fields.get(5).copied().unwrap_or_default().to_owned();
        (uid != u32::MAX && gid != u32::MAX).then_some(Self { uid, gid, home })
    }
}

/// The number of a group by name or number.
pub(crate) fn group(name: &str) -> Result<u32, String> {
    let listed = read(GROUP)?;
    let number = entry(&listed, name, 0).and_then(|fields| fields.get(2)?.parse().ok());
    number
        .or_else(|| name.parse().ok())
        .filter(|gid| *gid != u32::MAX)
        .ok_or_else(|| format!("there is no group {name} in {GROUP}; correct the host's file"))
}

/// The fields of the first line that has this at its place.
fn entry<'a>(list: &'a str, name: &str, at: usize) -> Option<Vec<&'a str>> {
    list.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(at) == Some(&name))
}

fn read(path: &str) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let text = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\nbad:x:y:z::\nshort\n";
        let web = User { uid: 33, gid: 34, home: "/srv".into() };
        assert_eq!((User::parse(text, "web"), User::parse(text, "33")), (Some(web.clone()), Some(web)));
        for missing in ["", "we", "x", "34", "bad", "short"] {
            assert_eq!(User::parse(text, missing), None, "{missing}");
        }
        assert_eq!(User::find("5:6").map(|user| (user.uid, user.gid)), Ok((5, 6)));
        assert_eq!(User::find("root").map(|user| (user.uid, user.gid)), Ok((0, 0)));
        assert!(User::find("4294967295:0").is_err());
        assert!(User::find("nobody-of-that-name").unwrap_err().contains("/etc/passwd"));
    }

    #[test]
    fn groups_need_no_entry_when_they_are_numbers() {
        assert_eq!((group("root"), group("0"), group("4242")), (Ok(0), Ok(0), Ok(4242)));
        assert!(group("4294967295").is_err());
        assert!(group("no-group-of-that-name").unwrap_err().contains("/etc/group"));
    }
}
