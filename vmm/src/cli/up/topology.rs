//! What is to run: `topology.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nitride::config::line_of;
use nitride_sim::daemon::CONTROL_SOCKET;
use nitride_sim::daemon::config::Config;
use serde::Deserialize;

/// A card and machines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The card's file. Without one nothing is simulated.
    pub card: Option<PathBuf>,
    /// The machines.
    #[serde(rename = "vm")]
    pub machines: Vec<Machine>,
}

/// A machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its name on the screen.
    pub name: String,
    /// Its description, as `nitride run` takes it.
    pub file: PathBuf,
}

impl Topology {
    /// Reads and checks a file. Relative paths in it start at its folder.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("topology {name}"))?;
        let mut this: Self = toml::from_str(&text).map_err(|error| {
            anyhow!("topology {name}: line {}: {}", line_of(&text, &error), error.message())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = this.machines.iter_mut().map(|machine| &mut machine.file).chain(&mut this.card);
        for file in files {
            *file = folder.join(&*file);
            if !file.exists() {
                bail!("topology {name}: there is no {}", file.display());
            }
        }
        let mut names = BTreeSet::from(["card"]);
        for machine in &this.machines {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if machine.name.is_empty() || !machine.name.chars().all(plain) {
                bail!("topology {name}: vm {:?}: a name has letters, digits, - and _", machine.name);
            }
            if !names.insert(&machine.name) {
                bail!("topology {name}: vm {}: the name is taken", machine.name);
            }
        }
        Ok(this)
    }

    /// The control socket of its card.
    pub fn control(&self) -> Result<Option<PathBuf>> {
        let config = self.card.as_deref().map(Config::load).transpose()?;
        Ok(config.map(|config| config.sockets.join(CONTROL_SOCKET)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("topology.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("vm.toml"), "").unwrap();
        Topology::load(&path).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named() {
        let vm = "[[vm]]\nname = 'alice'\nfile = 'vm.toml'\n";
        for (text, part) in [
            (format!("cart = 'card.toml'\n{vm}"), "line 1: unknown field `cart`"),
            (format!("card = 'card.toml'\n{vm}"), "there is no"),
            (format!("{vm}{vm}"), "vm alice: the name is taken"),
            (vm.replace("alice", "card"), "vm card: the name is taken"),
            (vm.replace("alice", "../alice"), "a name has letters"),
            (vm.replace("vm.toml", "absent.toml"), "absent.toml"),
        ] {
            assert!(complaint(&text).contains(part), "{text:?} gave {}", complaint(&text));
        }
    }
}
