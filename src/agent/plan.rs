//! A registration as its owner worded it, made complete: which checks it has and what they are.

use std::time::Duration;

use crate::model::{Check, CheckDefinition, CheckKind, CheckStatus, Service};

use super::bounds;
use super::spec::CheckSpec;

/// What a registration will change, worked out before anything is written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The service, if this registers one.
    pub(super) service: Option<Planned<Service>>,
    /// The checks that are named.
    pub(super) checks: Vec<Planned<CheckSpec>>,
    /// The checks that are dropped.
    pub(super) dropped: Vec<String>,
}

/// One thing of a plan.
#[derive(Debug)]
pub(super) struct Planned<T> {
    /// The thing, complete.
    pub(super) what: T,
    /// Whether it differs from what is claimed already.
    pub(super) changed: bool,
}

/// Completes a service of `node`: an empty id is its name.
pub(super) fn fill_service(node: &str, mut service: Service) -> Service {
    node.clone_into(&mut service.node);
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    service
}

/// Completes the checks of `service` as Consul does: ids `service:<id>`, numbered from 1 when
/// there are several, and a name.
pub(super) fn fill_checks(service: &Service, specs: Vec<CheckSpec>) -> Vec<CheckSpec> {
    let several = specs.len() > 1;
    let fill = |(at, mut spec): (usize, CheckSpec)| {
        let check = &mut spec.check;
        if check.id.is_empty() {
            let number = if several { format!(":{}", at + 1) } else { String::new() };
            check.id = format!("service:{}{number}", service.id);
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
        check.service_id.clone_from(&service.id);
        belong(check, service);
        spec
    };
    specs.into_iter().enumerate().map(fill).collect()
}

/// Completes a check that is registered on its own: an empty id is its name.
pub(super) fn fill_check(mut spec: CheckSpec) -> CheckSpec {
    if spec.check.id.is_empty() {
        spec.check.id.clone_from(&spec.check.name);
    }
    spec
}

/// Writes what a check shows of its service.
pub(super) fn belong(check: &mut Check, service: &Service) {
    check.node.clone_from(&service.node);
    check.service_name.clone_from(&service.name);
    check.service_tags.clone_from(&service.tags);
}

/// The check as everybody may see it: of what it is run with, only how often and how long.
pub(super) fn shown(spec: &CheckSpec) -> Check {
    let CheckDefinition { interval_ms, timeout_ms, .. } = spec.check.definition;
    let definition = CheckDefinition { interval_ms, timeout_ms, ..CheckDefinition::default() };
    Check { definition, ..spec.check.clone() }
}

/// The check that maintenance mode puts on `service`, or on the node. Source: Consul, observed.
pub(super) fn maintenance_check(service: Option<&str>, reason: String) -> CheckSpec {
    let (name, whom) = match service {
        Some(_) => ("Service Maintenance Mode", "service"),
        None => ("Node Maintenance Mode", "node"),
    };
    let unsaid = || {
        format!(
            "Maintenance mode is enabled for this {whom}, but no reason was provided. \
             This is a default message."
        )
    };
    let check = Check {
        id: maintenance_id(service),
        name: name.to_owned(),
        status: CheckStatus::Critical,
        notes: if reason.is_empty() { unsaid() } else { reason },
        service_id: service.unwrap_or_default().to_owned(),
        kind: CheckKind::Maintenance,
        ..Check::default()
    };
    CheckSpec { check, ..CheckSpec::default() }
}

/// The id of that check.
pub(super) fn maintenance_id(service: Option<&str>) -> String {
    match service {
        Some(id) => format!("_service_maintenance:{id}"),
        None => "_node_maintenance".to_owned(),
    }
}

/// A span of a definition, between `least` and [`bounds::CHECK_SPAN_MAX`].
pub(super) fn span(ms: u64, least: Duration) -> Duration {
    Duration::from_millis(ms).clamp(least, bounds::CHECK_SPAN_MAX)
}

/// How many bytes of output a check keeps where this agent allows `most`.
pub(super) fn output_max(spec: &CheckSpec, most: usize) -> usize {
    match spec.output_max {
        0 => most,
        own => own.min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(specs: &[CheckSpec]) -> Vec<&str> {
        specs.iter().map(|spec| spec.check.id.as_str()).collect()
    }

    #[test]
    fn checks_are_numbered_only_when_there_are_several() {
        let service = fill_service("n1", Service { name: "web".to_owned(), ..Service::default() });
        assert_eq!((service.id.as_str(), service.node.as_str()), ("web", "n1"));
        assert_eq!(ids(&fill_checks(&service, vec![CheckSpec::default()])), ["service:web"]);
        let mut own = CheckSpec::default();
        own.check.id = "own".to_owned();
        let three = fill_checks(&service, vec![CheckSpec::default(), own, CheckSpec::default()]);
        assert_eq!(ids(&three), ["service:web:1", "own", "service:web:3"]);
        assert_eq!(three[0].check.name, "Service 'web' check");
        assert_eq!(three[0].check.service_id, "web");
    }

    #[test]
    fn maintenance_has_a_reason_in_any_case() {
        let node = maintenance_check(None, String::new()).check;
        assert_eq!(
            (node.id.as_str(), node.name.as_str()),
            ("_node_maintenance", "Node Maintenance Mode")
        );
        assert!(node.notes.contains("for this node, but no reason was provided"));
        let service = maintenance_check(Some("web"), "disk".to_owned()).check;
        assert_eq!(service.id, "_service_maintenance:web");
        assert_eq!((service.notes.as_str(), service.service_id.as_str()), ("disk", "web"));
        assert_eq!(service.kind, CheckKind::Maintenance);
    }
}
