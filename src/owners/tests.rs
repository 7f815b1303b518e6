use super::*;
use crate::manifest::WorkloadKind;

fn workload(kind: WorkloadKind) -> WorkloadRef {
    WorkloadRef {
        kind,
        name: "worker".to_owned(),
    }
}

fn autoscaler(target: TargetRef) -> Autoscaler {
    Autoscaler {
        name: "its-hpa".to_owned(),
        target,
        scaled_object: None,
        is_labelled_keda: false,
        frozen_within: None,
    }
}

fn object(target: TargetRef) -> ScaledObject {
    ScaledObject {
        name: "its-object".to_owned(),
        target,
        is_paused: false,
        is_deleted: false,
        finalizer: Some(1),
    }
}

fn rollout() -> TargetRef {
    TargetRef::new("argoproj.io/v1alpha1", "Rollout", "worker")
}

fn owner(scaled_object: Option<&str>) -> Conflict {
    Conflict::Autoscaler {
        name: "its-hpa".to_owned(),
        scaled_object: scaled_object.map(str::to_owned),
    }
}

fn left_over() -> Conflict {
    Conflict::Finalizer {
        scaled_object: "its-object".to_owned(),
        index: 1,
    }
}

/// What is found for the Rollout `worker` on its way from 4 to 7.
#[track_caller]
fn check(autoscalers: &[Autoscaler], objects: &[ScaledObject], expected: &[Conflict]) {
    let workload = workload(WorkloadKind::ROLLOUT);
    assert_eq!(conflicts(&workload, (4, 7), autoscalers, objects), expected);
}

#[test]
fn an_autoscaler_owns_by_kind_name_and_group() {
    let cases = [
        (
            WorkloadKind::ROLLOUT,
            "argoproj.io/v1alpha1",
            "Rollout",
            "worker",
            true,
        ),
        (
            WorkloadKind::ROLLOUT,
            "argoproj.io/v1",
            "Rollout",
            "worker",
            true,
        ),
        (
            WorkloadKind::ROLLOUT,
            "argoproj.io",
            "Rollout",
            "worker",
            false,
        ),
        (WorkloadKind::ROLLOUT, "", "Rollout", "worker", false),
        (WorkloadKind::ROLLOUT, "apps/v1", "Rollout", "worker", false),
        (
            WorkloadKind::ROLLOUT,
            "argoproj.io/v1alpha1",
            "rollout",
            "worker",
            false,
        ),
        (
            WorkloadKind::ROLLOUT,
            "argoproj.io/v1alpha1",
            "Rollout",
            "worker-2",
            false,
        ),
        (
            WorkloadKind::ROLLOUT,
            "apps/v1",
            "Deployment",
            "worker",
            false,
        ),
        (
            WorkloadKind::DEPLOYMENT,
            "apps/v1",
            "Deployment",
            "worker",
            true,
        ),
        (
            WorkloadKind::DEPLOYMENT,
            "apps/v1beta2",
            "Deployment",
            "worker",
            true,
        ),
        (
            WorkloadKind::DEPLOYMENT,
            "extensions/v1beta1",
            "Deployment",
            "worker",
            false,
        ),
        (
            WorkloadKind::DEPLOYMENT,
            "apps/v1",
            "StatefulSet",
            "worker",
            false,
        ),
        (
            WorkloadKind::STATEFUL_SET,
            "apps/v1",
            "StatefulSet",
            "worker",
            true,
        ),
    ];
    for (ours, api_version, kind, name, owns) in cases {
        let found = conflicts(
            &workload(ours),
            (4, 7),
            &[autoscaler(TargetRef::new(api_version, kind, name))],
            &[object(TargetRef::new(api_version, kind, name))],
        );
        let expected = if owns {
            vec![owner(None), left_over()]
        } else {
            Vec::new()
        };
        assert_eq!(found, expected, "{api_version} {kind} {name}");
    }
}

#[test]
fn an_autoscaler_of_keda_names_its_object() {
    let owned = Autoscaler {
        scaled_object: Some("its-object".to_owned()),
        ..autoscaler(rollout())
    };
    let labelled = Autoscaler {
        is_labelled_keda: true,
        ..autoscaler(rollout())
    };
    let objects = [object(rollout())];
    check(
        std::slice::from_ref(&owned),
        &[],
        &[owner(Some("its-object"))],
    );
    check(&[owned], &objects, &[owner(Some("its-object"))]);
    check(
        std::slice::from_ref(&labelled),
        &objects,
        &[owner(Some("its-object"))],
    );
    // Left behind without its object, it can only be deleted.
    check(&[labelled], &[], &[owner(None)]);
}

#[test]
fn a_frozen_autoscaler_is_no_owner_within_its_bounds() {
    let frozen = |within| Autoscaler {
        frozen_within: Some(within),
        ..autoscaler(rollout())
    };
    for (within, owns) in [
        (4..=7, false),
        (1..=100, false),
        (5..=7, true),
        (4..=6, true),
    ] {
        let expected = if owns { vec![owner(None)] } else { Vec::new() };
        check(&[frozen(within)], &[], &expected);
    }
    let keda = Autoscaler {
        scaled_object: Some("its-object".to_owned()),
        ..frozen(1..=100)
    };
    check(&[keda], &[], &[owner(Some("its-object"))]);
}

#[test]
fn a_finalizer_is_told_when_nobody_else_would_remove_it() {
    let object = |is_paused, is_deleted, finalizer| ScaledObject {
        is_paused,
        is_deleted,
        finalizer,
        ..object(rollout())
    };
    check(&[], &[object(false, false, Some(1))], &[left_over()]);
    check(&[], &[object(true, true, Some(1))], &[left_over()]);
    // A workload that KEDA has handed over.
    check(&[], &[object(true, false, Some(1))], &[]);
    check(&[], &[object(false, false, None)], &[]);
}

#[test]
fn findings_are_bounded_and_owners_come_first() {
    let autoscalers = vec![autoscaler(rollout()); 20];
    let objects = vec![object(rollout()); 20];
    check(&autoscalers, &objects, &vec![owner(None); MAX_CONFLICTS]);
    let mut expected = vec![owner(None)];
    expected.extend(vec![left_over(); MAX_CONFLICTS - 1]);
    check(&autoscalers[..1], &objects, &expected);
}
