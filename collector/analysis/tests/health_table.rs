//! The health score: cases with the score they must have, and what it says of missing facts.

use fettle_analysis::health::{fleet, score, Grade, HostFacts, Outlook, Part};

/// A host with nothing wrong and everything known.
fn sound() -> HostFacts {
    HostFacts {
        cpu_busy_share: Some(0.3),
        cpu_system_share: Some(0.05),
        cpu_iowait_share: Some(0.01),
        cpu_steal_share: Some(0.0),
        run_queue_per_cpu: Some(0.4),
        psi_cpu_some_share: Some(0.02),
        memory_available_share: Some(0.6),
        swap_in_pages_per_s: Some(0.0),
        swap_out_pages_per_s: Some(0.0),
        psi_memory_some_share: Some(0.0),
        psi_memory_full_share: Some(0.0),
        oom_kills_per_h: Some(0.0),
        memory_outlook: Outlook::NotExpected,
        disk_fullest_share: Some(0.5),
        inode_fullest_share: Some(0.1),
        disk_util_share: Some(0.2),
        disk_latency_ms: Some(2.0),
        psi_io_some_share: Some(0.01),
        psi_io_full_share: Some(0.0),
        disk_outlook: Outlook::NotExpected,
        net_errors_per_1000: Some(0.0),
        tcp_retransmit_share: Some(0.001),
        anomalies_per_h: Some(0.0),
        restarts_per_h: Some(0.0),
        agent_gap_share: Some(0.0),
        failure_risk: Some(0.01),
    }
}

#[test]
fn scores_follow_the_table() {
    type Change = fn(&mut HostFacts);
    // What is wrong, the score it must have within half a point, its grade, the dearest fact.
    let table: [(Change, f64, Grade, Option<&str>); 9] = [
        (|_| {}, 100.0, Grade::Excellent, None),
        (|f| f.cpu_busy_share = Some(1.0), 90.0, Grade::Excellent, Some("cpu_busy_share")),
        (|f| f.run_queue_per_cpu = Some(2.5), 93.75, Grade::Excellent, Some("run_queue_per_cpu")),
        (|f| f.memory_available_share = Some(0.03), 85.0, Grade::Excellent, Some("memory_available_share")),
        (|f| f.disk_fullest_share = Some(0.89), 93.0, Grade::Excellent, Some("disk_fullest_share")),
        (|f| f.disk_outlook = Outlook::In(3600.0), 88.0, Grade::Excellent, Some("disk_outlook")),
        (|f| f.oom_kills_per_h = Some(2.0), 76.5, Grade::Good, Some("oom_kills_per_h")),
        (
            |f| {
                f.disk_fullest_share = Some(1.0);
                f.disk_outlook = Outlook::In(0.0);
                f.restarts_per_h = Some(30.0);
                f.anomalies_per_h = Some(30.0);
            },
            65.0,
            Grade::Fair,
            Some("disk_fullest_share"),
        ),
        (
            |f| {
                f.run_queue_per_cpu = Some(20.0);
                f.cpu_busy_share = Some(1.0);
                f.psi_cpu_some_share = Some(0.9);
                f.memory_available_share = Some(0.0);
                f.psi_memory_some_share = Some(0.9);
                f.psi_memory_full_share = Some(0.5);
                f.psi_io_full_share = Some(0.5);
            },
            35.0,
            Grade::Poor,
            Some("memory_available_share"),
        ),
    ];
    for (number, (change, want, grade, dearest)) in table.into_iter().enumerate() {
        let mut facts = sound();
        change(&mut facts);
        let health = score(&facts);
        let got = health.score.unwrap();
        assert!((got - want).abs() < 0.5, "case {number}: {got} instead of {want}: {}", health.words());
        assert_eq!(health.grade, grade, "case {number}");
        assert_eq!(health.deductions.first().map(|d| d.fact.as_str()), dearest, "case {number}");
        let lost: f64 = health.deductions.iter().map(|d| d.points).sum();
        assert!(
            (100.0 - lost - got).abs() < 1e-9,
            "case {number}: deductions explain {lost} of {}",
            100.0 - got
        );
        assert!(health.missing.is_empty());
        for deduction in &health.deductions {
            assert!(!deduction.reason.contains("{}") && deduction.recommendation.len() > 20, "{deduction:?}");
        }
    }
}

#[test]
fn grades_begin_where_they_are_said_to() {
    let grades = [85.0, 84.9, 70.0, 69.9, 50.0, 49.9].map(|score| Grade::of(Some(score)));
    use Grade::{Excellent, Fair, Good, Poor};
    assert_eq!(grades, [Excellent, Good, Good, Fair, Fair, Poor]);
    assert!((Part::ALL.iter().map(|part| part.weight()).sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn what_is_missing_is_said_and_not_counted_as_fine() {
    let unknown = score(&HostFacts::default());
    assert_eq!((unknown.score, unknown.grade), (None, Grade::Unknown));
    assert!(unknown.missing.contains(&"disk_outlook".to_owned()) && unknown.missing.len() == 26);
    assert!(unknown.words().contains("missing"));

    // The disk's facts are gone: the score is that of the other parts, not higher than with a bad disk hidden.
    let mut facts = sound();
    facts.cpu_busy_share = Some(1.0);
    facts.disk_fullest_share = None;
    facts.inode_fullest_share = None;
    facts.disk_outlook = Outlook::Unknown;
    facts.disk_latency_ms = None;
    let health = score(&facts);
    let disk = health.parts.iter().find(|p| p.part == Part::Disk).unwrap();
    assert_eq!(disk.score, None);
    assert!((health.score.unwrap() - (100.0 - 40.0 * 0.25 / 0.8)).abs() < 1e-9, "{:?}", health.score);
    assert!(health.missing.contains(&"disk_fullest_share".to_owned()));
}

#[test]
fn hostile_facts_give_a_score_or_none_but_no_nonsense() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e300, 1e300] {
        let mut facts = sound();
        facts.cpu_busy_share = Some(value);
        facts.memory_available_share = Some(value);
        facts.disk_outlook = Outlook::In(value);
        let health = score(&facts);
        let got = health.score.unwrap();
        assert!((0.0..=100.0).contains(&got), "{value}: {got}");
        assert!(
            health.deductions.iter().all(|d| d.points.is_finite() && !d.reason.contains("inf")),
            "{health:?}"
        );
    }
}

#[test]
fn a_worse_fact_never_raises_the_score() {
    let steps = |change: fn(&mut HostFacts, f64)| {
        let scores: Vec<f64> = (0..=100)
            .map(|step| {
                let mut facts = sound();
                change(&mut facts, f64::from(step) / 100.0);
                score(&facts).score.unwrap()
            })
            .collect();
        assert!(scores.windows(2).all(|pair| pair[1] <= pair[0]), "{scores:?}");
        assert!(scores[100] < scores[0]);
    };
    steps(|f, share| f.cpu_busy_share = Some(share));
    steps(|f, share| f.memory_available_share = Some(1.0 - share));
    steps(|f, share| f.disk_fullest_share = Some(share));
    steps(|f, share| f.disk_outlook = Outlook::In((1.0 - share) * 1e6));
    steps(|f, share| f.failure_risk = Some(share));
}

#[test]
fn a_fleet_shows_what_its_mean_hides() {
    let mut full = sound();
    full.disk_fullest_share = Some(1.0);
    let (good, bad) = (score(&sound()), score(&full));
    let unknown = score(&HostFacts::default());
    let together = fleet([("a", &good), ("b", &bad), ("c", &good), ("d", &unknown)]);
    let want = (200.0 + bad.score.unwrap()) / 3.0;
    assert!((together.score.unwrap() - want).abs() < 1e-9);
    assert_eq!(together.worst.as_ref().unwrap().0, "b");
    assert_eq!(together.grades[0], (Grade::Unknown, 1));
    assert_eq!((together.causes[0].fact.as_str(), together.causes[0].hosts), ("disk_fullest_share", 1));
    assert_eq!(fleet([("a", &good), ("b", &unknown), ("c", &unknown)]).grade, Grade::Unknown);
    assert_eq!(fleet([]).score, None);
}
