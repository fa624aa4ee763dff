//! An action that is cut off: the agent is killed in the middle of it. It ends as «never completed», is not begun
//! again, and the plan goes on from what samples show.

use std::path::Path;

use fettle_tests::mended::Mended;
use fettle_tests::wait::{until, when};

use crate::refused::{end, ledger};
use crate::SOON;

/// First a command that takes long, then one that helps.
pub const POLICIES: &str = "entries:
  web_down:
    match: {rules: [\"component_down*\"], labels: {component: web}}
    strategies:
      - action: restart
        verify: component.up == 1 for 1s within 60s
  slow_down:
    match: {rules: [\"component_down*\"], labels: {component: slow}}
    strategies:
      - name: long
        action: {run: long}
        risk: low
        approval: auto
        max_attempts: 1
        timeout: 60s
        verify: component.up == 1 for 1s within 10s
      - name: fix
        action: {run: fix}
        risk: low
        approval: auto
        verify: component.up == 1 for 1s within 60s
";

/// It is well as it begins.
pub fn prepare(files: &Path) {
    std::fs::write(files.join("well"), "").unwrap();
}

/// A component that is well while its file is there.
pub fn components(files: &Path) -> String {
    let path = |name: &str| files.join(name).display().to_string();
    format!(
        "[components.slow]\ninterval = \"250ms\"\ncheck = {{ file = \"{}\", oldest = \"26h\" }}\n\
         [components.slow.allow]\n\
         run.long = {{ command = [\"/bin/sh\", \"-c\", \"echo long >> {}; echo $$ > {}; exec sleep 600\"] }}\n\
         run.fix = {{ command = [\"/bin/sh\", \"-c\", \"echo > {}\"] }}\n",
        path("well"),
        path("begun"),
        path("long.pid"),
        path("well")
    )
}

/// See the module.
pub async fn kill_the_agent(mended: &mut Mended) {
    mended.sees("slow", true, SOON).await;
    std::fs::remove_file(mended.stack.path("files/well")).unwrap();
    let pid = mended.stack.path("files/long.pid");
    until("the long action runs", SOON, || async { when(pid.exists(), |there| *there) }).await;
    mended.agent.kill();
    end(&pid).await;
    mended.agent.start();
    mended.plan_ends("slow", "succeeded", SOON).await;
    assert!(mended.stack.path("files/well").exists());
    let begun = std::fs::read_to_string(mended.stack.path("files/begun")).unwrap();
    assert_eq!(begun.lines().count(), 1, "it is not begun again");

    let own = ledger(&mended.stack.path("files/agent.toml"));
    let cut_off: Vec<_> =
        own.iter().filter(|entry| entry["receipt"]["outcome"] == "never_completed").collect();
    assert_eq!(cut_off.len(), 1, "{own:#?}");
    let order = cut_off[0]["receipt"]["id"].as_str().unwrap();
    let sql = mended.stack.sql();
    let stored =
        format!("SELECT count() FROM fettle.actions WHERE id = '{order}' AND outcome = 'never_completed'");
    let audited = format!(
        "SELECT uniqExact(kind) FROM fettle.audit WHERE order_id = '{order}' \
         AND (kind IN ('intent', 'verified') OR kind = 'outcome' AND what LIKE '%never completed%')"
    );
    for (what, query, wanted) in
        [("the outcome is stored", stored, 1), ("intent, outcome and verdict are audited", audited, 3)]
    {
        until(what, SOON, || async { when(sql.number(&query).await.unwrap_or(0), |n| *n == wanted) }).await;
    }
}
