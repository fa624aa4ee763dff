//! Quiet hours: times of the week in which nothing is done by itself. A window that ends before it begins
//! goes on into the next day, and counts as the day on which it began.

use jiff::tz::TimeZone;
use jiff::Timestamp;

/// One window of the week.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// Days it begins on, Monday first.
    pub days: [bool; 7],
    /// Minute of the day it begins at.
    pub from_minute: u32,
    /// Minute of the day it ends at.
    pub to_minute: u32,
    /// The clock it goes by.
    pub zone: TimeZone,
}

impl Quiet {
    /// Whether this moment, µs since 1970, lies in the window.
    pub fn holds(&self, now_us: i64) -> bool {
        let Ok(moment) = Timestamp::from_microsecond(now_us) else { return false };
        let local = moment.to_zoned(self.zone.clone());
        let minute = u32::from(local.hour().unsigned_abs()) * 60 + u32::from(local.minute().unsigned_abs());
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let yesterday = (today + 6) % 7;
        if self.from_minute < self.to_minute {
            return self.days[today] && (self.from_minute..self.to_minute).contains(&minute);
        }
        (self.days[today] && minute >= self.from_minute) || (self.days[yesterday] && minute < self.to_minute)
    }
}

/// `22:30` as the minute of the day.
pub fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    ((hour < 24 && minute < 60) || (hour == 24 && minute == 0)).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_began_on() {
        let mut days = [false; 7];
        days[4] = true; // Friday
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let quiet = Quiet { days, from_minute: 22 * 60, to_minute: 6 * 60, zone };
        assert!(!quiet.holds(at("2026-11-20T20:59:00Z"))); // Friday 21:59 there
        assert!(quiet.holds(at("2026-11-20T21:00:00Z")));
        assert!(quiet.holds(at("2026-11-21T04:59:00Z")));
        assert!(!quiet.holds(at("2026-11-21T05:00:00Z")));
        assert!(!quiet.holds(at("2026-11-21T21:30:00Z"))); // Saturday
    }

    #[test]
    fn summer_time_is_the_zones_own() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let quiet = Quiet { days: [true; 7], from_minute: 0, to_minute: 60, zone };
        assert!(quiet.holds(at("2026-07-01T22:30:00Z")));
        assert!(!quiet.holds(at("2026-12-01T22:30:00Z")));
        assert!(quiet.holds(at("2026-12-01T23:30:00Z")));
    }

    #[test]
    fn minutes_of_the_day_are_checked() {
        assert_eq!(minute("22:30"), Some(1350));
        assert_eq!(minute("24:00"), Some(1440));
        for text in ["24:01", "7", "12:60", "x:1", "-1:00"] {
            assert_eq!(minute(text), None);
        }
    }
}
