//! `acmedns`: an acme-dns server has the record; a CNAME, made once by a person, leads there.

mod storage;

use tokio::sync::Mutex;

use serde_json::json;

use crate::dns::providers::acme_dns::storage::{Account, Saved, Storage};
use crate::dns::{Api, Context, Done, Entry, Error, Handle, Provider, Task, Variables};

pub(super) const ENTRY: Entry = Entry { codes: &["acmedns", "acme-dns"], build };

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Two names of one domain must not register it twice.
static REGISTRATION: Mutex<()> = Mutex::const_new(());

struct AcmeDns {
    api: Api,
    server: String,
    /// Networks (CIDR) that may use an account.
    allowed: Vec<String>,
    storage: Storage,
    follows_cnames: bool,
}

fn build(context: &Context) -> Result<Box<dyn Provider>, Error> {
    let variables = &context.variables;
    let server = variables.need("ACME_DNS_API_BASE")?;
    let allowed = variables.text("ACME_DNS_ALLOWLIST")?.unwrap_or_default();
    let networks = allowed.split(',').map(str::trim).filter(|network| !network.is_empty());
    Ok(Box::new(AcmeDns {
        api: context.api(&server, TIMEOUT),
        allowed: networks.map(str::to_owned).collect(),
        storage: storage(context, variables)?,
        follows_cnames: !variables.boolean("LEGO_DISABLE_CNAME_SUPPORT").unwrap_or_default(),
        server,
    }))
}

fn storage(context: &Context, variables: &Variables) -> Result<Storage, Error> {
    let path = variables.text("ACME_DNS_STORAGE_PATH")?;
    let url = variables.text("ACME_DNS_STORAGE_BASE_URL")?;
    match (path, url) {
        (Some(_), None) if !variables.are_of_process() => Err(variables.fault(
            "ACME_DNS_STORAGE_PATH is for resolvers of the static configuration only; use \
             ACME_DNS_STORAGE_BASE_URL in a CertificateResolver"
                .to_owned(),
        )),
        (Some(path), None) => Ok(Storage::File(path.into())),
        (None, Some(url)) => Ok(Storage::Server(context.api(&url, TIMEOUT))),
        _ => Err(variables.fault(
            "exactly one of ACME_DNS_STORAGE_PATH and ACME_DNS_STORAGE_BASE_URL must be set"
                .to_owned(),
        )),
    }
}

impl Provider for AcmeDns {
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle> {
        Box::pin(async {
            let account = self.account(task).await?;
            self.update(&account, &task.value).await?;
            if self.follows_cnames && task.fqdn != account.host() {
                return Err(missing_cname(task, &account));
            }
            Ok(Handle::default())
        })
    }

    /// The server keeps the last two values and cannot take one away.
    fn unset<'a>(&'a self, _task: &'a Task, _handle: Option<&'a Handle>) -> Done<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl AcmeDns {
    async fn account(&self, task: &Task) -> Result<Account, Error> {
        let domain = task.domain.as_str();
        if let Some(account) = self.storage.find(domain).await? {
            return Ok(account);
        }
        let _turn = REGISTRATION.lock().await;
        if let Some(account) = self.storage.find(domain).await? {
            return Ok(account);
        }
        // What cannot be kept must not be registered.
        self.storage.check()?;
        let account = self.register().await?;
        match self.storage.save(domain, &account).await? {
            Saved::Alone if self.follows_cnames => Err(missing_cname(task, &account)),
            Saved::Alone | Saved::WithCname => Ok(account),
        }
    }

    async fn register(&self) -> Result<Account, Error> {
        let mut call = self.api.post("register at the server", "/register");
        call = call.header("accept", "application/json");
        if !self.allowed.is_empty() {
            call = call.json(&json!({"allowfrom": self.allowed}));
        }
        let reply = call.send().await?;
        let text = |field: &str| {
            let value = reply.at(&format!("/{field}"))?;
            let text = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            text.ok_or_else(|| reply.refused(&format!("the answer has no {field}")))
        };
        Ok(Account {
            fulldomain: text("fulldomain")?,
            subdomain: text("subdomain")?,
            username: text("username")?,
            password: text("password")?,
            server_url: self.server.clone(),
        })
    }

    async fn update(&self, account: &Account, value: &str) -> Result<(), Error> {
        let api = self.api.clone().header("x-api-user", &account.username)?;
        let api = api.header("x-api-key", &account.password)?;
        let call = api.post("set the record", "/update").header("accept", "application/json");
        let body = json!({"subdomain": account.subdomain, "txt": value});
        call.json(&body).send().await.map(drop)
    }
}

/// The one thing that a person has to do.
fn missing_cname(task: &Task, account: &Account) -> Error {
    let cause = format!(
        "make the record `_acme-challenge.{}. IN CNAME {}.` once, in the zone of {}: it leads to \
         the acme-dns server and is not there yet. It is tried again by itself",
        task.domain,
        account.host(),
        task.domain
    );
    Error::Refused { provider: "acmedns", step: "look for the CNAME", cause }
}
