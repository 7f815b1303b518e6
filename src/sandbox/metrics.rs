//! The metrics: data points by time, as their publishers put them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::fault::{Fault, FaultPlan};
use super::lock;

/// A handle on every metric; cloning it shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    series: BTreeMap<Name, Vec<Point>>,
    fault: FaultPlan,
    /// Told of every result instead of `Complete`, with no values.
    status: Option<String>,
    /// How many answers are still to be empty pages.
    empty_pages: u32,
    asked: Vec<Asked>,
}

/// What a series is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Metric {
        namespace: String,
        name: String,
        /// Their order does not matter.
        dimensions: BTreeMap<String, String>,
    },
    Expression(String),
}

/// A value, at one time or at all times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: Option<Timestamp>,
    pub(super) value: f64,
}

/// What a request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `StartTime`, inclusive.
    pub from: Timestamp,
    /// `EndTime`, exclusive.
    pub to: Timestamp,
    /// `Period`, in seconds.
    pub period: i64,
    /// `Stat`; `None` for an expression.
    pub statistic: Option<String>,
    /// `Unit`, if given.
    pub unit: Option<String>,
}

impl Metrics {
    /// Publishes one data point of a metric.
    pub fn put(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        at: Timestamp,
        value: f64,
    ) {
        let point = Point {
            at: Some(at),
            value,
        };
        self.add(metric(namespace, name, dimensions), point);
    }

    /// Has a metric say the same in every period, whatever was put.
    pub fn hold(&self, namespace: &str, name: &str, dimensions: &[(&str, &str)], value: f64) {
        let name = metric(namespace, name, dimensions);
        lock(&self.state).series.remove(&name);
        self.add(name, Point { at: None, value });
    }

    /// Has an expression come to the same in every period.
    pub fn hold_expression(&self, expression: &str, value: f64) {
        let name = Name::Expression(expression.to_owned());
        lock(&self.state).series.remove(&name);
        self.add(name, Point { at: None, value });
    }

    /// Forgets every data point.
    pub fn clear(&self) {
        lock(&self.state).series.clear();
    }

    /// Answers every request with `fault`, until told otherwise.
    pub fn fail(&self, fault: Option<Fault>) {
        lock(&self.state).fault = fault.map_or_else(FaultPlan::default, FaultPlan::always);
    }

    /// Answers the next `times` requests with `fault`.
    pub fn fail_times(&self, fault: Fault, times: u32) {
        lock(&self.state).fault = FaultPlan::times(fault, times);
    }

    /// Gives every result this `StatusCode` and no values; `None` for `Complete` with its values.
    pub fn set_status(&self, status: Option<&str>) {
        lock(&self.state).status = status.map(str::to_owned);
    }

    /// Begins the next answers with this many pages without values.
    pub fn begin_with_empty_pages(&self, pages: u32) {
        lock(&self.state).empty_pages = pages;
    }

    /// What was asked for so far, in its order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    fn add(&self, name: Name, point: Point) {
        lock(&self.state)
            .series
            .entry(name)
            .or_default()
            .push(point);
    }

    pub(super) fn next_fault(&self) -> Option<Fault> {
        lock(&self.state).fault.next()
    }

    pub(super) fn status(&self) -> Option<String> {
        lock(&self.state).status.clone()
    }

    /// Whether this answer is to be an empty page with another after it.
    pub(super) fn is_empty_page(&self) -> bool {
        let mut state = lock(&self.state);
        let left = state.empty_pages.checked_sub(1);
        state.empty_pages = left.unwrap_or(0);
        left.is_some()
    }

    pub(super) fn note(&self, asked: Asked) {
        lock(&self.state).asked.push(asked);
    }

    pub(super) fn points(&self, name: &Name) -> Vec<Point> {
        lock(&self.state)
            .series
            .get(name)
            .cloned()
            .unwrap_or_default()
    }
}

fn metric(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Name {
    let dimensions = dimensions
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Name::Metric {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: dimensions.collect(),
    }
}
