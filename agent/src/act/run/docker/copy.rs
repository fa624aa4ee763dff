//! How a copy of a container is made: from what Docker says of the one, what it is told of the other. Pure.
//!
//! As in the Engine API, `GET /containers/{id}/json` and `POST /containers/create`. Everything is taken over but what can be
//! one container's alone: the name that Docker made up for it as a host, addresses, and what a tool that counts its own containers
//! has written on it.

use serde_json::{json, Map, Value};

use crate::replicas::{NUMBER, REPLICA_OF};

/// Labels by which Docker Compose knows its containers; a copy that had them would be one too many for it.
const COMPOSE: &str = "com.docker.compose.";
/// How much of its id Docker gives a container as host name and alias.
const SHORT_ID: usize = 12;

/// What Docker is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Copy {
    /// What it is created by.
    pub(super) body: Value,
    /// Networks beside the one it is created in, by id, each with how it is connected.
    pub(super) networks: Vec<(String, Value)>,
}

/// A copy of the container of this name, of which Docker says this.
pub(super) fn copy(name: &str, known: &Value, number: u32) -> Result<Copy, String> {
    let missing = || format!("Docker does not say how {name} was made");
    let mut body = known.get("Config").and_then(Value::as_object).cloned().ok_or_else(missing)?;
    let mut host = known.get("HostConfig").and_then(Value::as_object).cloned().ok_or_else(missing)?;
    let own_id = text(known.get("Id"));
    let short = own_id.get(..SHORT_ID).unwrap_or(own_id);
    let mode = text(host.get("NetworkMode")).to_owned();
    let shares_network = mode.starts_with("container:");
    let shares_name = mode == "host" || shares_network || text(host.get("UTSMode")) == "host";
    if shares_name || text(body.get("Hostname")) == short {
        body.remove("Hostname");
    }
    if shares_network {
        body.remove("ExposedPorts");
    }
    body.remove("MacAddress");
    host.remove("ContainerIDFile");
    // The very image that it runs on, whatever its name stands for by now.
    if let Some(image) = known.get("Image").filter(|image| !text(Some(image)).is_empty()) {
        body.insert("Image".into(), image.clone());
    }
    let mut labels = body.get("Labels").and_then(Value::as_object).cloned().unwrap_or_default();
    labels.retain(|label, _| !label.starts_with(COMPOSE));
    labels.insert(REPLICA_OF.into(), name.into());
    labels.insert(NUMBER.into(), number.to_string().into());
    body.insert("Labels".into(), labels.into());
    body.insert("HostConfig".into(), host.into());
    let mut networks = Vec::new();
    let connected = known.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    for (network, endpoint) in connected.into_iter().flatten() {
        let id = text(endpoint.get("NetworkID"));
        if matches!(network.as_str(), "host" | "none") || shares_network {
            continue;
        }
        let own = endpoint_of_copy(endpoint, name, short);
        if *network == mode || id == mode {
            body.insert("NetworkingConfig".into(), json!({ "EndpointsConfig": { network: own } }));
        } else if !(network == "bridge" && matches!(mode.as_str(), "default" | "bridge")) {
            networks.push((if id.is_empty() { network.clone() } else { id.to_owned() }, own));
        }
    }
    if mode == "bridge" {
        // Docker's own bridge knows no aliases.
        body.remove("NetworkingConfig");
    }
    Ok(Copy { body: body.into(), networks })
}

/// How a copy is connected where the other one is: under the same aliases, with no address of its own.
fn endpoint_of_copy(endpoint: &Value, name: &str, short: &str) -> Value {
    let mut own = Map::new();
    for key in ["Links", "DriverOpts"] {
        own.insert(key.into(), endpoint.get(key).cloned().unwrap_or_default());
    }
    let aliases = endpoint.get("Aliases").and_then(Value::as_array).into_iter().flatten();
    let shared: Vec<Value> = aliases
        .filter(|alias| !matches!(text(Some(alias)), said if said == name || said == short))
        .cloned()
        .collect();
    own.insert("Aliases".into(), shared.into());
    own.into()
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(mode: &str) -> Value {
        let aliases = json!(["web", "shop-web-1", "0123456789ab"]);
        json!({
            "Id": "0123456789abcdef",
            "Name": "/shop-web-1",
            "Image": "sha256:77",
            "Config": {
                "Hostname": "0123456789ab", "MacAddress": "02:42:ac:11:00:02", "Env": ["A=1"], "Image": "web:latest",
                "ExposedPorts": { "80/tcp": {} },
                "Labels": { "com.docker.compose.service": "web", "team": "shop" },
            },
            "HostConfig": { "NetworkMode": mode, "Memory": 1000, "ContainerIDFile": "/run/id" },
            "NetworkSettings": { "Networks": {
                "shop": { "NetworkID": "n1", "Aliases": aliases, "IPAMConfig": { "IPv4Address": "10.0.0.2" } },
                "logs": { "NetworkID": "n2", "Aliases": null, "IPAddress": "10.1.0.2" },
            } },
        })
    }

    #[test]
    fn all_is_taken_over_but_what_is_one_containers_own() {
        let Copy { body, networks } = copy("shop-web-1", &known("shop"), 2).unwrap();
        assert_eq!((&body["Env"], &body["Image"]), (&json!(["A=1"]), &json!("sha256:77")));
        assert_eq!(body["HostConfig"], json!({ "NetworkMode": "shop", "Memory": 1000 }));
        assert_eq!(body.get("Hostname"), None);
        assert_eq!(body.get("MacAddress"), None);
        let labels = json!({ "team": "shop", "fettle.replica_of": "shop-web-1", "fettle.replica": "2" });
        assert_eq!(body["Labels"], labels);
        let endpoint = |aliases| json!({ "Links": null, "DriverOpts": null, "Aliases": aliases });
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"], json!({ "shop": endpoint(json!(["web"])) }));
        assert_eq!(networks, [("n2".to_owned(), endpoint(json!([])))]);
    }

    #[test]
    fn a_name_that_was_chosen_stays_unless_the_network_is_shared() {
        let named = |mode: &str| {
            let mut known = known(mode);
            known["Config"]["Hostname"] = json!("front");
            copy("shop-web-1", &known, 2).unwrap().body
        };
        assert_eq!(named("shop")["Hostname"], json!("front"));
        assert_eq!(named("host").get("Hostname"), None);
        let shared = named("container:abc");
        assert_eq!((shared.get("Hostname"), shared.get("ExposedPorts")), (None, None));
        assert_eq!(shared.get("NetworkingConfig"), None);
    }

    #[test]
    fn dockers_own_bridge_is_not_named_again() {
        for mode in ["default", "bridge"] {
            let mut known = known(mode);
            known["NetworkSettings"]["Networks"] = json!({ "bridge": { "NetworkID": "n0" } });
            let Copy { body, networks } = copy("web", &known, 2).unwrap();
            assert_eq!((body.get("NetworkingConfig"), networks), (None, vec![]), "{mode}");
        }
        assert!(copy("web", &json!({}), 2).unwrap_err().contains("how web was made"));
    }
}
