//! Another candidate in the place of the active one: the link first, then the declared hook. A hook that fails
//! puts the link back.

use std::path::{Path, PathBuf};

use super::link::Link;
use super::{command, in_thread, Failure, Ran, Report, Threads};
use crate::act::admission::Task;
use crate::host_file::FailOver;

/// Switches.
pub(super) async fn run(
    what: &FailOver,
    to: Option<(String, PathBuf)>,
    task: &Task,
    threads: &Threads,
) -> Ran {
    let (hook, dry) = (what.hook.clone(), task.dry_run);
    let (name, mut report) = switch(what.clone(), to, dry, threads).await?;
    let Some(hook) = hook else { return Ok(report) };
    match command::run(&hook, &[("candidate", &name)], task.timeout, dry).await {
        Ok(ran) => {
            report.output = format!("{}\n{}", report.output, ran.output);
            Ok(report)
        }
        Err(failure) => {
            let back = put_back(what, &report, threads).await;
            let Failure { error, report: printed, timed_out } = failure;
            report.output = format!("{}\n{}", report.output, printed.output);
            Err(Failure { error: format!("{error}; {back}"), report, timed_out })
        }
    }
}

/// Switches the link, if there is one; gives the candidate's name.
async fn switch(
    what: FailOver,
    to: Option<(String, PathBuf)>,
    dry: bool,
    threads: &Threads,
) -> Result<(String, Report), Failure> {
    let Some(path) = what.link.clone() else {
        let (name, _) = to.ok_or_else(|| "without a link the candidate has to be named".to_owned())?;
        return Ok((name.clone(), Report::says(format!("candidate {name}"))));
    };
    let (chosen, name) = tokio::sync::oneshot::channel();
    let report = in_thread(threads, move |stop| {
        let link = Link::open(&path)?;
        let active = link.target.clone();
        let (name, target) = match to {
            Some(to) => to,
            None => next(&what.candidates, active.as_deref())?,
        };
        let was = active.as_deref().map_or("nothing".into(), Path::to_string_lossy).into_owned();
        let _ = chosen.send(name.clone());
        if active.as_deref() == Some(&target) {
            return Err(format!("{name} is the active candidate already"));
        }
        if dry {
            return Ok(Report::says(format!("would switch {} from {was} to {name}", path.display())));
        }
        stop.check()?;
        link.point_to(&target)?;
        let mut report = Report::says(format!("switched {} from {was} to {name}", path.display()));
        if let Some((candidate, _)) =
            what.candidates.iter().find(|(_, target)| Some(target.as_path()) == active.as_deref())
        {
            report = report.with("candidate", candidate.as_str());
        }
        Ok(if active.is_some() { report.with("target", was) } else { report })
    })
    .await?;
    let name = name.await.map_err(|_| "no candidate was chosen".to_owned())?;
    Ok((name, report))
}

/// The candidate after the active one, the first after the last.
fn next(candidates: &[(String, PathBuf)], active: Option<&Path>) -> Result<(String, PathBuf), String> {
    let place = candidates.iter().position(|(_, target)| Some(target.as_path()) == active);
    let next = place.map_or(0, |place| (place + 1) % candidates.len().max(1));
    match candidates.get(next) {
        Some(candidate) if place != Some(next) => Ok(candidate.clone()),
        _ => Err("there is no other candidate; declare one in the host's file".to_owned()),
    }
}

async fn put_back(what: &FailOver, report: &Report, threads: &Threads) -> String {
    let (Some(path), Some(before)) = (what.link.clone(), report.before.get("target").cloned()) else {
        return "nothing was put back".to_owned();
    };
    let back = in_thread(threads, move |_| {
        Link::open(&path)?.point_to(Path::new(&before))?;
        Ok(Report::default())
    });
    match back.await {
        Ok(_) => "the link was put back".to_owned(),
        Err(failure) => format!("the link could not be put back: {}", failure.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_candidate_follows_the_active_one() {
        let list: Vec<(String, PathBuf)> =
            ["a", "b", "c"].map(|name| (name.into(), format!("/{name}").into())).into();
        let after = |active: Option<&str>| next(&list, active.map(Path::new)).map(|(name, _)| name);
        assert_eq!(after(Some("/a")).as_deref(), Ok("b"));
        assert_eq!(after(Some("/c")).as_deref(), Ok("a"));
        assert_eq!(after(Some("/other")).as_deref(), Ok("a"));
        assert_eq!(after(None).as_deref(), Ok("a"));
        assert!(next(&list[..1], Some(Path::new("/a"))).is_err(), "itself is no other");
        assert!(next(&[], None).is_err());
    }
}
