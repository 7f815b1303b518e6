//! `advanced.horizontalPodAutoscalerConfig.behavior`: the whole block of the Kubernetes HPA v2.

use crate::document::{Node, quoted};
use crate::fields::{Fields, Problems, integer, items, one_of};
use crate::policy::{
    Amount, DEFAULT_SCALE_IN_WINDOW_SECONDS, DEFAULT_TOLERANCE_BILLIONTHS, RatePolicy,
    ScalingRules, SelectPolicy,
};
use crate::thousandths;

/// Both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Behavior {
    pub(super) scale_out: ScalingRules,
    pub(super) scale_in: ScalingRules,
}

impl Behavior {
    /// Without a block: scale-out at once, scale-in after the window.
    pub(super) const NONE: Self = Self {
        scale_out: ScalingRules::SCALE_OUT,
        scale_in: ScalingRules::SCALE_IN,
    };

    /// Reads a block. As in Kubernetes any block, also an empty one, brings the default rules for what it leaves out.
    pub(super) fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let percent = |percent| RatePolicy {
            amount: Amount::Percent(percent),
            period_seconds: 15,
        };
        let out = ScalingRules {
            window_seconds: 0,
            select: Some(SelectPolicy::Max),
            policies: vec![
                RatePolicy {
                    amount: Amount::Pods(4),
                    period_seconds: 15,
                },
                percent(100),
            ],
            tolerance_billionths: DEFAULT_TOLERANCE_BILLIONTHS,
        };
        let scale_in = ScalingRules {
            window_seconds: DEFAULT_SCALE_IN_WINDOW_SECONDS,
            select: Some(SelectPolicy::Max),
            policies: vec![percent(100)],
            tolerance_billionths: DEFAULT_TOLERANCE_BILLIONTHS,
        };
        let scale_out = read_rules(
            fields.take("scaleUp"),
            &fields.path("scaleUp"),
            out,
            problems,
        );
        let scale_in = read_rules(
            fields.take("scaleDown"),
            &fields.path("scaleDown"),
            scale_in,
            problems,
        );
        fields.finish(problems);
        Some(Self {
            scale_out: scale_out?,
            scale_in: scale_in?,
        })
    }
}

/// Fills in what is given; the limits are those of the HPA's validation.
fn read_rules(
    node: Option<&Node>,
    path: &str,
    defaults: ScalingRules,
    problems: &mut Problems,
) -> Option<ScalingRules> {
    let Some(node) = node else {
        return Some(defaults);
    };
    let mut fields = Fields::of(node, path, problems)?;
    let window = match fields.take("stabilizationWindowSeconds") {
        Some(node) => seconds(
            node,
            &fields.path("stabilizationWindowSeconds"),
            0..=3600,
            problems,
        ),
        None => Some(defaults.window_seconds),
    };
    let select = match fields.take("selectPolicy") {
        Some(node) => {
            let choices = [
                ("Max", SelectPolicy::Max),
                ("Min", SelectPolicy::Min),
                ("Disabled", SelectPolicy::Disabled),
            ];
            one_of(node, &fields.path("selectPolicy"), &choices, problems)
        }
        None => defaults.select,
    };
    let policies = match fields.take("policies") {
        Some(node) => read_policies(node, &fields.path("policies"), problems),
        None => Some(defaults.policies),
    };
    let tolerance = match fields.take("tolerance") {
        Some(node) => tolerance(node, &fields.path("tolerance"), problems),
        None => Some(defaults.tolerance_billionths),
    };
    fields.finish(problems);
    Some(ScalingRules {
        window_seconds: window?,
        select: Some(select?),
        policies: policies?,
        tolerance_billionths: tolerance?,
    })
}

fn read_policies(node: &Node, path: &str, problems: &mut Problems) -> Option<Vec<RatePolicy>> {
    let list = items(node, path, problems)?;
    if list.is_empty() {
        problems.error(
            node.position,
            path,
            "found an empty list, allowed: at least one policy, or none given for the defaults",
        );
        return None;
    }
    let policies: Vec<Option<RatePolicy>> = list
        .into_iter()
        .map(|(path, item)| read_policy(item, &path, problems))
        .collect();
    policies.into_iter().collect()
}

fn read_policy(node: &Node, path: &str, problems: &mut Problems) -> Option<RatePolicy> {
    let mut fields = Fields::of(node, path, problems)?;
    let kind = fields.require("type", "Pods or Percent", problems);
    let kind = kind.and_then(|node| {
        one_of(
            node,
            &fields.path("type"),
            &[("Pods", false), ("Percent", true)],
            problems,
        )
    });
    let value = fields.require("value", "a whole number above 0", problems);
    let value = value.and_then(|node| {
        seconds(
            node,
            &fields.path("value"),
            1..=i64::from(i32::MAX),
            problems,
        )
    });
    let period = fields.require("periodSeconds", "a number of seconds", problems);
    let period =
        period.and_then(|node| seconds(node, &fields.path("periodSeconds"), 1..=1800, problems));
    fields.finish(problems);
    let (is_percent, value) = (kind?, value?);
    let amount = if is_percent {
        Amount::Percent(value)
    } else {
        Amount::Pods(value)
    };
    Some(RatePolicy {
        amount,
        period_seconds: period?,
    })
}

fn seconds(
    node: &Node,
    path: &str,
    range: std::ops::RangeInclusive<i64>,
    problems: &mut Problems,
) -> Option<u32> {
    integer(node, path, range, problems).and_then(|found| u32::try_from(found).ok())
}

/// A Kubernetes quantity that is not negative, such as `0.05` or `50m`, in billionths.
fn tolerance(node: &Node, path: &str, problems: &mut Problems) -> Option<u64> {
    let text = node.as_text().map(str::trim).unwrap_or_default();
    let found = quantity_billionths(text);
    if found.is_none() {
        problems.error(
            node.position,
            path,
            format!(
                "found {}, allowed: a quantity from 0 on, such as 0.05 or 50m",
                quoted(text)
            ),
        );
    }
    found
}

/// A number as Kubernetes writes quantities, with an exponent or one of its decimal suffixes.
/// Finer than a billionth is rounded up, as a quantity is: never less tolerant than what was asked for.
fn quantity_billionths(text: &str) -> Option<u64> {
    const SUFFIXES: [(char, u32); 6] = [
        ('n', 0),
        ('u', 3),
        ('m', 6),
        ('k', 12),
        ('M', 15),
        ('G', 18),
    ];
    let suffix = { SUFFIXES.iter() }.find(|(suffix, _)| text.ends_with(*suffix));
    let (number, places) = match suffix {
        Some((suffix, places)) => (text.strip_suffix(*suffix)?, *places),
        None => (text, 9),
    };
    if number.starts_with('-') {
        return None;
    }
    let (billionths, is_exact) = thousandths::scaled(number, places)?;
    Some(u64::try_from(billionths).ok()? + u64::from(!is_exact))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse_yaml;

    fn read(text: &str) -> Result<Behavior, Vec<String>> {
        let root = parse_yaml(text.as_bytes()).remove(0).root.unwrap();
        let mut problems = Problems::default();
        let behavior = Behavior::read(&root, "behavior", &mut problems);
        let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        if found.is_empty() {
            Ok(behavior.unwrap())
        } else {
            Err(found)
        }
    }

    #[test]
    fn one_direction_fills_in_the_defaults_of_both() {
        let behavior =
            read("scaleDown: {policies: [{type: Pods, value: 2, periodSeconds: 60}]}").unwrap();
        assert_eq!(
            (behavior.scale_in.window_seconds, behavior.scale_in.select),
            (300, Some(SelectPolicy::Max))
        );
        assert_eq!(
            behavior.scale_in.policies,
            [RatePolicy {
                amount: Amount::Pods(2),
                period_seconds: 60
            }]
        );
        assert_eq!(
            (
                behavior.scale_out.window_seconds,
                behavior.scale_out.policies.len()
            ),
            (0, 2)
        );
        let empty = read("{}").unwrap();
        assert_eq!(empty.scale_out, behavior.scale_out);
        assert_eq!(empty.scale_in.policies.len(), 1);
    }

    #[test]
    fn every_field_is_read() {
        let behavior = read(
            "scaleUp: {stabilizationWindowSeconds: 3600, selectPolicy: Min, tolerance: 50m, policies: [{type: Percent, value: 1000, periodSeconds: 1800}]}\n\
             scaleDown: {selectPolicy: Disabled, tolerance: '0.0333333333'}",
        )
        .unwrap();
        let expected = ScalingRules {
            window_seconds: 3600,
            select: Some(SelectPolicy::Min),
            policies: vec![RatePolicy {
                amount: Amount::Percent(1000),
                period_seconds: 1800,
            }],
            tolerance_billionths: 50_000_000,
        };
        assert_eq!(behavior.scale_out, expected);
        assert_eq!(
            (
                behavior.scale_in.select,
                behavior.scale_in.tolerance_billionths
            ),
            (Some(SelectPolicy::Disabled), 33_333_334)
        );
    }

    #[test]
    fn what_the_hpa_refuses_is_refused() {
        let found = read(
            "scaleUp: {stabilizationWindowSeconds: 3601, selectPolicy: max, tolerance: -0.1, policies: [], extra: 1}\n\
             scaleDown: {policies: [{type: Pod, value: 0, periodSeconds: 1801}, {}]}\nscaleIn: {}",
        )
        .unwrap_err();
        for wanted in [
            "behavior.scaleUp.stabilizationWindowSeconds: found `3601`, allowed: a whole number from 0 to 3600",
            "behavior.scaleUp.selectPolicy: found `max`, did you mean `Max`?",
            "behavior.scaleUp.tolerance: found `-0.1`",
            "behavior.scaleUp.policies: found an empty list",
            "behavior.scaleUp.extra: unknown field",
            "behavior.scaleDown.policies[0].type: found `Pod`, did you mean `Pods`?",
            "behavior.scaleDown.policies[0].value: found `0`",
            "behavior.scaleDown.policies[0].periodSeconds: found `1801`",
            "behavior.scaleDown.policies[1].type: missing",
            "behavior.scaleIn: unknown field",
        ] {
            assert!(
                found.iter().any(|line| line.starts_with(wanted)),
                "{wanted} in {found:#?}"
            );
        }
    }

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.05", Some(50_000_000)),
            ("50m", Some(50_000_000)),
            ("1", Some(1_000_000_000)),
            (".5", Some(500_000_000)),
            ("1.5m", Some(1_500_000)),
            ("7u", Some(7_000)),
            ("3n", Some(3)),
            ("0.1n", Some(1)),
            ("999999999", Some(999_999_999_000_000_000)),
            ("", None),
            (".", None),
            ("5e-2", Some(50_000_000)),
            ("1E1", Some(10_000_000_000)),
            ("1k", Some(1_000_000_000_000)),
            ("1M", Some(1_000_000_000_000_000)),
            ("+0.1", Some(100_000_000)),
            ("9999999999", None),
            ("1G", Some(1_000_000_000_000_000_000)),
            ("10G", None),
            ("-1", None),
            ("-0.0000000001", None),
            ("1Ki", None),
            ("1 m", None),
            ("1mm", None),
            ("m", None),
            ("1.2.3", None),
        ] {
            assert_eq!(quantity_billionths(text), expected, "{text}");
        }
    }
}
