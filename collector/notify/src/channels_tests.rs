//! Tests of the channels' settings.

use super::*;

#[test]
fn channels_are_settled_and_their_secrets_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "https://hooks.example.org/T0/B0/very-secret\n").unwrap();
    let text = format!(
        "route: {{ channels: [chat] }}\nchannels:\n  chat: {{ kind: slack, url_file: {}, fallback: log, timeout: 2s }}\n",
        file.path().display()
    );
    let channels = Channels::from_yaml(&text).unwrap();
    let chat = &channels.0["chat"];
    assert_eq!((chat.timeout, chat.fallback.as_deref()), (Duration::from_secs(2), Some("log")));
    assert!(channels.0.contains_key("log"));
    let Kind::Slack { url } = &chat.kind else { panic!("{chat:?}") };
    assert!(url.reveal().ends_with("very-secret") && !format!("{channels:?}").contains("very-secret"));
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (text, line, words) in [
        ("channels:\n  a: { kind: pigeon }\n", 2, "no kind pigeon"),
        ("channels:\n  a: { kind: slack, url: 'https://x.org/' }\n", 2, "url_file"),
        ("channels:\n  a: { kind: slack, url_file: does-not-exist }\n", 2, "cannot read does-not-exist"),
        ("channels:\n  a: { kind: webhook, url: 'ftp://x.org/' }\n", 2, "http:// or https://"),
        ("channels:\n  a: { kind: webhook, url: 'https://u:p@x.org/' }\n", 2, "no user or password"),
        ("channels:\n  a: { kind: webhook, url: 'https://x.org/', body: '{{ x' }\n", 2, "template"),
        ("channels:\n  a: { kind: webhook, url: 'https://x.org/', headers: { 'a b': c } }\n", 2, "no header"),
        ("channels:\n  a: { kind: webhook, url: 'https://x.org/', password: x }\n", 2, "password"),
        (
            "channels:\n  a: { kind: email, server: mail.example.org, tls: none }\n",
            2,
            "tls is starttls or tls",
        ),
        (
            "channels:\n  a: { kind: email, server: localhost, from: a@b.c, to: [nobody] }\n",
            2,
            "no mail address",
        ),
        ("channels:\n  a: { kind: log, fallback: b }\n", 2, "no channel named b"),
        ("channels:\n  a: { kind: log, fallback: b }\n  b: { kind: log, fallback: a }\n", 2, "ring"),
        ("channels:\n  a: { kind: log,\n    timeout: soon }\n", 3, "length of time"),
        ("channels:\n  a: { kind: alertmanager, url: 'http://x', user: u }\n", 2, "go together"),
    ] {
        let error = Channels::from_yaml(text).unwrap_err();
        assert!(error.line == line && error.problem.contains(words), "{text}: {error}");
    }
}
