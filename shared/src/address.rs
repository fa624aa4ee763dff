//! Addresses as they may be shown: in a log, an error or a listing of the configuration, an address must not
//! give away the password or token that stands in it.

/// Addresses, separated by commas, without user, password, token and query: `nats://u:p@h:4222` becomes
/// `nats://h:4222`. One of which it cannot be told where the password ends is not shown at all.
pub fn without_user(addresses: &str) -> String {
    addresses.split(',').map(one_without_user).collect::<Vec<_>>().join(",")
}

fn one_without_user(address: &str) -> String {
    let (scheme, rest) = match address.find("://") {
        Some(at) => address.split_at(at + 3),
        None => ("", address),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains('@') {
        // Its password may hold a slash: what is before it need not be a host.
        return format!("{scheme}…");
    }
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = path.split(['?', '#']).next().unwrap_or("");
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_not_shown() {
        for (address, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://fettle:secret@h:4222", "nats://h:4222"),
            ("tls://secret@[::1]:4222", "tls://[::1]:4222"),
            ("fettle:secret@h:4222", "h:4222"),
            ("nats://u:secret@a:1, nats://u:secret@b:2", "nats://a:1, nats://b:2"),
            ("nats://u:sec@secret@h", "nats://h"),
            ("nats://u:sec/secret@h", "nats://…"),
            ("nats://u:sec?secret@h", "nats://…"),
            ("http://u:secret@h:8123/db?password=secret", "http://h:8123/db"),
            ("http://h:8123/?password=sec@secret", "http://…"),
            ("https://h:8123/#secret", "https://h:8123/"),
            ("", ""),
        ] {
            assert_eq!(without_user(address), shown, "{address}");
        }
    }
}
