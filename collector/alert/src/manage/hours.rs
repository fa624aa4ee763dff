//! Hours of the week in a time zone: business hours, nights, weekends.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::Timestamp;

/// Windows of the week; inside any of them is inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Hours(pub Vec<Window>);

/// From a minute of the day to another, on some days. A window that ends before it begins runs past
/// midnight and belongs to the day it begins on.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Where the clock on the wall is read.
    pub zone: TimeZone,
    /// Days it begins on.
    pub days: Vec<Weekday>,
    /// First minute of the day inside.
    pub from_minute: i32,
    /// First minute outside again; equal to `from_minute`: the whole day.
    pub to_minute: i32,
}

impl Hours {
    /// Whether a moment, in µs since 1970, is inside.
    pub fn hold(&self, now_us: i64) -> bool {
        let Ok(moment) = Timestamp::from_microsecond(now_us) else { return false };
        self.0.iter().any(|window| window.holds(moment))
    }
}

impl Window {
    fn holds(&self, moment: Timestamp) -> bool {
        let local = self.zone.to_datetime(moment);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let today = self.days.contains(&local.weekday());
        let yesterday = self.days.contains(&local.weekday().previous());
        match self.from_minute.cmp(&self.to_minute) {
            std::cmp::Ordering::Less => today && (self.from_minute..self.to_minute).contains(&minute),
            std::cmp::Ordering::Equal => today,
            std::cmp::Ordering::Greater => {
                (today && minute >= self.from_minute) || (yesterday && minute < self.to_minute)
            }
        }
    }
}

/// `mon` … `sun` as written in YAML.
pub fn day(word: &str) -> Option<Weekday> {
    Some(match word {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// `HH:MM`, 00:00 to 24:00, as minutes of the day.
pub fn minute(text: &str) -> Option<i32> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (i32, i32) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    ((0..60).contains(&minute) && (0..=24 * 60).contains(&all)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn window(days: &[&str], from: &str, to: &str) -> Hours {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let days = days.iter().filter_map(|word| day(word)).collect();
        Hours(vec![Window { zone, days, from_minute: minute(from).unwrap(), to_minute: minute(to).unwrap() }])
    }

    #[test]
    fn business_hours_follow_the_zone_through_summer_time() {
        let business = window(&["mon", "tue", "wed", "thu", "fri"], "08:00", "18:00");
        // Friday 2026-01-09 is winter (+01:00), Friday 2026-07-10 is summer (+02:00).
        assert!(!business.hold(at("2026-01-09T06:59:59Z")) && business.hold(at("2026-01-09T07:00:00Z")));
        assert!(!business.hold(at("2026-07-10T05:59:59Z")) && business.hold(at("2026-07-10T06:00:00Z")));
        assert!(!business.hold(at("2026-01-10T09:00:00Z")), "a Saturday");
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let night = window(&["fri"], "22:00", "06:00");
        assert!(night.hold(at("2026-01-09T21:00:00Z")), "Friday 22:00 in Berlin");
        assert!(night.hold(at("2026-01-10T04:59:00Z")), "Saturday 05:59");
        assert!(!night.hold(at("2026-01-10T05:00:00Z")) && !night.hold(at("2026-01-09T04:00:00Z")));
    }

    #[test]
    fn times_that_are_none_are_refused() {
        assert_eq!(
            (minute("24:00"), minute("24:01"), minute("7:60"), minute("x")),
            (Some(1440), None, None, None)
        );
    }
}
