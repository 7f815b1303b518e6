//! Cron schedules: when one comes next in its time zone. Pure, with time zone data of its own.
//!
//! The syntax is the one that KEDA takes (`robfig/cron` v3): five fields, of minute, hour, day of month, month and day of
//! week; `*`, `?`, numbers, names, ranges, lists and steps; `TZ=…` or `CRON_TZ=…` in front names another time zone.
//! Descriptors such as `@daily` are refused, as KEDA does.
//!
//! A schedule comes at every moment whose local time matches: a local time that the clocks skip does not come on that day,
//! one that they show twice comes twice. `robfig/cron` has the same rule and strays from it where clocks change by half an
//! hour (`Australia/Lord_Howe`) or at midnight (`Africa/Cairo`): on that day it misses times that exist, or takes a wrong day.
//! Here the rule holds there, too.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Months that a search looks through. 29 February comes every 4 years, and after 8 around 2100.
const MAX_MONTHS: u32 = 12 * 9;
/// Stretches without a change of the clocks that a search looks through. Morocco has four a year, most have two or none.
const MAX_STRETCHES: usize = 64;
/// The longest expression that is read: nothing that a person writes is longer.
const MAX_LENGTH: usize = 500;

/// A cron schedule in its time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    times: Times,
    zone: TimeZone,
}

/// The local times that match, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// `*` or `?` was among the items.
    any: bool,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("has {0} fields, allowed: 5, which are minute, hour, day of month, month, day of week")]
    Fields(usize),
    /// `@daily` and the like.
    #[error("descriptors are refused, as KEDA does; allowed: 5 fields, such as `0 8 * * 1-5`")]
    Descriptor,
    /// A part of a field that means nothing.
    #[error("{item} is no {field}, allowed: {allowed}")]
    Item {
        /// Which field.
        field: &'static str,
        /// What was found.
        item: String,
        /// What would do.
        allowed: &'static str,
    },
    /// A date such as 30 February.
    #[error("never comes: no such day in any year")]
    Never,
    /// The time zone in front of the fields.
    #[error("{0}")]
    Zone(#[from] ZoneError),
    /// Longer than anything meant.
    #[error("is too long, allowed: at most {MAX_LENGTH} characters")]
    Length,
}

/// No time zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no time zone {found}{}", .nearest.as_ref().map_or_else(
    || ", allowed: a name of the IANA time zone database, such as Europe/Berlin".to_owned(),
    |nearest| format!(", did you mean `{nearest}`?"),
))]
pub struct ZoneError {
    found: String,
    nearest: Option<String>,
}

/// A time zone by its IANA name, from the data in this program: whatever the machine knows, an answer is the same everywhere.
pub fn time_zone(name: &str) -> Result<TimeZone, ZoneError> {
    let zones = TimeZoneDatabase::bundled();
    let found = zones.get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| {
        let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ZoneError {
            found: crate::document::quoted(name),
            nearest: crate::fields::nearest(name, &names).map(str::to_owned),
        }
    })
}

impl Schedule {
    /// Reads an expression. Its times are of `zone` unless it names another.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, CronError> {
        let text = text.trim();
        if text.chars().count() > MAX_LENGTH {
            return Err(CronError::Length);
        }
        let named = ["TZ=", "CRON_TZ="]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        let (zone, fields) = match named {
            None => (zone.clone(), text),
            Some(named) => {
                let (name, fields) = named.split_once(' ').unwrap_or((named, ""));
                (time_zone(name)?, fields)
            }
        };
        if fields.trim_start().starts_with('@') {
            return Err(CronError::Descriptor);
        }
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let times = Times {
            minutes: MINUTE.parse(minutes)?,
            hours: HOUR.parse(hours)?,
            days: DAY.parse(days)?,
            months: MONTH.parse(months)?,
            weekdays: WEEKDAY.parse(weekdays)?,
        };
        if !times.ever_come() {
            return Err(CronError::Never);
        }
        Ok(Self {
            text: text.to_owned(),
            times,
            zone,
        })
    }

    /// The expression as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether two schedules always come together, however they are written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.times == other.times && self.zone == other.zone
    }

    /// The first time after a moment; `None` at the end of the calendar.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let second = after.as_second() + i64::from(after.subsec_nanosecond() >= 0);
        let mut from = Timestamp::from_second(second).ok()?;
        for _ in 0..MAX_STRETCHES {
            // Within one stretch local times follow each other as the moments do.
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next();
            let found = self.times.first(offset.to_datetime(from))?;
            let found = offset.to_timestamp(found).ok()?;
            match change.map(|change| change.timestamp()) {
                Some(change) if change <= found => from = change,
                Some(_) | None => return Some(found),
            }
        }
        None
    }
}

impl Times {
    /// Whether some day of some year matches.
    fn ever_come(&self) -> bool {
        let Self {
            minutes,
            hours,
            days,
            months,
            weekdays,
        } = self;
        let in_some_month = (1..=12).any(|month| {
            let longest = match month {
                2 => 29,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            months.has(month) && days.next(1).is_some_and(|day| day <= longest)
        });
        let by_weekday = months.bits != 0 && weekdays.bits != 0;
        let some_day = if self.needs_both() {
            in_some_month && by_weekday
        } else {
            in_some_month || by_weekday
        };
        minutes.bits != 0 && hours.bits != 0 && some_day
    }

    /// With both days given one of them is enough; where one is `*` the other alone counts.
    fn needs_both(&self) -> bool {
        self.days.any || self.weekdays.any
    }

    fn is_day(&self, day: u32, weekday: u32) -> bool {
        let (day, weekday) = (self.days.has(day), self.weekdays.has(weekday));
        if self.needs_both() {
            day && weekday
        } else {
            day || weekday
        }
    }

    /// The first matching local time that is not before `from`.
    fn first(&self, from: DateTime) -> Option<DateTime> {
        let past_minute = from.second() > 0 || from.subsec_nanosecond() > 0;
        let minute = u32::try_from(i32::from(from.hour()) * 60 + i32::from(from.minute())).ok()?;
        let minute = minute + u32::from(past_minute);
        let today = from.date();
        let weekday = u32::try_from(today.weekday().to_sunday_zero_offset()).ok()?;
        let (month, day) = (u32::try_from(today.month()), u32::try_from(today.day()));
        let (month, day) = (month.ok()?, day.ok()?);
        if self.months.has(month)
            && self.is_day(day, weekday)
            && let Some(time) = self.time_from(minute)
        {
            return Some(today.to_datetime(time));
        }
        Some(self.day_after(today)?.to_datetime(self.time_from(0)?))
    }

    /// The first matching time of a day from one of its minutes on.
    fn time_from(&self, minute: u32) -> Option<Time> {
        let (hour, minute) = (minute / 60, minute % 60);
        let this_hour = self.minutes.next(minute).filter(|_| self.hours.has(hour));
        let (hour, minute) = match this_hour {
            Some(minute) => (hour, minute),
            None => (self.hours.next(hour + 1)?, self.minutes.next(0)?),
        };
        Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
    }

    /// The first matching day after one.
    fn day_after(&self, date: Date) -> Option<Date> {
        let mut first = date.first_of_month();
        let mut day = u32::try_from(date.day()).ok()? + 1;
        for _ in 0..MAX_MONTHS {
            if self.months.has(u32::try_from(first.month()).ok()?) {
                let weekday = u32::try_from(first.weekday().to_sunday_zero_offset()).ok()?;
                let length = u32::try_from(first.days_in_month()).ok()?;
                let found = (day..=length).find(|day| self.is_day(*day, (weekday + day - 1) % 7));
                if let Some(found) = found {
                    return Date::new(first.year(), first.month(), i8::try_from(found).ok()?).ok();
                }
            }
            first = first.last_of_month().tomorrow().ok()?;
            day = 1;
        }
        None
    }
}

impl Field {
    fn has(self, value: u32) -> bool {
        self.next(value) == Some(value)
    }

    /// The first value that is not below one.
    fn next(self, from: u32) -> Option<u32> {
        let rest = self.bits.checked_shr(from)?;
        (rest != 0).then(|| from + rest.trailing_zeros())
    }
}

/// What a field may hold.
struct Kind {
    name: &'static str,
    allowed: &'static str,
    lowest: u32,
    highest: u32,
    /// The names of the values from `lowest` on.
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind {
    name: "minute",
    allowed: "0 to 59, `*`, ranges, lists and steps such as `*/15`",
    lowest: 0,
    highest: 59,
    names: &[],
};
const HOUR: Kind = Kind {
    name: "hour",
    allowed: "0 to 23, `*`, ranges, lists and steps such as `8-18/2`",
    lowest: 0,
    highest: 23,
    names: &[],
};
const DAY: Kind = Kind {
    name: "day of month",
    allowed: "1 to 31, `*`, `?`, ranges, lists and steps",
    lowest: 1,
    highest: 31,
    names: &[],
};
const MONTH: Kind = Kind {
    name: "month",
    allowed: "1 to 12 or jan to dec, `*`, ranges from lower to higher, lists and steps",
    lowest: 1,
    highest: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAY: Kind = Kind {
    name: "day of week",
    allowed: "0 to 6 or sun to sat, `*`, `?`, ranges from lower to higher, lists and steps",
    lowest: 0,
    highest: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Kind {
    fn parse(&self, text: &str) -> Result<Field, CronError> {
        let mut field = Field {
            bits: 0,
            any: false,
        };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let Field { bits, any } = self.item(item).ok_or_else(|| self.refuse(item))?;
            field.bits |= bits;
            field.any |= any;
        }
        if field.bits == 0 {
            return Err(self.refuse(text));
        }
        Ok(field)
    }

    fn refuse(&self, item: &str) -> CronError {
        CronError::Item {
            field: self.name,
            item: crate::document::quoted(item),
            allowed: self.allowed,
        }
    }

    /// `*`, `8`, `8-18`, each with or without `/2`; `8/2` is from 8 to the end. A step above 1 makes `*` a choice of days.
    fn item(&self, item: &str) -> Option<Field> {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => (range, Some(step.parse::<u32>().ok()?)),
        };
        let any = matches!(range, "*" | "?");
        let (low, high) = match range.split_once('-') {
            _ if any => (self.lowest, self.highest),
            Some((low, high)) => (self.value(low)?, self.value(high)?),
            None if step.is_some() => (self.value(range)?, self.highest),
            None => (self.value(range)?, self.value(range)?),
        };
        let step = step.unwrap_or(1);
        if low < self.lowest || high > self.highest || low > high || step == 0 {
            return None;
        }
        let step_by = usize::try_from(step).ok()?;
        let values = (low..=high).step_by(step_by);
        Some(Field {
            bits: values.fold(0, |bits, value| bits | 1 << value),
            any: any && step == 1,
        })
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self
            .names
            .iter()
            .zip(self.lowest..)
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, value)| value).or_else(|| text.parse().ok())
    }
}

#[cfg(test)]
mod tests;
