//! Where a provider's settings come from: the process's variables, or the entries of a Secret.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::{Error, Timing};

/// A credential fits into this many bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Names may be several with `|` between them, as in the table of [`crate::provider`]: the first
/// one that is set and not empty counts.
#[derive(Clone)]
pub struct Variables {
    provider: &'static str,
    values: Arc<BTreeMap<String, String>>,
    files: Files,
    machine: Machine,
}

/// Whether what the machine itself may do, such as an instance's role, counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Counts,
    CountsNot,
}

/// Whether `VAR_FILE` may stand for `VAR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Read,
    /// What an object holds selects nothing on the controller's disk.
    Never,
}

impl Variables {
    /// Of the process: `VAR`, else the content of the file that `VAR_FILE` names. Files are read
    /// anew at each look.
    pub fn of_process(environment: Arc<BTreeMap<String, String>>) -> Self {
        let (files, machine) = (Files::Read, Machine::Counts);
        Self { provider: "", values: environment, files, machine }
    }

    /// Exactly these and no others; no file is read.
    pub fn given(values: BTreeMap<String, String>) -> Self {
        let (files, machine) = (Files::Never, Machine::CountsNot);
        Self { provider: "", values: Arc::new(values), files, machine }
    }

    /// The same of a solver that is `ambient`: what the machine itself may do counts too.
    #[must_use]
    pub fn ambient(self) -> Self {
        Self { machine: Machine::Counts, ..self }
    }

    /// The same, for the messages of one provider.
    #[must_use]
    pub fn of(&self, provider: &'static str) -> Self {
        Self { provider, ..self.clone() }
    }

    /// Whether files and programs of the machine may be used.
    pub fn are_of_process(&self) -> bool {
        self.files == Files::Read
    }

    /// Whether credentials of the machine, such as an instance's role, may be used.
    pub fn use_machine(&self) -> bool {
        self.machine == Machine::Counts
    }

    /// The path that a variable names. Only a variable of the process may name one.
    pub fn path(&self, names: &str) -> Result<Option<PathBuf>, Error> {
        let found = names.split('|').find_map(|name| {
            self.values.get(name).filter(|value| !value.is_empty()).map(|value| (name, value))
        });
        match found {
            Some((name, _)) if self.files == Files::Never => {
                Err(self.fault(format!("{name} names a file; a Secret may name none")))
            }
            found => Ok(found.map(|(_, value)| PathBuf::from(value))),
        }
    }

    /// The value, if there is one that is not empty.
    pub fn text(&self, names: &str) -> Result<Option<String>, Error> {
        for name in names.split('|') {
            if let Some(value) = self.values.get(name).filter(|value| !value.is_empty()) {
                return Ok(Some(value.clone()));
            }
            if let Some(value) = self.of_file(name)?.filter(|value| !value.is_empty()) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// As [`Self::text`]; an error that names the variable if there is none.
    pub fn need(&self, names: &str) -> Result<String, Error> {
        self.text(names)?.ok_or_else(|| {
            let names = names.replace('|', " or ");
            self.fault(format!("{names} is not set"))
        })
    }

    pub fn text_or(&self, names: &str, default: &str) -> Result<String, Error> {
        Ok(self.text(names)?.unwrap_or_else(|| default.to_owned()))
    }

    /// Whole seconds, as 30 or as 30s.
    pub fn seconds(&self, names: &str, default: u64) -> Result<Duration, Error> {
        self.number_of(names, default, |text| text.strip_suffix('s').unwrap_or(text).parse().ok())
            .map(Duration::from_secs)
    }

    pub fn number(&self, names: &str, default: u64) -> Result<u64, Error> {
        self.number_of(names, default, |text| text.parse().ok())
    }

    /// `1`, `t`, `true`, `0`, `f`, `false` in any case.
    pub fn boolean(&self, names: &str) -> Result<bool, Error> {
        let Some(text) = self.text(names)? else { return Ok(false) };
        match text.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Ok(true),
            "0" | "f" | "false" => Ok(false),
            _ => Err(self.fault(format!("{names} is neither true nor false"))),
        }
    }

    /// `<PREFIX>_PROPAGATION_TIMEOUT`, `_POLLING_INTERVAL` and, if the provider does one record
    /// after another, `_SEQUENCE_INTERVAL`.
    pub fn timing(&self, prefixes: &str, default: Timing) -> Result<Timing, Error> {
        let read = |end: &str, default: Duration| {
            let names: Vec<String> =
                prefixes.split('|').map(|prefix| format!("{prefix}_{end}")).collect();
            self.seconds(&names.join("|"), default.as_secs())
        };
        Ok(Timing {
            propagation_timeout: read("PROPAGATION_TIMEOUT", default.propagation_timeout)?,
            polling_interval: read("POLLING_INTERVAL", default.polling_interval)?,
            sequence: match default.sequence {
                Some(interval) => Some(read("SEQUENCE_INTERVAL", interval)?),
                None => None,
            },
        })
    }

    /// An error about a variable.
    pub fn fault(&self, message: String) -> Error {
        Error::Settings { provider: self.provider, message }
    }

    /// A number that cannot be read counts as none: it tunes, and must not stop an order.
    fn number_of(
        &self,
        names: &str,
        default: u64,
        read: impl Fn(&str) -> Option<u64>,
    ) -> Result<u64, Error> {
        let Some(text) = self.text(names)? else { return Ok(default) };
        Ok(read(text.trim()).unwrap_or_else(|| {
            tracing::warn!(provider = self.provider, variable = names, default, "is no number");
            default
        }))
    }

    fn of_file(&self, name: &str) -> Result<Option<String>, Error> {
        let named = self.values.get(&format!("{name}_FILE")).filter(|path| !path.is_empty());
        let Some(path) = named.filter(|_| self.files == Files::Read) else { return Ok(None) };
        let fault = |cause: &str| self.fault(format!("{name}_FILE: {path}: {cause}"));
        let file = std::fs::File::open(path).map_err(|error| fault(&error.to_string()))?;
        let mut text = String::new();
        let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
        let length = read.map_err(|error| fault(&error.to_string()))?;
        if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
            return Err(fault("is larger than 64 KiB"));
        }
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_name_that_is_set_counts() {
        let given = Variables::given(variables(&[("A", ""), ("B", "two"), ("C", "three")]));
        assert_eq!(given.text("A|B|C").unwrap().as_deref(), Some("two"));
        assert_eq!(given.text("A|X").unwrap(), None);
        let message = given.of("acmedns").need("A|X").unwrap_err().to_string();
        assert_eq!(message, "acmedns: A or X is not set");
    }

    #[test]
    fn a_file_stands_for_a_variable_of_the_process_without_its_last_newline() {
        let path = std::env::temp_dir().join(format!("routecert-variable-{}", std::process::id()));
        std::fs::write(&path, "one\ntwo\r\n").unwrap();
        let shown = path.display().to_string();
        let all = variables(&[("A_FILE", &shown), ("B_FILE", &shown), ("B", "set")]);
        let process = Variables::of_process(Arc::new(all.clone()));
        assert_eq!(process.text("A").unwrap().as_deref(), Some("one\ntwo"));
        assert_eq!(process.text("B").unwrap().as_deref(), Some("set"));
        assert_eq!(Variables::given(all).text("A").unwrap(), None);
        std::fs::write(&path, "rotated").unwrap();
        assert_eq!(process.text("A").unwrap().as_deref(), Some("rotated"));
        std::fs::remove_file(&path).unwrap();
        let message = process.text("A").unwrap_err().to_string();
        assert!(message.contains("A_FILE: ") && message.contains("No such file"), "{message}");
    }

    #[test]
    fn numbers_that_cannot_be_read_are_the_default() {
        let all = variables(&[
            ("A_POLLING_INTERVAL", "7"),
            ("A_PROPAGATION_TIMEOUT", "-1"),
            ("T", "30s"),
        ]);
        let given = Variables::given(all);
        let timing = given.timing("Z|A", Timing::default()).unwrap();
        assert_eq!(timing.polling_interval, Duration::from_secs(7));
        assert_eq!(timing.propagation_timeout, Timing::default().propagation_timeout);
        assert_eq!(given.seconds("T", 1).unwrap(), Duration::from_secs(30));
    }
}
