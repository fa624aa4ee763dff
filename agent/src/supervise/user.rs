//! Users by name, from /etc/passwd. The C library's own look-up may ask the network and wait; a user that
//! only a directory server knows can be written as `uid:gid`.

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Home directory; empty when only numbers are known.
    pub(super) home: String,
}

impl User {
    /// Looks a name, or `uid:gid`, up.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        if let Some((uid, gid)) =
            name.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)))
        {
            return Ok(Self { uid, gid, home: String::new() });
        }
        let text = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        Self::parse(&text, name).ok_or_else(|| {
            format!("there is no user {name} in /etc/passwd; add it or write uid:gid as numbers")
        })
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
        assert!(User::find("nobody-of-that-name").unwrap_err().contains("/etc/passwd"));
    }
}
