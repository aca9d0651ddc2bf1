//! What is asked for, read from the command line.

use crate::cert::Id;
use crate::cli::Failure;
use crate::route::Kind;
use crate::store::CERTIFICATE_PREFIX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Everything, of one namespace or of all.
    All(Option<String>),
    Certificate {
        namespace: Option<String>,
        name: String,
    },
    /// An object that is of one of these kinds.
    Route {
        kinds: Vec<Kind>,
        namespace: String,
        name: String,
    },
    /// A route of a file, such as `web@file`.
    OfFile {
        kinds: Vec<Kind>,
        name: String,
    },
}

impl Ask {
    /// `words`: none, or a name, its kind before it as a word of its own or with `/`.
    pub(super) fn parse(words: &[String], namespace: Option<&str>) -> Result<Self, Failure> {
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
        let (kind, name) = match words.as_slice() {
            [] => return Ok(Self::All(namespace.map(str::to_owned))),
            [name] => match name.split('/').collect::<Vec<_>>().as_slice() {
                [kind, _, _] => (Some(*kind), name.split_once('/').unwrap_or_default().1),
                [kind, of_file] if is_of_file(of_file) => (Some(*kind), *of_file),
                _ => (None, *name),
            },
            [kind, name] => (Some(*kind), *name),
            _ => return Err(usage("at most one thing can be asked for")),
        };
        if namespace.is_some() {
            return Err(usage("--namespace narrows the whole list; give a name or a namespace"));
        }
        match kind {
            Some(kind) if is_certificate(kind) => certificate(name),
            Some(kind) => one(kinds(kind)?, name),
            None => certificate(name).or_else(|_| one(all_kinds().collect(), name)),
        }
    }
}

fn usage(message: &str) -> Failure {
    Failure::Configuration(format!(
        "{message}. A certificate is [NAMESPACE/]rc-ID; a route is KIND/NAMESPACE/NAME, \
         KIND NAMESPACE/NAME or NAMESPACE/NAME"
    ))
}

fn is_of_file(name: &str) -> bool {
    name.ends_with("@file")
}

fn is_certificate(kind: &str) -> bool {
    let names =
        ["acmecertificate", "acmecertificates", "acmecert", "acmecertificate.routecert.dev"];
    names.iter().any(|name| name.eq_ignore_ascii_case(kind))
}

fn certificate(text: &str) -> Result<Ask, Failure> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if Id::from_object_name(CERTIFICATE_PREFIX, name).is_none() || namespace == Some("") {
        return Err(usage(&format!("`{}` names no certificate", short(text))));
    }
    Ok(Ask::Certificate { namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

fn one(kinds: Vec<Kind>, text: &str) -> Result<Ask, Failure> {
    if is_of_file(text) && !text.contains('/') {
        return Ok(Ask::OfFile { kinds, name: text.to_owned() });
    }
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(Ask::Route { kinds, namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err(usage(&format!("`{}` names no certificate and no route", short(text)))),
    }
}

fn all_kinds() -> impl Iterator<Item = Kind> {
    Kind::CUSTOM.into_iter().chain([Kind::Ingress]).chain(Kind::OF_FILES)
}

/// Of a kind with or without its group, singular or plural, in letters of any case.
fn kinds(written: &str) -> Result<Vec<Kind>, Failure> {
    let fits = |kind: &Kind| {
        let plural = kind.resource().map(|resource| resource.plural).unwrap_or_default();
        let names = [kind.word(), kind.as_str(), &plural, plural.trim_end_matches('s')];
        names.iter().any(|name| name.eq_ignore_ascii_case(written))
    };
    let found: Vec<Kind> = all_kinds().filter(fits).collect();
    if found.is_empty() {
        return Err(usage(&format!("`{}` is no kind of route", short(written))));
    }
    Ok(found)
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(words: &[&str]) -> Option<Ask> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ask::parse(&words, None).ok()
    }

    #[test]
    fn a_certificate_is_told_from_a_route() {
        let id = "rc-47yjl7fdd6ljb5ucyzno";
        let certificate = |namespace: Option<&str>| {
            let namespace = namespace.map(str::to_owned);
            Some(Ask::Certificate { namespace, name: id.to_owned() })
        };
        assert_eq!(asks(&[]), Some(Ask::All(None)));
        assert_eq!(asks(&[id]), certificate(None));
        assert_eq!(asks(&[&format!("shop/{id}")]), certificate(Some("shop")));
        assert_eq!(asks(&[&format!("acmecert/shop/{id}")]), certificate(Some("shop")));
        assert!(
            matches!(asks(&["shop/rc-short"]), Some(Ask::Route { kinds, .. }) if kinds.len() == 10)
        );
        assert!(matches!(asks(&["ingress", &format!("shop/{id}")]), Some(Ask::Route { .. })));
    }

    #[test]
    fn a_route_is_written_in_many_ways() {
        let route = |kinds: &[Kind]| {
            Some(Ask::Route {
                kinds: kinds.to_vec(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            })
        };
        let both = route(&[Kind::OwnHttp, Kind::TraefikHttp]);
        assert_eq!(asks(&["IngressRoute/shop/web"]), both);
        assert_eq!(asks(&["ingressroute", "shop/web"]), route(&[Kind::OwnHttp, Kind::TraefikHttp]));
        assert_eq!(asks(&["IngressRoute shop/web"]), both);
        assert_eq!(asks(&["IngressRoute.traefik.io shop/web"]), route(&[Kind::TraefikHttp]));
        assert_eq!(asks(&["ingresses/shop/web"]), route(&[Kind::Ingress]));
        assert_eq!(asks(&["rcingressroutes/shop/web"]), route(&[Kind::OwnHttp]));
        let of_file = Ask::OfFile { kinds: vec![Kind::FileHttp], name: "web@file".to_owned() };
        assert_eq!(asks(&["HTTPRouter", "web@file"]), Some(of_file.clone()));
        assert_eq!(asks(&["HTTPRouter/web@file"]), Some(of_file));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for words in [&["web"][..], &["/web"], &["shop/"], &["a/b/c/d"], &["Pod", "shop/web"]] {
            assert_eq!(asks(words), None, "{words:?}");
        }
        assert!(Ask::parse(&["shop/web".to_owned()], Some("shop")).is_err());
    }
}
