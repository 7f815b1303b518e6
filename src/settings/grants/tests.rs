use proptest::prelude::*;

use super::*;

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn namespace(cluster: &str, name: &str) -> Namespace {
    Namespace {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
    }
}

fn roles(list: &str) -> (Grants, Wrong) {
    grants(list, "the ARN of an IAM role", crate::manifest::is_role_arn)
}

#[test]
fn what_is_bound_is_of_one_namespace_of_one_cluster() {
    let (other, hub) = (format!("{ROLE}-2"), ROLE.replace("reader", "hub=a"));
    let list = format!("{hub}, prod/shop={ROLE}, prod/shop = {other},east/shop={other},");
    let (roles, wrong) = roles(&list);
    assert_eq!(wrong, [""; 0]);
    let allow = |cluster, name, role: &str| {
        roles.allow(&namespace(cluster, name), |granted| granted == role)
    };
    for (cluster, name, expected) in [
        ("prod", "shop", [true, true, true]),
        ("east", "shop", [false, true, true]),
        ("prod", "shop-2", [false, false, true]),
        ("prod", "sho", [false, false, true]),
        ("prod-2", "shop", [false, false, true]),
        ("Prod", "shop", [false, false, true]),
        ("", "prod/shop", [false, false, true]),
    ] {
        let found = [ROLE, &other, &hub].map(|role| allow(cluster, name, role));
        assert_eq!(found, expected, "{cluster}/{name}");
    }
    // Rendered and read again it is the same.
    let text = roles.to_string();
    assert_eq!(super::tests::roles(&text), (roles, Vec::new()));
    assert!(!text.contains(' '), "{text}");
}

#[test]
fn mistakes_in_a_list_are_told_with_their_cure() {
    for (list, wanted) in [
        ("reader", "found `reader`, allowed: the ARN of an IAM role"),
        (
            "prod/shop=reader",
            "found `reader`, allowed: the ARN of an IAM role",
        ),
        (
            "prod/shop",
            "found `prod/shop`, allowed: the ARN of an IAM role",
        ),
        (
            "prod/shop=",
            "found `prod/shop=`, which grants nothing, allowed: ",
        ),
        ("prod/shop= ", "which grants nothing"),
        (
            "shop=ROLE",
            "found `shop` before the `=`, allowed: CLUSTER/NAMESPACE",
        ),
        ("*/shop=ROLE", "found `*/shop` before the `=`"),
        ("prod/*=ROLE", "found `prod/*` before the `=`"),
        ("prod/shop*=ROLE", "found `prod/shop*` before the `=`"),
        ("prod/shop/x=ROLE", "found `prod/shop/x` before the `=`"),
        ("=ROLE", "before the `=`"),
        ("ROLE,ROLE", "twice, allowed: once"),
        ("prod/shop=ROLE,prod/shop=ROLE", "twice, allowed: once"),
        ("ROLE,prod/shop=ROLE", "which everybody has"),
        // Whom the second one is for is not ours to guess.
        (
            "prod/shop=ROLE,ROLE-2",
            "where it would be everybody's, allowed: before the items of namespaces",
        ),
    ] {
        let (_, wrong) = roles(&list.replace("ROLE", ROLE));
        assert!(
            wrong.len() == 1 && wrong[0].contains(wanted),
            "{list}: {wrong:?}"
        );
    }
}

#[test]
fn queues_are_granted_by_arn() {
    let list =
        format!("{QUEUE}all,prod/shop={QUEUE}shop-*,prod/shop={QUEUE}a.fifo,prod/ops={QUEUE}*");
    let (queues, wrong) = queues(&list);
    assert_eq!(wrong, [""; 0]);
    let queues = queues.unwrap();
    assert_eq!(queues.to_string(), list);
    let allow = |name: &str, region: &str, account: &str, queue: &str| {
        let namespace = namespace("prod", name);
        queues.allow(&namespace, |item| is_queue(item, region, account, queue))
    };
    let here = |name: &str, queue: &str| allow(name, "eu-west-1", "123456789012", queue);
    for (name, queue, expected) in [
        ("shop", "all", true),
        ("shop-2", "all", true),
        ("shop", "all-2", false),
        ("shop", "shop-orders", true),
        ("shop", "shop-orders.fifo", true),
        ("shop", "shop", false),
        ("shop", "Shop-orders", false),
        ("shop-2", "shop-orders", false),
        ("shop", "a.fifo", true),
        ("shop", "a", false),
        ("ops", "billing", true),
        ("", "billing", false),
    ] {
        assert_eq!(here(name, queue), expected, "{name} {queue}");
    }
    for (region, account) in [
        ("eu-west-2", "123456789012"),
        ("eu-west-1", "123456789013"),
        ("eu-west-1", "1234567890123"),
        ("eu-west-1", "12345678901"),
        ("eu-west-10", "123456789012"),
        ("", ""),
    ] {
        assert!(
            !allow("shop", region, account, "shop-orders"),
            "{region} {account}"
        );
        assert!(
            !allow("ops", region, account, "billing"),
            "{region} {account}"
        );
    }
}

#[test]
fn a_list_of_queues_is_closed_by_no_mistake() {
    assert_eq!(queues(""), (None, Vec::new()));
    assert_eq!(queues("none"), (Some(Grants::default()), Vec::new()));
    let none = Tenants {
        queues: queues("none").0,
        ..Tenants::default()
    };
    assert_eq!(
        (
            none.queues_shown().as_str(),
            Tenants::default().queues_shown().as_str()
        ),
        ("none", "")
    );
    let here = "arn:aws:sqs:eu-west-1:123456789012";
    for list in [
        ",".to_owned(),
        "none,none".to_owned(),
        "*".to_owned(),
        "prod/shop=*".to_owned(),
        "prod/shop=".to_owned(),
        format!("{here}:shop-*-x"),
        format!("{here}:*shop"),
        format!("{here}:shop**"),
        format!("{here}:"),
        format!("{here}:shop.x*"),
        format!("{here}:shop:x"),
        here.to_owned(),
        "arn:aws:sqs:*:123456789012:shop".to_owned(),
        "arn:aws:sqs:eu-west-1:*:shop".to_owned(),
        "arn:aws:sqs:eu-west-1:12345678901*".to_owned(),
        "arn:aws:sns:eu-west-1:123456789012:shop".to_owned(),
        "https://sqs.eu-west-1.amazonaws.com/123456789012/shop".to_owned(),
    ] {
        let (queues, wrong) = queues(&list);
        assert!(
            wrong.iter().any(|wrong| wrong.contains("allowed: ")),
            "{list} {wrong:?}"
        );
        assert_ne!(queues, None, "{list}");
    }
}

#[test]
fn expressions_are_allowed_by_namespace() {
    let allow = |list: &str, name: &str| {
        let (expressions, wrong) = expressions(list);
        assert_eq!((wrong.len(), expressions.to_string().as_str()), (0, list));
        expressions.allow(&namespace("prod", name))
    };
    for (list, name, expected) in [
        ("", "shop", false),
        ("prod/shop", "shop", true),
        ("prod/shop", "shop-2", false),
        ("east/shop,prod/ops", "shop", false),
        ("everybody", "shop", true),
    ] {
        assert_eq!(allow(list, name), expected, "{list} {name}");
    }
    for list in ["shop", "everybody,prod/shop", "*", "prod/*", "allow"] {
        let (found, wrong) = expressions(list);
        assert_eq!(wrong.len(), 1, "{list}");
        assert!(!found.allow(&namespace("prod", "ops")), "{list}");
    }
    assert_eq!(expressions("prod/shop,prod/shop").1.len(), 1);
}

proptest! {
    /// No text ends the start, and what was read without a mistake says the same when it is written again.
    #[test]
    fn lists_are_read_as_they_are_written(
        list in prop::collection::vec("(prod/|east/)?(shop|s-2|\\*|)(=| = )?(arn:aws:sqs:eu-west-1:123456789012:[a-z.*]{0,3}|none|\\PC{0,4})", 0..4),
    ) {
        let list = list.join(",");
        let (found, wrong) = queues(list.trim());
        if let (Some(found), []) = (&found, &wrong[..]) {
            let tenants = Tenants { queues: Some(found.clone()), ..Tenants::default() };
            prop_assert_eq!(queues(&tenants.queues_shown()), (Some(found.clone()), Vec::new()));
            // A namespace has nothing that the list does not name.
            let granted = found.allow(&namespace("west", "shop"), |_| true);
            prop_assert_eq!(granted, found.namespaces().count() < found.count());
        }
        let (found, wrong) = expressions(&list);
        if wrong.is_empty() {
            prop_assert_eq!(expressions(&found.to_string()), (found, Vec::new()));
        }
    }
}
