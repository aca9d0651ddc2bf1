//! `providers.file`: files → routes. What was read of a file last holds until it can be read again.

mod folder;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::config;
use crate::config::FileProvider;
use crate::route::Route;
use crate::route::file;
use crate::route::file::{Dynamic, Extent};
use crate::rule::Syntax;
use crate::source::files::folder::{Listing, Spots};

pub(super) use crate::source::files::watch::watch;

/// Of all files together.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Problems of one file in a message.
const MAX_PROBLEMS: usize = 3;

/// Reads everything once: the routes, and what is wrong or worth a word. `home`: the controller's
/// namespace; `syntax`: that of rules that do not say theirs.
pub fn read(provider: &FileProvider, home: &str, syntax: Syntax) -> (Vec<Route>, Vec<String>) {
    let look = Files::new(provider.clone(), home, syntax).look();
    (look.routes, look.troubles.into_iter().chain(look.warnings).collect())
}

/// All that is known of the files.
#[derive(Debug)]
struct Files {
    provider: FileProvider,
    home: String,
    syntax: Syntax,
    known: BTreeMap<PathBuf, Known>,
    /// Routers that were passed over at the last look.
    passed_over: Vec<String>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the text that was read last, be it good or not.
    digest: Option<Vec<u8>>,
    good: Option<Dynamic>,
    trouble: Option<String>,
}

/// What one look at the files finds.
#[derive(Debug, Default)]
struct Look {
    routes: Vec<Route>,
    /// What could not be read; empty: everything is known.
    troubles: Vec<String>,
    /// About files that are other than before.
    warnings: Vec<String>,
    spots: Spots,
}

impl Files {
    fn new(provider: FileProvider, home: &str, syntax: Syntax) -> Self {
        Self {
            provider,
            home: home.to_owned(),
            syntax,
            known: BTreeMap::new(),
            passed_over: Vec::new(),
        }
    }

    fn look(&mut self) -> Look {
        let listing = folder::list(&self.provider);
        self.forget(&listing);
        let mut look = Look { spots: listing.spots, troubles: listing.troubles, ..Look::default() };
        let mut left = MAX_BYTES;
        for path in &listing.files {
            match config::contents(path) {
                Ok(text) if text.len() > left => {
                    let all = "the files of the directory have more than 64 MiB together; the \
                               others are not read: move what is no configuration elsewhere";
                    look.troubles.push(format!("{}: {all}", shown(path)));
                    break;
                }
                Ok(text) => {
                    left -= text.len();
                    look.warnings.extend(self.take(path, &text));
                }
                Err(message) => {
                    let known = self.known.entry(path.clone()).or_default();
                    known.digest = None;
                    known.trouble = Some(format!("{}: {message}", shown(path)));
                }
            }
        }
        look.troubles.extend(self.known.values().filter_map(|known| known.trouble.clone()));
        let (routes, passed_over) = self.routes(&look.troubles);
        look.routes = routes;
        if passed_over != self.passed_over {
            look.warnings.extend(passed_over.iter().cloned());
            self.passed_over = passed_over;
        }
        look
    }

    /// A file that is not there any more has no routes, unless its directory cannot be listed.
    fn forget(&mut self, listing: &Listing) {
        let is_hidden = |path: &Path| listing.hidden.iter().any(|one| path.starts_with(one));
        self.known.retain(|path, _| listing.files.contains(path) || is_hidden(path));
    }

    fn take(&mut self, path: &Path, text: &str) -> Vec<String> {
        let known = self.known.entry(path.to_path_buf()).or_default();
        let digest = digest(&SHA256, text.as_bytes()).as_ref().to_vec();
        if known.digest.as_ref() == Some(&digest) {
            return Vec::new();
        }
        known.digest = Some(digest);
        let name = shown(path);
        match parse(&name, text, self.syntax) {
            Ok(read) => {
                known.trouble = None;
                let good = known.good.insert(read);
                good.warnings().map(|warning| format!("{name}: {warning}")).collect()
            }
            Err(message) => {
                known.trouble = Some(message);
                Vec::new()
            }
        }
    }

    fn routes(&self, troubles: &[String]) -> (Vec<Route>, Vec<String>) {
        let extent = if troubles.is_empty() { Extent::Whole } else { Extent::Part };
        let named = self.known.iter().map(|(path, known)| (shown(path), known));
        let named: Vec<_> = named.collect();
        let good = named.iter().filter_map(|(name, it)| Some((name.as_str(), it.good.as_ref()?)));
        file::routes(good, &self.home, extent)
    }
}

fn parse(name: &str, text: &str, syntax: Syntax) -> Result<Dynamic, String> {
    if let Some(line) = file::templated(text) {
        let message = "Go templating is not supported; write the values out";
        return Err(format!("{name}:{line}: {message}"));
    }
    let tree = config::plain(name, text).map_err(|problems| {
        let told: Vec<String> =
            problems.iter().take(MAX_PROBLEMS).map(ToString::to_string).collect();
        told.join("; ")
    })?;
    Dynamic::read(&tree, syntax).map_err(|message| format!("{name}: {message}"))
}

/// A path for people, on one line.
fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

#[cfg(test)]
mod tests;
