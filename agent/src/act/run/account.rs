//! Users and groups by name or number, as passwd(5) and group(5) list them. Names that only a directory
//! service knows are not found: declare their numbers.

use std::path::Path;

use rustix::fs::{Gid, Uid};

/// A user and its own group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// A user by name, by number, or as `uid:gid`.
pub(super) fn user(name: &str) -> Result<Account, String> {
    let numbers = name.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    if let Some((uid, gid)) = numbers.filter(|(uid, gid)| *uid != u32::MAX && *gid != u32::MAX) {
        return Ok(Account { uid, gid });
    }
    find_user(&read("/etc/passwd")?, name)
        .ok_or_else(|| format!("there is no user {name} in /etc/passwd; correct the host's file"))
}

/// A group by name or number.
pub(super) fn group(name: &str) -> Result<Gid, String> {
    let listed = find(&read("/etc/group")?, name, 2).or_else(|| name.parse().ok());
    listed
        .filter(|gid| *gid != u32::MAX)
        .map(Gid::from_raw)
        .ok_or_else(|| format!("there is no group {name} in /etc/group; correct the host's file"))
}

/// A user's number alone.
pub(super) fn uid(name: &str) -> Result<Uid, String> {
    user(name).map(|account| Uid::from_raw(account.uid))
}

fn read(path: &str) -> Result<String, String> {
    let bytes = std::fs::read(Path::new(path)).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find_user(passwd: &str, name: &str) -> Option<Account> {
    let by = |at: usize| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = *fields.get(at)? == name;
            is_it.then(|| {
                Some(Account { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
            })?
        })
    };
    // A number without an entry would have no group that is known to be its own.
    by(0).or_else(|| by(2)).filter(|account| account.uid != u32::MAX && account.gid != u32::MAX)
}

fn find(list: &str, name: &str, at: usize) -> Option<u32> {
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (*fields.first()? == name).then(|| fields.get(at)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad:x:y:z\nweb:x:33:34::/:/x\nshort\n";
        assert_eq!(find_user(passwd, "web"), Some(Account { uid: 33, gid: 34 }));
        assert_eq!(find_user(passwd, "33"), Some(Account { uid: 33, gid: 34 }));
        for missing in ["", "we", "x", "34", "bad", "short"] {
            assert_eq!(find_user(passwd, missing), None, "{missing}");
        }
        assert_eq!(user("root"), Ok(Account { uid: 0, gid: 0 }));
        assert_eq!(user("5:6"), Ok(Account { uid: 5, gid: 6 }));
        assert!(user("no such user").is_err() && user("4294967295:0").is_err());
        assert_eq!(group("0").map(Gid::as_raw), Ok(0));
    }
}
