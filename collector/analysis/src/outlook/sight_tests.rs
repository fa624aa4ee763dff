//! Made-up tracks whose sensors are known.

use super::*;

const START: u32 = 5_000;

fn track(entity: &[&str], step_s: u32, steps: u32, value: impl Fn(f64) -> Vec<f64>) -> Track {
    let rows: Vec<Vec<Option<f64>>> = (0..steps)
        .map(|at| {
            let mut row = vec![Some(f64::from(START + at * step_s))];
            row.extend(value(f64::from(at * step_s)).into_iter().map(Some));
            row
        })
        .collect();
    Track::new(entity.iter().map(|e| (*e).to_owned()).collect(), step_s, &rows).unwrap()
}

fn sensor(sight: &Sight, name: &str) -> f32 {
    sight.row[SENSORS.iter().position(|s| *s == name).unwrap()]
}

fn host() -> HostTracks {
    HostTracks {
        host: "h".into(),
        memory: Some(track(&[], 10, 100, |_| vec![1e10, 6e9, 0.0, 0.0])),
        // Two CPUs, a quarter of their time used.
        cpu: Some(track(&["all"], 10, 100, |t| vec![50.0 * t, 0.0, 0.0, 0.0, 0.0, 0.0, 140.0 * t, 10.0 * t])),
        load: Some(track(&[], 10, 100, |_| vec![100.0, 1000.0, 3.0])),
        pressure: vec![track(&["io"], 10, 100, |_| vec![50.0, 25.0])],
        ..HostTracks::default()
    }
}

fn at(host: &HostTracks, component: &ComponentTracks, second: u32) -> Sight {
    Sights { host, component, horizon_s: 400, hold_s: 30 }.at(START + second)
}

#[test]
fn shares_of_the_host_are_as_they_are() {
    let host = host();
    let sight = at(&host, &ComponentTracks::default(), 900);
    for (name, value) in [
        ("share of memory used", 0.4),
        ("share of swap used", 0.0),
        ("share of the host's descriptors used", 0.1),
        ("share of CPU time used", 0.25),
        ("load for each CPU", 1.5),
        ("I/O pressure", 0.5),
        ("I/O pressure, everything stalled", 0.25),
        ("fullest supply", 0.4),
        ("soonest end at the present pace", 0.0),
    ] {
        assert!((sensor(&sight, name) - value).abs() < 1e-6, "{name}: {}", sensor(&sight, name));
    }
    assert!(sensor(&sight, "latency of the check").is_nan() && sensor(&sight, "CPU pressure").is_nan());
    assert_eq!((sight.row.len(), sight.up), (SENSORS.len(), None));
}

#[test]
fn leaks_of_any_kind_look_alike() {
    let host = host();
    // Half a share a horizon, half used at the end: at its end in one horizon.
    let memory = ComponentTracks {
        processes: vec![track(&["1", "1", "a"], 10, 100, |t| vec![1e8 + 1e6 * t, 1.4e9, t, 0.0])],
        ..ComponentTracks::default()
    };
    let descriptors = ComponentTracks {
        details: vec![track(&["1", "1", "a"], 10, 100, |t| vec![24.0 + t, 64.0, 0.0])],
        ..ComponentTracks::default()
    };
    for component in [memory, descriptors] {
        let sight = at(&host, &component, 600);
        for name in ["soonest end at the present pace", "soonest end at the pace of the horizon"] {
            let pace = sensor(&sight, name);
            assert!((0.5..1.1).contains(&pace), "{name}: {pace}");
        }
        assert_eq!(sensor(&sight, "steadiness of that growth"), 1.0);
    }
}

#[test]
fn checks_and_restarts_show() {
    let component = ComponentTracks {
        name: "web".into(),
        component: Some(track(&["web", "process"], 10, 100, |t| {
            let slow = t >= 800.0;
            vec![
                f64::from(u8::from(t < 950.0)),
                t,
                if slow { (t - 800.0) / 2.0 } else { 0.0 },
                0.0,
                if slow { 40.0 } else { 10.0 },
                0.0,
                0.0,
            ]
        })),
        ..ComponentTracks::default()
    };
    let host = host();
    let sight = at(&host, &component, 850);
    assert!((sensor(&sight, "latency against its usual") - 4f32.ln()).abs() < 0.3, "{sight:?}");
    assert!((sensor(&sight, "checks that fail") - 0.5).abs() < 1e-6);
    assert_eq!(sight.up, Some(true));
    assert_eq!(at(&host, &component, 960).up, Some(false));
}

#[test]
fn a_row_knows_nothing_later() {
    let host = host();
    let component = ComponentTracks {
        processes: vec![track(&["1", "1", "a"], 10, 100, |t| vec![1e8 + 1e6 * t, 1.4e9, t, 0.0])],
        ..ComponentTracks::default()
    };
    let mut cut = component.clone();
    for track in &mut cut.processes {
        track.columns.iter_mut().for_each(|column| column.truncate(61));
    }
    let text = |sight: Sight| format!("{sight:?}");
    assert_eq!(text(at(&host, &component, 600)), text(at(&host, &cut, 600)));
}
