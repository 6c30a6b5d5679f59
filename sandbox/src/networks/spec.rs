//! What a network is asked to be, checked, and as the engine takes it. Nothing here asks the engine.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{Ipam as EngineIpam, IpamConfig, Network, NetworkCreateRequest};

use super::{Ipam, NetworkSpec};
use crate::SandboxError;

/// The network of runs that ask for none.
pub(crate) const ISOLATED: &str = "light-runner-isolated";

const ICC: &str = "com.docker.network.bridge.enable_icc";
const KIND: &str = "light-runner.kind";
const BRIDGE: &str = "bridge";
const LONGEST: usize = 100;
/// Networks, and words for networks, of the engine itself.
const RESERVED: [&str; 6] = ["none", "host", "bridge", "default", "nat", "ingress"];

/// The isolated network.
pub(super) fn isolated() -> NetworkCreateRequest {
    bridge(ISOLATED, false, HashMap::new(), None)
}

/// A network that a caller asks for.
pub(super) fn request(spec: &NetworkSpec) -> Result<NetworkCreateRequest, SandboxError> {
    name(&spec.name)?;
    if spec.driver.as_deref().is_some_and(|driver| driver != BRIDGE) {
        return Err(SandboxError::invalid("driver", BRIDGE));
    }
    let ipam = spec.ipam.as_ref().map(ipam).transpose()?;
    let labels = spec.labels.clone().into_iter().collect();
    Ok(bridge(&spec.name, spec.icc_enabled, labels, ipam))
}

/// A name that a network can be given: it may stand in an address as it is.
pub(super) fn name(name: &str) -> Result<(), SandboxError> {
    reference(name)?;
    if is_reserved(name) {
        return Err(SandboxError::invalid(
            "name",
            format!("a name that is not the engine's own, as {name} is"),
        ));
    }
    Ok(())
}

/// A name or an id, also of the engine's own networks.
pub(super) fn reference(name: &str) -> Result<(), SandboxError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST && name.bytes().all(fits) {
        return Ok(());
    }
    Err(SandboxError::invalid(
        "name",
        format!("1 to {LONGEST} letters, digits, and _ . - behind the first, not {name:?}"),
    ))
}

/// What the names of networks begin with that are to be removed. An empty one would be all of them.
pub(super) fn prefix(prefix: &str) -> Result<(), SandboxError> {
    reference(prefix).map_err(|_| SandboxError::invalid("prefix", "the beginning of a network's name"))
}

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether a network keeps its containers from reaching one another.
pub(super) fn separates(network: &Network) -> bool {
    let is_bridge = network.driver.as_deref() == Some(BRIDGE);
    let option = network.options.as_ref().and_then(|options| options.get(ICC));
    is_bridge && option.is_some_and(|value| value == "false")
}

/// Whether a network was made here.
pub(super) fn is_own(network: &Network) -> bool {
    let kind = network.labels.as_ref().and_then(|labels| labels.get(KIND));
    kind.is_some_and(|kind| kind == "network")
}

/// The engine's form of addresses.
pub(super) fn ipam(ipam: &Ipam) -> Result<EngineIpam, SandboxError> {
    cidr("ipam.subnet", ipam.subnet.as_deref())?;
    cidr("ipam.ipRange", ipam.ip_range.as_deref())?;
    if ipam.gateway.as_deref().is_some_and(|gateway| gateway.parse::<IpAddr>().is_err()) {
        return Err(SandboxError::invalid("ipam.gateway", "an address"));
    }
    let config = IpamConfig {
        subnet: ipam.subnet.clone(),
        gateway: ipam.gateway.clone(),
        ip_range: ipam.ip_range.clone(),
        auxiliary_addresses: None,
    };
    Ok(EngineIpam { config: Some(vec![config]), ..EngineIpam::default() })
}

fn bridge(
    name: &str,
    icc: bool,
    mut labels: HashMap<String, String>,
    ipam: Option<EngineIpam>,
) -> NetworkCreateRequest {
    labels.insert(KIND.to_owned(), "network".to_owned());
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some(BRIDGE.to_owned()),
        options: Some(HashMap::from([(ICC.to_owned(), icc.to_string())])),
        labels: Some(labels),
        ipam,
        ..NetworkCreateRequest::default()
    }
}

fn cidr(field: &str, text: Option<&str>) -> Result<(), SandboxError> {
    let is_cidr = |text: &str| {
        text.split_once('/').is_some_and(|(address, length)| {
            let longest = match address.parse() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            length.parse::<u8>().is_ok_and(|length| length <= longest)
        })
    };
    match text {
        Some(text) if !is_cidr(text) => Err(SandboxError::invalid(field, "addresses as 10.0.0.0/24")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SandboxErrorCode;

    fn spec(name: &str) -> NetworkSpec {
        NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() }
    }

    #[test]
    fn a_network_separates_its_containers_unless_it_is_asked_not_to() {
        let icc = |icc_enabled| {
            let request = request(&NetworkSpec { icc_enabled, ..spec("a") }).unwrap();
            request.options.unwrap().remove(ICC).unwrap()
        };
        assert_eq!((icc(false).as_str(), icc(true).as_str()), ("false", "true"));
        assert_eq!(isolated().options.unwrap()[ICC], "false");
    }

    #[test]
    fn only_a_bridge_that_says_so_separates() {
        let network = |driver: &str, icc: Option<&str>| Network {
            driver: Some(driver.to_owned()),
            options: icc.map(|icc| HashMap::from([(ICC.to_owned(), icc.to_owned())])),
            ..Network::default()
        };
        assert!(separates(&network("bridge", Some("false"))));
        assert!(!separates(&network("bridge", Some("true"))));
        assert!(!separates(&network("bridge", None)));
        assert!(!separates(&network("overlay", Some("false"))));
    }

    #[test]
    fn addresses_are_the_engines_block_and_none_is_no_block() {
        assert_eq!(request(&spec("a")).unwrap().ipam, None);
        let subnet = Ipam { subnet: Some("10.9.0.0/24".to_owned()), ..Ipam::default() };
        let config = ipam(&subnet).unwrap().config.unwrap();
        assert_eq!(config, [IpamConfig { subnet: subnet.subnet.clone(), ..IpamConfig::default() }]);
        let all = Ipam {
            gateway: Some("10.9.0.1".to_owned()),
            ip_range: Some("10.9.0.128/25".to_owned()),
            ..subnet
        };
        let config = ipam(&all).unwrap().config.unwrap();
        assert_eq!(config[0].gateway, all.gateway);
        assert_eq!(config[0].ip_range, all.ip_range);
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1", ""] {
            let subnet = Ipam { subnet: Some(wrong.to_owned()), ..Ipam::default() };
            assert_eq!(ipam(&subnet).unwrap_err().field(), Some("ipam.subnet"), "{wrong}");
        }
        let gateway = Ipam { gateway: Some("10.0.0.0/24".to_owned()), ..Ipam::default() };
        assert_eq!(ipam(&gateway).unwrap_err().field(), Some("ipam.gateway"));
        assert!(cidr("ipam.subnet", Some("fd00::/64")).is_ok());
    }

    #[test]
    fn names_are_those_that_can_stand_in_an_address() {
        for good in ["a", "light-runner-isolated", "A_1.b-c", &"x".repeat(100)] {
            name(good).unwrap();
        }
        for bad in
            ["", "-a", ".a", "a/b", "a?b", "a b", "..", "ü", &"x".repeat(101), "host", "none", "bridge"]
        {
            assert_eq!(name(bad).unwrap_err().code(), SandboxErrorCode::InvalidRequest, "{bad}");
        }
        assert!(prefix("").is_err());
    }

    #[test]
    fn another_driver_is_refused_and_our_label_is_ours() {
        let overlay = NetworkSpec { driver: Some("overlay".to_owned()), ..spec("a") };
        assert_eq!(request(&overlay).unwrap_err().field(), Some("driver"));
        let mut labelled = spec("a");
        labelled.labels.extend([("team".to_owned(), "x".to_owned()), (KIND.to_owned(), "cache".to_owned())]);
        let labels = request(&labelled).unwrap().labels.unwrap();
        assert_eq!((labels["team"].as_str(), labels[KIND].as_str()), ("x", "network"));
    }
}
