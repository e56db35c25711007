//! How a clock runs beside the real one: by how much faster, and where it has jumped to.

use std::time::{Duration, Instant, SystemTime};

/// What a file says, in words: `scale=360 ahead=3600 wall=-3600`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    /// Seconds of ours to a real one; at least 1.
    pub(super) scale: f64,
    /// Seconds by which the clock has jumped ahead. It never goes back, as the kernel's does not: a lower number is none.
    pub(super) ahead: Duration,
    /// Seconds by which the clock on the wall is wrong, in either direction.
    pub(super) wall: i64,
}

/// A clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    setting: Setting,
    /// When it was set, by the real clock.
    since: Option<Instant>,
    /// By how much ours was ahead then, jumps aside.
    gained: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SettingError {
    #[error("{0:?} is not NAME=VALUE of scale, ahead, wall")]
    Word(String),
    #[error("scale is {0}: it must be 1 or more")]
    Scale(f64),
}

// === impl Setting ===

impl Default for Setting {
    fn default() -> Self {
        Self { scale: 1.0, ahead: Duration::ZERO, wall: 0 }
    }
}

impl std::str::FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let mut setting = Self::default();
        for word in text.split_whitespace() {
            let wrong = || SettingError::Word(word.to_owned());
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            match name {
                "scale" => setting.scale = value.parse().map_err(|_| wrong())?,
                "ahead" => setting.ahead = Duration::from_secs(value.parse().map_err(|_| wrong())?),
                "wall" => setting.wall = value.parse().map_err(|_| wrong())?,
                _ => return Err(wrong()),
            }
        }
        if !(1.0..=1e6).contains(&setting.scale) {
            return Err(SettingError::Scale(setting.scale));
        }
        Ok(setting)
    }
}

// === impl Pace ===

impl Pace {
    /// The real clock.
    pub(super) fn real() -> Self {
        Self { setting: Setting::default(), since: None, gained: Duration::ZERO }
    }

    pub(super) fn set(&mut self, real: Instant, setting: Setting) {
        self.gained = self.gained(real);
        self.since = Some(real);
        let ahead = setting.ahead.max(self.setting.ahead);
        self.setting = Setting { ahead, ..setting };
    }

    fn gained(&self, real: Instant) -> Duration {
        let passed = self.since.map_or(Duration::ZERO, |since| real.saturating_duration_since(since));
        self.gained + passed.mul_f64(self.setting.scale - 1.0)
    }

    /// What the clock shows at a real time.
    pub(super) fn at(&self, real: Instant) -> Instant {
        real + self.gained(real) + self.setting.ahead
    }

    /// How long that is from now, in real time.
    pub(super) fn until(&self, real: Instant, at: Instant) -> Duration {
        at.saturating_duration_since(self.at(real)).div_f64(self.setting.scale)
    }

    /// The wall's clock goes as fast as the other one, and is wrong besides.
    pub(super) fn wall(&self, real: Instant, wall: SystemTime) -> SystemTime {
        let wall = wall + self.gained(real);
        let off = Duration::from_secs(self.setting.wall.unsigned_abs());
        if self.setting.wall < 0 { wall - off } else { wall + off }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn set(pace: &mut Pace, real: Instant, text: &str) {
        pace.set(real, text.parse().unwrap());
    }

    #[test]
    fn a_day_passes_in_four_minutes_and_stays_passed() {
        let (start, mut pace) = (Instant::now(), Pace::real());
        assert_eq!(pace.at(start + HOUR), start + HOUR);
        set(&mut pace, start, "scale=360");
        let later = start + Duration::from_secs(240);
        assert_eq!(pace.at(later), start + 24 * HOUR);
        assert_eq!(pace.until(start, start + HOUR), Duration::from_secs(10));
        set(&mut pace, later, "scale=1");
        assert_eq!(pace.at(later + HOUR), start + 25 * HOUR);
        assert_eq!(pace.until(later, pace.at(later) + HOUR), HOUR);
    }

    #[test]
    fn it_jumps_ahead_and_never_back() {
        let (start, mut pace) = (Instant::now(), Pace::real());
        set(&mut pace, start, "ahead=3600");
        assert_eq!(pace.at(start), start + HOUR);
        assert_eq!(pace.until(start, start + HOUR), Duration::ZERO);
        set(&mut pace, start, "ahead=0");
        assert_eq!(pace.at(start), start + HOUR);
    }

    #[test]
    fn the_wall_jumps_both_ways_and_nothing_else_does() {
        let (start, wall, mut pace) = (Instant::now(), SystemTime::now(), Pace::real());
        for (text, expected) in [("wall=3600", wall + HOUR), ("wall=-3600", wall - HOUR), ("", wall)] {
            set(&mut pace, start, text);
            assert_eq!(pace.wall(start, wall), expected);
            assert_eq!(pace.at(start), start);
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        for (text, expected) in [
            ("scale", "\"scale\" is not NAME=VALUE of scale, ahead, wall"),
            ("speed=3", "\"speed=3\" is not NAME=VALUE of scale, ahead, wall"),
            ("ahead=-1", "\"ahead=-1\" is not NAME=VALUE of scale, ahead, wall"),
            ("scale=0.5", "scale is 0.5: it must be 1 or more"),
            ("scale=NaN", "scale is NaN: it must be 1 or more"),
        ] {
            assert_eq!(text.parse::<Setting>().unwrap_err().to_string(), expected);
        }
    }
}
