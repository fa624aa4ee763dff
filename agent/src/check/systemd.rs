//! What systemd says of a unit, over D-Bus: its state and its main process. One connection is kept for all
//! checks. Properties as in org.freedesktop.systemd1(5).

use std::sync::Arc;

use fettle_shared::error_kind::ErrorKind;
use tokio::sync::Mutex;
use zbus::{Connection, OwnedVariant};

use super::verdict::Failure;

const SERVICE: &str = "org.freedesktop.systemd1";
/// States of a unit that is well.
const ACTIVE: [&str; 3] = ["active", "reloading", "refreshing"];

/// The kept connection, made when it is first needed and again when it broke.
#[derive(Debug, Clone, Default)]
pub(super) struct Systemd(Arc<Mutex<Option<Connection>>>);

/// A unit as systemd sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Whether it is active, and why not.
    pub(super) well: Result<(), Failure>,
    /// Main process; 0: none.
    pub(super) main_pid: u32,
}

impl Systemd {
    /// Asks for a unit.
    pub(super) async fn unit(&self, name: &str) -> Result<Unit, Failure> {
        let connection = self.connection().await?;
        let asked = async {
            let path = object_path(name);
            let state = word(&connection, &path, "Unit", "ActiveState").await?;
            // Targets, mounts and timers have no main process.
            let main_pid = match property(&connection, &path, "Service", "MainPID").await {
                Ok(value) => u32::try_from(value).unwrap_or(0),
                Err(_) => 0,
            };
            let well = match ACTIVE.contains(&state.as_str()) {
                true => Ok(()),
                false => Err(why(&connection, &path, name, &state).await?),
            };
            Ok::<Unit, zbus::Error>(Unit { well, main_pid })
        };
        match asked.await {
            Ok(unit) => Ok(unit),
            Err(error) => {
                // Whoever answers is still there.
                if !matches!(error, zbus::Error::MethodError(..)) {
                    *self.0.lock().await = None;
                }
                Err(Failure::new(format!("systemd does not tell about {name}: {error}")))
            }
        }
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let mut kept = self.0.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let made = Connection::system().await;
        let made =
            made.map_err(|error| Failure::new(format!("the system bus cannot be reached: {error}")))?;
        *kept = Some(made.clone());
        Ok(made)
    }
}

/// Why a unit is not active: what it is doing instead, and how its last run ended.
async fn why(connection: &Connection, path: &str, name: &str, state: &str) -> zbus::Result<Failure> {
    let loaded = word(connection, path, "Unit", "LoadState").await?;
    if loaded != "loaded" {
        let error = match loaded.as_str() {
            "not-found" => format!("{name} is not there: systemd finds no such unit"),
            other => format!("{name} is {state}, and its unit file is {other}"),
        };
        return Ok(Failure::of(ErrorKind::Other, error));
    }
    let doing = word(connection, path, "Unit", "SubState").await?;
    let doing = if doing == state { String::new() } else { format!(" ({doing})") };
    // Not every kind of unit has a result; `success` is nothing to tell.
    let result = word(connection, path, "Service", "Result").await.unwrap_or_default();
    let (kind, result) = match result.as_str() {
        "" | "success" => (ErrorKind::Other, String::new()),
        "oom-kill" => (ErrorKind::Memory, ": killed for want of memory".to_owned()),
        "timeout" => (ErrorKind::Timeout, ": it took too long".to_owned()),
        "exit-code" => {
            let status = property(connection, path, "Service", "ExecMainStatus").await?;
            let status = i32::try_from(status).unwrap_or_default();
            (ErrorKind::Other, format!(": its main process ended with {status}"))
        }
        other => (ErrorKind::Other, format!(": {other}")),
    };
    Ok(Failure::of(kind, format!("{name} is {state}{doing}{result}")))
}

async fn word(connection: &Connection, path: &str, interface: &str, name: &str) -> zbus::Result<String> {
    String::try_from(property(connection, path, interface, name).await?)
}

async fn property(
    connection: &Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> zbus::Result<OwnedVariant> {
    let interface = format!("{SERVICE}.{interface}");
    let reply = connection
        .call_method(Some(SERVICE), path, Some("org.freedesktop.DBus.Properties"), "Get", &(interface, name))
        .await?;
    reply.body().deserialize()
}

/// The object of a unit: letters and digits stand as they are (no digit at first), all else as `_` and two
/// hexadecimal digits: sd_bus_path_encode(3).
fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(byte as char);
        } else {
            path += &format!("_{byte:02x}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_objects_as_systemd_names_them() {
        assert_eq!(object_path("nginx.service"), "/org/freedesktop/systemd1/unit/nginx_2eservice");
        assert_eq!(object_path("9p@a-b.mount"), "/org/freedesktop/systemd1/unit/_39p_40a_2db_2emount");
    }
}
